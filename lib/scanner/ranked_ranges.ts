/**
 * Ranges of pages that are alike, and which of them should go sooner.
 *
 * Pages of one age are as alike as pages can be, so among them goes first what
 * costs least: clean pages of files, which need no swap, and long ranges, whole
 * large pages among them.
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
import { BAND_OF_AGE, BANDS } from "./ages.ts";
import { COOLED, TRIED } from "./carry_ages.ts";
import { skipReason } from "./walk.ts";

/** Pages that are cut together or not at all, in bytes: a large page. */
const LARGE_PAGE = 2 << 20;

/** Classes of length: the class is the logarithm of a range's pages to base 2. */
const LENGTHS = 16;

/** What a page-out costs: clean file pages, and all others. */
const KINDS = 2;

/** What was done with a page. */
export const DONE_BITS = COOLED | TRIED;

/** Recorded pages next to each other, of one band and alike in what was done. One object serves all. */
export interface RankedRange {
  mapping: PagedataMapping;
  /** What was done with them: {@linkcode DONE_BITS} of their bits. */
  done: number;
  /** What is lower goes first. */
  rank: number;
  /** Counted from the start of the mapping. */
  firstPage: number;
  /** Where it stands in the bits and ages. */
  offset: number;
  pages: number;
}

/** How many ranks there are. */
export const RANKS = BANDS * KINDS * LENGTHS;

/** The rank of a range of at least one page. */
function rankOf(band: number, kind: number, pages: number): number {
  const length = Math.min(31 - Math.clz32(pages), LENGTHS - 1);
  return ((BANDS - 1 - band) * KINDS + kind) * LENGTHS + LENGTHS - 1 - length;
}

/** The band of a rank. */
export function bandOf(rank: number): number {
  return BANDS - 1 - Math.floor(rank / (KINDS * LENGTHS));
}

/**
 * Visits the ranges of a process, in address order.
 *
 * @param least the youngest band whose pages are visited.
 */
export function eachRange(
  { ages: { pagedata, ages }, residency }: AgedProcess,
  least: number,
  visit: (range: RankedRange) => void,
): void {
  if (!pagedata) return;
  const { bits, runPage, runOffset } = pagedata;
  // What pages of one range have in common.
  const likeness = (at: number) =>
    BAND_OF_AGE[ages[at]] << 4 | bits[at] & DONE_BITS;
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
        found.done = like & DONE_BITS;
        found.firstPage = runPage[run] + from - offset;
        found.offset = from;
        found.pages = at - from;
        found.rank = rankOf(band, kind, found.pages);
        visit(found);
      }
    }
  }
}

/** Whether the pages of a mapping need only be dropped: they are of a file and cannot be written. */
function isCleanFile({ flags }: PagedataMapping): boolean {
  return (flags & (MA_ANON | MA_WRITE)) === 0;
}

/**
 * How many pages to take of a range from which not all is wanted. Large pages go
 * whole or not at all: the range ends where one ends, even if that is a little
 * more than is wanted.
 */
export function cut(
  { mapping, firstPage, pages }: Pick<
    RankedRange,
    "mapping" | "firstPage" | "pages"
  >,
  wanted: number,
): number {
  const { pageSize } = mapping;
  const count = Math.ceil(wanted / pageSize);
  const perLarge = LARGE_PAGE / pageSize;
  if (pages < perLarge || perLarge <= 1) return count;
  const first = Number(mapping.start / BigInt(pageSize)) + firstPage;
  const end = Math.ceil((first + count) / perLarge) * perLarge - first;
  return Math.min(end, pages);
}
