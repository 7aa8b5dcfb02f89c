/**
 * The memory of one process as the scanner sees it.
 *
 * The scanner uses nothing else, so the golden cases, Linux and illumos all run the
 * same scan loop.
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
  /** Device memory, or a page that the kernel provides. */
  | "special"
  /** Mapped more than once: by several processes, or several times by one. */
  | "shared"
  /** Pinned by a device or by the kernel, as io_uring's registered buffers are. */
  | "pinned"
  /** Used by a virtual machine or device whose references the page tables do not show. */
  | "secondary-mmu"
  /** Not in memory. */
  | "nonresident"
  /** It could only be paged out to swap, and no swap is free. */
  | "no-swap"
  /** It could only be paged out to swap, and a cgroup of the process allows it no more. */
  | "swap-limit"
  /** It could only be paged out to swap, and what the cap may write there is used up. */
  | "swap-writes"
  /** Of a kind of which the cap lets none go. */
  | "spared"
  /** Of a process whose main thread has exited while others run. */
  | "no-main-thread"
  /** Earlier page-outs have shown that it cannot be paged out. */
  | "ignored";

/** Residency of one mapping. */
export interface Residency {
  /** Address of the first byte of the mapping. */
  readonly start: bigint;
  /** Length of the mapping in bytes. */
  readonly bytes: number;
  /** Number of its resident pages that can be paged out. */
  readonly pageable: number;
  /** How many of these pages can only go to swap, where that is known. */
  readonly toSwap?: number;
  /** Why `pageable` is 0. The default is `nonresident`. */
  readonly reason?: SkipReason;
}

/** Sizes of one process, in bytes. */
export interface ProcessSizes {
  /** Resident set size. */
  readonly rss: number;
  /** Size of the whole address space, resident or not. */
  readonly image: number;
  /** The most by which `rss` may differ from what the page tables hold; 0 by default. */
  readonly rssError?: number;
}

/**
 * What the scanner needs of one live process.
 *
 * Every method throws a `ProcessError` of `../errors.ts` if the process cannot be
 * read, because it has exited or access is denied.
 */
export interface ProcessMemory {
  /** The process id. */
  readonly pid: number;
  /** Reads and resets the bits that were set since the previous call. */
  readPagedata(): Promise<Pagedata>;
  /** Closes the files of `readPagedata`; the next call opens them again. */
  closePagedata(): void;
  /**
   * Reads the residency of each mapping, by its start; `undefined` if it cannot be
   * read.
   */
  readResidency(): Promise<ReadonlyMap<bigint, Residency> | undefined>;
  /** Reads the resident set size and image size. */
  readSizes(): ProcessSizes;
  /** Takes control for page-outs. The caller must dispose of it in all cases. */
  control(): Promise<PageoutControl>;
}

/** Pages to page out, within one mapping. */
export interface PageRange {
  /** Address of the first byte. */
  readonly start: bigint;
  /** Address after the last byte. */
  readonly end: bigint;
  /** Size of the resident pages in it, in bytes. */
  readonly bytes: number;
  /** Address of the first byte of its mapping. */
  readonly mappingStart: bigint;
  /**
   * Whether all of it is known to be in memory, so that this need not be checked
   * again.
   */
  readonly isResident?: boolean;
}

/** The result of a page-out. */
export interface PageoutResult {
  /**
   * - `done`: the system took the range;
   * - `busy`: there was no backing store, or pages are locked or no longer exist;
   *   not a failure of the process;
   * - `planned`: a dry run, nothing was paged out;
   * - `failed`: the process can no longer be paged out.
   */
  readonly result: "done" | "busy" | "planned" | "failed";
  /** Why pages of it are left alone, if known. */
  readonly reason?: SkipReason;
  /** Why it is `busy` or `failed`, for the user. */
  readonly message?: string;
  /** Whether the failure is temporary: the process does not answer. */
  readonly isPassing?: boolean;
}

/** Control over one process, for page-outs. */
export interface PageoutControl extends Disposable {
  /** The most ranges that one call takes, at least 1. */
  readonly maxRanges: number;
  /**
   * Pages out ranges in order. Stops at the first that fails.
   *
   * @param signal stops between two steps; ranges that were not begun have no
   * result.
   * @returns one result for each range that was begun.
   */
  pageOut(
    ranges: readonly PageRange[],
    signal?: AbortSignal,
  ): Promise<PageoutResult[]>;
  /**
   * Makes references to the pages visible from now on and, if the system supports
   * it, lets the system reclaim them before other pages. Pages that cannot be
   * cooled are left as they are.
   */
  cool?(ranges: readonly PageRange[]): Promise<void>;
}
