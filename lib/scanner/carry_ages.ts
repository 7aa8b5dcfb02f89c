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
  recordSamePages,
  REFERENCED,
  runAt,
} from "../memory/pagedata.ts";
import {
  type Extent,
  extentOf,
  lengthOf,
  type Move,
  UNIT,
  unitOf,
} from "./moves.ts";

// Besides REFERENCED and MODIFIED, the bits of an aged reading record what was done
// with a page. They stay until the page is referenced or is no longer resident.

/** The page was cooled in an earlier pass: a reference since then would be visible. */
export const COOLED = 4;

/** The page is still resident after a page-out. */
export const TRIED = 8;

/** A reading, and when its pages were last in use, in the order of its `bits`. */
export interface AgedReading {
  readonly pagedata: Pagedata;
  /** The numbers of moments. */
  readonly used: Uint8Array;
}

export interface CarryOptions {
  /** The number of the moment at which referenced pages are in use. */
  readonly moment: number;
  /**
   * Whether the readings belong to the same interval. If so, pages referenced in
   * the earlier one count as referenced in the later one too.
   */
  readonly isSameInterval: boolean;
}

/** 1 in every byte of a word. */
const EVERY_BYTE = 0x01010101;
const DONE = (COOLED | TRIED) * EVERY_BYTE;
const FOUND = (REFERENCED | MODIFIED) * EVERY_BYTE;

/** Carries bits and ages from an earlier reading to a later one. */
export class AgeCarrier {
  readonly #before: Pagedata;
  readonly #oldBits: DataView;
  readonly #oldUsed: DataView;
  readonly #reading: Pagedata;
  readonly #bits: DataView;
  readonly #used: DataView;
  /** The moment at which referenced pages are in use, in every byte. */
  readonly #moment: number;
  /**
   * The bits that a page keeps because they belong to the same interval, in every
   * byte.
   */
  readonly #kept: number;

  /**
   * @param now the later reading; its bits and moments are changed. Its pages must have
   * the moment of pages in use.
   */
  constructor(
    before: AgedReading,
    now: AgedReading,
    { moment, isSameInterval }: CarryOptions,
  ) {
    this.#before = before.pagedata;
    this.#oldBits = viewOf(before.pagedata.bits);
    this.#oldUsed = viewOf(before.used);
    this.#reading = now.pagedata;
    this.#bits = viewOf(now.pagedata.bits);
    this.#used = viewOf(now.used);
    this.#moment = Math.imul(moment, EVERY_BYTE);
    this.#kept = isSameInterval ? FOUND : 0;
  }

  /** Ages the pages that are in the same place. */
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
        this.#carry({
          from: { ...from, start, end },
          to: { ...to, start, end },
        }, (from, to, count) => this.#agePages(from, to, count));
      }
      if (from.end <= to.end) old++;
      if (to.end <= from.end) now++;
    }
  }

  /** Ages the pages of an extent that has moved. */
  carryMoved(move: Move): void {
    this.#carry(move, (from, to, count) => this.#agePages(from, to, count));
  }

  /**
   * Visits the pages that both readings record: those of an extent, and those at
   * the same offsets in another.
   *
   * @param visit called with the indices of their bits in the old and new reading,
   * and their number.
   */
  #carry(
    { from, to }: Move,
    visit: (from: number, to: number, count: number) => void,
  ): void {
    const [before, reading] = [this.#before, this.#reading];
    if (
      isWhole(from) && isWhole(to) &&
      recordSamePages(before, from.mapping, reading, to.mapping)
    ) {
      const first = firstOffset(reading, to.mapping);
      const count = endOffset(reading, to.mapping) - first;
      visit(firstOffset(before, from.mapping), first, count);
      return;
    }
    const { runPage: oldPage, runOffset: oldOffset } = before;
    const { runPage, runOffset } = reading;
    const pages = pageCount(from);
    const oldFirst = firstPage(from);
    const first = firstPage(to);
    const oldEndRun = from.mapping.endRun;
    const endRun = to.mapping.endRun;
    let old = runAt(before, from.mapping, oldFirst);
    let now = runAt(reading, to.mapping, first);
    while (old < oldEndRun && now < endRun) {
      // In pages, relative to the start of the extents.
      const oldStart = oldPage[old] - oldFirst;
      const start = runPage[now] - first;
      const oldEnd = oldStart + oldOffset[old + 1] - oldOffset[old];
      const end = start + runOffset[now + 1] - runOffset[now];
      const both = Math.max(oldStart, start, 0);
      const count = Math.min(oldEnd, end, pages) - both;
      if (count > 0) {
        visit(
          oldOffset[old] + both - oldStart,
          runOffset[now] + both - start,
          count,
        );
      }
      if (both >= pages) return;
      if (oldEnd <= end) old++;
      if (end <= oldEnd) now++;
    }
  }

  /** Ages `count` pages from an index of the old reading to an index of the new. */
  #agePages(from: number, to: number, count: number): void {
    const [oldBits, oldUsed] = [this.#oldBits, this.#oldUsed];
    const [bits, used] = [this.#bits, this.#used];
    const [moment, kept] = [this.#moment, this.#kept];
    let i = 0;
    for (; i + 4 <= count; i += 4) {
      const done = oldBits.getInt32(from + i, true);
      const found = bits.getInt32(to + i, true) | done & kept;
      const inUse = inUseOf(found);
      const old = oldUsed.getInt32(from + i, true);
      used.setInt32(to + i, old & ~inUse | moment & inUse, true);
      bits.setInt32(to + i, found | done & DONE & ~inUse, true);
    }
    if (i < count) this.#ageFew(from + i, to + i, count - i);
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
      const old = this.#oldUsed.getUint8(from + i);
      this.#used.setUint8(to + i, old & ~inUse | this.#moment & inUse);
      this.#bits.setUint8(to + i, found | done & DONE & ~inUse);
    }
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
