/**
 * Counts the pages that a reading finds in use again, by when they had been in use
 * before. It shows for how long they were not needed, and so under which caps they would
 * have been paged out and come back.
 *
 * Not counted: pages in use in the interval before, new pages, and pages that were moved.
 *
 * @module
 */

import type { Pagedata, PagedataMapping } from "../memory/pagedata.ts";
import { MOMENTS } from "./moments.ts";

/** Where a page comes from when it comes back. */
export type Origin = "swap" | "file";

/** Returns where the pages of a mapping come from when they come back. */
export type OriginOf = (mapping: PagedataMapping) => Origin;

/** Pages in use again, all from one origin and of one size. */
export interface AgainCounts {
  readonly origin: Origin;
  readonly pageSize: number;
  /** By the moment at which they had been in use before; of the last reading. */
  readonly pages: Int32Array;
  /**
   * The same by the moments of two neighbours, `first | second << 8`: half the counting.
   * Empty, but while a reading is taken.
   */
  readonly pairs: Uint32Array;
}

/** The tables of pairs, which all processes use in turn. */
const PAIRS = new Map<string, Uint32Array>();

function pairsOf(key: string): Uint32Array {
  let pairs = PAIRS.get(key);
  if (!pairs) PAIRS.set(key, pairs = new Uint32Array(MOMENTS * MOMENTS));
  return pairs;
}

/** Where pages are counted that do not count; never read. */
export const ELSEWHERE: AgainCounts = {
  origin: "swap",
  pageSize: 0,
  pages: new Int32Array(MOMENTS),
  pairs: new Uint32Array(MOMENTS * MOMENTS),
};

/** What the last reading of a process found in use again. */
export class UsedAgain {
  readonly #originOf: OriginOf;
  /** There are as many as there are page sizes and origins: few. */
  readonly #tables: AgainCounts[] = [];
  /** Which of them the reading counts in. */
  readonly #inUse = new Set<AgainCounts>();
  /** The moment of the pages that were in use in the interval before, which do not count. */
  uncounted = 0;
  /** Pages that had left and have come back, by when they had been in use before. */
  readonly back = new Int32Array(MOMENTS);
  /** How many pages that were out, in swap, have come back. */
  returned = 0;
  /** Size of the pages that were in memory at the reading before, too, in bytes. */
  kept = 0;
  /** Whether large pages, whose parts cannot be told apart, were found in use again. */
  hasLarge = false;

  constructor(originOf: OriginOf) {
    this.#originOf = originOf;
  }

  /** Where the pages of a mapping are counted. */
  tableOf(mapping: PagedataMapping): AgainCounts {
    const { pageSize } = mapping;
    const origin = this.#originOf(mapping);
    let table = this.#tables.find((one) =>
      one.origin === origin && one.pageSize === pageSize
    );
    if (!table) {
      const pages = new Int32Array(MOMENTS);
      const pairs = pairsOf(`${origin} ${pageSize}`);
      this.#tables.push(table = { origin, pageSize, pages, pairs });
    }
    this.#inUse.add(table);
    return table;
  }

  /**
   * Begins a reading.
   *
   * @param uncounted the moment of the pages that were in use in the interval before.
   */
  begin(uncounted: number): void {
    this.uncounted = uncounted;
    for (const { pages } of this.#tables) pages.fill(0);
    this.back.fill(0);
    this.returned = 0;
    this.kept = 0;
    this.hasLarge = false;
  }

  /**
   * Ends a reading.
   *
   * @param isKnown whether pages had a moment before the reading.
   */
  end(isKnown: (moment: number) => boolean): void {
    const { uncounted } = this;
    const moments = Array.from({ length: MOMENTS }, (_, moment) => moment)
      .filter((moment) => moment === uncounted || isKnown(moment));
    for (const { pages, pairs } of this.#inUse) {
      for (const second of moments) {
        for (const first of moments) {
          const count = pairs[first | second << 8];
          if (count === 0) continue;
          pages[first] += count;
          pages[second] += count;
          pairs[first | second << 8] = 0;
        }
      }
      pages[uncounted] = 0;
    }
    this.#inUse.clear();
  }

  /** The counts of the last reading. */
  get counts(): Iterable<Omit<AgainCounts, "pairs">> {
    return this.#tables;
  }
}

/** Goes through the large pages of a reading, in address order. */
export class LargePageCursor {
  readonly #offsets: Uint32Array;
  readonly #counts: Uint32Array;
  #at = 0;

  constructor({ largePages }: Pick<Pagedata, "largePages">) {
    this.#offsets = largePages?.offsets ?? NONE;
    this.#counts = largePages?.counts ?? NONE;
  }

  /** The number of pages in the large page that was last found. */
  get count(): number {
    return this.#counts[this.#at - 1];
  }

  /**
   * Finds the next large page of a range of recorded pages; ranges are in ascending order.
   *
   * @returns the index of its first page; -1 if there is none.
   */
  next(from: number, end: number): number {
    const offsets = this.#offsets;
    while (this.#at < offsets.length && offsets[this.#at] < from) this.#at++;
    if (this.#at === offsets.length || offsets[this.#at] >= end) return -1;
    return offsets[this.#at++];
  }
}

const NONE = new Uint32Array(0);
