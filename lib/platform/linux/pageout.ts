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
import { memoryInfo } from "../../../ffi/system.ts";
import { SystemError } from "../../errors.ts";
import type {
  PageoutControl,
  PageoutResult,
  PageRange,
} from "../../memory/process_memory.ts";
import type { ProcessId } from "../platform.ts";
import { type MemoryCalls, NotAnswering } from "./memory_calls.ts";
import { MemoryFiles } from "./memory_files.ts";
import { mayPageOut, openPidfdOf } from "./pageout_access.ts";
import {
  LARGE_SPAN,
  type Piece,
  type PieceOptions,
  piecesOf,
} from "./pageout_pieces.ts";
import { ProcDir, replaced } from "./proc_dir.ts";
import { exited } from "../process_errors.ts";
import { runningOn } from "./running_on.ts";

/** How long one call should take, in milliseconds, so that signals are honoured promptly. */
const CALL_MS = 50;
/** Calls grow and shrink with the speed of page-outs, in bytes. */
const SMALLEST_CALL = 2 << 20;
const LARGEST_CALL = 32 << 20;
/**
 * How many ranges one call takes on the processor that the process runs on, and no
 * more than the smallest call. The kernel soon moves the process to another one, and
 * only the next call follows.
 */
const MOST_WHERE_IT_RUNS = 64;
/** The same of ranges that are cooled, which takes a fraction of the time. */
const MOST_COOLED_WHERE_IT_RUNS = 512;
/** Of a process that makes a call take longer there, rcap stays away; in milliseconds. */
const SLOWEST_CALL_MS = 500;

export interface LinuxPageoutOptions {
  /** What makes calls that take the lock of the process. */
  calls: MemoryCalls;
  /** Shares a limit on calls that are stuck. */
  group?: string;
  /** Layout of the address space that is meant, as in `ProcessEntry`. */
  layout: string | undefined;
  /** Whether a mapping, by its start, can only go to swap. */
  needsSwap: (mappingStart: bigint) => boolean;
}

/** Control over one process; holds its descriptors until disposed. */
export class LinuxPageout implements PageoutControl {
  readonly maxRanges = MAX_RANGES;
  readonly #id: ProcessId;
  readonly #pidfd: Pidfd;
  readonly #pagemap: File;
  readonly #options: LinuxPageoutOptions;
  readonly #ranges = new RemoteRanges(MAX_RANGES);
  readonly #pieceOptions: PieceOptions;
  #callBytes = SMALLEST_CALL;
  /** The processor that the process runs on and is paged out on. */
  #cpu: number | undefined;
  /** Whether it should be: not where others leave rcap too little of that processor. */
  #follows = true;
  /** How many calls are being made that use the descriptors. */
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
   * Takes control of a process.
   *
   * @throws NoSuchProcess when it has exited.
   * @throws ProcessAccessDenied when this user may not page it out.
   * @throws ProcessError when its address space is not the one that is meant.
   */
  static async open(
    id: ProcessId,
    options: LinuxPageoutOptions,
  ): Promise<LinuxPageout> {
    const { calls, group, layout } = options;
    return await calls.patiently(id, async (attempt) => {
      using held = new DisposableStack();
      const pidfd = held.use(openPidfdOf(id));
      // The pagemap stays with the address space it was opened for, so the layout
      // is compared after that.
      using directory = ProcDir.open(id);
      const files = new MemoryFiles(directory, attempt);
      const pagemap = held.use(await files.openPagemap());
      if (layout !== undefined && directory.stat().layout !== layout) {
        throw replaced(id.pid);
      }
      await mayPageOut(id.pid, { pidfd, pagemap }, attempt);
      held.move();
      return new LinuxPageout(id, { pidfd, pagemap }, options);
    }, group);
  }

  async pageOut(
    ranges: readonly PageRange[],
    signal?: AbortSignal,
  ): Promise<PageoutResult[]> {
    const results: PageoutResult[] = [];
    const pieces: Piece[] = [];
    let resident = 0;
    let span = 0;
    let hasSwap = true;
    for (const [index, range] of ranges.entries()) {
      results[index] = DONE;
      let isResident = false;
      for await (const piece of piecesOf(range, index, this.#pieceOptions)) {
        isResident = true;
        if (pieces.length === 0) hasSwap = memoryInfo().freeSwap > 0;
        if (!hasSwap && this.#options.needsSwap(range.mappingStart)) {
          results[index] = NO_SWAP;
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
        // Nor will what still waits for its call be paged out.
        results.length = pieces[0]?.range ?? index;
        return [...results, lost];
      }
      const message = "nothing of it is resident any more";
      results[index] = { result: "busy", message };
    }
    await this.#call(pieces, results);
    return results;
  }

  async cool(ranges: readonly PageRange[]): Promise<void> {
    let first = 0;
    while (first < ranges.length) {
      // What was used in the meantime has to be forgotten by its processor, too.
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
   * Pages pieces out.
   *
   * @param results where the result of a piece's range is changed if it is not
   * done; after a failure, the failed range is the last.
   * @returns whether the process can still be paged out.
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
      // No piece is begun twice, so that this ends whatever the kernel says.
      let left = done - pieces[next++].bytes;
      while (next < pieces.length && left >= pieces[next].bytes) {
        left -= pieces[next++].bytes;
      }
    }
    this.#adapt(pieces, performance.now() - began);
    return true;
  }

  /**
   * Gives advice on the ranges from an index on.
   *
   * @returns the size of those that are done, or the result of the first one
   * where that is not.
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
      // Locked or otherwise refused; or unmapped by now, at least in part.
      const { EINVAL, ENOMEM, EAGAIN, EINTR } = Errno;
      const isBusy = [EINVAL, ENOMEM, EAGAIN, EINTR].some((e) =>
        e === error.errno
      );
      return { result: isBusy ? "busy" : "failed", message: error.message };
    } finally {
      placement?.goHome();
    }
  }

  /**
   * The processor to page the process out on: the one that it runs on, if it runs.
   *
   * For every modified page that goes, the kernel has all processors on which the
   * process runs forget where it was (`try_to_unmap_flush_dirty` of mm/vmscan.c).
   * Others it has to interrupt and wait for, which takes several times as long as
   * all the rest; its own does so by itself.
   */
  #whereItRuns(): number | undefined {
    const cpu = this.#follows ? runningOn(this.#id.pid) : undefined;
    return cpu !== undefined && Placement.isPossible(cpu) ? cpu : undefined;
  }

  get #isThere(): boolean {
    return this.#cpu !== undefined;
  }

  /** The failure of every page-out once the address space is gone, or does not answer. */
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
    const { pid } = this.#id;
    const error = this.#pidfd.isAlive() ? replaced(pid) : exited(pid);
    return { result: "failed", message: error.message };
  }

  /** Makes calls that take the lock of the process. */
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
        // Also when nobody waits for it any more.
        placement?.goHome();
        this.#underway--;
        if (this.#isDisposed) this.#close();
      }
    }, group);
  }

  /** How much one call takes, in bytes. */
  get #bytesOfCall(): number {
    return this.#isThere ? SMALLEST_CALL : this.#callBytes;
  }

  /** Lets the size of calls follow the speed of page-outs. */
  #adapt(pieces: readonly Piece[], elapsed: number): void {
    if (this.#isThere) {
      // The time says how busy that processor is.
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

  /** Closes the descriptors, but not under a call that uses them. */
  #close(): void {
    if (this.#underway > 0) return;
    this.#pidfd[Symbol.dispose]();
    this.#pagemap[Symbol.dispose]();
  }
}

/** The failure of page-outs for as long as a process does not answer. */
function notAnswering({ message }: NotAnswering): PageoutResult {
  return { result: "failed", message, isPassing: true };
}

const DONE: PageoutResult = { result: "done" };
const NO_SWAP: PageoutResult = {
  result: "busy",
  reason: "no-swap",
  message: "no swap is free",
};
