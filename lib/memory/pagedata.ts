/**
 * Pagedata: per mapping of an address space, one byte a page that tells whether
 * the page was referenced or modified since the last reading.
 *
 * It is sparse. A mapping lists runs of recorded pages; a page in no run is not
 * resident and takes no memory. The bytes of all runs stand one after another in
 * a single array, in address order, so that counting and merging are plain loops
 * over typed arrays.
 *
 * @module
 */

import { SCHEDCTL_FLAGS } from "./mapping_flags.ts";

/** The page was modified. The value is illumos's `PG_MODIFIED` of `<sys/procfs.h>`. */
export const MODIFIED = 1;

/** The page was referenced. The value is illumos's `PG_REFERENCED` of `<sys/procfs.h>`. */
export const REFERENCED = 2;

/** A contiguous range of an address space with one page size and one set of flags. */
export interface PagedataMapping {
  /** Address of the first byte. */
  readonly start: bigint;
  /** Length in pages, recorded or not. */
  readonly pages: number;
  /** Page size in bytes. */
  readonly pageSize: number;
  /** `MA_*` bits of `./mapping_flags.ts`. */
  readonly flags: number;
  /** Its runs are those from `firstRun` up to, not including, `endRun`. */
  readonly firstRun: number;
  readonly endRun: number;
}

/** One reading of an address space, mappings in address order and without overlap. */
export interface Pagedata {
  readonly mappings: readonly PagedataMapping[];
  /** Per run: its first page, counted from the start of its mapping. */
  readonly runPage: Float64Array;
  /** Per run: where its bytes start in `bits`. One more entry holds the length of `bits`. */
  readonly runOffset: Uint32Array;
  /** Per recorded page: 0, or `REFERENCED` and `MODIFIED` or-ed. */
  readonly bits: Uint8Array;
}

/** Whether a mapping is illumos's schedctl page, which no walk visits. */
export function isSchedctl(mapping: PagedataMapping): boolean {
  return mapping.pages === 1 && mapping.flags === SCHEDCTL_FLAGS;
}

/** Address of the first byte behind a mapping. */
export function mappingEnd(mapping: PagedataMapping): bigint {
  return mapping.start + BigInt(mapping.pages) * BigInt(mapping.pageSize);
}

/** Length of a mapping in bytes, resident or not. */
export function mappingBytes(mapping: PagedataMapping): number {
  return mapping.pages * mapping.pageSize;
}

/** Where the bytes of a mapping's recorded pages begin in `bits`. */
export function firstOffset(
  pagedata: Pagedata,
  mapping: PagedataMapping,
): number {
  return pagedata.runOffset[mapping.firstRun];
}

/** Where the bytes of a mapping's recorded pages end in `bits`. */
export function endOffset(
  pagedata: Pagedata,
  mapping: PagedataMapping,
): number {
  return pagedata.runOffset[mapping.endRun];
}

/** Size of a mapping's recorded pages, in bytes. */
export function recordedBytes(
  pagedata: Pagedata,
  mapping: PagedataMapping,
): number {
  return (endOffset(pagedata, mapping) - firstOffset(pagedata, mapping)) *
    mapping.pageSize;
}

/** The run of a mapping that holds a page, or the first run above it; `endRun` above all. */
export function runAt(
  { runPage, runOffset }: Pagedata,
  { firstRun, endRun }: PagedataMapping,
  page: number,
): number {
  let low = firstRun;
  let high = endRun;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const end = runPage[middle] + runOffset[middle + 1] - runOffset[middle];
    if (end <= page) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** How many of the recorded pages of a mapping are neither referenced nor modified. */
export function countUnreferenced(
  pagedata: Pagedata,
  mapping: PagedataMapping,
): number {
  const { bits } = pagedata;
  const end = endOffset(pagedata, mapping);
  let count = 0;
  for (let at = firstOffset(pagedata, mapping); at < end; at++) {
    // 1 for a byte of 0, else 0, and no branch to mispredict.
    count += 1 >> bits[at];
  }
  return count;
}

/** Size of all unreferenced pages, in bytes. Does not touch the bits. */
export function unreferencedBytes(pagedata: Pagedata): number {
  let bytes = 0;
  for (const mapping of pagedata.mappings) {
    bytes += countUnreferenced(pagedata, mapping) * mapping.pageSize;
  }
  return bytes;
}

/** Whether any recorded page of a mapping is referenced or modified. */
export function isReferenced(
  pagedata: Pagedata,
  mapping: PagedataMapping,
): boolean {
  const { bits } = pagedata;
  const end = endOffset(pagedata, mapping);
  for (let at = firstOffset(pagedata, mapping); at < end; at++) {
    if (bits[at] !== 0) return true;
  }
  return false;
}

/** How many recorded pages of a mapping have a bit, `REFERENCED` or `MODIFIED`, or either of both. */
export function countPages(
  pagedata: Pagedata,
  mapping: PagedataMapping,
  bit: number,
): number {
  const { bits } = pagedata;
  const end = endOffset(pagedata, mapping);
  let count = 0;
  for (let at = firstOffset(pagedata, mapping); at < end; at++) {
    count += (bits[at] & bit) !== 0 ? 1 : 0;
  }
  return count;
}

/** The bits of some pages of a mapping, a byte a page; 0 for pages not recorded. */
export function bitsOfPages(
  { bits, runPage, runOffset }: Pagedata,
  { firstRun, endRun }: PagedataMapping,
  { from, to }: { from: number; to: number },
): Uint8Array {
  const result = new Uint8Array(to - from);
  for (let run = firstRun; run < endRun; run++) {
    const page = runPage[run];
    const length = runOffset[run + 1] - runOffset[run];
    const first = Math.max(page, from);
    const end = Math.min(page + length, to);
    if (first >= end) continue;
    const offset = runOffset[run] - page;
    result.set(bits.subarray(offset + first, offset + end), first - from);
  }
  return result;
}

/** Forgets every reference, so that every recorded page counts as unreferenced. */
export function clearBits(pagedata: Pagedata): void {
  pagedata.bits.fill(0);
}

/** Builds a {@linkcode Pagedata} front to back, in address order. */
export class PagedataBuilder {
  #mappings: (PagedataMapping & { endRun: number })[] = [];
  #runPage = new Float64Array(64);
  #runOffset = new Uint32Array(65);
  #runs = 0;
  #bits: Uint8Array<ArrayBuffer>;
  #length = 0;
  /** The page behind the run last added. */
  #nextPage = 0;

  /** @param expectedPages how many recorded pages to make room for to begin with. */
  constructor(expectedPages = 4096) {
    this.#bits = new Uint8Array(expectedPages);
  }

  /**
   * Starts the next mapping; the runs that follow are its.
   *
   * @throws RangeError when it starts before the end of the mapping before it.
   */
  addMapping(
    mapping: Pick<PagedataMapping, "start" | "pages" | "pageSize" | "flags">,
  ): void {
    const before = this.#mappings.at(-1);
    if (before && mapping.start < mappingEnd(before)) {
      throw new RangeError(
        `mapping at 0x${mapping.start.toString(16)} is out of address order`,
      );
    }
    const { start, pages, pageSize, flags } = mapping;
    const run = this.#runs;
    this.#mappings.push({
      start,
      pages,
      pageSize,
      flags,
      firstRun: run,
      endRun: run,
    });
  }

  /**
   * Adds `count` recorded pages to the mapping last added, all with the same bits.
   *
   * @param page the first of them, counted from the start of the mapping; not
   * before the end of the run before it.
   */
  addPages(page: number, { count, bits }: { count: number; bits: number }) {
    const at = this.#addRun(page, count);
    this.#bits.fill(bits, at, at + count);
  }

  /** Adds recorded pages with one byte each, like {@linkcode addPages}. */
  addBits(page: number, bits: Uint8Array): void {
    // First the room: it may come with another array.
    const at = this.#addRun(page, bits.length);
    this.#bits.set(bits, at);
  }

  /** The pagedata. The builder must not be used afterwards. */
  build(): Pagedata {
    return {
      mappings: this.#mappings,
      runPage: this.#runPage.subarray(0, this.#runs),
      runOffset: this.#runOffset.subarray(0, this.#runs + 1),
      bits: this.#bits.subarray(0, this.#length),
    };
  }

  /** Makes room for `count` pages, in a run with those before where they touch; returns where their bits go. */
  #addRun(page: number, count: number): number {
    const mapping = this.#mappings[this.#mappings.length - 1];
    const at = this.#length;
    this.#length += count;
    if (this.#length > this.#bits.length) {
      const capacity = Math.max(this.#length, this.#bits.length * 2);
      this.#bits = grown(this.#bits, Uint8Array, capacity);
    }
    if (mapping.endRun === mapping.firstRun || page !== this.#nextPage) {
      if (this.#runs === this.#runPage.length) {
        const capacity = this.#runs * 2;
        this.#runPage = grown(this.#runPage, Float64Array, capacity);
        this.#runOffset = grown(this.#runOffset, Uint32Array, capacity + 1);
      }
      this.#runPage[this.#runs++] = page;
      mapping.endRun = this.#runs;
    }
    this.#nextPage = page + count;
    this.#runOffset[this.#runs] = this.#length;
    return at;
  }
}

/** Whether a mapping of one reading and one of another record the same pages, by their numbers. */
export function recordSamePages(
  pagedata: Pagedata,
  mapping: PagedataMapping,
  otherPagedata: Pagedata,
  other: PagedataMapping,
): boolean {
  const runs = mapping.endRun - mapping.firstRun;
  if (other.endRun - other.firstRun !== runs) return false;
  const shift = firstOffset(pagedata, mapping) -
    firstOffset(otherPagedata, other);
  for (let i = 0; i < runs; i++) {
    const run = mapping.firstRun + i;
    const otherRun = other.firstRun + i;
    if (
      pagedata.runPage[run] !== otherPagedata.runPage[otherRun] ||
      pagedata.runOffset[run + 1] - otherPagedata.runOffset[otherRun + 1] !==
        shift
    ) return false;
  }
  return true;
}

/** A longer copy of a typed array, zero behind the old contents. */
function grown<T extends { set(from: T): void }>(
  from: T,
  type: new (length: number) => T,
  length: number,
): T {
  const to = new type(length);
  to.set(from);
  return to;
}
