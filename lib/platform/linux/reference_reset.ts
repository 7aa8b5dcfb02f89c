/**
 * How reference bits are reset, so that the processor sets them again at the next
 * access.
 *
 * A processor sets the accessed bit of a page table entry when it caches the entry in
 * its TLB, and not again while it caches it. So a reset has to flush the TLBs, too.
 * Linux has two ways:
 *
 * - {@linkcode ClearRefs}: `/proc/PID/clear_refs`. Its value 1 resets the bits of all
 *   pages and flushes nothing; its value 4 flushes all TLBs, but also resets the
 *   soft-dirty bits (`clear_refs_write` of fs/proc/task_mmu.c).
 * - {@linkcode Cooling}: `process_madvise(MADV_COLD)`, for kernels with soft-dirty
 *   bits. These belong to whoever tracks the writes of a process, such as CRIU: if rcap
 *   reset them, the next incremental dump would lack pages. Nothing tells whether a
 *   process is tracked once rcap has reset the bits itself, so it never does.
 *
 * `MADV_COLD` resets the bits of the pages that it deactivates, and flushes exactly
 * those that were set (`madvise_cold_or_pageout_pte_range` of mm/madvise.c). It passes
 * over the same pages as `MADV_PAGEOUT`: those that are mapped more than once, locked
 * or hugetlb pages, device memory, and for the moment some pages that were faulted in
 * just now, until the kernel has put them on its lists. Their bits stay set, so they
 * count as referenced.
 * Value 1 would reset them, but also those of pages in use that were referenced again
 * just after the flush; these would look idle for as long as a TLB has them.
 *
 * On any kernel, `MADV_COLD` also resets parts of a process, which `clear_refs` cannot:
 * {@linkcode cool}. Soft-dirty bits stay in either case: value 1 does not touch them
 * (`clear_refs_pte_range` resets them for value 4 only), and neither does `MADV_COLD`.
 *
 * @module
 */

import { CallList } from "../../../ffi/call_list.ts";
import { Errno } from "../../../ffi/libc.ts";
import { lookWhetherAlive } from "../../../ffi/pagemap.ts";
import {
  MADV_COLD,
  MAX_RANGES,
  type Pidfd,
  RemoteRanges,
} from "../../../ffi/pidfd.ts";
import { ThreadClock } from "../../../ffi/thread_clock.ts";
import { CapabilityError } from "../../errors.ts";
import type { MemoryFiles } from "./memory_files.ts";
import { openPidfdOf } from "./pageout_access.ts";
import { ofProcessSlowly } from "./proc_dir.ts";
import { isRefusal } from "./refusals.ts";
import type { ReferenceBlocks } from "./reference_blocks.ts";

/** A way to reset the reference bits of a whole process. */
export interface ReferenceReset {
  /** Whether it needs to know the blocks in use, which must be chosen. */
  readonly needsBlocks: boolean;
  /** Resets all bits, which starts an observation. */
  reset(files: MemoryFiles, blocks: ReferenceBlocks): Promise<void>;
  /** Resets the bits that were just read. */
  afterReading(files: MemoryFiles, blocks: ReferenceBlocks): Promise<void>;
  /**
   * Flushes TLBs, so that pages in use show references again whose bits were reset
   * without a flush.
   */
  refresh(files: MemoryFiles): Promise<void>;
}

/** Resets by `clear_refs`, for kernels without soft-dirty bits. */
export class ClearRefs implements ReferenceReset {
  readonly needsBlocks = false;

  async reset(files: MemoryFiles): Promise<void> {
    await files.clearAndFlush();
  }

  async afterReading(files: MemoryFiles): Promise<void> {
    // refresh flushes before the bits are read again.
    await files.clearReferences();
  }

  async refresh(files: MemoryFiles): Promise<void> {
    await files.flush();
  }
}

/** Resets by `MADV_COLD`, for kernels with soft-dirty bits. */
export class Cooling implements ReferenceReset {
  readonly needsBlocks = true;

  async reset(files: MemoryFiles, blocks: ReferenceBlocks): Promise<void> {
    // Where rcap may not advise it, which `auto` warns of, nothing is flushed.
    if (!await cool(files, blocks)) await files.clearReferences();
  }

  async afterReading(
    files: MemoryFiles,
    blocks: ReferenceBlocks,
  ): Promise<void> {
    await this.reset(files, blocks);
  }

  refresh(): Promise<void> {
    // Every reset has flushed what it reset. Others that reset bits without a flush,
    // as the kernel does when it looks for pages to reclaim, cannot be made up for.
    return Promise.resolve();
  }
}

/**
 * The most bytes of a call: a little less than `MAX_RW_COUNT` of <linux/fs.h>, to which
 * `import_iovec` of lib/iov_iter.c cuts the ranges.
 */
const MOST_BYTES = 1 << 30;

/**
 * Cools the chosen blocks of a process.
 *
 * @returns whether rcap may advise it to.
 */
export async function cool(
  files: MemoryFiles,
  blocks: ReferenceBlocks,
): Promise<boolean> {
  return await ofProcessSlowly(files.pid, async () => {
    using pidfd = openIfAllowed(files);
    if (!pidfd) return false;
    using pagemap = await files.openPagemap();
    const ranges = new RemoteRanges(MAX_RANGES);
    const clock = new ThreadClock();
    for (const list of blocks.lists(MAX_RANGES, MOST_BYTES)) {
      ranges.clear();
      for (const { start, bytes } of list) ranges.add(start, bytes);
      for (let from = 0; from < ranges.count;) {
        const calls = new CallList();
        // It takes the lock first, because SIGKILL ends its wait.
        const alive = lookWhetherAlive(pagemap, calls);
        const options = { from, advice: MADV_COLD };
        const advised = calls.timed(
          clock,
          () => pidfd.advise(calls, ranges, options),
        );
        await files.make(calls, { isUnstoppable: true });
        files.cost.seconds += clock.seconds;
        if ((calls.result(alive) ?? 0) <= 0) return true;
        const done = calls.result(advised) ?? 0;
        if (isRefusal(-done)) return false;
        if (done < 0 && !isOfRange(-done)) calls.checked(advised, "MADV_COLD");
        // A range that fails is left as it is. None is begun twice, so the loop ends.
        let left = done - ranges.bytesOf(from++);
        while (from < ranges.count && left >= ranges.bytesOf(from)) {
          left -= ranges.bytesOf(from++);
        }
      }
    }
    return true;
  });
}

/** Opens the pidfd of a process; `undefined` if a sandbox forbids pidfds. */
function openIfAllowed(files: MemoryFiles): Pidfd | undefined {
  try {
    return openPidfdOf(files.directory.opened);
  } catch (error) {
    if (!(error instanceof CapabilityError)) throw error;
    return undefined;
  }
}

/** Whether an error is about the range: locked, or unmapped by now. */
function isOfRange(errno: number): boolean {
  return errno === Errno.EINVAL || errno === Errno.ENOMEM ||
    errno === Errno.EAGAIN || errno === Errno.EINTR;
}
