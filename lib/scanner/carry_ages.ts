/**
 * Carries the ages of pages from one reading to the next, for pages in the same
 * place and for pages that mremap(2) has moved.
 *
 * Pages are aged four at a time, each in a byte of a word, without branches that a
 * processor could mispredict.
 *
 * @module
 */

import {
  endOffset,
  firstOffset,
  MODIFIED,
  type Pagedata,
  type PagedataMapping,
  recordSamePages,
  REFERENCED,
  runAt,
} from "../memory/pagedata.ts";
import type { DepartedPages, PageRange } from "./departed_pages.ts";
import {
  type Extent,
  extentOf,
  lengthOf,
  type Move,
  UNIT,
  unitOf,
} from "./moves.ts";
import type { OutPages } from "./out_pages.ts";
import {
  type AgainCounts,
  ELSEWHERE,
  LargePageCursor,
  type UsedAgain,
} from "./used_again.ts";

// Besides REFERENCED and MODIFIED, the bits of an aged reading record what was done
// with a page. They stay until the page is referenced or is no longer resident.

/** The page was cooled in an earlier pass: a reference since then would be visible. */
export const COOLED = 4;

/** The page is still resident after a page-out. */
export const TRIED = 8;

/**
 * A reading, and when its pages were in use: the numbers of moments, in the order of its
 * `bits`.
 */
export interface AgedReading {
  readonly pagedata: Pagedata;
  /** When they were last in use. */
  readonly used: Uint8Array;
  /** When they had been in use before that. */
  readonly usedBefore: Uint8Array;
}

export interface CarryOptions {
  /** The number of the moment at which referenced pages are in use. */
  readonly moment: number;
  /**
   * Whether the readings belong to the same interval. If so, pages referenced in
   * the earlier one count as referenced in the later one too.
   */
  readonly isSameInterval: boolean;
  /**
   * Whether references were not reset between the readings: what is in use in both has
   * not necessarily been used again.
   */
  readonly isContinued: boolean;
  /** Counts the pages that were found in use again, if they are of interest. */
  readonly again: UsedAgain | undefined;
}

/** Receives the pages of two readings, in address order. */
interface PageVisitor {
  /** A mapping of the later reading, whose pages follow. */
  mapping?(mapping: PagedataMapping): void;
  /** Pages that both record: the indices in the earlier and the later, and the number. */
  both(from: number, to: number, count: number): void;
  /** Pages that only the earlier records: its mapping, the first page, and its index. */
  left?(range: PageRange): void;
  /** Pages that only the later records. */
  came?(range: PageRange): void;
}

/** 1 in every byte of a word. */
const EVERY_BYTE = 0x01010101;
const DONE = (COOLED | TRIED) * EVERY_BYTE;
const FOUND = (REFERENCED | MODIFIED) * EVERY_BYTE;

/** Carries bits and ages from an earlier reading to a later one. */
export class AgeCarrier {
  readonly #before: AgedReading;
  readonly #oldBits: DataView;
  readonly #oldUsed: DataView;
  readonly #oldUsedBefore: DataView;
  readonly #now: AgedReading;
  readonly #bits: DataView;
  readonly #used: DataView;
  readonly #usedBefore: DataView;
  /** The moment at which referenced pages are in use, in every byte. */
  readonly #moment: number;
  /**
   * The bits that a page keeps because they belong to the same interval, in every
   * byte.
   */
  readonly #kept: number;
  /** The bits of pages in use that do not show another use, in every byte. */
  readonly #continued: number;
  readonly #again: UsedAgain | undefined;
  /** The moment of the pages that do not count as used again, in every byte. */
  readonly #uncounted: number;
  readonly #largePages: LargePageCursor;
  /** Where pages in use again are counted. */
  #counts: AgainCounts;

  /**
   * @param now the later reading; its bits and moments are changed. Its pages must have
   * the moment of pages in use, in both arrays.
   */
  constructor(
    before: AgedReading,
    now: AgedReading,
    { moment, isSameInterval, isContinued, again }: CarryOptions,
  ) {
    this.#before = before;
    this.#oldBits = viewOf(before.pagedata.bits);
    this.#oldUsed = viewOf(before.used);
    this.#oldUsedBefore = viewOf(before.usedBefore);
    this.#now = now;
    this.#bits = viewOf(now.pagedata.bits);
    this.#used = viewOf(now.used);
    this.#usedBefore = viewOf(now.usedBefore);
    this.#moment = Math.imul(moment, EVERY_BYTE);
    this.#kept = isSameInterval ? FOUND : 0;
    this.#continued = isSameInterval || isContinued ? FOUND : 0;
    this.#again = again;
    this.#uncounted = Math.imul(again?.uncounted ?? 0, EVERY_BYTE);
    this.#largePages = new LargePageCursor(again ? now.pagedata : {});
    this.#counts = ELSEWHERE;
  }

  /**
   * Ages the pages that are in the same place.
   *
   * @param departed keeps when pages that have left were in use, and knows it of those
   * that have come back.
   * @param out knows which pages are out, if that is of interest.
   */
  carryInPlace(departed: DepartedPages, out?: OutPages): void {
    const again = this.#again;
    const visitor: PageVisitor = {
      mapping: (mapping) => {
        if (again) this.#counts = again.tableOf(mapping);
      },
      both: this.#agePages,
      left: (range) => {
        departed.keep(range, this.#before.used, this.#before.usedBefore);
        out?.noteLeft(range);
      },
      came: (range) => {
        departed.take(range, this.#now.usedBefore, again?.back);
        if (again && out) again.returned += out.take(range);
      },
    };
    const before = this.#before.pagedata.mappings.map(extentOf);
    const after = this.#now.pagedata.mappings.map(extentOf);
    let old = 0;
    let now = 0;
    while (old < before.length && now < after.length) {
      const [from, to] = [before[old], after[now]];
      const start = Math.max(from.start, to.start);
      const end = Math.min(from.end, to.end);
      if (start < end && from.mapping.pageSize === to.mapping.pageSize) {
        this.#visit({
          from: { ...from, start, end },
          to: { ...to, start, end },
        }, visitor);
      }
      if (from.end <= to.end) old++;
      if (to.end <= from.end) now++;
    }
  }

  /**
   * Ages the pages of an extent that has moved. They do not count as used again: others
   * may have taken their place.
   */
  carryMoved(move: Move): void {
    this.#counts = ELSEWHERE;
    this.#visit(move, { both: this.#agePages });
  }

  /** Visits the pages of an extent, and those at the same offsets in another. */
  #visit(
    { from, to }: Move,
    { mapping, both, left, came }: PageVisitor,
  ): void {
    mapping?.(to.mapping);
    const { pageSize } = to.mapping;
    const before = this.#before.pagedata;
    const reading = this.#now.pagedata;
    if (
      isWhole(from) && isWhole(to) &&
      recordSamePages(before, from.mapping, reading, to.mapping)
    ) {
      const first = firstOffset(reading, to.mapping);
      const count = endOffset(reading, to.mapping) - first;
      both(firstOffset(before, from.mapping), first, count);
      this.#note(count * pageSize);
      return;
    }
    const old = new RunCursor(before, from);
    const now = new RunCursor(reading, to);
    while (!(old.isAtEnd && now.isAtEnd)) {
      if (old.page < now.page) {
        const count = Math.min(old.end, now.page) - old.page;
        const range = old.take(count);
        left?.(range);
      } else if (now.page < old.page) {
        const count = Math.min(now.end, old.page) - now.page;
        const range = now.take(count);
        came?.(range);
      } else {
        const count = Math.min(old.end, now.end) - old.page;
        both(old.offset, now.offset, count);
        this.#note(count * pageSize);
        old.skip(count);
        now.skip(count);
      }
    }
  }

  /** Notes that both readings record some bytes. */
  #note(bytes: number): void {
    if (this.#again) this.#again.kept += bytes;
  }

  /** Ages `count` pages from an index of the old reading to an index of the new. */
  readonly #agePages = (from: number, to: number, count: number): void => {
    const [oldBits, oldUsed] = [this.#oldBits, this.#oldUsed];
    const oldUsedBefore = this.#oldUsedBefore;
    const [bits, used, usedBefore] = [this.#bits, this.#used, this.#usedBefore];
    const [moment, kept] = [this.#moment, this.#kept];
    const continued = this.#continued;
    const { pairs } = this.#counts;
    const uncounted = this.#uncounted;
    let i = 0;
    for (; i + 4 <= count; i += 4) {
      const done = oldBits.getInt32(from + i, true);
      const found = bits.getInt32(to + i, true) | done & kept;
      const inUse = inUseOf(found);
      const again = inUse & ~inUseOf(done & continued);
      const old = oldUsed.getInt32(from + i, true);
      const older = oldUsedBefore.getInt32(from + i, true);
      used.setInt32(to + i, old & ~inUse | moment & inUse, true);
      usedBefore.setInt32(to + i, older & ~again | old & again, true);
      bits.setInt32(to + i, found | done & DONE & ~inUse, true);
      const counted = old & again | uncounted & ~again;
      pairs[counted & 0xffff]++;
      pairs[counted >>> 16]++;
    }
    if (i < count) this.#ageFew(from + i, to + i, count - i);
    const [large, end] = [this.#largePages, to + count];
    for (let at = large.next(to, end); at >= 0; at = large.next(to, end)) {
      this.#countOnce(from - to + at, at, Math.min(large.count, end - at));
    }
  };

  /** Counts a large page in use again as one page. */
  #countOnce(from: number, to: number, count: number): void {
    const { pages } = this.#counts;
    const uncounted = this.#uncounted & 0xff;
    const isInUse = inUseOf(this.#bits.getUint8(to) & (FOUND & 0xff)) !== 0;
    const first = this.#oldUsed.getUint8(from);
    if (!isInUse || first === uncounted) return;
    let counted = 0;
    for (let i = 0; i < count; i++) {
      const done = this.#oldBits.getUint8(from + i);
      const moment = this.#oldUsed.getUint8(from + i);
      if ((done & this.#continued & 0xff) !== 0 || moment === uncounted) {
        continue;
      }
      counted++;
      pages[moment]--;
    }
    if (counted > 0) {
      pages[first]++;
      if (this.#again) this.#again.hasLarge = true;
    }
  }

  /**
   * The same page by page. As a separate function, because the loop over words then
   * runs twice as fast.
   */
  #ageFew(from: number, to: number, count: number): void {
    for (let i = 0; i < count; i++) {
      const done = this.#oldBits.getUint8(from + i);
      const found = this.#bits.getUint8(to + i) | done & this.#kept & 0xff;
      const inUse = inUseOf(found);
      const again = inUse & ~inUseOf(done & this.#continued & 0xff);
      const old = this.#oldUsed.getUint8(from + i);
      const older = this.#oldUsedBefore.getUint8(from + i);
      this.#used.setUint8(to + i, old & ~inUse | this.#moment & inUse);
      this.#usedBefore.setUint8(to + i, older & ~again | old & again);
      this.#bits.setUint8(to + i, found | done & DONE & ~inUse);
      if ((again & 0xff) !== 0) this.#counts.pages[old]++;
    }
  }
}

/** Goes through the recorded pages of an extent, which are in runs. */
class RunCursor {
  readonly #pagedata: Pagedata;
  readonly #endRun: number;
  /** The first unit of the extent. */
  readonly #unit: number;
  /** Reused for all ranges. */
  readonly #range: PageRange;
  /** The first page of the extent, and the one after its last, in the mapping. */
  readonly #first: number;
  readonly #limit: number;
  #run: number;
  /** The page, and the end of its run, in pages from the start of the extent. */
  page = 0;
  end = 0;
  /** The index of the page in the bits. */
  offset = 0;

  constructor(pagedata: Pagedata, extent: Extent) {
    const { mapping } = extent;
    const { pageSize } = mapping;
    this.#pagedata = pagedata;
    this.#endRun = mapping.endRun;
    this.#range = { unit: 0, pageSize, offset: 0, count: 0 };
    this.#unit = extent.start;
    this.#first = firstPage(extent);
    this.#limit = pageCount(extent);
    this.#run = runAt(pagedata, mapping, this.#first);
    this.#enter();
  }

  get isAtEnd(): boolean {
    return this.page === Infinity;
  }

  /** Takes a number of pages of the run, and goes on after them. */
  take(count: number): PageRange {
    const range = this.#range;
    range.unit = this.#unit + this.page * range.pageSize / UNIT;
    range.offset = this.offset;
    range.count = count;
    this.skip(count);
    return range;
  }

  /** Goes on after a number of pages of the run. */
  skip(count: number): void {
    this.page += count;
    this.offset += count;
    if (this.page < this.end) return;
    this.#run++;
    this.#enter();
  }

  /** Goes to the beginning of the run. */
  #enter(): void {
    const { runPage, runOffset } = this.#pagedata;
    const run = this.#run;
    const page = run < this.#endRun ? runPage[run] - this.#first : Infinity;
    if (page >= this.#limit) {
      this.page = this.end = Infinity;
      return;
    }
    // The first run may begin before the extent, the last may end after it.
    this.page = Math.max(page, 0);
    this.offset = runOffset[run] + this.page - page;
    this.end = Math.min(
      page + runOffset[run + 1] - runOffset[run],
      this.#limit,
    );
  }
}

/** 0xff for every page that is in use, else 0. */
function inUseOf(found: number): number {
  return ((found | found >>> 1) & EVERY_BYTE) * 0xff;
}

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}

/** The first page of an extent, relative to the start of its mapping. */
function firstPage({ start, mapping }: Extent): number {
  return (start - unitOf(mapping.start)) * UNIT / mapping.pageSize;
}

function pageCount(extent: Extent): number {
  return lengthOf(extent) * UNIT / extent.mapping.pageSize;
}

/** Whether an extent is the whole of its mapping. */
function isWhole(extent: Extent): boolean {
  return pageCount(extent) === extent.mapping.pages;
}
