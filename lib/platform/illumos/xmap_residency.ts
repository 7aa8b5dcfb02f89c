/**
 * Residency as illumos counts it: `xmap` knows resident and anonymous pages, and
 * of a private mapping only the anonymous ones are worth a page-out, since the
 * others are shared with every process that maps the same file.
 *
 * @module
 */

import { MA_SHARED } from "../../memory/mapping_flags.ts";
import type { Residency } from "../../memory/process_memory.ts";

/** Translates one mapping's figures of xmap. Sizes in bytes, counts in pages. */
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
