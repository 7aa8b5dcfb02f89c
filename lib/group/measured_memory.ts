/**
 * The memory of a process, which measures how long reads of its pagedata take.
 *
 * @module
 */

import type { Pagedata } from "../memory/pagedata.ts";
import type { ProcessMemory } from "../memory/process_memory.ts";
import { WrappedMemory } from "../memory/wrapped_memory.ts";

/** Called after each read of pagedata with the number of pages and the duration. */
export type OnRead = (reading: { pages: number; seconds: number }) => void;

/** Measures reads of pagedata. */
export class MeasuredMemory extends WrappedMemory {
  readonly #onRead: OnRead;

  constructor(memory: ProcessMemory, onRead: OnRead) {
    super(memory);
    this.#onRead = onRead;
  }

  override async readPagedata(): Promise<Pagedata> {
    const began = performance.now();
    const pagedata = await super.readPagedata();
    const seconds = (performance.now() - began) / 1000;
    this.#onRead({ pages: pagedata.bits.length, seconds });
    return pagedata;
  }
}
