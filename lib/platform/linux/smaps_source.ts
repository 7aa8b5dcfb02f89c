/**
 * Pagedata from `/proc/<pid>/smaps`: works wherever `clear_refs` does, and knows
 * one thing a mapping. When any page of a mapping was referenced, all of them
 * count as referenced.
 *
 * @module
 */

import type { CallList } from "../../../ffi/call_list.ts";
import { type OpenedPagemap, presentRuns } from "../../../ffi/pagemap.ts";
import {
  MODIFIED,
  type Pagedata,
  PagedataBuilder,
  REFERENCED,
} from "../../scanner/pagedata.ts";
import { pageable } from "./candidates.ts";
import type { MemoryFiles } from "./memory_files.ts";
import type { PagedataRequest, PagedataSource } from "./pagedata_source.ts";
import { ofProcessSlowly } from "./proc_dir.ts";
import { flagsOf, type LinuxMapping } from "./smaps.ts";

/** Reads smaps. */
export class SmapsSource implements PagedataSource {
  readonly name = "smaps";

  async reset(files: MemoryFiles): Promise<void> {
    await files.clearReferences();
  }

  refresh(): Promise<void> {
    // The kernel remembers for smaps what it resets; and one page in use is enough.
    return Promise.resolve();
  }

  async read(files: MemoryFiles, request: PagedataRequest): Promise<Pagedata> {
    // Opened first, so that it is of the same address space or an older one.
    using pagemap = await files.openPagemap();
    const mappings = await files.readSmaps();
    if (request.purpose === "scan") await this.reset(files);
    const opened = {
      pagemap,
      make: (calls: CallList) => files.make(calls),
    };
    return await ofProcessSlowly(
      files.pid,
      () => pagedataOfSmaps(mappings, opened, request),
    );
  }

  hasRun(): boolean {
    return true;
  }

  [Symbol.dispose](): void {
    // Nothing stays open.
  }
}

/**
 * Makes pagedata of a parsed smaps.
 *
 * @param pagemap the opened pagemap of the same process: it tells which pages of
 * a partly resident mapping are present.
 */
export async function pagedataOfSmaps(
  mappings: readonly LinuxMapping[],
  pagemap: OpenedPagemap,
  { purpose, context }: PagedataRequest,
): Promise<Pagedata> {
  const builder = new PagedataBuilder();
  for (const mapping of mappings) {
    const { start, end, pageSize, rss } = mapping;
    const pages = Number(end - start) / pageSize;
    builder.addMapping({ start, pages, pageSize, flags: flagsOf(mapping) });
    const isWanted = purpose === "inspect" ||
      pageable(mapping, context).bytes > 0;
    if (rss === 0 || !isWanted) continue;
    const bits = bitsOf(mapping);
    if (rss === pages * pageSize) {
      builder.addPages(0, { count: pages, bits });
      continue;
    }
    const firstPage = Number(start / BigInt(pageSize));
    await presentRuns(
      pagemap,
      { firstPage, pages, pageSize },
      (page, count) => {
        builder.addPages(page, { count, bits });
      },
    );
  }
  return builder.build();
}

/**
 * The bits of every page of a mapping. smaps cannot tell what was modified since
 * references were cleared; what is both referenced and dirty counts.
 */
function bitsOf({ referenced, dirty }: LinuxMapping): number {
  if (referenced === 0) return 0;
  return dirty > 0 ? REFERENCED | MODIFIED : REFERENCED;
}
