/**
 * Merges two readings of one address space.
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
  recordSamePages,
} from "../memory/pagedata.ts";

/**
 * Merges two readings of one address space: `next` gains every bit that `previous`
 * has for a recorded page at the same address. Pages of different sizes match only
 * at the start of both mappings.
 *
 * The schedctl page is ignored.
 *
 * @returns whether any mappings differ in start, length or page size.
 */
export function mergePagedata(previous: Pagedata, next: Pagedata): boolean {
  const before = visited(previous);
  const after = visited(next);
  const source = viewOf(previous.bits);
  const target = viewOf(next.bits);
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
      mergeAligned({ previous, old, source, next, now, target });
      b++;
      a++;
      continue;
    }
    changed = true;
    mergeOverlap({ previous, old, source, next, now, target });
    // The mapping that ends first cannot overlap the other side's next mapping. If
    // the very first mappings start at different addresses, both are left together:
    // the original algorithm does this, and golden cases require it.
    const leaveBoth = b === 0 && a === 0 && old.start !== now.start;
    const oldEnd = mappingEnd(old);
    const nowEnd = mappingEnd(now);
    if (oldEnd <= nowEnd || leaveBoth) b++;
    if (nowEnd <= oldEnd || leaveBoth) a++;
  }
  return changed;
}

/** The mappings that walks visit: all but the schedctl page. */
function visited(pagedata: Pagedata): PagedataMapping[] {
  return pagedata.mappings.filter((mapping) => !isSchedctl(mapping));
}

interface Pair {
  readonly previous: Pagedata;
  readonly old: PagedataMapping;
  /** The bits of `previous`. */
  readonly source: DataView;
  readonly next: Pagedata;
  readonly now: PagedataMapping;
  /** The bits of `next`. */
  readonly target: DataView;
}

function viewOf(bits: Uint8Array): DataView {
  return new DataView(bits.buffer, bits.byteOffset, bits.byteLength);
}

/** Merges two mappings of the same place and shape. */
function mergeAligned(pair: Pair): void {
  const { previous, old, source, next, now, target } = pair;
  if (recordSamePages(previous, old, next, now)) {
    const from = firstOffset(previous, old);
    const to = firstOffset(next, now);
    orBits(source, from, target, to, endOffset(next, now) - to);
  } else {
    mergeRuns(pair, 0);
  }
}

/** Merges the common part of two mappings of different place or shape. */
function mergeOverlap(pair: Pair): void {
  const { previous, old, source, next, now, target } = pair;
  if (old.pageSize === now.pageSize) {
    if (old.start < mappingEnd(now) && now.start < mappingEnd(old)) {
      mergeRuns(pair, Number((now.start - old.start) / BigInt(now.pageSize)));
    }
  } else if (
    old.start === now.start && startsRecorded(previous, old) &&
    startsRecorded(next, now)
  ) {
    orBits(
      source,
      firstOffset(previous, old),
      target,
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

/**
 * Merges run by run.
 *
 * @param shift by how many pages `now` starts above `old`; negative if below.
 */
function mergeRuns(
  { previous, old, source, next, now, target }: Pair,
  shift: number,
): void {
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
      orBits(source, from, target, to, count);
    }
    if (oldEnd <= nowEnd) p++;
    if (nowEnd <= oldEnd) n++;
  }
}

/** Ors `count` bytes of bits of one reading into another. */
function orBits(
  source: DataView,
  from: number,
  target: DataView,
  to: number,
  count: number,
): void {
  let i = 0;
  // Four pages at a time: unlike an array of words, a view allows any offset.
  for (; i + 4 <= count; i += 4) {
    const bits = target.getUint32(to + i) | source.getUint32(from + i);
    target.setUint32(to + i, bits);
  }
  for (; i < count; i++) {
    const bits = target.getUint8(to + i) | source.getUint8(from + i);
    target.setUint8(to + i, bits);
  }
}
