/**
 * Page-out on Linux: `process_madvise(MADV_PAGEOUT)` through a process descriptor.
 * The process is never stopped.
 *
 * @module
 */

import { Placement } from "../../../ffi/affinity.ts";
import { CallList } from "../../../ffi/call_list.ts";
import type { File } from "../../../ffi/file.ts";
import { Errno } from "../../../ffi/libc.ts";
import { lookWhetherAlive } from "../../../ffi/pagemap.ts";
import {
  MADV_COLD,
  MADV_PAGEOUT,
  MAX_RANGES,
  type Pidfd,
  RemoteRanges,
} from "../../../ffi/pidfd.ts";
import { SystemError } from "../../errors.ts";
import type {
  PageoutControl,
  PageoutResult,
  PageRange,
} from "../../memory/process_memory.ts";
import type { ProcessId } from "../platform.ts";
import type { WhyNoSwap } from "./candidates.ts";
import { type MemoryCalls, NotAnswering } from "./memory_calls.ts";
import { MemoryFiles } from "./memory_files.ts";
import { mayPageOut, openPidfdOf } from "./pageout_access.ts";
import {
  LARGE_SPAN,
  type Piece,
  type PieceOptions,
  piecesOf,
} from "./pageout_pieces.ts";
import { ProcDir, requireMemory, whyLost } from "./proc_dir.ts";
import { mainThreadExited, replaced } from "../process_errors.ts";
import { runningOn } from "./running_on.ts";

/**
 * Target duration of one call, in milliseconds: short, so that signals are honoured
 * promptly.
 */
const CALL_MS = 50;
/** Limits of the size of a call, in bytes; it follows the speed of page-outs. */
const SMALLEST_CALL = 2 << 20;
const LARGEST_CALL = 32 << 20;
/**
 * The most ranges per call on the processor that the process runs on; such calls
 * also stay at the smallest size. The kernel soon moves the process to another
 * processor, and only the next call follows it.
 */
const MOST_WHERE_IT_RUNS = 64;
/** The same for cooling, which takes a fraction of the time. */
const MOST_COOLED_WHERE_IT_RUNS = 512;
/**
 * If a call on the processor of the process takes longer than this, in
 * milliseconds, rcap no longer follows the process.
 */
const SLOWEST_CALL_MS = 500;

export interface LinuxPageoutOptions {
  /** Makes the calls that take the process's mmap lock. */
  calls: MemoryCalls;
  /** Groups share a limit on stuck calls. */
  group?: string;
  /** Layout of the expected address space, as in `ProcessEntry`. */
  layout: string | undefined;
  /** Whether the mapping that starts at an address can only go to swap. */
  needsSwap: (mappingStart: bigint) => boolean;
  /** Why the process cannot use swap now; `undefined` if it can. */
  whyNoSwap: () => WhyNoSwap | undefined;
}

/** Control over the page-out of one process; holds its descriptors until disposed. */
export class LinuxPageout implements PageoutControl {
  readonly maxRanges = MAX_RANGES;
  readonly #id: ProcessId;
  readonly #pidfd: Pidfd;
  readonly #pagemap: File;
  readonly #options: LinuxPageoutOptions;
  readonly #ranges = new RemoteRanges(MAX_RANGES);
  readonly #pieceOptions: PieceOptions;
  #callBytes = SMALLEST_CALL;
  /** The processor that the process runs on and page-outs run on. */
  #cpu: number | undefined;
  /**
   * Whether page-outs follow the process: not where rcap gets too little of that
   * processor.
   */
  #follows = true;
  /** The number of calls in progress that use the descriptors. */
  #underway = 0;
  #isDisposed = false;

  private constructor(
    id: ProcessId,
    { pidfd, pagemap }: { pidfd: Pidfd; pagemap: File },
    options: LinuxPageoutOptions,
  ) {
    this.#id = id;
    this.#pidfd = pidfd;
    this.#pagemap = pagemap;
    this.#options = options;
    this.#pieceOptions = {
      pagemap: { pagemap, make: (calls) => this.#make(calls) },
      bytesOfCall: () => this.#bytesOfCall,
    };
  }

  /**
   * Opens control over a process.
   *
   * @throws NoSuchProcess if the process has exited.
   * @throws ProcessAccessDenied if this user may not page it out.
   * @throws ProcessError if its address space is not the expected one.
   */
  static async open(
    id: ProcessId,
    options: LinuxPageoutOptions,
  ): Promise<LinuxPageout> {
    return new LinuxPageout(id, await openForAdvice(id, options), options);
  }

  async pageOut(
    ranges: readonly PageRange[],
    signal?: AbortSignal,
  ): Promise<PageoutResult[]> {
    const results: PageoutResult[] = [];
    const pieces: Piece[] = [];
    let resident = 0;
    let span = 0;
    let whyNoSwap: WhyNoSwap | undefined;
    for (const [index, range] of ranges.entries()) {
      results[index] = DONE;
      let isResident = false;
      for await (const piece of piecesOf(range, index, this.#pieceOptions)) {
        isResident = true;
        if (pieces.length === 0) whyNoSwap = this.#options.whyNoSwap();
        if (whyNoSwap && this.#options.needsSwap(range.mappingStart)) {
          results[index] = NO_SWAP[whyNoSwap];
          break;
        }
        if (pieces.length === 0) this.#cpu = this.#whereItRuns();
        pieces.push(piece);
        resident += piece.resident;
        span += piece.bytes;
        if (
          resident < this.#bytesOfCall && span < LARGE_SPAN &&
          pieces.length < (this.#isThere ? MOST_WHERE_IT_RUNS : MAX_RANGES)
        ) continue;
        if (!await this.#call(pieces, results)) return results;
        if (signal?.aborted) return results;
        pieces.length = 0;
        resident = 0;
        span = 0;
      }
      if (isResident) continue;
      const lost = await this.#lost();
      if (lost) {
        // Pieces that still wait for their call are lost too.
        results.length = pieces[0]?.range ?? index;
        return [...results, lost];
      }
      const message = "none of it is resident any more";
      results[index] = { result: "busy", message };
    }
    await this.#call(pieces, results);
    return results;
  }

  async cool(ranges: readonly PageRange[]): Promise<void> {
    let first = 0;
    while (first < ranges.length) {
      // The processor that the process now runs on must flush its entries, too.
      this.#cpu = this.#whereItRuns();
      this.#ranges.clear();
      const behind = first +
        (this.#isThere ? MOST_COOLED_WHERE_IT_RUNS : MAX_RANGES);
      for (const { start, end } of ranges.slice(first, behind)) {
        this.#ranges.add(start, Number(end - start));
      }
      first = behind;
      let from = 0;
      while (from < this.#ranges.count) {
        const done = await this.#advise(from, MADV_COLD);
        if (typeof done !== "number") {
          if (done.result === "failed") return;
          from++;
          continue;
        }
        let left = done;
        while (from < this.#ranges.count && left > 0) {
          left -= this.#ranges.bytesOf(from++);
        }
      }
    }
  }

  /**
   * Pages out pieces.
   *
   * @param results receives the result of a range if a piece of it was not paged
   * out; after a failure, the failed range is the last.
   * @returns Whether the process can still be paged out.
   */
  async #call(pieces: Piece[], results: PageoutResult[]): Promise<boolean> {
    this.#ranges.clear();
    for (const { start, bytes } of pieces) this.#ranges.add(start, bytes);
    const began = performance.now();
    let next = 0;
    while (next < pieces.length) {
      const { range } = pieces[next];
      const done = await this.#advise(next, MADV_PAGEOUT);
      if (typeof done !== "number") {
        if (done.result === "failed") results.length = range;
        results[range] = done;
        if (done.result === "failed") return false;
        next++;
        continue;
      }
      // No piece is started twice, so the loop ends whatever the kernel returns.
      let left = done - pieces[next++].bytes;
      while (next < pieces.length && left >= pieces[next].bytes) {
        left -= pieces[next++].bytes;
      }
    }
    this.#adapt(pieces, performance.now() - began);
    return true;
  }

  /**
   * Advises the kernel on the ranges from an index on.
   *
   * @returns The number of bytes advised, or the result of the first range if the
   * call failed.
   */
  async #advise(
    from: number,
    advice: number,
  ): Promise<number | PageoutResult> {
    const calls = new CallList();
    const placement = this.#cpu === undefined
      ? undefined
      : Placement.on(this.#cpu, calls);
    const alive = lookWhetherAlive(this.#pagemap, calls);
    const advised = this.#pidfd.advise(calls, this.#ranges, { from, advice });
    try {
      await this.#make(calls, { isUnstoppable: true, placement });
      if ((calls.result(alive) ?? 0) <= 0) return this.#failureOfLost();
      return calls.checked(advised, "process_madvise");
    } catch (error) {
      if (error instanceof NotAnswering) return notAnswering(error);
      if (!(error instanceof SystemError)) throw error;
      // The range is locked or otherwise refused, or at least partly unmapped by
      // now.
      const { EINVAL, ENOMEM, EAGAIN, EINTR, ESRCH } = Errno;
      // Its main thread has exited, perhaps with all others since `alive` was read.
      if (error.errno === ESRCH) return this.#failureOfLost();
      const isBusy = [EINVAL, ENOMEM, EAGAIN, EINTR].some((e) =>
        e === error.errno
      );
      return { result: isBusy ? "busy" : "failed", message: error.message };
    } finally {
      placement?.goHome();
    }
  }

  /**
   * Returns the processor to page the process out on: the one that it runs on, if
   * it runs.
   *
   * For every modified page that it reclaims, the kernel flushes the TLB of all
   * processors on which the process runs (`try_to_unmap_flush_dirty` of
   * mm/vmscan.c). Other processors must be interrupted and waited for, which takes
   * several times as long as all the rest; the local one flushes without an
   * interrupt.
   */
  #whereItRuns(): number | undefined {
    const cpu = this.#follows ? runningOn(this.#id.pid) : undefined;
    return cpu !== undefined && Placement.isPossible(cpu) ? cpu : undefined;
  }

  get #isThere(): boolean {
    return this.#cpu !== undefined;
  }

  /** Returns the failure if the address space is gone or the process does not answer. */
  async #lost(): Promise<PageoutResult | undefined> {
    const calls = new CallList();
    const alive = lookWhetherAlive(this.#pagemap, calls);
    try {
      await this.#make(calls);
    } catch (error) {
      if (!(error instanceof NotAnswering)) throw error;
      return notAnswering(error);
    }
    return (calls.result(alive) ?? 0) > 0 ? undefined : this.#failureOfLost();
  }

  #failureOfLost(): PageoutResult {
    return { result: "failed", message: whyLost(this.#id).message };
  }

  /** Makes calls that take the process's mmap lock. */
  async #make(
    calls: CallList,
    { isUnstoppable, placement }: {
      isUnstoppable?: boolean;
      placement?: Placement;
    } = {},
  ): Promise<void> {
    const { calls: memoryCalls, group } = this.#options;
    await memoryCalls.patiently(this.#id, async (attempt) => {
      this.#underway++;
      try {
        await attempt.make(calls, { isUnstoppable });
      } finally {
        // Runs even if nothing waits for the calls any more.
        placement?.goHome();
        this.#underway--;
        if (this.#isDisposed) this.#close();
      }
    }, group);
  }

  /** The size of one call, in resident bytes. */
  get #bytesOfCall(): number {
    return this.#isThere ? SMALLEST_CALL : this.#callBytes;
  }

  /** Adapts the size of calls to the speed of page-outs. */
  #adapt(pieces: readonly Piece[], elapsed: number): void {
    if (this.#isThere) {
      // The time shows how busy that processor is.
      if (elapsed > SLOWEST_CALL_MS) this.#follows = false;
      return;
    }
    const resident = pieces.reduce((sum, piece) => sum + piece.resident, 0);
    // Small calls are all overhead and say nothing about the speed.
    if (resident < SMALLEST_CALL / 2) return;
    const wanted = Math.min(resident * CALL_MS / elapsed, this.#callBytes * 2);
    this.#callBytes = Math.min(Math.max(wanted, SMALLEST_CALL), LARGEST_CALL);
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    this.#close();
  }

  /** Closes the descriptors unless a call still uses them. */
  #close(): void {
    if (this.#underway > 0) return;
    this.#pidfd[Symbol.dispose]();
    this.#pagemap[Symbol.dispose]();
  }
}

/** What advice on the memory of a process goes through; closed by `using`. */
export interface AdviceAccess extends Disposable {
  readonly pidfd: Pidfd;
  readonly pagemap: File;
}

/**
 * Opens a process for advice.
 *
 * @param options the expected address space, if any, and what makes the calls.
 * @throws NoSuchProcess if the process has exited.
 * @throws ProcessAccessDenied if this user may not give advice.
 * @throws ProcessError if its address space is not the expected one.
 */
export async function openForAdvice(
  id: ProcessId,
  { calls, group, layout }: {
    calls: MemoryCalls;
    group?: string;
    layout?: string | undefined;
  },
): Promise<AdviceAccess> {
  return await calls.patiently(id, async (attempt) => {
    using held = new DisposableStack();
    const pidfd = held.use(openPidfdOf(id));
    // A pagemap stays with the address space that it was opened for, so the
    // layout is compared afterwards.
    using directory = ProcDir.open(id);
    if (directory.opened.mainThreadExited) throw mainThreadExited(id);
    const files = new MemoryFiles(directory, attempt);
    const pagemap = held.use(await files.openPagemap());
    if (layout !== undefined) {
      const now = directory.stat();
      requireMemory(now);
      if (now.layout !== layout) throw replaced(id.pid);
    }
    await mayPageOut(id, { pidfd, pagemap }, attempt);
    const moved = held.move();
    return { pidfd, pagemap, [Symbol.dispose]: () => moved.dispose() };
  }, group);
}

/** The failure of page-outs while a process does not answer. */
function notAnswering({ message }: NotAnswering): PageoutResult {
  return { result: "failed", message, isPassing: true };
}

const DONE: PageoutResult = { result: "done" };
const NO_SWAP: Readonly<Record<WhyNoSwap, PageoutResult>> = {
  "no-swap": {
    result: "busy",
    reason: "no-swap",
    message: "no swap is free",
  },
  "swap-limit": {
    result: "busy",
    reason: "swap-limit",
    message: "its cgroup may not swap more",
  },
  "swap-writes": {
    result: "busy",
    reason: "swap-writes",
    message: "what may be written to swap is used up",
  },
};
