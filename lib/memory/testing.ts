/**
 * Support for the scanner's tests: address spaces drawn as text, and a simulated
 * process.
 *
 * @module
 */

import { ProcessError } from "../errors.ts";
import { MA_ANON, MA_READ, MA_WRITE } from "./mapping_flags.ts";
import { type Pagedata, PagedataBuilder } from "./pagedata.ts";
import type {
  PageoutControl,
  PageoutResult,
  PageRange,
  ProcessMemory,
  ProcessSizes,
  Residency,
} from "./process_memory.ts";

/** Default page size of a drawn mapping, in bytes. */
export const PAGE = 4096;

/** A mapping and its pages, drawn as text. */
export interface DrawnMapping {
  readonly start: bigint;
  /**
   * One character per page: a digit for a recorded page (its bits, 0 to 3), a dot
   * for a page that is not resident. A bar is not a page; it ends a run.
   */
  readonly pages: string;
  /** The default is {@linkcode PAGE}. */
  readonly pageSize?: number;
  /** The default is private, anonymous, readable and writable. */
  readonly flags?: number;
}

/** The pagedata that a drawing shows. */
export function pagedataOf(mappings: readonly DrawnMapping[]): Pagedata {
  const builder = new PagedataBuilder();
  for (const mapping of mappings) {
    const { start, pageSize = PAGE, flags = MA_READ | MA_WRITE | MA_ANON } =
      mapping;
    builder.addMapping({ start, pages: pageCount(mapping), pageSize, flags });
    let page = 0;
    for (const part of mapping.pages.split("|")) {
      for (const { 0: run, index } of part.matchAll(/[0-3]+/g)) {
        builder.addBits(page + index, Uint8Array.from(run, Number));
      }
      page += part.length;
    }
  }
  return builder.build();
}

/** Draws the pages of every mapping, without bars. */
export function drawingOf(pagedata: Pagedata): string[] {
  const { bits, runPage, runOffset } = pagedata;
  return pagedata.mappings.map((mapping) => {
    let drawing = "";
    for (let run = mapping.firstRun; run < mapping.endRun; run++) {
      drawing = drawing.padEnd(runPage[run], ".") +
        bits.subarray(runOffset[run], runOffset[run + 1]).join("");
    }
    return drawing.padEnd(mapping.pages, ".");
  });
}

/** A mapping of a {@linkcode FakeMemory}. */
export interface FakeMapping extends DrawnMapping {
  /** The result of page-outs; the default is `done`. Only `done` frees pages. */
  readonly outcome?: "done" | "busy" | "failed";
}

/** A process whose address space is a drawing. */
export class FakeMemory implements ProcessMemory {
  readonly pid: number;
  /**
   * The current address space. A reading resets its digits, a page-out turns them
   * into dots.
   */
  mappings: readonly FakeMapping[];
  /** The result of `readResidency`. */
  residency: ReadonlyMap<bigint, Residency> | undefined = undefined;
  /** The most ranges that one page-out takes. */
  maxRanges = 1;
  /** Whether it is controlled. */
  controlled = false;
  /** The calls so far; page-outs with the ranges that were begun, in hexadecimal. */
  readonly calls: string[] = [];
  /**
   * Called before each call is answered, for a page-out before each range. The call
   * throws what it throws; a `ProcessError` makes a page-out fail.
   */
  onCall: (call: string) => void = () => {};

  constructor(pid: number, mappings: readonly FakeMapping[]) {
    this.pid = pid;
    this.mappings = mappings;
  }

  /** The page-outs among the calls, without the word. */
  get pageouts(): string[] {
    return this.calls.filter((call) => call.startsWith("pageOut "))
      .map((call) => call.slice("pageOut ".length));
  }

  readPagedata(): Promise<Pagedata> {
    return this.#answer("readPagedata", () => {
      const pagedata = pagedataOf(this.mappings);
      this.#redraw((pages) => pages.replaceAll(/[1-3]/g, "0"));
      return pagedata;
    });
  }

  closePagedata(): void {
    this.calls.push("closePagedata");
  }

  readResidency(): Promise<ReadonlyMap<bigint, Residency> | undefined> {
    return this.#answer("readResidency", () => this.residency);
  }

  readSizes(): ProcessSizes {
    this.#begin("readSizes");
    let rss = 0;
    let image = 0;
    for (const mapping of this.mappings) {
      const { pages, pageSize = PAGE } = mapping;
      rss += pages.replaceAll(/[^0-3]/g, "").length * pageSize;
      image += pageCount(mapping) * pageSize;
    }
    return { rss, image };
  }

  control(): Promise<PageoutControl> {
    return this.#answer("control", () => {
      this.controlled = true;
      return {
        maxRanges: this.maxRanges,
        pageOut: (ranges: readonly PageRange[], signal?: AbortSignal) =>
          this.#pageOutAll(ranges, signal),
        [Symbol.dispose]: () => {
          this.calls.push("release");
          this.controlled = false;
        },
      };
    });
  }

  // A promise's executor turns an exception of the call into a rejection.
  #answer<T>(call: string, answer: () => T): Promise<T> {
    return new Promise((resolve) => {
      this.#begin(call);
      resolve(answer());
    });
  }

  #begin(call: string): void {
    this.calls.push(call);
    this.onCall(call);
  }

  #pageOutAll(
    ranges: readonly PageRange[],
    signal: AbortSignal | undefined,
  ): Promise<PageoutResult[]> {
    return new Promise((resolve) => {
      if (!this.controlled) throw new Error("paged out without control");
      if (ranges.length > this.maxRanges) throw new Error("too many ranges");
      const results: PageoutResult[] = [];
      for (const range of ranges) {
        if (signal?.aborted || results.at(-1)?.result === "failed") break;
        results.push(this.#pageOut(range));
      }
      const begun = ranges.slice(0, results.length).map(hexRange);
      this.calls.push(`pageOut ${begun.join(" ")}`);
      resolve(results);
    });
  }

  #pageOut(range: PageRange): PageoutResult {
    try {
      this.onCall(`pageOut ${hexRange(range)}`);
    } catch (error) {
      if (!(error instanceof ProcessError)) throw error;
      return { result: "failed", message: error.message };
    }
    const mapping = this.mappings.find(({ start }) =>
      start === range.mappingStart
    );
    // A mapping of an earlier reading may no longer exist.
    if (!mapping) return { result: "busy", message: "not mapped" };
    const { start, pageSize = PAGE, outcome = "done" } = mapping;
    if (outcome === "done") {
      const firstPage = Number((range.start - start) / BigInt(pageSize));
      const endPage = Number((range.end - start) / BigInt(pageSize));
      let page = 0;
      this.#redraw((pages, drawn) =>
        drawn !== mapping ? pages : pages.replaceAll(/[^|]/g, (character) => {
          const gone = firstPage <= page && page < endPage;
          page++;
          return gone ? "." : character;
        })
      );
    }
    return { result: outcome };
  }

  #redraw(redraw: (pages: string, mapping: FakeMapping) => string): void {
    this.mappings = this.mappings.map((mapping) => ({
      ...mapping,
      pages: redraw(mapping.pages, mapping),
    }));
  }
}

/** Length of a mapping in pages. */
function pageCount({ pages }: DrawnMapping): number {
  return pages.replaceAll("|", "").length;
}

function hexRange({ start, end }: PageRange): string {
  return `${start.toString(16)}-${end.toString(16)}`;
}
