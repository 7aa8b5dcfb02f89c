/**
 * Passes the present pages of page tables to a sink: leaf tables are copied many at
 * a time.
 *
 * @module
 */

import { MODIFIED, REFERENCED } from "../../memory/pagedata.ts";
import { ENTRIES as LEAF_PAGES } from "./count_pages.ts";
import { BATCH, type KernelMemory, PAGE_WORDS } from "./kernel_memory.ts";
import type { PassedOver } from "./passed_over.ts";
import { type Geometry, type Halves, pointTo } from "./table_path.ts";

/** Receives the present pages, interval by interval, in address order. */
export interface PageSink {
  /**
   * Receives consecutive pages.
   *
   * @param interval index of the interval they lie in.
   * @param page number of the first.
   * @param bits one byte per page; valid only during the call.
   */
  addPages(interval: number, page: number, bits: Uint8Array): void;
  /** Receives a large page, or a part of one: `count` pages with the same bits. */
  addLargePage(
    interval: number,
    page: number,
    { count, bits }: { count: number; bits: number },
  ): void;
  /**
   * Receives how many pages were left out, because a page-out passes over them: of one
   * leaf table, or a large page.
   *
   * @param page number of one of them, or before them in the same table.
   */
  passOver(
    interval: number,
    page: number,
    counts: { pages: number; referenced: number },
  ): void;
}

/** Present pages on their way to the sink. */
export class PageQueue {
  readonly #memory: KernelMemory;
  readonly #geometry: Geometry;
  #sink!: PageSink;
  #passedOver: PassedOver | undefined;
  /** The copy for which `#marks` are right, and whether a mark of it is not 0. */
  #markedSlot = LARGE;
  #hasMarks = false;
  /** `PASSED` for the pages of a leaf table that are passed over. */
  readonly #marks = new Uint8Array(LEAF_PAGES);
  /** The result of {@linkcode bitsByFlags}. */
  readonly #bitsByFlags: Uint8Array;
  /** The bits of the pages of one leaf table. */
  readonly #bits = new Uint8Array(LEAF_PAGES);
  /** What is passed over, for the sink. */
  readonly #passed = { pages: 0, referenced: 0 };
  readonly #address: Halves = { low: 0, high: 0 };
  /** Parts of leaf tables and large pages, in order; one entry each in all arrays. */
  #count = 0;
  readonly #interval = new Int32Array(QUEUE);
  readonly #page = new Float64Array(QUEUE);
  readonly #end = new Float64Array(QUEUE);
  /** The index of the table's copy, or `LARGE`. */
  readonly #slot = new Int32Array(QUEUE);
  /** The bits of a large page. */
  readonly #largeBits = new Uint8Array(QUEUE);
  /** The number of tables to copy, and the entry that led to the last. */
  #tables = 0;
  #lastLow = 0;
  #lastHigh = 0;

  constructor(memory: KernelMemory, geometry: Geometry) {
    this.#memory = memory;
    this.#geometry = geometry;
    this.#bitsByFlags = bitsByFlags(geometry);
  }

  /** @param passedOver leaves out pages of a process that a page-out passes over. */
  start(sink: PageSink, passedOver: PassedOver | undefined): void {
    this.#sink = sink;
    this.#passedOver = passedOver;
    this.#count = 0;
    this.#tables = 0;
  }

  /** Queues pages of the leaf table that an entry leads to. */
  addLeaf(
    interval: number,
    page: number,
    end: number,
    { low, high }: { low: number; high: number },
  ): void {
    const isLast = this.#tables > 0 && low === this.#lastLow &&
      high === this.#lastHigh;
    if (this.#count === QUEUE || (!isLast && this.#tables === BATCH)) {
      this.flush();
    }
    if (!isLast || this.#tables === 0) {
      pointTo(this.#address, low, high, this.#geometry);
      const { addresses } = this.#memory;
      addresses[this.#tables * 2] = this.#address.low;
      addresses[this.#tables * 2 + 1] = this.#address.high;
      this.#tables++;
      this.#lastLow = low;
      this.#lastHigh = high;
    }
    this.#push(interval, page, end, this.#tables - 1, 0);
  }

  /** Queues a large page, or a part of one. */
  addLarge(
    interval: number,
    page: number,
    end: number,
    { low }: Halves,
  ): void {
    if (this.#count === QUEUE) this.flush();
    this.#push(interval, page, end, LARGE, this.#bitsByFlags[low & FLAGS]);
  }

  #push(
    interval: number,
    page: number,
    end: number,
    slot: number,
    bits: number,
  ): void {
    const at = this.#count++;
    this.#interval[at] = interval;
    this.#page[at] = page;
    this.#end[at] = end;
    this.#slot[at] = slot;
    this.#largeBits[at] = bits;
  }

  /** Passes all queued pages to the sink. */
  flush(): void {
    if (this.#tables > 0) this.#memory.copy(this.#tables);
    this.#markedSlot = LARGE;
    for (let at = 0; at < this.#count; at++) {
      const page = this.#page[at];
      const count = this.#end[at] - page;
      if (this.#slot[at] === LARGE) {
        if (this.#isLargePassedOver(page)) {
          const referenced = this.#largeBits[at] & REFERENCED ? 1 : 0;
          this.#passed.pages = count;
          this.#passed.referenced = referenced;
          this.#sink.passOver(this.#interval[at], page, this.#passed);
          continue;
        }
        const bits = this.#largeBits[at];
        this.#sink.addLargePage(this.#interval[at], page, { count, bits });
      } else {
        this.#readLeaf(this.#interval[at], page, count, this.#slot[at]);
      }
    }
    this.#count = 0;
    this.#tables = 0;
  }

  /** Finds the present pages of a leaf table. */
  #readLeaf(
    interval: number,
    page: number,
    count: number,
    slot: number,
  ): void {
    const at = slot * PAGE_WORDS + (page % LEAF_PAGES) * 2;
    if (this.#passedOver && this.#markSlot(slot, page)) {
      this.#readMarked(interval, page, count, at);
      return;
    }
    if (count === LEAF_PAGES && this.#takeFullLeaf(at)) {
      this.#sink.addPages(interval, page, this.#bits);
      return;
    }
    const { words } = this.#memory;
    const bits = this.#bits;
    let run = 0;
    for (let i = 0; i < count; i++) {
      const found = this.#bitsByFlags[words[at + i * 2] & FLAGS];
      if (found !== ABSENT) {
        bits[run++] = found;
      } else if (run > 0) {
        this.#sink.addPages(interval, page + i - run, bits.subarray(0, run));
        run = 0;
      }
    }
    if (run > 0) {
      this.#sink.addPages(interval, page + count - run, bits.subarray(0, run));
    }
  }

  /** Finds the present pages of a leaf table of which some are passed over. */
  #readMarked(
    interval: number,
    page: number,
    count: number,
    at: number,
  ): void {
    const { words } = this.#memory;
    const bits = this.#bits;
    const first = page % LEAF_PAGES;
    let passed = 0;
    let referenced = 0;
    let run = 0;
    for (let i = 0; i <= count; i++) {
      const found = i === count
        ? ABSENT
        : this.#bitsByFlags[words[at + i * 2] & FLAGS] | this.#marks[first + i];
      if (found < PASSED) {
        bits[run++] = found;
        continue;
      }
      if (found < ABSENT) {
        passed++;
        if (found & REFERENCED) referenced++;
      }
      if (run > 0) {
        this.#sink.addPages(interval, page + i - run, bits.subarray(0, run));
        run = 0;
      }
    }
    if (passed === 0) return;
    this.#passed.pages = passed;
    this.#passed.referenced = referenced;
    this.#sink.passOver(interval, page, this.#passed);
  }

  /**
   * Sets the marks of the pages of a leaf table.
   *
   * @param page any of them.
   * @returns Whether any is passed over.
   */
  #markSlot(slot: number, page: number): boolean {
    if (slot === this.#markedSlot) return this.#hasMarks;
    this.#markedSlot = slot;
    const table = Math.floor(page / LEAF_PAGES);
    return this.#hasMarks =
      this.#passedOver?.mark(table, this.#marks, PASSED) ?? false;
  }

  /** Whether a large page, or a part of one, is passed over. */
  #isLargePassedOver(page: number): boolean {
    const table = Math.floor(page / LEAF_PAGES);
    return this.#passedOver?.isLargePassedOver(table) ?? false;
  }

  /**
   * Reads the bits of a whole leaf table, four entries at a time, as if all its
   * pages were present.
   *
   * @returns Whether they are.
   */
  #takeFullLeaf(first: number): boolean {
    const { words } = this.#memory;
    const bitsByFlags = this.#bitsByFlags;
    const bits = this.#bits;
    let all = 0;
    for (let i = 0, at = first; i < LEAF_PAGES; i += 4, at += 8) {
      const a = bitsByFlags[words[at] & FLAGS];
      const b = bitsByFlags[words[at + 2] & FLAGS];
      const c = bitsByFlags[words[at + 4] & FLAGS];
      const d = bitsByFlags[words[at + 6] & FLAGS];
      all |= a | b | c | d;
      bits[i] = a;
      bits[i + 1] = b;
      bits[i + 2] = c;
      bits[i + 3] = d;
    }
    return (all & ABSENT) === 0;
  }
}

/** The most parts of tables and large pages that are queued. */
const QUEUE = 4 * BATCH;
const LARGE = -1;

/** The flags of an entry: the bits of its low half that are not part of the address. */
const FLAGS = 0xfff;

/** The value for a page that is absent or does not count towards RSS. */
const ABSENT = 0x80;

/** The mark of a page that is passed over: more than any bits, less than `ABSENT`. */
const PASSED = 0x40;

/** Returns the bits of a page, or `ABSENT`, for every combination of flags. */
function bitsByFlags({ layout }: Geometry): Uint8Array {
  const { present, special, accessedShift } = layout;
  return Uint8Array.from({ length: FLAGS + 1 }, (_, flags) => {
    if (!(flags & present) || flags & special) return ABSENT;
    const isAccessed = (flags >>> accessedShift & 1) !== 0;
    const isDirty = (flags >>> accessedShift & 2) !== 0;
    // A page that is dirty but not accessed was modified earlier.
    return (isAccessed && isDirty ? MODIFIED : 0) |
      (isAccessed ? REFERENCED : 0);
  });
}
