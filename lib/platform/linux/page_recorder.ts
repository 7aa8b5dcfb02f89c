/**
 * Records pages for the scanner, as exactly as the room allows.
 *
 * @module
 */

import { type Pagedata, PagedataBuilder } from "../../memory/pagedata.ts";

/** Size of the pages in a block, in bytes. */
const PAGE = 4096;
/** Pages in a block: as many as in a large page. */
const BLOCK_PAGES = 512;
/** Size of a block, in bytes. */
export const BLOCK = PAGE * BLOCK_PAGES;

/**
 * By step of coarseness: the size in bytes from which a mapping is recorded by the
 * block instead of by the page.
 */
const STEPS = [Infinity, 64 << 20, 2 * BLOCK] as const;

/** The highest step. */
export const COARSEST = STEPS.length - 1;

/**
 * The memory that one recorded page takes (its bits and moments, of two readings, and what
 * is kept of pages that have left), and that the start of a run takes in addition; in
 * units of eight bytes.
 */
const PAGE_UNITS = 1;
const RUN_UNITS = 3;

/** Bytes of a unit. */
export const UNIT_BYTES = 8;

/** A part of a mapping with one page size. */
export interface MappingPart {
  /** In bytes from the start of the mapping. */
  readonly offset: number;
  readonly pages: number;
  readonly pageSize: number;
}

/** Returns the parts in which a mapping is recorded: blocks, and the rest after them. */
export function partsOf(
  { pages, pageSize }: { pages: number; pageSize: number },
  step: number,
): MappingPart[] {
  const isByBlock = pageSize === PAGE && pages * PAGE >= STEPS[step];
  if (!isByBlock) return [{ offset: 0, pages, pageSize }];
  const blocks = Math.floor(pages / BLOCK_PAGES);
  const rest = pages % BLOCK_PAGES;
  const parts = [{ offset: 0, pages: blocks, pageSize: BLOCK }];
  if (rest > 0) parts.push({ offset: blocks * BLOCK, pages: rest, pageSize });
  return parts;
}

/**
 * Room beyond the expected pages, as a share of them: the kernel's counts of a
 * process's pages lag behind a little, and to make room later copies everything.
 */
const ROOM_SHARE = 1 / 64;

/** Limits of what is recorded. */
export interface RecorderLimits {
  /** In units of {@linkcode UNIT_BYTES}. */
  readonly most?: number;
  /** The step of coarseness, from 0 (exact) to {@linkcode COARSEST}. */
  readonly step?: number;
  /** The approximate number of pages to come. */
  readonly expectedPages?: number;
}

/**
 * A {@linkcode PagedataBuilder} with a limit. A block has the combined bits of its
 * pages and counts as recorded if any of them is.
 */
export class PageRecorder {
  readonly #most: number;
  readonly #step: number;
  readonly #builder: PagedataBuilder;
  /** Pages of the mapping, from its start on, that are recorded by the block. */
  #blockPages = 0;
  /** The rest of the mapping after them. */
  #rest: Parameters<PagedataBuilder["addMapping"]>[0] | undefined;
  /** The page, counted from the start of the mapping, that runs are relative to. */
  #firstPage = 0;
  /** The current block, not yet recorded; -1 for none. */
  #block = -1;
  #blockBits = 0;
  /** The page after those last added. */
  #nextPage = -1;
  #taken = 0;
  /** What all pages would take if recorded individually, in units. */
  wanted = 0;
  /** How many pages were left out because there was no room. */
  leftOut = 0;

  /** Without limits, every page is recorded exactly. */
  constructor(
    { most = Infinity, step = 0, expectedPages }: RecorderLimits = {},
  ) {
    this.#most = most;
    this.#step = step;
    const pages = expectedPages === undefined ? undefined : Math.min(
      Math.ceil(expectedPages * (1 + ROOM_SHARE)) + BLOCK_PAGES,
      step === 0 ? most : most / BLOCK_PAGES,
    );
    this.#builder = new PagedataBuilder(pages);
  }

  /** Starts the next mapping, as {@linkcode PagedataBuilder.addMapping} does. */
  addMapping(mapping: Parameters<PagedataBuilder["addMapping"]>[0]): void {
    this.#endMapping();
    const [part, rest] = partsOf(mapping, this.#step);
    const { pageSize } = part;
    this.#builder.addMapping({ ...mapping, pages: part.pages, pageSize });
    this.#blockPages = pageSize === mapping.pageSize
      ? 0
      : part.pages * BLOCK_PAGES;
    this.#rest = rest && {
      ...mapping,
      start: mapping.start + BigInt(rest.offset),
      pages: rest.pages,
    };
    this.#nextPage = -1;
  }

  /**
   * Adds recorded pages with the same bits to the mapping last added.
   *
   * @param page the first of them, counted from the start of the mapping.
   */
  addPages(
    page: number,
    { count, bits, isLarge }: {
      count: number;
      bits: number;
      /** Whether they are one large page. */
      isLarge?: boolean;
    },
  ): void {
    this.#count(page, count);
    let from = page;
    const end = page + count;
    if (from < this.#blockPages) {
      const to = Math.min(end, this.#blockPages);
      this.#addBlocks(from, to, bits);
      from = to;
    }
    if (from === end) return;
    this.#startRest();
    if (this.#hasRoom(from, end - from)) {
      this.#builder.addPages(from - this.#firstPage, {
        count: end - from,
        bits,
        isLarge,
      });
    }
  }

  /** Adds recorded pages with one byte each to the mapping last added. */
  addBits(page: number, bits: Uint8Array): void {
    if (page < this.#blockPages) {
      this.#addBitsByBlock(page, bits);
      return;
    }
    this.#count(page, bits.length);
    this.#startRest();
    if (this.#hasRoom(page, bits.length)) {
      this.#builder.addBits(page - this.#firstPage, bits);
    }
  }

  /** Builds the pagedata. The recorder must not be used afterwards. */
  build(): Pagedata {
    this.#endMapping();
    return this.#builder.build();
  }

  /** Counts what the pages would take individually. */
  #count(page: number, count: number): void {
    this.wanted += count * PAGE_UNITS +
      (page === this.#nextPage ? 0 : RUN_UNITS);
    this.#nextPage = page + count;
  }

  #hasRoom(page: number, count: number): boolean {
    if (this.#taken + count > this.#most) {
      this.leftOut += count;
      return false;
    }
    this.#taken += count * PAGE_UNITS +
      (page === this.#lastEnd ? 0 : RUN_UNITS);
    this.#lastEnd = page + count;
    return true;
  }
  /** The page after those last recorded. */
  #lastEnd = -1;

  #addBitsByBlock(page: number, bits: Uint8Array): void {
    for (let from = 0; from < bits.length;) {
      const block = Math.floor((page + from) / BLOCK_PAGES);
      const behind = page + from < this.#blockPages
        ? (block + 1) * BLOCK_PAGES - page
        : bits.length;
      const part = bits.subarray(from, Math.min(behind, bits.length));
      if (page + from >= this.#blockPages) {
        this.addBits(page + from, part);
        return;
      }
      this.#count(page + from, part.length);
      this.#addToBlock(block, part.reduce((all, one) => all | one, 0));
      from += part.length;
    }
  }

  #addBlocks(from: number, to: number, bits: number): void {
    const last = Math.ceil(to / BLOCK_PAGES) - 1;
    for (let block = Math.floor(from / BLOCK_PAGES); block <= last; block++) {
      this.#addToBlock(block, bits);
    }
  }

  #addToBlock(block: number, bits: number): void {
    if (block !== this.#block) this.#endBlock();
    this.#block = block;
    this.#blockBits |= bits;
  }

  #endBlock(): void {
    if (this.#block >= 0 && this.#hasRoom(this.#block, 1)) {
      this.#builder.addPages(this.#block, { count: 1, bits: this.#blockBits });
    }
    this.#block = -1;
    this.#blockBits = 0;
  }

  /** Starts the mapping of the rest after the blocks, if it is not started yet. */
  #startRest(): void {
    if (!this.#rest) return;
    this.#endBlock();
    this.#builder.addMapping(this.#rest);
    this.#rest = undefined;
    this.#firstPage = this.#blockPages;
    this.#lastEnd = -1;
  }

  #endMapping(): void {
    this.#startRest();
    this.#endBlock();
    this.#firstPage = 0;
    this.#lastEnd = -1;
  }
}
