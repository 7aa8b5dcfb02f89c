/**
 * How long every page has not been used: its age, in intervals since it was last
 * referenced. One byte a recorded page, kept from reading to reading while
 * mappings change, grow and move.
 *
 * @module
 */

import { endOffset, firstOffset, type Pagedata } from "../memory/pagedata.ts";
import { AgeCarrier, TRIED } from "./carry_ages.ts";
import { findMoves } from "./moves.ts";

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
      const carrier = new AgeCarrier(
        { pagedata: before, ages: this.#ages },
        { pagedata: reading, ages },
        // Who resets references beside us must not make anything look idle.
        { older, isSameInterval: this.#isOpen },
      );
      carrier.carryInPlace();
      for (const move of findMoves(before.mappings, reading.mappings)) {
        if (carrier.carryMoved(move)) this.#hasMarkedMoves = true;
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
    return this.#bytesFrom(Math.min(this.#intervals, MAX_AGE));
  }

  /** Size of what was not referenced in the last interval, in bytes. */
  get unreferencedBytes(): number {
    return this.#bytesFrom(1);
  }

  /** Size of what has an age or is older, in bytes. */
  #bytesFrom(age: number): number {
    const bytes = new Float64Array(MAX_AGE + 1);
    this.addBytesByAge(bytes);
    return bytes.subarray(age).reduce((sum, some) => sum + some, 0);
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
