/**
 * A dry run: reads the real process, pages nothing out, and answers the scanner
 * as if every page-out had worked.
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

/** The memory of a process, with page-outs planned only. */
export class DryRunMemory extends WrappedMemory {
  #planned = 0;
  /** As first read, so that the plan does not follow what the process does meanwhile. */
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
