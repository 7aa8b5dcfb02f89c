/**
 * The pages of a process that a page-out passes over: those that are mapped more
 * than once, or pinned.
 *
 * Facts: `madvise_cold_or_pageout_pte_range` of mm/madvise.c takes a page only if it
 * is mapped once (`page_mapcount` until Linux 6.9, `folio_mapcount` since), and a
 * part of a large folio only if one process maps the folio
 * (`folio_likely_mapped_shared`, since 6.15 `folio_maybe_mapped_shared`).
 * `shrink_folio_list` of mm/vmscan.c leaves pinned folios (`folio_maybe_dma_pinned`).
 *
 * @module
 */

import {
  ENTRIES,
  IN_SHARED_FOLIO,
  IS_PINNED,
  IS_PRESENT,
  MAP_COUNT,
} from "./count_pages.ts";

/** Bytes of a bit set with a bit for each page of a leaf table. */
const SET_BYTES = ENTRIES / 8;

/** Whether a page-out passes over a page, given its record. */
export function isPassedOver(record: number): boolean {
  // An unknown count, 0, is one that is just changing.
  return (record & MAP_COUNT) > 1 ||
    (record & (IN_SHARED_FOLIO | IS_PINNED)) !== 0;
}

/** Remembers such pages of one address space, a bit each, by leaf table. */
export class PassedOver {
  /** For each table with such pages: where its bits begin. */
  readonly #sets = new Map<number, number>();
  #bits = new Uint8Array(0);
  /**
   * Notes the records of a leaf table, or of the pages of a large page.
   *
   * @param table number of the table: that of a page, divided by the entries.
   */
  note(table: number, records: Uint16Array): void {
    let at = this.#sets.get(table) ?? -1;
    for (let i = 0; i < ENTRIES; i++) {
      const record = records[i];
      if (record === (IS_PRESENT | 1) || !isPassedOver(record)) continue;
      if (at < 0) at = this.#add(table);
      this.#bits[at + (i >> 3)] |= 1 << (i & 7);
    }
  }

  /**
   * Whether a large page is passed over, at the place of a table. The kernel looks at
   * its first page.
   */
  isLargePassedOver(table: number): boolean {
    const at = this.#sets.get(table);
    return at !== undefined && (this.#bits[at] & 1) !== 0;
  }

  /**
   * Sets a byte for each page of a table to 0, or to `mark` if it is passed over.
   *
   * @returns Whether any is.
   */
  mark(table: number, pages: Uint8Array, mark: number): boolean {
    const at = this.#sets.get(table);
    if (at === undefined) return false;
    for (let i = 0; i < ENTRIES; i++) {
      pages[i] = (this.#bits[at + (i >> 3)] >> (i & 7) & 1) * mark;
    }
    return true;
  }

  #add(table: number): number {
    const at = this.#sets.size * SET_BYTES;
    this.#sets.set(table, at);
    if (at + SET_BYTES > this.#bits.length) {
      const grown = new Uint8Array(Math.max(8 * SET_BYTES, at * 2));
      grown.set(this.#bits);
      this.#bits = grown;
    }
    this.#bits.fill(0, at, at + SET_BYTES);
    return at;
  }
}
