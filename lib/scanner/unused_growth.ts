/**
 * Growth that was not used again: pages that appeared while a process was observed, and
 * were not referenced after the interval in which they did. If it goes on, it may be a
 * leak.
 *
 * @module
 */

import {
  endOffset,
  firstOffset,
  mappingEnd,
  type Pagedata,
} from "../memory/pagedata.ts";
import type { DepartedPages } from "./departed_pages.ts";
import { MOMENTS } from "./moments.ts";
import { unitOf } from "./moves.ts";

/** Pages of a mapping that appeared and were not used again. Sizes in bytes. */
export interface UnusedGrowth {
  readonly start: bigint;
  readonly end: bigint;
  /** In memory. */
  resident: number;
  /** Not in memory any more: in swap, or freed; a lower bound. */
  gone: number;
  /** The part of both that appeared in the first half of the time. */
  early: number;
}

/** What is known of the pages of a process: see `PageAges`. */
export interface KnownPages {
  readonly pagedata: Pagedata;
  readonly used: Uint8Array;
  readonly usedBefore: Uint8Array;
  readonly departed: DepartedPages;
  /** The moment of the first reading, in which pages appeared that had been there before. */
  readonly first: number;
  ageOf(moment: number): number;
}

/**
 * Finds the pages that appeared after the first reading, at least some seconds ago, and
 * were not used again.
 *
 * @returns the mappings that have some, in address order.
 */
export function unusedGrowth(
  { pagedata, used, usedBefore, departed, first, ageOf }: KnownPages,
  leastAge: number,
): UnusedGrowth[] {
  const half = ageOf(first) / 2;
  const counts = Uint8Array.from(
    { length: MOMENTS },
    (_, moment) =>
      moment > first && ageOf(moment) >= leastAge
        ? ageOf(moment) >= half ? EARLY : LATE
        : NEITHER,
  );
  const { mappings } = pagedata;
  const all = mappings.map((mapping): UnusedGrowth => ({
    start: mapping.start,
    end: mappingEnd(mapping),
    resident: 0,
    gone: 0,
    early: 0,
  }));
  const pages = new Uint32Array(MOMENTS);
  for (const [index, mapping] of mappings.entries()) {
    const end = endOffset(pagedata, mapping);
    const from = firstOffset(pagedata, mapping);
    if (from === end) continue;
    pages.fill(0);
    for (let at = from; at < end; at++) {
      if (used[at] === usedBefore[at]) pages[used[at]]++;
    }
    for (let moment = first + 1; moment < MOMENTS; moment++) {
      const bytes = pages[moment] * mapping.pageSize;
      if (bytes === 0 || counts[moment] === NEITHER) continue;
      all[index].resident += bytes;
      if (counts[moment] === EARLY) all[index].early += bytes;
    }
  }
  const starts = mappings.map(({ start }) => unitOf(start));
  departed.eachUnused((unit, moment) => {
    if (counts[moment] === NEITHER) return;
    const index = lastUpTo(starts, unit);
    if (index < 0 || unit >= unitOf(all[index].end)) return;
    const bytes = mappings[index].pageSize;
    all[index].gone += bytes;
    if (counts[moment] === EARLY) all[index].early += bytes;
  });
  return all.filter(({ resident, gone }) => resident + gone > 0);
}

const NEITHER = 0;
const EARLY = 1;
const LATE = 2;

/** The index of the last value up to a limit, of values in order; -1 if there is none. */
function lastUpTo(values: readonly number[], limit: number): number {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (values[middle] <= limit) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
