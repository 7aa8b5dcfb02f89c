/**
 * The memory of a process, which measures what reads of its pagedata cost.
 *
 * @module
 */

import type { Pagedata } from "../memory/pagedata.ts";
import { WrappedMemory } from "../memory/wrapped_memory.ts";
import type { MonitoredMemory, ReadCost } from "../platform/platform.ts";

/** Called after each read of pagedata with what it has cost. */
export type OnRead = (cost: ReadCost) => void;

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
    const before = { ...this.#memory.readCost };
    const pagedata = await super.readPagedata();
    const { pages, seconds } = this.#memory.readCost;
    this.#onRead({
      pages: pages - before.pages,
      seconds: seconds - before.seconds,
    });
    return pagedata;
  }
}
