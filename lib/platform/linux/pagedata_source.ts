/**
 * Where the reference bits of Linux processes come from.
 *
 * @module
 */

import type { Pagedata } from "../../memory/pagedata.ts";
import type { PagedataPurpose, PagedataSourceName } from "../platform.ts";
import type { PageableContext } from "./candidates.ts";
import type { LockLook } from "./memory_calls.ts";
import type { MemoryFiles } from "./memory_files.ts";
import type { Precision } from "./precision.ts";

/** What to read of a process. */
export interface PagedataRequest {
  readonly purpose: PagedataPurpose;
  readonly context: PageableContext;
  /** How exactly the process is known; as exactly as can be where it is not given. */
  readonly precision?: Precision;
}

/** A source; closed by `using`. */
export interface PagedataSource extends Disposable {
  readonly name: PagedataSourceName;
  /** Resets the bits of a process: an observation starts. */
  reset(files: MemoryFiles): Promise<void>;
  /**
   * Has the processors note again what a process uses, shortly before an
   * observation ends. They do not while they keep a page table entry to
   * themselves, whoever may have reset its bits meanwhile: rcap, or the kernel.
   */
  refresh(files: MemoryFiles): Promise<void>;
  /**
   * Reads the pagedata of a process.
   *
   * @throws ProcessError when it cannot be read.
   */
  read(files: MemoryFiles, request: PagedataRequest): Promise<Pagedata>;
  /** Whether a process may have run since it was last read. */
  hasRun(pid: number): boolean;
  /**
   * Looks at the mmap lock of a process without taking it, where that can be done.
   *
   * @param anew whether what is known of the process may be outdated.
   */
  lookAtLock?(pid: number, anew: boolean): LockLook | undefined;
}
