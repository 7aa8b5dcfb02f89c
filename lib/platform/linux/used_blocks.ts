/**
 * Which parts of an address space have pages in use.
 *
 * @module
 */

import { REFERENCED } from "../../memory/pagedata.ts";
import type { PageSink } from "./page_queue.ts";
import type { PageInterval } from "./page_tables.ts";

/** Pages of a block. A large page of 2 MiB is in one, so advice never splits it. */
const BLOCK_PAGES = 512;
const PAGE_SIZE = 4096;

/**
 * Collects the blocks of 2 MiB with a referenced page, in address order; adjacent ones
 * of a mapping are one range.
 */
export class UsedBlocks implements PageSink {
  /** The mappings; blocks end where these do. */
  readonly #intervals: readonly PageInterval[];
  /** First page and page after the last, alternately. */
  readonly #pages: number[] = [];
  /** The mapping of the last range. */
  #interval = -1;

  /** @param intervals the pages of the mappings; no blocks are in an empty one. */
  constructor(intervals: readonly PageInterval[]) {
    this.#intervals = intervals;
  }

  get isEmpty(): boolean {
    return this.#pages.length === 0;
  }

  addPages(interval: number, page: number, bits: Uint8Array): void {
    let all = 0;
    for (let i = 0; i < bits.length; i++) all |= bits[i];
    this.addLargePage(interval, page, { count: bits.length, bits: all });
  }

  addLargePage(
    interval: number,
    page: number,
    { count, bits }: { count: number; bits: number },
  ): void {
    if (!(bits & REFERENCED)) return;
    const { firstPage, endPage } = this.#intervals[interval];
    const behind = Math.ceil((page + count) / BLOCK_PAGES) * BLOCK_PAGES;
    const first = Math.max(page - page % BLOCK_PAGES, firstPage);
    const end = Math.min(behind, endPage);
    if (first >= end) return;
    const pages = this.#pages;
    if (interval === this.#interval && first <= pages[pages.length - 1]) {
      pages[pages.length - 1] = end;
      return;
    }
    this.#interval = interval;
    pages.push(first, end);
  }

  passOver(): void {
    // Cooling passes over the same pages.
  }

  /**
   * Yields the ranges, in lists of limited length and sum.
   *
   * @param most ranges of a list.
   * @param mostBytes the most bytes of a list, and of a range.
   */
  *lists(
    most: number,
    mostBytes: number,
  ): Generator<{ start: bigint; bytes: number }[]> {
    let list: { start: bigint; bytes: number }[] = [];
    let sum = 0;
    for (let at = 0; at < this.#pages.length; at += 2) {
      const end = this.#pages[at + 1];
      for (let page = this.#pages[at]; page < end;) {
        if (list.length === most || sum === mostBytes) {
          yield list;
          list = [];
          sum = 0;
        }
        const bytes = Math.min((end - page) * PAGE_SIZE, mostBytes - sum);
        list.push({ start: BigInt(page) * BigInt(PAGE_SIZE), bytes });
        page += bytes / PAGE_SIZE;
        sum += bytes;
      }
    }
    if (list.length > 0) yield list;
  }
}
