/**
 * Walks an address space: which mappings a scan visits, where it resumes, and which
 * range of unreferenced pages is next.
 *
 * @module
 */

import {
  endOffset,
  firstOffset,
  isSchedctl,
  mappingBytes,
  mappingEnd,
  type Pagedata,
  type PagedataMapping,
  runAt,
} from "../memory/pagedata.ts";
import type { Residency, SkipReason } from "../memory/process_memory.ts";

/** A place in an address space. */
export interface Position {
  /** Index of the mapping. */
  readonly mapping: number;
  /** Page, relative to the start of the mapping. */
  readonly page: number;
}

/**
 * Unreferenced pages of one mapping that are adjacent except for pages that are not
 * resident.
 */
export interface UnreferencedRange {
  /** First page, relative to the start of the mapping. */
  readonly firstPage: number;
  /** The page after the last. */
  readonly endPage: number;
  /** Size of its recorded pages, in bytes. */
  readonly bytes: number;
  /** Whether it contains every recorded page of its mapping. */
  readonly whole: boolean;
  /** Whether recorded pages of the mapping follow it. */
  readonly more: boolean;
}

/**
 * Returns why the page-out walk passes a mapping over; `undefined` if it visits it.
 *
 * @param residency the process's residency, or `undefined` if it cannot be read.
 */
export function skipReason(
  mapping: PagedataMapping,
  residency: ReadonlyMap<bigint, Residency> | undefined,
): SkipReason | undefined {
  if (isSchedctl(mapping)) return "special";
  const entry = residency?.get(mapping.start);
  // An entry of another size describes another mapping: the address space has
  // changed.
  if (!entry || entry.bytes !== mappingBytes(mapping)) return undefined;
  if (entry.pageable > 0) return undefined;
  return entry.reason ?? "nonresident";
}

/** Returns the address of a position. */
export function addressAt(pagedata: Pagedata, position: Position): bigint {
  const mapping = pagedata.mappings[position.mapping];
  return mapping.start + BigInt(position.page) * BigInt(mapping.pageSize);
}

/**
 * Returns the position of an address, or of the first mapping above it; `undefined`
 * if there is none.
 */
export function positionOf(
  pagedata: Pagedata,
  address: bigint,
): Position | undefined {
  const { mappings } = pagedata;
  let low = 0;
  let high = mappings.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (mappingEnd(mappings[middle]) <= address) low = middle + 1;
    else high = middle;
  }
  if (low === mappings.length) return undefined;
  const { start, pageSize } = mappings[low];
  const page = start >= address
    ? 0
    : Number((address - start) / BigInt(pageSize));
  return { mapping: low, page };
}

/**
 * Finds the next range of unreferenced pages of one mapping, from a page on. Clears
 * the bits of the referenced pages that it passes.
 *
 * @param atLeast the range stops growing when it has this size, in bytes.
 * @returns `undefined` if no unreferenced page is left in the mapping.
 */
export function takeUnreferencedRange(
  pagedata: Pagedata,
  { mapping: index, page }: Position,
  atLeast: number,
): UnreferencedRange | undefined {
  const { bits, runPage, runOffset } = pagedata;
  const mapping = pagedata.mappings[index];
  const end = endOffset(pagedata, mapping);
  const run = runAt(pagedata, mapping, page);
  if (run === mapping.endRun) return undefined;

  let from = runOffset[run] + Math.max(page - runPage[run], 0);
  while (from < end && bits[from] !== 0) bits[from++] = 0;
  if (from === end) return undefined;

  const limit = Math.min(end, from + Math.ceil(atLeast / mapping.pageSize));
  let to = from + 1;
  while (to < limit && bits[to] === 0) to++;

  const firstRun = runHolding(pagedata, from, run);
  const lastRun = runHolding(pagedata, to - 1, firstRun);
  return {
    firstPage: runPage[firstRun] + from - runOffset[firstRun],
    endPage: runPage[lastRun] + to - runOffset[lastRun],
    bytes: (to - from) * mapping.pageSize,
    whole: from === firstOffset(pagedata, mapping) && to === end,
    more: to < end,
  };
}

/** Returns the run that contains a byte of `bits`, starting the search at `run`. */
function runHolding(
  { runOffset }: Pagedata,
  offset: number,
  run: number,
): number {
  while (runOffset[run + 1] <= offset) run++;
  return run;
}
