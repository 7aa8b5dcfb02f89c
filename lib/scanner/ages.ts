/**
 * The age of every page: the number of intervals since it was last referenced. One
 * byte per recorded page, carried from reading to reading while mappings change,
 * grow and move.
 *
 * @module
 */

import { endOffset, firstOffset, type Pagedata } from "../memory/pagedata.ts";
import { AgeCarrier, TRIED } from "./carry_ages.ts";
import { findMoves } from "./moves.ts";

/** The highest age. Older pages keep it. */
export const MAX_AGE = 255;

/**
 * The number of bands, which group similar ages: band 0 is age 0, in use; band `n`
 * contains the ages from 2^(n-1) to 2^n, exclusive.
 */
export const BANDS = 9;

/** The band of every age. */
export const BAND_OF_AGE: Uint8Array = Uint8Array.from(
  { length: MAX_AGE + 1 },
  (_, age) => 32 - Math.clz32(age),
);

/** The ages of the pages of one process. */
export class PageAges {
  #pagedata: Pagedata | undefined;
  #ages = new Uint8Array(0);
  /** Whether the bits belong to the current interval. */
  #isOpen = false;
  #intervals = 0;
  /** Whether pages of the last reading have been paged out since. */
  isStale = false;
  /** Buffer for the next ages: that of the previous ages. */
  #room = new Uint8Array(0);

  /**
   * The last reading. Its bits are `REFERENCED` and `MODIFIED` as read, and for an
   * unreferenced page what was done with it: `COOLED` and `TRIED`.
   */
  get pagedata(): Pagedata | undefined {
    return this.#pagedata;
  }

  /** The age of every page of the last reading, in the order of its `bits`. */
  get ages(): Uint8Array {
    return this.#ages;
  }

  /**
   * Takes a reading that ends an interval. Referenced pages get age 0, others
   * become one older. New pages have age 0; in the first reading, in which all
   * pages are new, unreferenced pages have age 1.
   *
   * @param reading owned by this object afterwards.
   */
  advance(reading: Pagedata): void {
    this.#take(reading, 1);
    this.#isOpen = false;
    this.#intervals++;
  }

  /**
   * Takes a reading within an interval. Referenced pages get age 0, others keep
   * their age.
   *
   * @param reading owned by this object afterwards.
   */
  look(reading: Pagedata): void {
    this.#take(reading, 0);
    this.#isOpen = true;
  }

  #take(reading: Pagedata, older: 0 | 1): void {
    const before = this.#pagedata;
    const ages = this.#makeRoom(reading.bits.length);
    this.isStale = false;
    if (before) {
      const carrier = new AgeCarrier(
        { pagedata: before, ages: this.#ages },
        { pagedata: reading, ages },
        // A reset of references by others must not make pages look idle.
        { older, isSameInterval: this.#isOpen },
      );
      carrier.carryInPlace();
      for (const move of findMoves(before.mappings, reading.mappings)) {
        carrier.carryMoved(move);
      }
    } else {
      // The first interval began when references were reset.
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

  /**
   * Size of the pages that have not been referenced since the first interval, in
   * bytes.
   */
  get neverReferencedBytes(): number {
    return this.#bytesFrom(Math.min(this.#intervals, MAX_AGE));
  }

  /** Size of what was not referenced in the last interval, in bytes. */
  get unreferencedBytes(): number {
    return this.#bytesFrom(1);
  }

  /** Size of what was referenced in the last interval, in bytes. */
  get referencedBytes(): number {
    return this.#bytesFrom(0) - this.#bytesFrom(1);
  }

  /** Size of what has an age or is older, in bytes. */
  #bytesFrom(age: number): number {
    const bytes = new Float64Array(MAX_AGE + 1);
    this.addBytesByAge(bytes);
    return bytes.subarray(age).reduce((sum, some) => sum + some, 0);
  }

  /** Clears `TRIED`, so that pages that were not paged out are tried again. */
  retry(): void {
    const bits = this.#pagedata?.bits;
    if (!bits) return;
    for (let at = 0; at < bits.length; at++) bits[at] &= ~TRIED;
  }

  /**
   * Adds the size of the pages of each age to a sum.
   *
   * @param bytes the sum, in bytes per age.
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

/**
 * The size of the pages that were idle for a number of intervals or longer, in
 * bytes.
 */
export interface IdleBytes {
  readonly intervals: number;
  readonly bytes: number;
}

/**
 * Returns how much of some processes was idle for 1, 2, 4, … 128 intervals or
 * longer.
 */
export function idleBytes(processes: Iterable<PageAges>): IdleBytes[] {
  const bytes = new Float64Array(MAX_AGE + 1);
  for (const ages of processes) ages.addBytesByAge(bytes);
  return Array.from({ length: BANDS - 1 }, (_, band) => ({
    intervals: 2 ** band,
    bytes: bytes.subarray(2 ** band).reduce((sum, some) => sum + some, 0),
  }));
}
