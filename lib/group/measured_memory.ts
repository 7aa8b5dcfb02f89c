/**
 * The memory of a process, which measures what reads of its pagedata cost.
 *
 * @module
 */

import type { Pagedata } from "../memory/pagedata.ts";
import { WrappedMemory } from "../memory/wrapped_memory.ts";
import type { MonitoredMemory } from "../platform/platform.ts";

/**
 * Called after each read of pagedata with the number of pages, and the processor time
 * that it took, in seconds.
 */
export type OnRead = (reading: { pages: number; seconds: number }) => void;

/** Measures reads of pagedata. */
export class MeasuredMemory extends WrappedMemory {
  readonly #memory: MonitoredMemory;
  readonly #onRead: OnRead;

  constructor(memory: MonitoredMemory, onRead: OnRead) {
    super(memory);
    this.#memory = memory;
    this.#onRead = onRead;
  }

  override async readPagedata(): Promise<Pagedata> {
    const before = this.#memory.readSeconds;
    const pagedata = await super.readPagedata();
    const seconds = this.#memory.readSeconds - before;
    this.#onRead({ pages: pagedata.bits.length, seconds });
    return pagedata;
  }
}
