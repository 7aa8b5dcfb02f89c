/**
 * Memory that has got another address, by mremap(2).
 *
 * @module
 */

import {
  mappingBytes,
  mappingEnd,
  type PagedataMapping,
} from "../memory/pagedata.ts";

/** Addresses are counted in the smallest pages there are, of so many bytes. */
export const UNIT = 4096;

/** An address, in units. */
export function unitOf(address: bigint): number {
  return Number(address / BigInt(UNIT));
}

/** Address space in units, of one mapping. */
export interface Extent {
  readonly start: number;
  readonly end: number;
  readonly mapping: PagedataMapping;
}

/** The address space of a mapping. */
export function extentOf(mapping: PagedataMapping): Extent {
  const start = unitOf(mapping.start);
  return { start, end: start + mappingBytes(mapping) / UNIT, mapping };
}

/** Address space that has got another address. */
export interface Move {
  readonly from: Extent;
  readonly to: Extent;
}

/**
 * Finds what mremap(2) may have moved: an extent that is gone, and one of the same
 * kind that is new and at least as long. A wrong guess does little harm: whatever
 * is new in memory was referenced, so it has age 0 whatever the guess.
 */
export function findMoves(
  before: readonly PagedataMapping[],
  after: readonly PagedataMapping[],
): Move[] {
  if (isSameSpace(before, after)) return [];
  const gone = withoutThose(before, after)
    .sort((a, b) => lengthOf(b) - lengthOf(a));
  const fresh = withoutThose(after, before);
  const moves: Move[] = [];
  for (const from of gone) {
    let best: number | undefined;
    for (const [index, to] of fresh.entries()) {
      if (!isAlike(from.mapping, to.mapping)) continue;
      if (lengthOf(to) < lengthOf(from)) continue;
      if (
        best === undefined || lengthOf(to) < lengthOf(fresh[best])
      ) best = index;
    }
    if (best === undefined) continue;
    const [to] = fresh.splice(best, 1);
    moves.push({ from, to });
  }
  return moves;
}

function isSameSpace(
  a: readonly PagedataMapping[],
  b: readonly PagedataMapping[],
): boolean {
  return a.length === b.length &&
    a.every(({ start, pages, pageSize }, index) =>
      start === b[index].start && pages === b[index].pages &&
      pageSize === b[index].pageSize
    );
}

function isAlike(a: PagedataMapping, b: PagedataMapping): boolean {
  return a.flags === b.flags && a.pageSize === b.pageSize;
}

export function lengthOf({ start, end }: Extent): number {
  return end - start;
}

/** What of some mappings lies in none of others. Both are in address order. */
function withoutThose(
  mappings: readonly PagedataMapping[],
  others: readonly PagedataMapping[],
): Extent[] {
  const extents: Extent[] = [];
  let other = 0;
  for (const mapping of mappings) {
    if (mapping.firstRun === mapping.endRun) continue;
    let start = unitOf(mapping.start);
    const end = unitOf(mappingEnd(mapping));
    while (other > 0 && unitOf(mappingEnd(others[other - 1])) > start) other--;
    for (; other < others.length && start < end; other++) {
      const otherStart = unitOf(others[other].start);
      if (otherStart >= end) break;
      if (otherStart > start) extents.push({ start, end: otherStart, mapping });
      start = Math.max(start, unitOf(mappingEnd(others[other])));
    }
    if (start < end) extents.push({ start, end, mapping });
  }
  return extents;
}
