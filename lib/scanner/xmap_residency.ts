/**
 * Residency as illumos counts it: `xmap` knows resident and anonymous pages, and
 * of a private mapping only the anonymous ones are worth a page-out, since the
 * others are shared with every process that maps the same file.
 *
 * @module
 */

import type { Residency } from "../platform/platform.ts";
import { MA_SHARED } from "./mapping_flags.ts";

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
