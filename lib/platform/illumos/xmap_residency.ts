/**
 * Residency on illumos. `xmap` counts resident and anonymous pages. Of a private
 * mapping only the anonymous pages are worth paging out, since the others are shared
 * with every process that maps the same file.
 *
 * @module
 */

import { MA_SHARED } from "../../memory/mapping_flags.ts";
import type { Residency } from "../../memory/process_memory.ts";

/** Converts the figures of one mapping in xmap. Sizes are in bytes, counts in pages. */
export function xmapResidency(
  { start, bytes, flags, resident, anonymous }: {
    start: bigint;
    bytes: number;
    flags: number;
    resident: number;
    anonymous: number;
  },
): Residency {
  const pageable = flags & MA_SHARED ? resident : Math.min(resident, anonymous);
  return { start, bytes, pageable };
}
