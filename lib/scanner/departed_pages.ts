/**
 * When pages that are no longer resident were last in use. It tells for how long a page
 * was not needed when it comes back. It is bounded: what left first is forgotten first.
 *
 * @module
 */

import { mappingEnd, type PagedataMapping } from "../memory/pagedata.ts";
import { UNIT, unitOf } from "./moves.ts";

/** The units of a block: 2 MiB. */
const BLOCK = 512;

/** What is kept of a block, in bytes: a byte and a bit for each unit. */
const BLOCK_BYTES = BLOCK + BLOCK / 8;

/** No page left at this unit. */
const NONE = 255;

/** How much is kept in any case, in blocks, and for each recorded page, in bytes. */
const LEAST_BLOCKS = 56;
const BYTES_PER_RECORDED_PAGE = 2;

/** The pages that left a block. */
interface Block {
  /** The number of the moment of each unit's last use, or `NONE`. */
  readonly used: Uint8Array;
  /** A bit for each unit: whether it was never used again after it had appeared. */
  readonly unused: Uint8Array;
  /** How many there are. */
  count: number;
}

/** Adjacent pages of a mapping. The object may be reused. */
export interface PageRange {
  /** The first unit of address space of the first page. */
  unit: number;
  pageSize: number;
  /** The index of the first page in the arrays of its reading. */
  offset: number;
  count: number;
}

/** The pages of one process that are not resident. */
export class DepartedPages {
  /** By the number of the block; what left first is first. */
  readonly #blocks = new Map<number, Block>();
  /** The moment of the first reading: what appeared then may have been used before. */
  first = 0;
  /** The block that was last looked up, and its number. */
  #lastNumber = -1;
  #last: Block | undefined;

  /** The memory that is kept, in bytes. */
  get bytes(): number {
    return this.#blocks.size * BLOCK_BYTES;
  }

  /**
   * Keeps when pages that have left were last in use.
   *
   * @param usedBefore when they were in use before that.
   */
  keep(
    { unit, pageSize, offset, count }: PageRange,
    used: Uint8Array,
    usedBefore: Uint8Array,
  ): void {
    const step = pageSize / UNIT;
    for (let i = 0; i < count;) {
      const number = Math.floor((unit + i * step) / BLOCK);
      const block = this.#get(number) ?? this.#add(number);
      let at = unit + i * step - number * BLOCK;
      for (; i < count && at < BLOCK; i++, at += step) {
        if (block.used[at] === NONE) block.count++;
        const moment = used[offset + i];
        block.used[at] = Math.min(moment, NONE - 1);
        const isUnused = moment > this.first &&
          moment === usedBefore[offset + i];
        if (isUnused) block.unused[at >> 3] |= 1 << (at & 7);
        else block.unused[at >> 3] &= ~(1 << (at & 7));
      }
    }
  }

  /**
   * Takes out when pages that have come back were last in use, where that is known.
   *
   * @param back where they are counted, by that moment.
   */
  take(
    { unit, pageSize, offset, count }: PageRange,
    usedBefore: Uint8Array,
    back?: Int32Array,
  ): void {
    if (this.#blocks.size === 0) return;
    const step = pageSize / UNIT;
    for (let i = 0; i < count;) {
      const number = Math.floor((unit + i * step) / BLOCK);
      const block = this.#get(number);
      let at = unit + i * step - number * BLOCK;
      for (; i < count && at < BLOCK; i++, at += step) {
        if (!block || block.used[at] === NONE) continue;
        usedBefore[offset + i] = block.used[at];
        if (back) back[block.used[at]]++;
        block.used[at] = NONE;
        block.count--;
      }
      if (block?.count === 0) this.#delete(number);
    }
  }

  /** Gives moments their new numbers. */
  renumber(number: Uint8Array): void {
    this.first = number[this.first];
    for (const { used } of this.#blocks.values()) {
      for (let at = 0; at < BLOCK; at++) {
        if (used[at] !== NONE) used[at] = number[used[at]];
      }
    }
  }

  /**
   * Visits the pages that were never used again after they had appeared.
   *
   * @param visit called with the unit of each, and the moment at which it appeared.
   */
  eachUnused(visit: (unit: number, moment: number) => void): void {
    for (const [number, { used, unused }] of this.#blocks) {
      for (let at = 0; at < BLOCK; at++) {
        if (used[at] === NONE || !(unused[at >> 3] & 1 << (at & 7))) continue;
        visit(number * BLOCK + at, used[at]);
      }
    }
  }

  /**
   * Forgets what is not mapped any more.
   *
   * @param mappings in address order.
   */
  keepMapped(mappings: readonly PagedataMapping[]): void {
    for (const number of this.#blocks.keys()) {
      const first = number * BLOCK;
      let [low, high] = [0, mappings.length];
      while (low < high) {
        const middle = (low + high) >>> 1;
        if (unitOf(mappingEnd(mappings[middle])) <= first) low = middle + 1;
        else high = middle;
      }
      const isMapped = low < mappings.length &&
        unitOf(mappings[low].start) < first + BLOCK;
      if (!isMapped) this.#delete(number);
    }
  }

  /**
   * Forgets what is too much.
   *
   * @param recorded the number of recorded pages.
   */
  limit(recorded: number): void {
    const most = LEAST_BLOCKS +
      recorded * BYTES_PER_RECORDED_PAGE / BLOCK_BYTES;
    for (const number of this.#blocks.keys()) {
      if (this.#blocks.size <= most) return;
      this.#delete(number);
    }
  }

  #get(number: number): Block | undefined {
    if (number === this.#lastNumber) return this.#last;
    this.#lastNumber = number;
    return this.#last = this.#blocks.get(number);
  }

  #add(number: number): Block {
    const block = {
      used: new Uint8Array(BLOCK).fill(NONE),
      unused: new Uint8Array(BLOCK / 8),
      count: 0,
    };
    this.#blocks.set(number, block);
    this.#lastNumber = number;
    return this.#last = block;
  }

  #delete(number: number): void {
    this.#blocks.delete(number);
    this.#lastNumber = -1;
  }
}
