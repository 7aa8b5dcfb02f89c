/**
 * Ranges of similar pages, ranked by which to page out first.
 *
 * Among pages of the same age, those that cost least come first: clean pages of files,
 * which need no swap, and long ranges, which include whole large pages.
 *
 * @module
 */

import { MA_ANON, MA_WRITE } from "../memory/mapping_flags.ts";
import {
  endOffset,
  firstOffset,
  type PagedataMapping,
} from "../memory/pagedata.ts";
import type { AgedProcess } from "./aged_collection.ts";
import { BANDS } from "./ages.ts";
import { COOLED, TRIED } from "./carry_ages.ts";
import { skipReason } from "./walk.ts";

/** The size of a large page, in bytes: ranges are not cut inside one. */
const LARGE_PAGE = 2 << 20;

/** Classes of length: the class is the logarithm of a range's pages to base 2. */
const LENGTHS = 16;

/** Classes of cost: clean file pages, and all others. */
const KINDS = 2;

/** The bits that show what was done with a page. */
export const DONE_BITS = COOLED | TRIED;

/** A page that has been idle for as long as was asked for; beside {@linkcode DONE_BITS}. */
export const OLD = 1;

/** More than the largest {@linkcode RankedRange.done}. */
export const STATES = 16;

/** Adjacent recorded pages with the same band and the same {@linkcode DONE_BITS}. The object is reused for all ranges. */
export interface RankedRange {
  mapping: PagedataMapping;
  /** Their {@linkcode DONE_BITS}: what was done with them; and {@linkcode OLD}. */
  done: number;
  /** Ranges with a lower rank are paged out first. */
  rank: number;
  /** The first page, counted from the start of the mapping. */
  firstPage: number;
  /** Its index in the bits. */
  offset: number;
  pages: number;
}

/** The band of a process that rests: older than all others. */
const RESTING = BANDS;

/** The number of ranks. */
export const RANKS = (RESTING + 1) * KINDS * LENGTHS;

/** The rank of a range of at least one page. */
function rankOf(band: number, kind: number, pages: number): number {
  const length = Math.min(31 - Math.clz32(pages), LENGTHS - 1);
  return ((RESTING - band) * KINDS + kind) * LENGTHS + LENGTHS - 1 - length;
}

/** The band of a rank. */
export function bandOf(rank: number): number {
  return RESTING - Math.floor(rank / (KINDS * LENGTHS));
}

/**
 * Visits the ranges of a process, in address order.
 *
 * @param least the youngest band whose pages are visited.
 * @param seconds the age from which on pages are {@linkcode OLD}; none is by default.
 */
export function eachRange(
  { ages, residency, isResting }: AgedProcess,
  least: number,
  visit: (range: RankedRange) => void,
  seconds = Infinity,
): void {
  const { pagedata, bandOfPage, used } = ages;
  if (!pagedata) return;
  const { bits, runPage, runOffset } = pagedata;
  // The band and the other bits, which are the same for all pages of a range.
  const plain = isResting
    // It cannot use a page that was cooled, so none has to be.
    ? (at: number) => RESTING << 4 | bits[at] & DONE_BITS | COOLED
    : (at: number) => bandOfPage(at) << 4 | bits[at] & DONE_BITS;
  const lastOld = ages.lastMomentBefore(seconds);
  const likeness = lastOld < 0
    ? plain
    : (at: number) => plain(at) | (used[at] <= lastOld ? OLD : 0);
  for (const mapping of pagedata.mappings) {
    if (firstOffset(pagedata, mapping) === endOffset(pagedata, mapping)) {
      continue;
    }
    if (skipReason(mapping, residency)) continue;
    const kind = isCleanFile(mapping) ? 0 : 1;
    const found: RankedRange = {
      mapping,
      done: 0,
      rank: 0,
      firstPage: 0,
      offset: 0,
      pages: 0,
    };
    for (let run = mapping.firstRun; run < mapping.endRun; run++) {
      const offset = runOffset[run];
      const end = runOffset[run + 1];
      let at = offset;
      while (at < end) {
        const like = likeness(at);
        const from = at++;
        while (at < end && likeness(at) === like) at++;
        const band = like >> 4;
        if (band < least) continue;
        found.done = like & (DONE_BITS | OLD);
        found.firstPage = runPage[run] + from - offset;
        found.offset = from;
        found.pages = at - from;
        found.rank = rankOf(band, kind, found.pages);
        visit(found);
      }
    }
  }
}

/** Whether the pages of a mapping can simply be dropped: they belong to a file and are not writable. */
function isCleanFile({ flags }: PagedataMapping): boolean {
  return (flags & (MA_ANON | MA_WRITE)) === 0;
}

/**
 * Returns how many pages to take from a range that is larger than wanted. Large pages
 * are not split: the part ends where a large page ends, even if it is slightly larger
 * than wanted.
 *
 * @param wanted in bytes.
 * @param isMost whether the part must not be larger; then it ends where the last whole
 * large page does, or splits the first one.
 */
export function cut(
  { mapping, firstPage, pages }: Pick<
    RankedRange,
    "mapping" | "firstPage" | "pages"
  >,
  wanted: number,
  isMost = false,
): number {
  const { pageSize } = mapping;
  const round = isMost ? Math.floor : Math.ceil;
  const count = round(wanted / pageSize);
  const perLarge = LARGE_PAGE / pageSize;
  if (pages < perLarge || perLarge <= 1) return count;
  const first = Number(mapping.start / BigInt(pageSize)) + firstPage;
  const end = round((first + count) / perLarge) * perLarge - first;
  return end > 0 ? Math.min(end, pages) : count;
}
