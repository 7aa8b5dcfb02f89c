/**
 * The memory of a process, with readings of its pagedata measured.
 *
 * @module
 */

import type { Pagedata } from "../memory/pagedata.ts";
import type {
  PageoutControl,
  ProcessMemory,
  ProcessSizes,
  Residency,
} from "../memory/process_memory.ts";

/** Told of every reading: how many pages in how many seconds. */
export type OnRead = (reading: { pages: number; seconds: number }) => void;

/** What the scanner needs of a process, and tells of readings. */
export class MeasuredMemory implements ProcessMemory {
  readonly #memory: ProcessMemory;
  readonly #onRead: OnRead;

  constructor(memory: ProcessMemory, onRead: OnRead) {
    this.#memory = memory;
    this.#onRead = onRead;
  }

  get pid(): number {
    return this.#memory.pid;
  }

  async readPagedata(): Promise<Pagedata> {
    const began = performance.now();
    const pagedata = await this.#memory.readPagedata();
    const seconds = (performance.now() - began) / 1000;
    this.#onRead({ pages: pagedata.bits.length, seconds });
    return pagedata;
  }

  closePagedata(): void {
    this.#memory.closePagedata();
  }

  readResidency(): Promise<ReadonlyMap<bigint, Residency> | undefined> {
    return this.#memory.readResidency();
  }

  readSizes(): ProcessSizes {
    return this.#memory.readSizes();
  }

  control(): Promise<PageoutControl> {
    return this.#memory.control();
  }
}
