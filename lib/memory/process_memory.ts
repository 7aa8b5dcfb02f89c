/**
 * The memory of one process, as the scanner sees it.
 *
 * The scanner sees nothing else, so the golden cases, Linux and illumos all run
 * the same scan loop.
 *
 * @module
 */

import type { Pagedata } from "./pagedata.ts";

/** Why pages are left alone. */
export type SkipReason =
  /** Locked in memory (mlock). */
  | "locked"
  /** Backed by hugetlb pages, which the kernel does not page out. */
  | "hugetlb"
  /** Device memory, or a page that the kernel itself provides. */
  | "special"
  /** Also mapped by other processes. */
  | "shared"
  /** Nothing of it is in memory. */
  | "nonresident"
  /** It could only go to swap, and no swap is free. */
  | "no-swap"
  /** Earlier page-outs have shown that it does not go. */
  | "ignored";

/** Residency of one mapping. */
export interface Residency {
  /** Address of the first byte of the mapping. */
  readonly start: bigint;
  /** Length of the mapping in bytes. */
  readonly bytes: number;
  /** How many of its resident pages a page-out could take, in pages. */
  readonly pageable: number;
  /** Why `pageable` is 0; `nonresident` when not given. */
  readonly reason?: SkipReason;
}

/** Sizes of one process, in bytes. */
export interface ProcessSizes {
  /** Resident set size. */
  readonly rss: number;
  /** Size of the whole address space, resident or not. */
  readonly image: number;
}

/**
 * What the scanner needs of one live process.
 *
 * Every method throws a `ProcessError` of `../errors.ts` when the process cannot
 * be read: it is gone, or access is denied.
 */
export interface ProcessMemory {
  /** The process id. */
  readonly pid: number;
  /** Referenced and modified bits since the previous call; resets them. */
  readPagedata(): Promise<Pagedata>;
  /** Lets go of what `readPagedata` keeps open, so that the next call opens afresh. */
  closePagedata(): void;
  /** Residency per mapping, by its start, or `undefined` where it cannot be read. */
  readResidency(): Promise<ReadonlyMap<bigint, Residency> | undefined>;
  /** Resident set size and image size. */
  readSizes(): ProcessSizes;
  /** Takes control for page-outs; dispose to let go, whatever happened. */
  control(): Promise<PageoutControl>;
}

/** Pages to page out, within one mapping. */
export interface PageRange {
  /** Address of the first byte. */
  readonly start: bigint;
  /** Address behind the last byte. */
  readonly end: bigint;
  /** Size of the resident pages in it, in bytes. */
  readonly bytes: number;
  /** Address of the first byte of its mapping. */
  readonly mappingStart: bigint;
  /** Whether all of it was found in memory just now, so that nobody need look again. */
  readonly isResident?: boolean;
}

/** What became of a page-out. */
export interface PageoutResult {
  /**
   * - `done`: the system took the range;
   * - `busy`: there was no backing store, or pages are locked or no longer there;
   *   not a failure of the process;
   * - `planned`: a dry run, nothing was paged out;
   * - `failed`: the process cannot be paged out any more.
   */
  readonly result: "done" | "busy" | "planned" | "failed";
  /** Why pages of it are left alone, where that is known. */
  readonly reason?: SkipReason;
  /** Why it is `busy` or `failed`, for a person. */
  readonly message?: string;
  /** Whether it has failed for the moment only: the process does not answer. */
  readonly isPassing?: boolean;
}

/** Control over one process, for page-outs. */
export interface PageoutControl extends Disposable {
  /** How many ranges one call may take, at least 1. */
  readonly maxRanges: number;
  /**
   * Pages out ranges in order and ends at the first that fails.
   *
   * @param signal stops between two steps; what was not begun has no result.
   * @returns one result a range that was begun.
   */
  pageOut(
    ranges: readonly PageRange[],
    signal?: AbortSignal,
  ): Promise<PageoutResult[]>;
  /**
   * Has references to pages show from now on, and the system reclaim them sooner
   * than others, where it can be told so. Whatever cannot be cooled is left as it is.
   */
  cool?(ranges: readonly PageRange[]): Promise<void>;
}
