/**
 * The memory of a process, with readings of its pagedata measured.
 *
 * @module
 */

import type { Pagedata } from "../memory/pagedata.ts";
import type { ProcessMemory } from "../memory/process_memory.ts";
import { WrappedMemory } from "../memory/wrapped_memory.ts";

/** Told of every reading: how many pages in how many seconds. */
export type OnRead = (reading: { pages: number; seconds: number }) => void;

/** What the scanner needs of a process, and tells of readings. */
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
