/**
 * A dry run: reads the real process, pages nothing out, and answers the scanner
 * as if every page-out had worked.
 *
 * @module
 */

import type { Pagedata } from "../memory/pagedata.ts";
import type {
  PageoutControl,
  PageoutResult,
  PageRange,
  ProcessMemory,
  ProcessSizes,
  Residency,
} from "../memory/process_memory.ts";

/** The memory of a process, with page-outs planned only. */
export class DryRunMemory implements ProcessMemory {
  readonly #memory: ProcessMemory;
  #planned = 0;
  /** As first read, so that the plan does not follow what the process does meanwhile. */
  #sizes: ProcessSizes | undefined;

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
    this.#sizes ??= this.#memory.readSizes();
    const { rss, image } = this.#sizes;
    return { rss: rss - this.#planned, image };
  }

  control(): Promise<PageoutControl> {
    return Promise.resolve({
      maxRanges: Infinity,
      pageOut: (ranges: readonly PageRange[]) => {
        for (const { bytes } of ranges) this.#planned += bytes;
        const planned: PageoutResult = { result: "planned" };
        return Promise.resolve(ranges.map(() => planned));
      },
      [Symbol.dispose]() {},
    });
  }
}
