/**
 * Walks the page tables above the lowest level, and finds what a table entry leads
 * to.
 *
 * Tables are read through the kernel's direct map of physical memory.
 *
 * @module
 */

import { type KernelMemory, PAGE_WORDS } from "./kernel_memory.ts";
import type { PageTableLayout } from "./page_table_layout.ts";

/** A 64-bit number in halves, both unsigned. */
export interface Halves {
  low: number;
  high: number;
}

/** The geometry of this machine's page tables. */
export interface Geometry {
  readonly layout: PageTableLayout;
  readonly levels: number;
  /** Where the direct map begins. */
  readonly base: Halves;
  /** Address bits in the high half of an entry. */
  readonly addressHigh: number;
  /** Soft-dirty bit in the low half; 0 if the kernel has none. */
  readonly softDirty: number;
  /**
   * The physical address of the kernel's large zero page; `undefined` if it has
   * none. Like the small one, it does not count towards RSS, but no bit marks it.
   */
  readonly largeZeroPage: Halves | undefined;
}

/**
 * The tables above the lowest level on the way to a page; copied when they are
 * first needed.
 */
export class TablePath {
  /**
   * The entry for the page last entered: of its leaf table or of a large page, or
   * not present.
   */
  low = 0;
  high = 0;
  /**
   * Whether the entry leads to a leaf table; a present entry otherwise maps a large
   * page.
   */
  isTable = false;

  readonly #memory: KernelMemory;
  readonly #geometry: Geometry;
  /** For each level from 2 up: a copy of the table, and which pages it covers. */
  readonly #tables: readonly Uint32Array[];
  readonly #spans: Float64Array;
  readonly #addresses: readonly Halves[];

  constructor(memory: KernelMemory, geometry: Geometry) {
    const { levels } = geometry;
    this.#memory = memory;
    this.#geometry = geometry;
    this.#tables = Array.from(
      { length: levels + 1 },
      () => new Uint32Array(PAGE_WORDS),
    );
    this.#spans = new Float64Array(levels + 1).fill(-1);
    this.#addresses = Array.from(
      { length: levels + 1 },
      () => ({ low: 0, high: 0 }),
    );
  }

  /** Begins with the tables of a process. */
  start(topTable: Halves): void {
    this.#spans.fill(-1);
    Object.assign(this.#addresses[this.#geometry.levels], topTable);
  }

  /**
   * Goes to the entry that maps a page or its leaf table.
   *
   * @param endPage the end of the range of interest: consecutive absent entries
   * before it are skipped at once, since reservations may be large.
   * @returns The first page after those that the entry covers.
   */
  enter(page: number, endPage = page + 1): number {
    const { layout, levels } = this.#geometry;
    const { entries } = layout;
    for (let level = levels;; level--) {
      // The pages that an entry of this level covers, and the index of the table.
      const pages = entries ** (level - 1);
      const span = Math.floor(page / (pages * entries));
      const table = this.#tables[level];
      if (this.#spans[level] !== span) {
        copyPage(this.#memory, this.#addresses[level], table);
        this.#spans[level] = span;
        // Copies of lower levels belonged to another table.
        this.#spans.fill(-1, 0, level);
      }
      const number = Math.floor(page / pages);
      let index = number % entries;
      this.low = table[index * 2];
      this.high = table[index * 2 + 1];
      const isPresent = (this.low & layout.present) !== 0;
      this.isTable = isPresent && !(this.low & layout.large);
      if (this.isTable && level > 2) {
        const below = this.#addresses[level - 1];
        pointTo(below, this.low, this.high, this.#geometry);
        continue;
      }
      let behind = (number + 1) * pages;
      if (isPresent) return behind;
      while (
        behind < endPage && ++index < entries &&
        (table[index * 2] & layout.present) === 0
      ) behind += pages;
      return behind;
    }
  }
}

/** Whether an entry leads to a physical address. */
export function leadsTo(
  place: Halves,
  { low, high }: Halves,
  { layout, addressHigh }: Geometry,
): boolean {
  return ((low & layout.addressLow) >>> 0) === place.low &&
    ((high & addressHigh) >>> 0) === place.high;
}

/** Copies one page of kernel memory; the queue of addresses stays intact. */
export function copyPage(
  memory: KernelMemory,
  { low, high }: Halves,
  into: Uint32Array,
): void {
  const { addresses, words } = memory;
  const [queuedLow, queuedHigh] = addresses;
  addresses[0] = low;
  addresses[1] = high;
  memory.copy(1);
  into.set(words.subarray(0, PAGE_WORDS));
  addresses[0] = queuedLow;
  addresses[1] = queuedHigh;
}

/** Sets an address to that of the table or page to which an entry leads. */
export function pointTo(
  address: Halves,
  entryLow: number,
  entryHigh: number,
  { layout, base, addressHigh }: Geometry,
): void {
  const low = ((entryLow & layout.addressLow) >>> 0) + base.low;
  const carry = low > 0xffff_ffff ? 1 : 0;
  address.low = low >>> 0;
  address.high = ((entryHigh & addressHigh) + base.high + carry) >>> 0;
}

export function halves(value: bigint): Halves {
  return {
    low: Number(value & 0xffff_ffffn),
    high: Number(value >> 32n),
  };
}
