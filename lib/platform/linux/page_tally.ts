/**
 * Adds up how often the pages of a process are mapped.
 *
 * @module
 */

import {
  ENTRIES,
  IN_SHARED_FOLIO,
  IS_ANONYMOUS,
  IS_PINNED,
  IS_PRESENT,
  MAP_COUNT,
} from "./count_pages.ts";
import type { KernelMemory } from "./kernel_memory.ts";
import type { MapCounts } from "./map_counts.ts";
import type { PassedOver } from "./passed_over.ts";
import { copyPage, type Geometry, type Halves, pointTo } from "./table_path.ts";

/** Pages of an interval, counted. All that can be resident are whole pages of 4 KiB. */
export interface TalliedPages {
  pages: number;
  anonymous: number;
  /** Mapped once, by nothing but this. */
  own: number;
  /** The part of `own` that is pinned. */
  ownPinned: number;
  /** Each page divided by how often it is mapped. */
  proportional: number;
  anonymousProportional: number;
  /** Pages of which the kernel has no count, or which it was just changing. */
  unknown: number;
}

/** Receives the entries of page tables, in address order. */
export class PageTally {
  readonly #memory: KernelMemory;
  readonly #geometry: Geometry;
  readonly #counts: MapCounts;
  readonly #address: Halves = { low: 0, high: 0 };
  /** The table whose records are there, by the entry that led to it. */
  #low = 0;
  #high = 0;
  /** By interval. */
  readonly totals: readonly TalliedPages[];

  readonly #passedOver: PassedOver | undefined;

  /** @param passedOver is told which pages a page-out passes over. */
  constructor(
    intervals: number,
    { memory, geometry, counts, passedOver }: {
      memory: KernelMemory;
      geometry: Geometry;
      counts: MapCounts;
      passedOver?: PassedOver;
    },
  ) {
    this.#passedOver = passedOver;
    this.#memory = memory;
    this.#geometry = geometry;
    this.#counts = counts;
    this.totals = Array.from({ length: intervals }, () => ({
      pages: 0,
      anonymous: 0,
      own: 0,
      ownPinned: 0,
      proportional: 0,
      anonymousProportional: 0,
      unknown: 0,
    }));
  }

  /** Adds pages of the leaf table that an entry leads to. */
  addLeaf(interval: number, page: number, end: number, entry: Halves): void {
    this.#countAt(page, entry, () => {
      pointTo(this.#address, entry.low, entry.high, this.#geometry);
      copyPage(this.#memory, this.#address, this.#counts.entries);
    });
    this.#add(interval, page % ENTRIES, end - page);
  }

  /** Adds a large page, or a part of one. */
  addLarge(interval: number, page: number, end: number, entry: Halves): void {
    // Larger ones are hugetlb or of a device.
    if (end - page > ENTRIES) return;
    this.#countAt(page, entry, () => this.#counts.expand(entry));
    this.#add(interval, page % ENTRIES, end - page);
  }

  /** To be called after others may have used the map counts. */
  forgetTable(): void {
    this.#low = 0;
    this.#high = 0;
  }

  #countAt(page: number, { low, high }: Halves, fill: () => void): void {
    // Many mappings may lie in one table.
    if (low === this.#low && high === this.#high) return;
    fill();
    this.#counts.count();
    const table = Math.floor(page / ENTRIES);
    this.#passedOver?.note(table, this.#counts.records);
    this.#low = low;
    this.#high = high;
  }

  #add(interval: number, from: number, count: number): void {
    const { records } = this.#counts;
    const total = this.totals[interval];
    for (let i = from; i < from + count; i++) {
      const record = records[i];
      if (!(record & IS_PRESENT)) continue;
      total.pages++;
      const maps = record & MAP_COUNT;
      if (maps === 0) total.unknown++;
      const share = maps > 1 ? 1 / maps : 1;
      total.proportional += share;
      if (record & IS_ANONYMOUS) {
        total.anonymous++;
        total.anonymousProportional += share;
      }
      if (maps <= 1 && !(record & IN_SHARED_FOLIO)) {
        total.own++;
        if (record & IS_PINNED) total.ownPinned++;
      }
    }
  }
}
