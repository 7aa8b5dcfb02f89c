/**
 * The memory of a process, passed on: for what changes one method and no other.
 *
 * @module
 */

import type { Pagedata } from "./pagedata.ts";
import type {
  PageoutControl,
  ProcessMemory,
  ProcessSizes,
  Residency,
} from "./process_memory.ts";

/** Passes every call on to another memory. */
export abstract class WrappedMemory implements ProcessMemory {
  readonly #memory: ProcessMemory;

  constructor(memory: ProcessMemory) {
    this.#memory = memory;
  }

  get pid(): number {
    return this.#memory.pid;
  }

  readPagedata(): Promise<Pagedata> {
    return this.#memory.readPagedata();
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
