/**
 * Which pages of a process are in memory, and which of them were used in an interval: two
 * bits a page, in blocks of 2 MiB of address space.
 *
 * @module
 */

import {
  type Pagedata,
  PagedataBuilder,
  REFERENCED,
} from "../memory/pagedata.ts";
import { UNIT, unitOf } from "../scanner/moves.ts";

/** The units of a block; a unit is a page of the smallest size. */
export const BLOCK = 512;
/** The words of 32 bits of a block, for one of the two kinds of bits. */
export const WORDS = BLOCK / 32;
/** The words of a block: those of the pages in memory, then those of the pages used. */
export const BLOCK_WORDS = 2 * WORDS;

/** A mapping as recordings have it. Addresses are in units. */
export interface BitsMapping {
  readonly start: number;
  readonly units: number;
  readonly pageSize: number;
  readonly flags: number;
}

/** The bits of the pages of one process. */
export class PageBits {
  /** By block number, the index of its first word. */
  readonly #places = new Map<number, number>();
  #words = new Uint32Array(BLOCK_WORDS);
  /** The places that are not in use, below `#end`. */
  readonly #free: number[] = [];
  #end = 0;
  #sorted: number[] | undefined = [];

  /** How many blocks there are. */
  get size(): number {
    return this.#places.size;
  }

  /** The numbers of all blocks, ascending. */
  get numbers(): readonly number[] {
    return this.#sorted ??= [...this.#places.keys()].sort((a, b) => a - b);
  }

  /** All words. */
  get words(): Uint32Array {
    return this.#words;
  }

  /** The index of the first word of a block; -1 if there is no such block. */
  placeOf(number: number): number {
    return this.#places.get(number) ?? -1;
  }

  /** The same; a block that is missing is made, and empty. */
  place(number: number): number {
    const known = this.#places.get(number);
    if (known !== undefined) return known;
    let place = this.#free.pop();
    if (place === undefined) {
      place = this.#end;
      this.#end += BLOCK_WORDS;
      if (this.#end > this.#words.length) {
        const larger = new Uint32Array(this.#words.length * 2);
        larger.set(this.#words);
        this.#words = larger;
      }
    }
    const last = this.#sorted?.at(-1);
    if (last === undefined || number > last) this.#sorted?.push(number);
    else this.#sorted = undefined;
    this.#places.set(number, place);
    return place;
  }

  /** Takes a block away. */
  remove(number: number): void {
    const place = this.#places.get(number);
    if (place === undefined) return;
    this.#words.fill(0, place, place + BLOCK_WORDS);
    this.#places.delete(number);
    this.#free.push(place);
    this.#sorted = undefined;
  }

  clear(): void {
    this.#places.clear();
    this.#words.fill(0);
    this.#free.length = 0;
    this.#end = 0;
    this.#sorted = [];
  }

  /**
   * Takes over a reading.
   *
   * @param used when each page was last used, by moment, as `PageAges` has it.
   * @param moment the moment of the pages that were used in the interval.
   * @param most how many blocks are taken over at most; the rest is left out.
   * @returns whether all was taken over.
   */
  take(
    { mappings, runPage, runOffset }: Pagedata,
    used: Uint8Array,
    { moment, most }: { moment: number; most: number },
  ): boolean {
    this.clear();
    for (const { start, pageSize, firstRun, endRun } of mappings) {
      const first = unitOf(start);
      const scale = pageSize / UNIT;
      for (let run = firstRun; run < endRun; run++) {
        const base = first + runPage[run] * scale;
        const offset = runOffset[run];
        const end = base + (runOffset[run + 1] - offset) * scale;
        for (let unit = base; unit < end;) {
          const number = Math.floor(unit / BLOCK);
          if (this.size >= most && this.placeOf(number) < 0) return false;
          const place = this.place(number);
          const words = this.#words;
          const blockStart = number * BLOCK;
          const last = Math.min(end, blockStart + BLOCK);
          for (; unit < last; unit++) {
            const at = unit - blockStart;
            const word = place + (at >>> 5);
            const bit = 1 << (at & 31);
            words[word] |= bit;
            const page = offset + ((unit - base) / scale | 0);
            if (used[page] === moment) words[word + WORDS] |= bit;
          }
        }
      }
    }
    return true;
  }

  /** Adds what other bits have as used, as far as it is in memory. */
  addUsed(other: PageBits): void {
    for (const number of other.numbers) {
      const to = this.placeOf(number);
      if (to < 0) continue;
      const from = other.placeOf(number);
      for (let at = 0; at < WORDS; at++) {
        this.#words[to + at + WORDS] |= other.words[from + at + WORDS] &
          this.#words[to + at];
      }
    }
  }

  /** The size of the pages in memory, and of those used, in bytes. */
  get bytes(): { resident: number; used: number } {
    const words = this.#words;
    let [resident, used] = [0, 0];
    for (let place = 0; place < this.#end; place += BLOCK_WORDS) {
      for (let at = place; at < place + WORDS; at++) {
        resident += ones(words[at]);
        used += ones(words[at + WORDS]);
      }
    }
    return { resident: resident * UNIT, used: used * UNIT };
  }

  /** Returns the bits as a reading of some mappings, in address order. */
  pagedata(mappings: readonly BitsMapping[]): Pagedata {
    const builder = new PagedataBuilder();
    const bytes = new Uint8Array(BLOCK);
    const { numbers } = this;
    let next = 0;
    for (const { start, units, pageSize, flags } of mappings) {
      const scale = pageSize / UNIT;
      builder.addMapping({
        start: BigInt(start) * BigInt(UNIT),
        pages: units / scale,
        pageSize,
        flags,
      });
      const end = start + units;
      while (next > 0 && numbers[next - 1] * BLOCK + BLOCK > start) next--;
      while (
        next < numbers.length && numbers[next] * BLOCK + BLOCK <= start
      ) next++;
      for (; next < numbers.length && numbers[next] * BLOCK < end; next++) {
        const blockStart = numbers[next] * BLOCK;
        const place = this.placeOf(numbers[next]);
        const from = Math.max(start, blockStart) - blockStart;
        const to = Math.min(end, blockStart + BLOCK) - blockStart;
        this.#addRuns(builder, bytes, {
          place,
          from,
          to,
          base: blockStart - start,
          scale,
        });
      }
    }
    return builder.build();
  }

  /** Adds the pages of a part of a block to a reading. */
  #addRuns(
    builder: PagedataBuilder,
    bytes: Uint8Array,
    { place, from, to, base, scale }: {
      place: number;
      from: number;
      to: number;
      /** The first unit of the block, relative to the mapping. */
      base: number;
      scale: number;
    },
  ): void {
    const words = this.#words;
    // The first unit of a page stands for all of it.
    const step = scale > 1 ? scale : 1;
    let at = from + (step - (base + from) % step) % step;
    while (at < to) {
      while (at < to && !(words[place + (at >>> 5)] >>> (at & 31) & 1)) {
        at += step;
      }
      const first = at;
      let count = 0;
      while (at < to && words[place + (at >>> 5)] >>> (at & 31) & 1) {
        const isUsed = words[place + WORDS + (at >>> 5)] >>> (at & 31) & 1;
        bytes[count++] = isUsed ? REFERENCED : 0;
        at += step;
      }
      if (count > 0) {
        builder.addBits((base + first) / step, bytes.subarray(0, count));
      }
    }
  }
}

/** How many bits of a word are set. */
export function ones(word: number): number {
  let bits = word - (word >>> 1 & 0x55555555);
  bits = (bits & 0x33333333) + (bits >>> 2 & 0x33333333);
  return Math.imul(bits + (bits >>> 4) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
