/**
 * What is known of the references of a process, by blocks of its address space: how
 * many pages have their reference bit set, and since when that means something.
 *
 * A table has a row for each block with pages in memory, in address order. There are at
 * most {@linkcode MOST_BLOCKS}: where a process spreads its memory over more, all blocks
 * become larger.
 *
 * @module
 */

import type { PageSink } from "./page_queue.ts";
import type { PageInterval } from "./page_tables.ts";

/** Pages of the smallest block. A large page of 2 MiB is in one, so advice never splits it. */
const BLOCK_PAGES = 512;
export const PAGE_SIZE = 4096;

/** The most blocks of a process: 32 GiB in the smallest blocks. */
export const MOST_BLOCKS = 16_384;

/** How soon after a reset a block is reset again, at the earliest, in milliseconds. */
const SHORTEST_REST = 4_000;
/** How often that time is doubled at most: to 256 s. */
const MOST_CALM = 6;

/** No part of the block has been judged since observation began. */
const UNJUDGED = 1;
/** The block was reset after the reading before. */
const RESET = 2;
/** The block is to be reset now. */
const CHOSEN = 4;

/** The blocks of one reading, in address order. */
class BlockTable {
  count = 0;
  /** The number of each block: its first page divided by its pages. */
  number = new Float64Array(16);
  /** When it was last reset, in milliseconds; -Infinity if it was not. */
  resetAt = new Float64Array(16);
  /** Pages whose bits are set; a large page counts once. */
  referenced = new Uint32Array(16);
  /** Those of them that cooling does not reset. */
  fixed = new Uint32Array(16);
  /** The others, with a large page as many. */
  pages = new Uint32Array(16);
  /** Pages whose bits were set, and paid for, before. */
  paid = new Uint32Array(16);
  /** How many bits the last reset cleared. */
  cleared = new Uint32Array(16);
  /** How often in a row the block was found in use again. */
  calm = new Uint8Array(16);
  flags = new Uint8Array(16);

  /** Adds an empty row. */
  add(number: number): number {
    const at = this.count++;
    if (at === this.number.length) this.#grow();
    this.number[at] = number;
    this.referenced[at] = this.fixed[at] = this.pages[at] = 0;
    return at;
  }

  #grow(): void {
    const length = this.number.length * 2;
    const longer = <T extends { set(from: T): void }>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    this.number = longer(this.number, new Float64Array(length));
    this.resetAt = longer(this.resetAt, new Float64Array(length));
    this.referenced = longer(this.referenced, new Uint32Array(length));
    this.fixed = longer(this.fixed, new Uint32Array(length));
    this.pages = longer(this.pages, new Uint32Array(length));
    this.paid = longer(this.paid, new Uint32Array(length));
    this.cleared = longer(this.cleared, new Uint32Array(length));
    this.calm = longer(this.calm, new Uint8Array(length));
    this.flags = longer(this.flags, new Uint8Array(length));
  }

  /** Makes blocks twice as large. What is known of two becomes the lesser knowledge. */
  coarsen(): void {
    let last = -1;
    for (let at = 0; at < this.count; at++) {
      const number = Math.floor(this.number[at] / 2);
      if (last < 0 || this.number[last] !== number) {
        this.number[++last] = number;
        this.resetAt[last] = this.resetAt[at];
        this.referenced[last] = this.referenced[at];
        this.fixed[last] = this.fixed[at];
        this.pages[last] = this.pages[at];
        this.paid[last] = this.paid[at];
        this.cleared[last] = this.cleared[at];
        this.calm[last] = this.calm[at];
        this.flags[last] = this.flags[at];
        continue;
      }
      this.resetAt[last] = Math.min(this.resetAt[last], this.resetAt[at]);
      this.referenced[last] += this.referenced[at];
      this.fixed[last] += this.fixed[at];
      this.pages[last] += this.pages[at];
      this.paid[last] += this.paid[at];
      this.cleared[last] += this.cleared[at];
      this.calm[last] = Math.min(this.calm[last], this.calm[at]);
      const both = this.flags[last] & this.flags[at];
      const either = this.flags[last] | this.flags[at];
      this.flags[last] = either & UNJUDGED | both & RESET;
    }
    this.count = last + 1;
  }
}

/** The blocks of one process, from reading to reading. */
export class ReferenceBlocks implements PageSink {
  #known = new BlockTable();
  #now = new BlockTable();
  /** Pages of a block. */
  #blockPages = BLOCK_PAGES;
  /** The pages of each interval that may be cooled: the first, and the page after the last. */
  #firstToCool = new Float64Array(16);
  #endToCool = new Float64Array(16);
  /** How many intervals there are. */
  #intervals = 0;
  /** The row that was last added to. */
  #row = -1;
  /** Whether observation has begun since the last reading. */
  #isFirst = true;
  /** When all was reset without a reading, if observation began so. */
  #allResetAt: number | undefined;
  #unjudged = 0;
  #referenced = 0;
  /** Sort keys of the blocks that may be reset. */
  #keys = new Float64Array(16);

  /** Pages whose bits were set when they were last read; a large page counts once. */
  get referenced(): number {
    return this.#referenced;
  }

  /** Size of what looks in use, but was not reset and read since observation began, in bytes. */
  get unjudged(): number {
    return this.#unjudged;
  }

  /** Size of what looks in use in blocks that were last reset before a time, in bytes. */
  unresetSince(time: number): number {
    const { resetAt, pages, count } = this.#known;
    let unreset = 0;
    for (let at = 0; at < count; at++) {
      if (resetAt[at] < time) unreset += pages[at];
    }
    return unreset * PAGE_SIZE;
  }

  /**
   * Begins an observation: nothing is judged. What was paid for stays so.
   *
   * @param allResetAt when all references were reset, if they were.
   */
  begin(allResetAt?: number): void {
    const { flags, resetAt, count } = this.#known;
    if (allResetAt === undefined) {
      flags.fill(UNJUDGED, 0, count);
      resetAt.fill(-Infinity, 0, count);
    } else this.noteAllReset(allResetAt);
    this.#isFirst = true;
    this.#allResetAt = allResetAt;
    this.#unjudged = 0;
  }

  /**
   * Begins a reading.
   *
   * @param intervals what will be read, in address order.
   * @param mayCool whether the pages of an interval may be cooled; all by default.
   */
  startReading(
    intervals: readonly PageInterval[],
    mayCool: (interval: number) => boolean = () => true,
  ): void {
    this.#now.count = 0;
    this.#row = -1;
    if (this.#firstToCool.length < intervals.length) {
      this.#firstToCool = new Float64Array(intervals.length);
      this.#endToCool = new Float64Array(intervals.length);
    }
    this.#intervals = intervals.length;
    for (const [at, { firstPage, endPage }] of intervals.entries()) {
      this.#firstToCool[at] = firstPage;
      this.#endToCool[at] = mayCool(at) ? endPage : firstPage;
    }
  }

  addPages(interval: number, page: number, bits: Uint8Array): void {
    // REFERENCED is 2, the highest of the bits.
    let referenced = 0;
    for (let i = 0; i < bits.length; i++) referenced += bits[i] >> 1;
    this.#add(interval, page, referenced, referenced);
  }

  addLargePage(
    interval: number,
    page: number,
    { count, bits }: { count: number; bits: number },
  ): void {
    const referenced = bits >> 1;
    this.#add(interval, page, referenced, referenced * count);
  }

  passOver(
    _interval: number,
    page: number,
    { referenced }: { referenced: number },
  ): void {
    const row = this.#rowOf(page);
    this.#now.referenced[row] += referenced;
    this.#now.fixed[row] += referenced;
  }

  #add(interval: number, page: number, referenced: number, pages: number) {
    const row = this.#rowOf(page);
    const table = this.#now;
    table.referenced[row] += referenced;
    if (this.#firstToCool[interval] < this.#endToCool[interval]) {
      table.pages[row] += pages;
    } else table.fixed[row] += referenced;
  }

  /** Returns the row of the block of a page. */
  #rowOf(page: number): number {
    const table = this.#now;
    for (;;) {
      const number = Math.floor(page / this.#blockPages);
      if (this.#row >= 0 && table.number[this.#row] === number) {
        return this.#row;
      }
      if (table.count < MOST_BLOCKS) return this.#row = table.add(number);
      this.#blockPages *= 2;
      table.coarsen();
      this.#known.coarsen();
      this.#row = table.count - 1;
    }
  }

  /**
   * Ends a reading, and adds it to what is known.
   *
   * @param judges whether blocks that were reset are judged by it.
   * @returns how many pages were referenced, since the reading before, whose bits had
   * been reset. Pages in blocks that are new count as new.
   */
  endReading(now: number, judges: boolean): number {
    const [known, table] = [this.#known, this.#now];
    const wasReset = this.#isFirst && this.#allResetAt !== undefined;
    let paid = 0;
    let unjudged = 0;
    this.#referenced = 0;
    for (let at = 0, old = 0; at < table.count; at++) {
      while (old < known.count && known.number[old] < table.number[at]) old++;
      const referenced = table.referenced[at];
      this.#referenced += referenced;
      table.paid[at] = referenced;
      if (old < known.count && known.number[old] === table.number[at]) {
        paid += Math.max(0, referenced - known.paid[old]);
        table.resetAt[at] = known.resetAt[old];
        table.cleared[at] = known.cleared[old];
        table.calm[at] = known.calm[old];
        table.flags[at] = known.flags[old] & ~CHOSEN;
        if (judges && table.flags[at] & RESET) judge(table, at);
      } else {
        if (wasReset) paid += referenced;
        // What is new was referenced when it became resident.
        const isUnknown = this.#isFirst && !wasReset;
        table.resetAt[at] = isUnknown ? -Infinity : this.#allResetAt ?? now;
        table.cleared[at] = 0;
        table.calm[at] = 0;
        table.flags[at] = isUnknown ? UNJUDGED : 0;
      }
      if (table.flags[at] & UNJUDGED) unjudged += table.pages[at];
    }
    this.#known = table;
    this.#now = known;
    this.#isFirst = false;
    this.#allResetAt = undefined;
    this.#unjudged = unjudged * PAGE_SIZE;
    return paid;
  }

  /** Chooses all blocks that can be cooled. */
  chooseAll(): void {
    const { flags, count } = this.#known;
    for (let at = 0; at < count; at++) {
      if (canCool(this.#known, at)) flags[at] |= CHOSEN;
    }
  }

  /**
   * Chooses the blocks to cool: those whose turn came first, until a number of pages
   * is reached. The last one may exceed it.
   *
   * @returns how many pages have their bits set in the blocks chosen.
   */
  choose(most: number, now: number): number {
    const table = this.#known;
    if (this.#keys.length < table.count) {
      this.#keys = new Float64Array(table.number.length);
    }
    const keys = this.#keys;
    let due = 0;
    for (let at = 0; at < table.count; at++) {
      if (!canCool(table, at)) continue;
      const rest = SHORTEST_REST * 2 ** table.calm[at];
      // In tenths of a second, so that the key is exact: 31 bits, and 14 of the row.
      const late = Math.floor((now - table.resetAt[at] - rest) / 100);
      if (late < 0) continue;
      keys[due++] = (LATEST - Math.min(late, LATEST)) * MOST_BLOCKS + at;
    }
    const sorted = keys.subarray(0, due).sort();
    let chosen = 0;
    for (let i = 0; i < due && chosen < most; i++) {
      const at = sorted[i] % MOST_BLOCKS;
      table.flags[at] |= CHOSEN;
      chosen += table.referenced[at] - table.fixed[at];
    }
    return chosen;
  }

  /** Notes that the chosen blocks were cooled. */
  noteCooled(now: number): void {
    const table = this.#known;
    for (let at = 0; at < table.count; at++) {
      if (!(table.flags[at] & CHOSEN)) continue;
      table.cleared[at] = table.referenced[at] - table.fixed[at];
      table.paid[at] = table.fixed[at];
      this.#noteReset(at, now);
    }
  }

  /** Notes that all bits were reset. */
  noteAllReset(now: number): void {
    const table = this.#known;
    for (let at = 0; at < table.count; at++) {
      table.cleared[at] = table.referenced[at];
      table.paid[at] = 0;
      this.#noteReset(at, now);
    }
  }

  #noteReset(at: number, now: number): void {
    this.#known.resetAt[at] = now;
    this.#known.flags[at] = this.#known.flags[at] & ~CHOSEN | RESET;
  }

  /**
   * Yields the ranges of the chosen blocks that may be cooled, in lists of limited
   * length and sum. Adjacent ones of a mapping are one range.
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
    for (const { first, end } of this.#chosenRanges()) {
      for (let page = first; page < end;) {
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

  /** Yields the pages of chosen blocks that may be cooled, in address order. */
  *#chosenRanges(): Generator<{ first: number; end: number }> {
    const { number, flags, count } = this.#known;
    const blockPages = this.#blockPages;
    let at = 0;
    for (let interval = 0; interval < this.#intervals; interval++) {
      const firstPage = this.#firstToCool[interval];
      const endPage = this.#endToCool[interval];
      if (firstPage >= endPage) continue;
      while (at < count && (number[at] + 1) * blockPages <= firstPage) at++;
      let first = -1;
      let end = -1;
      for (let row = at; row < count; row++) {
        const block = number[row] * blockPages;
        if (block >= endPage) break;
        if (!(flags[row] & CHOSEN)) continue;
        if (end !== block) {
          if (first < end) yield { first, end };
          first = Math.max(block, firstPage);
        }
        end = Math.min(block + blockPages, endPage);
      }
      if (first < end) yield { first, end };
    }
  }
}

/** How late a block can be, in tenths of a second. */
const LATEST = 2 ** 31;

/** Whether cooling would reset bits of a block. */
function canCool({ referenced, fixed }: BlockTable, at: number): boolean {
  return referenced[at] > fixed[at];
}

/** Judges a block that was reset: if most of it is in use again, it rests for longer. */
function judge(table: BlockTable, at: number): void {
  const cleared = table.cleared[at];
  const isInUse = cleared > 0 && table.referenced[at] * 2 >= cleared;
  table.calm[at] = isInUse ? Math.min(table.calm[at] + 1, MOST_CALM) : 0;
  table.flags[at] &= ~(RESET | UNJUDGED);
}
