/**
 * The memory of a process that plays a recording: it uses its pages as it did then, and
 * those that a policy has paged out come back when they are used.
 *
 * A page that was used in two intervals in a row is used all the time in the second one;
 * one that was not used in the interval before is used once, at some time in it.
 *
 * @module
 */

import {
  endOffset,
  firstOffset,
  type Pagedata,
  type PagedataMapping,
} from "../memory/pagedata.ts";
import type {
  PageoutControl,
  PageoutResult,
  PageRange,
  ProcessSizes,
  Residency,
} from "../memory/process_memory.ts";
import type {
  Footprint,
  MappingFigures,
  MonitoredMemory,
  PagedataPurpose,
} from "../platform/platform.ts";
import { unitOf } from "../scanner/moves.ts";
import { BLOCK, ones, PageBits, WORDS } from "./page_bits.ts";
import type { RecordedMapping, RecordedProcess } from "./records.ts";

/** In how many parts an interval is played. */
export const PARTS = 20;
/** The most ranges that a page-out takes. */
const RANGES = 64;

/** The pages of a process that plays a recording. */
export class ReplayedPages {
  mappings: readonly RecordedMapping[] = [];
  /** The pages in memory, and those used since the last reset. */
  readonly #now = new PageBits();
  /** The pages that are out; of the first kind of bits. */
  readonly #out = new PageBits();
  /** The pages that are used all the time in the interval, and those used once. */
  readonly #plan = new PageBits();
  /** How many pages were paged out, and came back, so far. */
  pagedOut = 0;
  refaults = 0;
  /** Whether pages were used since the last reading. */
  hasRun = true;
  /** The part of the process that cannot go, in bytes. */
  #fixed = 0;
  #played = 0;

  /** Begins an interval, in which the process does what a step says. */
  begin({ bits, mappings, figures }: RecordedProcess): void {
    this.finish();
    this.mappings = mappings;
    this.#fixed = Math.max(0, figures.size - bits.bytes.resident);
    const [now, out, plan] = [this.#now, this.#out, this.#plan];
    for (const gone of now.numbers.filter((one) => bits.placeOf(one) < 0)) {
      now.remove(gone);
      out.remove(gone);
      plan.remove(gone);
    }
    for (const number of bits.numbers) {
      const from = bits.placeOf(number);
      const [at, away, planned] = [now, out, plan].map((one) =>
        one.place(number)
      );
      for (let word = 0; word < WORDS; word++) {
        const resident = bits.words[from + word];
        const used = bits.words[from + word + WORDS];
        out.words[away + word] &= resident;
        now.words[at + word] = resident & ~out.words[away + word];
        now.words[at + word + WORDS] &= resident;
        const before = plan.words[planned + word] |
          plan.words[planned + word + WORDS];
        plan.words[planned + word] = used & before;
        plan.words[planned + word + WORDS] = used & ~before;
      }
    }
    this.#played = 0;
  }

  /** Plays an interval up to one of its {@linkcode PARTS}. */
  playTo(part: number): void {
    for (; this.#played < part; this.#played++) this.#play(this.#played);
  }

  /** Plays the rest of the interval. */
  finish(): void {
    this.playTo(PARTS);
  }

  #play(part: number): void {
    const [now, out, plan] = [this.#now, this.#out, this.#plan];
    for (const number of plan.numbers) {
      const planned = plan.placeOf(number);
      const [at, away] = [now.placeOf(number), out.placeOf(number)];
      // Neighbours are used together, and blocks at different times.
      const shift = number * 7 % PARTS;
      for (let word = 0; word < WORDS; word++) {
        let used = plan.words[planned + word];
        if ((word + shift) % PARTS === part) {
          used |= plan.words[planned + word + WORDS];
        }
        if (used === 0) continue;
        const back = used & out.words[away + word];
        if (back !== 0) {
          this.refaults += ones(back);
          out.words[away + word] &= ~back;
        }
        now.words[at + word] |= used;
        now.words[at + word + WORDS] |= used;
        this.hasRun = true;
      }
    }
  }

  /** The size of the process, in bytes. */
  get size(): number {
    return this.#fixed + this.#now.bytes.resident;
  }

  /** The size of its pages that are out, in bytes. */
  get out(): number {
    return this.#out.bytes.resident;
  }

  read(): Pagedata {
    this.hasRun = false;
    return this.#now.pagedata(this.mappings);
  }

  /** Makes all pages look unused. */
  reset(): void {
    const { words, numbers } = this.#now;
    for (const number of numbers) {
      const place = this.#now.placeOf(number);
      words.fill(0, place + WORDS, place + 2 * WORDS);
    }
  }

  /** Pages out what of a range is in memory. */
  pageOut({ start, end }: PageRange): void {
    const [now, out] = [this.#now, this.#out];
    const last = unitOf(end);
    for (let unit = unitOf(start); unit < last;) {
      const number = Math.floor(unit / BLOCK);
      const blockStart = number * BLOCK;
      const blockEnd = Math.min(last, blockStart + BLOCK);
      const at = now.placeOf(number);
      if (at < 0) {
        unit = blockEnd;
        continue;
      }
      const away = out.place(number);
      for (; unit < blockEnd; unit++) {
        const word = unit - blockStart >>> 5;
        const bit = 1 << (unit - blockStart & 31);
        if (!(now.words[at + word] & bit)) continue;
        now.words[at + word] &= ~bit;
        now.words[at + word + WORDS] &= ~bit;
        out.words[away + word] |= bit;
        this.pagedOut++;
      }
    }
  }
}

/** The memory of a process that plays a recording, as policies use it. */
export class ReplayedMemory implements MonitoredMemory {
  readonly pid: number;
  readonly knowsProportional = true;
  readonly readCost = { pages: 0, seconds: 0 };
  readonly #pages: ReplayedPages;

  constructor(pid: number, pages: ReplayedPages) {
    this.pid = pid;
    this.#pages = pages;
  }

  checkAccess(): Promise<void> {
    return Promise.resolve();
  }

  reset(): Promise<void> {
    this.#pages.reset();
    return Promise.resolve();
  }

  refresh(): Promise<void> {
    return Promise.resolve();
  }

  readPagedata(): Promise<Pagedata> {
    return this.read("scan");
  }

  read(purpose: PagedataPurpose): Promise<Pagedata> {
    const pagedata = this.#pages.read();
    if (purpose === "scan" || purpose === "lend") this.#pages.reset();
    return Promise.resolve(pagedata);
  }

  closePagedata(): void {}

  hasRun(): boolean {
    return this.#pages.hasRun;
  }

  isAlone(): boolean {
    return true;
  }

  isHalted(): boolean {
    return false;
  }

  readSizes(): ProcessSizes {
    const { size } = this.#pages;
    return { rss: size, image: size + this.#pages.out };
  }

  readFootprint(): Promise<Footprint> {
    const { size } = this.#pages;
    return Promise.resolve({
      rss: size,
      fileRss: 0,
      proportional: size,
      fileProportional: 0,
    });
  }

  readSwap(): number {
    return this.#pages.out;
  }

  readResidency(): Promise<ReadonlyMap<bigint, Residency>> {
    const { mappings } = this.#pages;
    const pagedata = this.#pages.read();
    return Promise.resolve(
      new Map(
        pagedata.mappings.map((mapping, at) => {
          const { start, pages, pageSize } = mapping;
          const pageable = pagesOf(pagedata, mapping);
          return [start, {
            start,
            bytes: pages * pageSize,
            pageable,
            toSwap: mappings[at].isFile ? 0 : pageable,
          }];
        }),
      ),
    );
  }

  readMappings(): Promise<MappingFigures[]> {
    const { mappings } = this.#pages;
    const pagedata = this.#pages.read();
    return Promise.resolve(
      pagedata.mappings.map((mapping, at) => {
        const { isFile, name } = mappings[at];
        const { start, pages, pageSize } = mapping;
        const rss = pagesOf(pagedata, mapping) * pageSize;
        return {
          start,
          end: start + BigInt(pages * pageSize),
          perm: isFile ? "r--p" : "rw-p",
          name,
          pageSize,
          rss,
          own: rss,
          proportional: rss,
          pinned: 0,
          anonymous: isFile ? 0 : rss,
          swapped: 0,
          locked: 0,
          referenced: 0,
          modified: 0,
          pageable: rss,
          toSwap: isFile ? 0 : rss,
          reason: undefined,
        };
      }),
    );
  }

  readPageStates(): Promise<Uint8Array> {
    throw new Error("policies do not ask for the states of pages");
  }

  control(): Promise<PageoutControl> {
    return Promise.resolve({
      maxRanges: RANGES,
      pageOut: (ranges, signal) => {
        const results: PageoutResult[] = [];
        for (const range of ranges) {
          if (signal?.aborted) break;
          this.#pages.pageOut(range);
          results.push({ result: "done" });
        }
        return Promise.resolve(results);
      },
      [Symbol.dispose]() {},
    });
  }
}

/** How many pages of a mapping are recorded. */
function pagesOf(pagedata: Pagedata, mapping: PagedataMapping): number {
  return endOffset(pagedata, mapping) - firstOffset(pagedata, mapping);
}
