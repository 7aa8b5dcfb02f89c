/**
 * Pagedata from `/proc/<pid>/smaps`: works wherever `clear_refs` does, and knows
 * one thing a mapping. When any page of a mapping was referenced, all of them
 * count as referenced.
 *
 * @module
 */

import { presentRuns } from "../../../ffi/pagemap.ts";
import type { File } from "../../../ffi/file.ts";
import {
  MA_ANON,
  MA_EXEC,
  MA_READ,
  MA_SHARED,
  MA_WRITE,
} from "../../scanner/mapping_flags.ts";
import {
  MODIFIED,
  type Pagedata,
  PagedataBuilder,
  REFERENCED,
} from "../../scanner/pagedata.ts";
import { pageable, type PageableContext } from "./candidates.ts";
import type { LinuxMapping } from "./smaps.ts";

/**
 * Makes pagedata of a parsed smaps. Pages that no page-out can take are not
 * recorded, so they never count as unreferenced.
 *
 * @param pagemap the opened pagemap of the same process: it tells which pages of
 * a partly resident mapping are present.
 */
export function pagedataOfSmaps(
  mappings: readonly LinuxMapping[],
  pagemap: File,
  context: PageableContext,
): Pagedata {
  const builder = new PagedataBuilder();
  for (const mapping of mappings) {
    const { start, end, pageSize } = mapping;
    const pages = Number(end - start) / pageSize;
    builder.addMapping({ start, pages, pageSize, flags: flagsOf(mapping) });
    if (pageable(mapping, context).bytes === 0) continue;
    const bits = mappingBits(mapping);
    if (mapping.rss === pages * pageSize) {
      builder.addPages(0, { count: pages, bits });
      continue;
    }
    const firstPage = Number(start / BigInt(pageSize));
    presentRuns(pagemap, { firstPage, pages, pageSize }, (page, count) => {
      builder.addPages(page, { count, bits });
    });
  }
  return builder.build();
}

/**
 * The bits of every page of a mapping. smaps cannot tell what was modified since
 * references were cleared; what is both referenced and dirty counts.
 */
export function mappingBits({ referenced, dirty }: LinuxMapping): number {
  if (referenced === 0) return 0;
  return dirty > 0 ? REFERENCED | MODIFIED : REFERENCED;
}

/** The mapping's flags as the scanner knows them. */
function flagsOf({ perm, name }: LinuxMapping): number {
  return (perm[0] === "r" ? MA_READ : 0) | (perm[1] === "w" ? MA_WRITE : 0) |
    (perm[2] === "x" ? MA_EXEC : 0) | (perm[3] === "s" ? MA_SHARED : 0) |
    (name === "" ? MA_ANON : 0);
}
