/**
 * Merging two readings of one address space.
 *
 * @module
 */

import {
  endOffset,
  firstOffset,
  isSchedctl,
  mappingEnd,
  type Pagedata,
  type PagedataMapping,
} from "./pagedata.ts";

/**
 * Merges two readings of one address space: `next` gains every bit `previous`
 * holds for a recorded page at the same address. Pages of different sizes agree
 * in address only where both mappings begin.
 *
 * The schedctl page takes no part.
 *
 * @returns whether the mappings differ in start, length or page size, anywhere.
 */
export function mergePagedata(previous: Pagedata, next: Pagedata): boolean {
  const before = visited(previous);
  const after = visited(next);
  let changed = before.length !== after.length;
  let b = 0;
  let a = 0;
  while (b < before.length && a < after.length) {
    const old = before[b];
    const now = after[a];
    if (
      old.start === now.start && old.pages === now.pages &&
      old.pageSize === now.pageSize
    ) {
      mergeAligned({ previous, old, next, now });
      b++;
      a++;
      continue;
    }
    changed = true;
    mergeOverlap({ previous, old, next, now });
    // Whichever ends first cannot reach the other side's next mapping. The very
    // first mappings are left together when they start apart: the original does
    // so, and golden cases hold it.
    const leaveBoth = b === 0 && a === 0 && old.start !== now.start;
    const oldEnd = mappingEnd(old);
    const nowEnd = mappingEnd(now);
    if (oldEnd <= nowEnd || leaveBoth) b++;
    if (nowEnd <= oldEnd || leaveBoth) a++;
  }
  return changed;
}

/** The mappings that walks visit. The schedctl page is none of them. */
function visited(pagedata: Pagedata): PagedataMapping[] {
  return pagedata.mappings.filter((mapping) => !isSchedctl(mapping));
}

interface Pair {
  readonly previous: Pagedata;
  readonly old: PagedataMapping;
  readonly next: Pagedata;
  readonly now: PagedataMapping;
}

/** Merges two mappings of the same place and shape. */
function mergeAligned(pair: Pair): void {
  const { previous, old, next, now } = pair;
  if (sameRuns(pair)) {
    const from = firstOffset(previous, old);
    const to = firstOffset(next, now);
    orBits(previous, from, next, to, endOffset(next, now) - to);
  } else {
    mergeRuns(pair, 0);
  }
}

/** Merges what two mappings of different place or shape have in common. */
function mergeOverlap(pair: Pair): void {
  const { previous, old, next, now } = pair;
  if (old.pageSize === now.pageSize) {
    if (old.start < mappingEnd(now) && now.start < mappingEnd(old)) {
      mergeRuns(pair, Number((now.start - old.start) / BigInt(now.pageSize)));
    }
  } else if (
    old.start === now.start && startsRecorded(previous, old) &&
    startsRecorded(next, now)
  ) {
    orBits(
      previous,
      firstOffset(previous, old),
      next,
      firstOffset(next, now),
      1,
    );
  }
}

/** Whether the first page of a mapping is recorded. */
function startsRecorded(pagedata: Pagedata, mapping: PagedataMapping): boolean {
  return mapping.firstRun < mapping.endRun &&
    pagedata.runPage[mapping.firstRun] === 0;
}

/** Whether two mappings of the same length record the same pages. */
function sameRuns({ previous, old, next, now }: Pair): boolean {
  const runs = now.endRun - now.firstRun;
  if (old.endRun - old.firstRun !== runs) return false;
  const shift = firstOffset(previous, old) - firstOffset(next, now);
  for (let i = 0; i < runs; i++) {
    const p = old.firstRun + i;
    const n = now.firstRun + i;
    if (
      previous.runPage[p] !== next.runPage[n] ||
      previous.runOffset[p + 1] - next.runOffset[n + 1] !== shift
    ) return false;
  }
  return true;
}

/**
 * Merges run by run.
 *
 * @param shift how many pages `now` starts above `old`, negative when below.
 */
function mergeRuns({ previous, old, next, now }: Pair, shift: number): void {
  let p = old.firstRun;
  let n = now.firstRun;
  while (p < old.endRun && n < now.endRun) {
    const oldPage = previous.runPage[p] - shift;
    const nowPage = next.runPage[n];
    const oldEnd = oldPage + previous.runOffset[p + 1] - previous.runOffset[p];
    const nowEnd = nowPage + next.runOffset[n + 1] - next.runOffset[n];
    const start = Math.max(oldPage, nowPage);
    const count = Math.min(oldEnd, nowEnd) - start;
    if (count > 0) {
      const from = previous.runOffset[p] + start - oldPage;
      const to = next.runOffset[n] + start - nowPage;
      orBits(previous, from, next, to, count);
    }
    if (oldEnd <= nowEnd) p++;
    if (nowEnd <= oldEnd) n++;
  }
}

/** Adds `count` bytes of bits from one reading to another. */
function orBits(
  previous: Pagedata,
  from: number,
  next: Pagedata,
  to: number,
  count: number,
): void {
  const source = previous.bits;
  const target = next.bits;
  for (let i = 0; i < count; i++) target[to + i] |= source[from + i];
}
