/**
 * Finds memory that mremap(2) has moved to another address.
 *
 * @module
 */

import {
  mappingBytes,
  mappingEnd,
  type PagedataMapping,
} from "../memory/pagedata.ts";

/** Addresses are counted in units of the smallest page size, in bytes. */
export const UNIT = 4096;

/** An address, in units. */
export function unitOf(address: bigint): number {
  return Number(address / BigInt(UNIT));
}

/** A range of one mapping's address space, in units. */
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

/** A range of address space that was moved. */
export interface Move {
  readonly from: Extent;
  readonly to: Extent;
}

/**
 * Finds what mremap(2) may have moved: an extent that has disappeared, and a new
 * one of the same kind that is at least as long. A wrong guess does little harm:
 * new pages were referenced, so they have age 0 in any case.
 */
export function findMoves(
  before: readonly PagedataMapping[],
  after: readonly PagedataMapping[],
): Move[] {
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

/** Whether mappings cover the same address space, in pages of the same size. */
export function isSameSpace(
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

/**
 * Returns the parts of some mappings that no other mapping covers. Both are in
 * address order.
 */
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
