/**
 * Carrying the ages of pages from one reading to the next: pages that are where
 * they were, and pages that mremap(2) has moved.
 *
 * Pages are aged four at a time, a page a byte of a word, without a branch that a
 * processor could mispredict.
 *
 * @module
 */

import {
  type Extent,
  extentOf,
  lengthOf,
  type Move,
  UNIT,
  unitOf,
} from "./moves.ts";
import {
  endOffset,
  firstOffset,
  MODIFIED,
  type Pagedata,
  type PagedataMapping,
  recordSamePages,
  REFERENCED,
} from "./pagedata.ts";

// Beside REFERENCED and MODIFIED, the bits of an aged reading say what was done
// with a page. They stay until the page is referenced or goes.

/** The page was cooled in an earlier pass: a reference would have shown since. */
export const COOLED = 4;

/** The page was paged out, and is there all the same. */
export const TRIED = 8;

/** A reading and the ages of its pages, ordered as its `bits` are. */
export interface AgedReading {
  readonly pagedata: Pagedata;
  readonly ages: Uint8Array;
}

export interface CarryOptions {
  /** How much older pages get that were not referenced. */
  readonly older: 0 | 1;
  /**
   * Whether the readings are of the same interval: then what the earlier one found
   * referenced is so in the later one, too.
   */
  readonly isSameInterval: boolean;
}

/** The same in all bytes of a word. */
const EVERY_BYTE = 0x01010101;
const LOW_BITS = 0x7f7f7f7f;
const DONE = (COOLED | TRIED) * EVERY_BYTE;
const FOUND = (REFERENCED | MODIFIED) * EVERY_BYTE;

/** Takes over what is known of pages from an earlier reading to a later one. */
export class AgeCarrier {
  readonly #before: Pagedata;
  readonly #oldBits: DataView;
  readonly #oldAges: DataView;
  readonly #reading: Pagedata;
  readonly #bits: DataView;
  readonly #ages: DataView;
  /** How much older pages get that were not referenced, in every byte. */
  readonly #older: number;
  /** The bits that a page keeps since they are of the same interval, likewise. */
  readonly #kept: number;

  /** @param now its bits and ages are changed; its ages are 0. */
  constructor(
    before: AgedReading,
    now: AgedReading,
    { older, isSameInterval }: CarryOptions,
  ) {
    this.#before = before.pagedata;
    this.#oldBits = viewOf(before.pagedata.bits);
    this.#oldAges = viewOf(before.ages);
    this.#reading = now.pagedata;
    this.#bits = viewOf(now.pagedata.bits);
    this.#ages = viewOf(now.ages);
    this.#older = older * EVERY_BYTE;
    this.#kept = isSameInterval ? FOUND : 0;
  }

  /** Ages the pages that are where they were. */
  carryInPlace(): void {
    const before = this.#before.mappings.map(extentOf);
    const after = this.#reading.mappings.map(extentOf);
    let old = 0;
    let now = 0;
    while (old < before.length && now < after.length) {
      const [from, to] = [before[old], after[now]];
      const start = Math.max(from.start, to.start);
      const end = Math.min(from.end, to.end);
      if (start < end && from.mapping.pageSize === to.mapping.pageSize) {
        this.#carry({ ...from, start, end }, { ...to, start, end });
      }
      if (from.end <= to.end) old++;
      if (to.end <= from.end) now++;
    }
  }

  /**
   * Ages the pages of an extent that has moved.
   *
   * @returns whether any was marked as modified for that: `move_soft_dirty_pte` of the
   * kernel's mm/mremap.c marks each so.
   */
  carryMoved({ from, to }: Move): boolean {
    const there = { ...to, end: to.start + lengthOf(from) };
    const isMarked = this.#unmark(there);
    this.#carry(from, there);
    return isMarked;
  }

  /** Ages the pages of an extent from those of another of the same length. */
  #carry(from: Extent, to: Extent): void {
    const before = this.#before;
    const reading = this.#reading;
    if (
      isWhole(from) && isWhole(to) &&
      recordSamePages(before, from.mapping, reading, to.mapping)
    ) {
      const first = firstOffset(reading, to.mapping);
      const count = endOffset(reading, to.mapping) - first;
      this.#agePages(firstOffset(before, from.mapping), first, count);
      return;
    }
    const old = new RunCursor(before, from);
    const now = new RunCursor(reading, to);
    while (!old.isDone && !now.isDone) {
      const page = Math.max(old.page, now.page);
      old.skipTo(page);
      now.skipTo(page);
      if (old.isDone || now.isDone || old.page !== now.page) continue;
      const both = Math.min(old.end, now.end) - page;
      this.#agePages(old.offset, now.offset, both);
      old.skipTo(page + both);
    }
  }

  /** Ages `count` pages from one place of the old reading to one of the new. */
  #agePages(from: number, to: number, count: number): void {
    const [oldBits, oldAges] = [this.#oldBits, this.#oldAges];
    const [bits, ages] = [this.#bits, this.#ages];
    const [older, kept] = [this.#older, this.#kept];
    let i = 0;
    for (; i + 4 <= count; i += 4) {
      const done = oldBits.getInt32(from + i, true);
      const found = bits.getInt32(to + i, true) | done & kept;
      const inUse = inUseOf(found);
      const age = aged(oldAges.getInt32(from + i, true), older, inUse);
      ages.setInt32(to + i, age, true);
      bits.setInt32(to + i, found | done & DONE & ~inUse, true);
    }
    if (i < count) this.#ageFew(from + i, to + i, count - i);
  }

  /** The same page by page. Standing apart, it lets the loop over words be compiled to half the time. */
  #ageFew(from: number, to: number, count: number): void {
    for (let i = 0; i < count; i++) {
      const done = this.#oldBits.getUint8(from + i);
      const found = this.#bits.getUint8(to + i) | done & this.#kept & 0xff;
      const inUse = inUseOf(found);
      const age = aged(this.#oldAges.getUint8(from + i), this.#older, inUse);
      this.#ages.setUint8(to + i, age);
      this.#bits.setUint8(to + i, found | done & DONE & ~inUse);
    }
  }

  /** Takes the mark from pages that are modified and not referenced; whether any is. */
  #unmark(extent: Extent): boolean {
    const { bits } = this.#reading;
    let isMarked = false;
    const now = new RunCursor(this.#reading, extent);
    for (; !now.isDone; now.skipTo(now.end)) {
      const end = now.offset + now.end - now.page;
      for (let at = now.offset; at < end; at++) {
        if (bits[at] !== MODIFIED) continue;
        bits[at] = 0;
        isMarked = true;
      }
    }
    return isMarked;
  }
}

/** 0xff for every page that was found in use, else 0. */
function inUseOf(found: number): number {
  return ((found | found >>> 1) & EVERY_BYTE) * 0xff;
}

/** Ages that are higher, but not above the highest, and 0 for what is in use. */
function aged(old: number, older: number, inUse: number): number {
  // 1 for a page of the highest age, which stays.
  const oldest = ((old & LOW_BITS) + EVERY_BYTE & old) >>> 7 & EVERY_BYTE;
  return old + (older & ~oldest) & ~inUse;
}

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}

/** Walks the recorded runs of an extent, by pages counted from its start. */
class RunCursor {
  readonly #runPage: Float64Array;
  readonly #runOffset: Uint32Array;
  /** The extent's first page, counted from the start of its mapping, and its length. */
  readonly #first: number;
  readonly #pages: number;
  #run: number;
  readonly #endRun: number;
  /** The first page that was not passed yet, the one behind its run, and where its bits are. */
  page = 0;
  end = 0;
  offset = 0;
  isDone = false;

  constructor(pagedata: Pagedata, extent: Extent) {
    const { mapping, start } = extent;
    const units = mapping.pageSize / UNIT;
    this.#runPage = pagedata.runPage;
    this.#runOffset = pagedata.runOffset;
    this.#first = (start - unitOf(mapping.start)) / units;
    this.#pages = lengthOf(extent) / units;
    this.#run = firstRunBehind(pagedata, mapping, this.#first);
    this.#endRun = mapping.endRun;
    this.#enterRun();
    this.skipTo(0);
  }

  #enterRun(): void {
    const run = this.#run;
    this.isDone = run === this.#endRun ||
      this.#runPage[run] - this.#first >= this.#pages;
    if (this.isDone) return;
    this.offset = this.#runOffset[run];
    this.page = this.#runPage[run] - this.#first;
    const end = this.page + this.#runOffset[run + 1] - this.offset;
    this.end = Math.min(end, this.#pages);
  }

  /** Goes on with the first recorded page from one on. */
  skipTo(page: number): void {
    while (!this.isDone && this.end <= page) {
      this.#run++;
      this.#enterRun();
    }
    if (this.isDone || this.page >= page) return;
    this.offset += page - this.page;
    this.page = page;
  }
}

/** The first run of a mapping that reaches behind a page. */
function firstRunBehind(
  { runPage, runOffset }: Pagedata,
  { firstRun, endRun }: PagedataMapping,
  page: number,
): number {
  let low = firstRun;
  let high = endRun;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const end = runPage[middle] + runOffset[middle + 1] - runOffset[middle];
    if (end > page) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Whether an extent is all of its mapping. */
function isWhole({ start, end, mapping }: Extent): boolean {
  const whole = extentOf(mapping);
  return start === whole.start && end === whole.end;
}
