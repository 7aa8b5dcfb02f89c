/**
 * A dry run: reads the real process, pages out nothing, and answers the scanner as
 * if every page-out had succeeded.
 *
 * @module
 */

import type {
  PageoutControl,
  PageoutResult,
  PageRange,
  ProcessSizes,
} from "../memory/process_memory.ts";
import { WrappedMemory } from "../memory/wrapped_memory.ts";

/** The memory of a process, with page-outs that are only planned. */
export class DryRunMemory extends WrappedMemory {
  #planned = 0;
  /**
   * The sizes as first read, so that the plan does not depend on later changes of
   * the process.
   */
  #sizes: ProcessSizes | undefined;

  override readSizes(): ProcessSizes {
    this.#sizes ??= super.readSizes();
    const { rss, image } = this.#sizes;
    return { rss: rss - this.#planned, image };
  }

  override control(): Promise<PageoutControl> {
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
