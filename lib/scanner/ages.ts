/**
 * How long every page has not been used: its age, in intervals since it was last
 * referenced. One byte a recorded page, kept from reading to reading while
 * mappings change, grow and move.
 *
 * @module
 */

import { findMoves, lengthOf, type Move, UNIT, unitOf } from "./moves.ts";
import {
  endOffset,
  firstOffset,
  MODIFIED,
  type Pagedata,
  type PagedataMapping,
  recordSamePages,
  REFERENCED,
} from "./pagedata.ts";

/** The highest age: older pages stay at it. */
export const MAX_AGE = 255;

/**
 * Ages that are alike, by bands: band 0 is age 0, in use; band `n` are the ages
 * from 2^(n-1) up to, not including, 2^n.
 */
export const BANDS = 9;

/** The band of every age. */
export const BAND_OF_AGE: Uint8Array = Uint8Array.from(
  { length: MAX_AGE + 1 },
  (_, age) => 32 - Math.clz32(age),
);

// Beside REFERENCED and MODIFIED, the bits of an aged reading say what was done
// with a page. They stay until the page is referenced or goes.

/** The page was cooled in an earlier pass: a reference would have shown since. */
export const COOLED = 4;

/** The page was paged out, and is there all the same. */
export const TRIED = 8;

const KEPT = COOLED | TRIED;

/** The ages of the pages of one process. */
export class PageAges {
  #pagedata: Pagedata | undefined;
  #ages = new Uint8Array(0);
  /** Whether the bits are of the interval that is going on. */
  #isOpen = false;
  #intervals = 0;
  /** Whether pages of the last reading were paged out since. */
  isStale = false;
  #hasMarkedMoves = false;
  /** Room for the next ages: that of the ages before these. */
  #room = new Uint8Array(0);

  /**
   * The last reading. Its bits are 0, `REFERENCED` and `MODIFIED` as read, but not for
   * a page that only moved, or what was done with an unreferenced page: `COOLED` and
   * `TRIED`.
   */
  get pagedata(): Pagedata | undefined {
    return this.#pagedata;
  }

  /** The age of every page of the last reading, as its `bits` are ordered. */
  get ages(): Uint8Array {
    return this.#ages;
  }

  /**
   * Whether the last reading had pages that are marked as modified only since they
   * were moved: the next one will have so too, and take them for used, unless the
   * memory is refreshed before.
   */
  get hasMarkedMoves(): boolean {
    return this.#hasMarkedMoves;
  }

  /**
   * Takes over a reading that ends an interval: what was referenced in it is in
   * use, what was not is one older. What was not there before has age 0; in the
   * first reading, which knows no before, age 1 where it was not referenced.
   *
   * @param reading becomes this object's own.
   */
  advance(reading: Pagedata): void {
    this.#take(reading, 1);
    this.#isOpen = false;
    this.#intervals++;
  }

  /**
   * Takes over a reading within an interval: what was referenced so far is in use,
   * what was not is as old as it was.
   *
   * @param reading becomes this object's own.
   */
  look(reading: Pagedata): void {
    this.#take(reading, 0);
    this.#isOpen = true;
  }

  #take(reading: Pagedata, older: 0 | 1): void {
    const before = this.#pagedata;
    const ages = this.#makeRoom(reading.bits.length);
    this.#hasMarkedMoves = false;
    this.isStale = false;
    if (before) {
      const aging: Aging = {
        before,
        oldBits: viewOf(before.bits),
        oldAges: viewOf(this.#ages),
        reading,
        bits: viewOf(reading.bits),
        ages: viewOf(ages),
        older: older * EVERY_BYTE,
        // Who resets references beside us must not make anything look idle.
        found: this.#isOpen ? (REFERENCED | MODIFIED) * EVERY_BYTE : 0,
      };
      carryInPlace(aging);
      for (const move of findMoves(before.mappings, reading.mappings)) {
        if (carryMoved(aging, move)) this.#hasMarkedMoves = true;
      }
    } else {
      // The first interval has begun when references were reset.
      const { bits } = reading;
      for (let at = 0; at < bits.length; at++) ages[at] = older >> bits[at];
    }
    this.#pagedata = reading;
    this.#room = new Uint8Array(this.#ages.buffer);
    this.#ages = ages;
  }

  /** Ages of 0. */
  #makeRoom(pages: number): Uint8Array<ArrayBuffer> {
    if (this.#room.length < pages || this.#room.length > pages * 2 + 4096) {
      return new Uint8Array(pages);
    }
    return this.#room.subarray(0, pages).fill(0);
  }

  /** Size of what was not referenced in any interval since the first, in bytes. */
  get neverReferencedBytes(): number {
    const bytes = new Float64Array(MAX_AGE + 1);
    this.addBytesByAge(bytes);
    return bytes.subarray(Math.min(this.#intervals, MAX_AGE))
      .reduce((sum, some) => sum + some, 0);
  }

  /** Forgets what pages did not go, so that they are tried again. */
  retry(): void {
    const bits = this.#pagedata?.bits;
    if (!bits) return;
    for (let at = 0; at < bits.length; at++) bits[at] &= ~TRIED;
  }

  /**
   * How much has which age, added to a sum.
   *
   * @param bytes takes the size of the pages of each age, in bytes.
   */
  addBytesByAge(bytes: Float64Array): void {
    const pagedata = this.#pagedata;
    if (!pagedata) return;
    const ages = this.#ages;
    const pages = new Uint32Array(MAX_AGE + 1);
    for (const mapping of pagedata.mappings) {
      const end = endOffset(pagedata, mapping);
      pages.fill(0);
      for (let at = firstOffset(pagedata, mapping); at < end; at++) {
        pages[ages[at]]++;
      }
      for (let age = 0; age <= MAX_AGE; age++) {
        bytes[age] += pages[age] * mapping.pageSize;
      }
    }
  }
}

/** How much was idle for so many intervals or longer, in bytes. */
export interface IdleBytes {
  readonly intervals: number;
  readonly bytes: number;
}

/** How much of some processes was idle for 1, 2, 4, … 128 intervals or longer. */
export function idleBytes(processes: Iterable<PageAges>): IdleBytes[] {
  const bytes = new Float64Array(MAX_AGE + 1);
  for (const ages of processes) ages.addBytesByAge(bytes);
  return Array.from({ length: BANDS - 1 }, (_, band) => ({
    intervals: 2 ** band,
    bytes: bytes.subarray(2 ** band).reduce((sum, some) => sum + some, 0),
  }));
}

/** Two readings with their ages; the later takes what the earlier knows. */
interface Aging {
  readonly before: Pagedata;
  readonly oldBits: DataView;
  readonly oldAges: DataView;
  readonly reading: Pagedata;
  readonly bits: DataView;
  readonly ages: DataView;
  /** How much older pages get that were not referenced, in every byte of a word. */
  readonly older: number;
  /** The bits that a page keeps since they are of the same interval, likewise. */
  readonly found: number;
}

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}

/** The same in all bytes of a word. */
const EVERY_BYTE = 0x01010101;
const KEPT_WORD = KEPT * EVERY_BYTE;
const LOW_BITS = 0x7f7f7f7f;

/** Ages `count` pages from one place of the old reading to one of the new. */
function agePages(
  { oldBits, oldAges, bits, ages, older, found: kept }: Aging,
  from: number,
  to: number,
  count: number,
): void {
  let i = 0;
  // Four pages at a time, a page a byte of a word, and no branch to mispredict.
  for (; i + 4 <= count; i += 4) {
    const done = oldBits.getInt32(from + i);
    const found = bits.getInt32(to + i) | done & kept;
    const old = oldAges.getInt32(from + i);
    // 0xff for a page that was found in use.
    const inUse = ((found | found >>> 1) & EVERY_BYTE) * 0xff;
    // 1 for a page of the highest age, which stays.
    const oldest = ((old & LOW_BITS) + EVERY_BYTE & old) >>> 7 & EVERY_BYTE;
    ages.setInt32(to + i, old + (older & ~oldest) & ~inUse);
    bits.setInt32(to + i, found | done & KEPT_WORD & ~inUse);
  }
  for (; i < count; i++) {
    const done = oldBits.getUint8(from + i);
    const found = bits.getUint8(to + i) | done & kept & 0xff;
    if (found !== 0) {
      bits.setUint8(to + i, found);
      continue;
    }
    const age = oldAges.getUint8(from + i) + (older & 1);
    ages.setUint8(to + i, Math.min(age, MAX_AGE));
    bits.setUint8(to + i, done & KEPT);
  }
}

/** Walks the recorded runs of a reading, in address order, by number of page. */
class RunCursor {
  readonly pagedata: Pagedata;
  #index = -1;
  #run = 0;
  #endRun = 0;
  #base = 0;
  /** Size of the mapping's pages, in units. */
  units = 1;
  /** The run's first unit, the one behind its last, and where its bits begin. */
  start = 0;
  end = 0;
  offset = 0;
  isDone = false;

  constructor(pagedata: Pagedata) {
    this.pagedata = pagedata;
    this.next();
  }

  next(): void {
    const { mappings, runPage, runOffset } = this.pagedata;
    while (this.#run === this.#endRun) {
      if (++this.#index === mappings.length) {
        this.isDone = true;
        return;
      }
      const mapping = mappings[this.#index];
      this.#run = mapping.firstRun;
      this.#endRun = mapping.endRun;
      this.#base = unitOf(mapping.start);
      this.units = mapping.pageSize / UNIT;
    }
    const run = this.#run++;
    this.offset = runOffset[run];
    this.start = this.#base + runPage[run] * this.units;
    this.end = this.start + (runOffset[run + 1] - this.offset) * this.units;
  }

  /** The mapping whose first run this is; `undefined` for any later run. */
  get begunMapping(): PagedataMapping | undefined {
    const mapping = this.pagedata.mappings[this.#index];
    return this.#run === mapping.firstRun + 1 ? mapping : undefined;
  }

  /** Goes on with the first run of the next mapping that has any. */
  nextMapping(): void {
    this.#run = this.#endRun;
    this.next();
  }
}

/** Ages the pages that are where they were. */
function carryInPlace(aging: Aging): void {
  const { before, reading } = aging;
  const old = new RunCursor(before);
  const now = new RunCursor(reading);
  while (!old.isDone && !now.isDone) {
    const [oldMapping, mapping] = [old.begunMapping, now.begunMapping];
    if (
      oldMapping && mapping && oldMapping.start === mapping.start &&
      oldMapping.pageSize === mapping.pageSize &&
      recordSamePages(before, oldMapping, reading, mapping)
    ) {
      const count = endOffset(reading, mapping) - now.offset;
      agePages(aging, old.offset, now.offset, count);
      old.nextMapping();
      now.nextMapping();
      continue;
    }
    const start = Math.max(old.start, now.start);
    const end = Math.min(old.end, now.end);
    const { units } = now;
    if (start < end && old.units === units) {
      agePages(
        aging,
        old.offset + (start - old.start) / units,
        now.offset + (start - now.start) / units,
        (end - start) / units,
      );
    }
    const [oldEnd, nowEnd] = [old.end, now.end];
    if (oldEnd <= nowEnd) old.next();
    if (nowEnd <= oldEnd) now.next();
  }
}

/**
 * Ages the pages of an extent that has moved.
 *
 * @returns whether any was marked as modified for that: `move_soft_dirty_pte` of the
 * kernel's mm/mremap.c marks each so.
 */
function carryMoved(aging: Aging, { from, to }: Move): boolean {
  const { before, reading } = aging;
  let isMarked = false;
  const units = from.mapping.pageSize / UNIT;
  const length = lengthOf(from) / units;
  const oldFirst = (from.start - unitOf(from.mapping.start)) / units;
  const nowFirst = (to.start - unitOf(to.mapping.start)) / units;
  let old = from.mapping.firstRun;
  let now = to.mapping.firstRun;
  while (old < from.mapping.endRun && now < to.mapping.endRun) {
    // In pages from the start of the extents.
    const oldStart = before.runPage[old] - oldFirst;
    const nowStart = reading.runPage[now] - nowFirst;
    const oldEnd = oldStart + before.runOffset[old + 1] - before.runOffset[old];
    const nowEnd = nowStart + reading.runOffset[now + 1] -
      reading.runOffset[now];
    const start = Math.max(oldStart, nowStart, 0);
    const end = Math.min(oldEnd, nowEnd, length);
    if (start < end) {
      const offset = reading.runOffset[now] + start - nowStart;
      if (unmark(reading, offset, end - start)) isMarked = true;
      agePages(
        aging,
        before.runOffset[old] + start - oldStart,
        offset,
        end - start,
      );
    }
    if (oldEnd <= nowEnd) old++;
    if (nowEnd <= oldEnd) now++;
  }
  return isMarked;
}

/** Takes the mark from pages that are modified and not referenced; whether any is. */
function unmark({ bits }: Pagedata, offset: number, count: number): boolean {
  let isMarked = false;
  for (let at = offset; at < offset + count; at++) {
    if (bits[at] !== MODIFIED) continue;
    bits[at] = 0;
    isMarked = true;
  }
  return isMarked;
}
