/**
 * The interface of the sources of reference bits on Linux.
 *
 * @module
 */

import type { Pagedata } from "../../memory/pagedata.ts";
import type {
  Footprint,
  PagedataPurpose,
  PagedataSourceName,
} from "../platform.ts";
import type { PageableContext } from "./candidates.ts";
import type { LinuxMapping } from "./linux_mapping.ts";
import type { LockLook } from "./memory_calls.ts";
import type { MemoryFiles } from "./memory_files.ts";
import type { Precision } from "./precision.ts";
import type { ProcDir } from "./proc_dir.ts";
import type { ResetPlan } from "./reset_plan.ts";

/** What to read of a process. */
export interface PagedataRequest {
  readonly purpose: Exclude<PagedataPurpose, "lend">;
  readonly context: PageableContext;
  /** How exactly the process is known; exactly by default. */
  readonly precision?: Precision;
  /** Which references are reset after a scan's reading; all by default. */
  readonly plan?: ResetPlan;
  /** Whether all references are reset, whatever the plan allows. */
  readonly resetsAll?: boolean;
}

/** How references are reset. */
export interface ResetOptions {
  /**
   * Whether the process is left alone because of a secondary MMU, so that nothing may be
   * done but to reset bits; it is not by default.
   */
  readonly isLeftAlone?: () => boolean;
  /** How exactly the process is known; exactly by default. */
  readonly precision?: Precision;
  /** Which references are reset; all by default. */
  readonly plan?: ResetPlan;
}

/** A source of reference bits; closed by `using`. */
export interface PagedataSource extends Disposable {
  readonly name: PagedataSourceName;
  /**
   * Resets the reference bits of a process, which starts an observation.
   */
  reset(files: MemoryFiles, options?: ResetOptions): Promise<void>;
  /**
   * Flushes TLBs shortly before an observation ends, so that the processors record
   * accesses again. While a processor caches a page table entry, it does not set
   * bits that rcap or the kernel has reset in memory.
   */
  refresh(files: MemoryFiles): Promise<void>;
  /**
   * Reads the pagedata of a process.
   *
   * @throws ProcessError if it cannot be read.
   */
  read(files: MemoryFiles, request: PagedataRequest): Promise<Pagedata>;
  /**
   * Whether a virtual machine or device maps memory of a process by page tables of its
   * own: its references do not show in those of the process.
   *
   * @throws ProcessError if that cannot be found out.
   */
  hasSecondaryMmu(files: MemoryFiles): boolean;
  /**
   * Counts the resident memory of a process without its mmap lock.
   *
   * @returns `undefined` where the source cannot, or not exactly.
   */
  countFootprint?(directory: ProcDir): Promise<Footprint | undefined>;
  /**
   * Replaces what smaps says of the mappings of a process, of `own` and `pinned`, by
   * what is known of each page, where the source knows it.
   */
  refine?(pid: number, mappings: readonly LinuxMapping[]): Promise<void>;
  /** Whether a process may have run since it was last read. */
  hasRun(pid: number): boolean;
  /**
   * Whether nothing but the threads of a process use its memory: no other process has its
   * address space, and no virtual machine or device maps it. `false` if that is not known.
   */
  isAlone?(pid: number): boolean;
  /**
   * Identifies the address spaces of all processes, by pid, where that is possible: one
   * object for each space.
   */
  addressSpaces?(): ReadonlyMap<number, object>;
  /**
   * Looks at the mmap lock of a process without taking it, where that is possible.
   *
   * @param anew whether earlier information about the process may be outdated.
   */
  lookAtLock?(pid: number, anew: boolean): LockLook | undefined;
}
