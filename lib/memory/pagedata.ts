/**
 * Pagedata: for each mapping of an address space, one byte per page that records
 * whether the page was referenced or modified since the last reading.
 *
 * It is sparse. A mapping lists runs of recorded pages; a page in no run is not
 * resident and takes no memory. A single array holds the bytes of all runs in
 * address order, so that counting and merging are plain loops over typed arrays.
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
  /** Its runs are those from `firstRun` to `endRun`, exclusive. */
  readonly firstRun: number;
  readonly endRun: number;
}

/**
 * One reading of an address space. Mappings are in address order and do not
 * overlap.
 */
export interface Pagedata {
  readonly mappings: readonly PagedataMapping[];
  /** Per run: its first page, relative to the start of its mapping. */
  readonly runPage: Float64Array;
  /**
   * Per run: the index of its first byte in `bits`. One more entry holds the length
   * of `bits`.
   */
  readonly runOffset: Uint32Array;
  /** Per recorded page: the bitwise or of `REFERENCED` and `MODIFIED`, or 0. */
  readonly bits: Uint8Array;
  /**
   * The large pages among them, of which only one bit is known: the index of the first
   * byte of each in `bits`, in ascending order, and the number of its bytes. None by
   * default.
   */
  readonly largePages?: {
    readonly offsets: Uint32Array;
    readonly counts: Uint32Array;
  };
}

/** Whether a mapping is illumos's schedctl page, which no walk visits. */
export function isSchedctl(mapping: PagedataMapping): boolean {
  return mapping.pages === 1 && mapping.flags === SCHEDCTL_FLAGS;
}

/** Address of the first byte after a mapping. */
export function mappingEnd(mapping: PagedataMapping): bigint {
  return mapping.start + BigInt(mapping.pages) * BigInt(mapping.pageSize);
}

/** Length of a mapping in bytes, resident or not. */
export function mappingBytes(mapping: PagedataMapping): number {
  return mapping.pages * mapping.pageSize;
}

/** Index in `bits` at which the bytes of a mapping begin. */
export function firstOffset(
  pagedata: Pagedata,
  mapping: PagedataMapping,
): number {
  return pagedata.runOffset[mapping.firstRun];
}

/** Index in `bits` at which the bytes of a mapping end, exclusive. */
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

/**
 * The run of a mapping that holds a page, or the first run above it; `endRun` if
 * there is none.
 */
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

/** Counts the recorded pages of a mapping that are neither referenced nor modified. */
export function countUnreferenced(
  pagedata: Pagedata,
  mapping: PagedataMapping,
): number {
  const { bits } = pagedata;
  const end = endOffset(pagedata, mapping);
  let count = 0;
  for (let at = firstOffset(pagedata, mapping); at < end; at++) {
    // 1 for a byte of 0, else 0, without a branch that could be mispredicted.
    count += 1 >> bits[at];
  }
  return count;
}

/** Size of all unreferenced pages, in bytes. Does not change the bits. */
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

/**
 * Counts the recorded pages of a mapping with a bit, `REFERENCED` or `MODIFIED`, or
 * with either.
 */
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

/** The bits of some pages of a mapping, one byte per page; 0 for pages not recorded. */
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

/** Clears all bits, so that every recorded page counts as unreferenced. */
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
  #largeOffsets = new Uint32Array(0);
  #largeCounts = new Uint32Array(0);
  #large = 0;
  /** The page after the last run. */
  #nextPage = 0;

  /** @param expectedPages initial capacity, in recorded pages. */
  constructor(expectedPages = 4096) {
    this.#bits = new Uint8Array(expectedPages);
  }

  /**
   * Starts the next mapping. The runs added afterwards belong to it.
   *
   * @throws RangeError if it starts before the end of the previous mapping.
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
   * Adds `count` recorded pages with the same bits to the last mapping.
   *
   * @param page the first of them, relative to the start of the mapping; not before
   * the end of the previous run.
   */
  addPages(
    page: number,
    { count, bits, isLarge = false }: {
      count: number;
      bits: number;
      /** Whether they are one large page. */
      isLarge?: boolean;
    },
  ) {
    const at = this.#addRun(page, count);
    this.#bits.fill(bits, at, at + count);
    if (isLarge) this.#addLarge(at, count);
  }

  /** Adds recorded pages with one byte each, like {@linkcode addPages}. */
  addBits(page: number, bits: Uint8Array): void {
    // Makes room first, which may replace the array.
    const at = this.#addRun(page, bits.length);
    this.#bits.set(bits, at);
  }

  /** Returns the pagedata. The builder must not be used afterwards. */
  build(): Pagedata {
    return {
      mappings: this.#mappings,
      runPage: this.#runPage.subarray(0, this.#runs),
      runOffset: this.#runOffset.subarray(0, this.#runs + 1),
      bits: this.#bits.subarray(0, this.#length),
      ...this.#large === 0 ? {} : {
        largePages: {
          offsets: this.#largeOffsets.subarray(0, this.#large),
          counts: this.#largeCounts.subarray(0, this.#large),
        },
      },
    };
  }

  #addLarge(at: number, count: number): void {
    if (this.#large === this.#largeOffsets.length) {
      const capacity = Math.max(64, this.#large * 2);
      this.#largeOffsets = grown(this.#largeOffsets, Uint32Array, capacity);
      this.#largeCounts = grown(this.#largeCounts, Uint32Array, capacity);
    }
    this.#largeOffsets[this.#large] = at;
    this.#largeCounts[this.#large++] = count;
  }

  /**
   * Makes room for `count` pages, and extends the last run if they follow it
   * directly. Returns the index for their bits.
   */
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

/**
 * Whether a mapping of one reading and one of another record pages with the same
 * numbers.
 */
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

/** A longer copy of a typed array; zeros follow the old contents. */
function grown<T extends { set(from: T): void }>(
  from: T,
  type: new (length: number) => T,
  length: number,
): T {
  const to = new type(length);
  to.set(from);
  return to;
}
