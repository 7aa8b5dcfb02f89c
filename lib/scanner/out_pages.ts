/**
 * Which pages of one process are in swap. It tells, of a page that comes into memory,
 * whether it was used again or is new.
 *
 * @module
 */

import type { PageRange } from "./departed_pages.ts";
import { UNIT } from "./moves.ts";

/** The units of a block: 2 MiB. */
const BLOCK = 512;
/** The most blocks: a process may spread what it has in swap over its address space. */
const MOST_BLOCKS = 65_536;
/** The most ranges that are kept of what has left since they were last taken. */
const MOST_RANGES = 4096;

/** Pages that have left: the first unit, and the number of units. */
export interface LeftRange {
  readonly unit: number;
  readonly units: number;
}

/** The pages that are in swap. */
export class OutPages {
  /** A bit a unit. */
  readonly #blocks = new Map<number, Uint32Array>();
  #left: LeftRange[] = [];
  #bytes = 0;

  /** The size of what is in swap, as far as it is known. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Adds a unit that is in swap. What is too much is left out. */
  add(unit: number): void {
    const number = Math.floor(unit / BLOCK);
    let block = this.#blocks.get(number);
    if (!block) {
      if (this.#blocks.size >= MOST_BLOCKS) return;
      this.#blocks.set(number, block = new Uint32Array(BLOCK / 32));
    }
    const at = unit - number * BLOCK;
    const bit = 1 << (at & 31);
    if (!(block[at >>> 5] & bit)) this.#bytes += UNIT;
    block[at >>> 5] |= bit;
  }

  /** Notes that pages have left memory; whether to swap is not known. */
  noteLeft({ unit, pageSize, count }: PageRange): void {
    if (this.#left.length >= MOST_RANGES) return;
    this.#left.push({ unit, units: count * pageSize / UNIT });
  }

  /** Takes the ranges that have left since the last call. */
  takeLeft(): LeftRange[] {
    const left = this.#left;
    this.#left = [];
    return left;
  }

  /** Takes out pages that are in memory now, and returns how many units were in swap. */
  take({ unit, pageSize, count }: PageRange): number {
    if (this.#blocks.size === 0) return 0;
    const end = unit + count * pageSize / UNIT;
    let found = 0;
    for (let at = unit; at < end;) {
      const number = Math.floor(at / BLOCK);
      const blockEnd = Math.min(end, (number + 1) * BLOCK);
      const block = this.#blocks.get(number);
      for (; block && at < blockEnd; at++) {
        const place = at - number * BLOCK;
        const bit = 1 << (place & 31);
        if (!(block[place >>> 5] & bit)) continue;
        block[place >>> 5] &= ~bit;
        found++;
        this.#bytes -= UNIT;
      }
      at = blockEnd;
      if (block?.every((word) => word === 0)) this.#blocks.delete(number);
    }
    return found;
  }
}
