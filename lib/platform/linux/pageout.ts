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
import { lookWhetherAlive, presentRuns } from "../../../ffi/pagemap.ts";
import {
  MADV_COLD,
  MADV_PAGEOUT,
  MAX_RANGES,
  type Pidfd,
  RemoteRanges,
} from "../../../ffi/pidfd.ts";
import { memoryInfo, pageSize } from "../../../ffi/system.ts";
import {
  isMissing,
  ProcessAccessDenied,
  ProcessError,
  SystemError,
} from "../../errors.ts";
import type {
  PageoutControl,
  PageoutResult,
  PageRange,
} from "../../memory/process_memory.ts";
import type { ProcessId } from "../platform.ts";
import {
  type Attempt,
  type MemoryCalls,
  NotAnswering,
} from "./memory_calls.ts";
import { MemoryFiles } from "./memory_files.ts";
import { accessRemedy, lacking } from "./privileges.ts";
import { exited } from "../process_errors.ts";
import { ofProcess, ProcDir, processError } from "./proc_dir.ts";
import { isRefusal } from "./refusals.ts";
import { runningOn } from "./running_on.ts";
import { openPidfd, requirePageout } from "./system_calls.ts";

/** How long one call should take, in milliseconds, so that signals are honoured promptly. */
const CALL_MS = 50;
/** Calls grow and shrink with the speed of page-outs, in bytes. */
const SMALLEST_CALL = 2 << 20;
const LARGEST_CALL = 32 << 20;
/** Pieces end where large pages do, so that none is split without need. */
const LARGE_PAGE = 2 << 20;
/** Pieces do not reach over what is not resident from this size on, in bytes. */
const LARGEST_GAP = LARGE_PAGE;
/**
 * Pieces and calls that have this much address space grow no further. One call
 * takes less than 2 GiB of it (`MAX_RW_COUNT` of include/linux/fs.h); what is
 * beyond that the kernel leaves out.
 */
const LARGE_SPAN = 512 << 20;
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
/** How much address space is looked at at a time, in bytes. */
const LOOK_AHEAD = 4 * 2 ** 30;

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
      for await (const piece of this.#piecesOf(range, index)) {
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
   * Cuts what is resident of a range into pieces that a call can take. How much
   * of a piece is resident is known, not guessed from the whole range: a range
   * may reach over any amount of address space that nothing has touched.
   */
  #piecesOf(
    range: PageRange,
    index: number,
  ): Iterable<Piece> | AsyncIterable<Piece> {
    const bytes = Number(range.end - range.start);
    // A look would cost more than it could save.
    return range.isResident && bytes <= LARGE_PAGE
      ? [{ range: index, start: range.start, bytes, resident: bytes }]
      : this.#cut(range, index);
  }

  async *#cut(range: PageRange, index: number): AsyncGenerator<Piece> {
    // In bytes from the start of the range, as the runs are.
    let from = 0;
    let to = 0;
    let resident = 0;
    const piece = (): Piece => ({
      range: index,
      start: range.start + BigInt(from),
      bytes: to - from,
      resident,
    });
    const misalignment = Number(range.start % BigInt(LARGE_PAGE));
    for await (const run of this.#residentRuns(range)) {
      for (let start = run.start; start < run.end; start = to) {
        const isFull = resident >= this.#bytesOfCall ||
          start - to >= LARGEST_GAP || start - from >= LARGE_SPAN;
        if (isFull && resident > 0) {
          yield piece();
          resident = 0;
        }
        if (resident === 0) from = start;
        const wanted = start + misalignment + this.#bytesOfCall - resident;
        const aligned = Math.ceil(wanted / LARGE_PAGE) * LARGE_PAGE;
        to = Math.min(aligned - misalignment, run.end);
        resident += to - start;
      }
    }
    if (resident > 0) yield piece();
  }

  /** What is resident of a range, in bytes from its start. */
  async *#residentRuns(
    range: PageRange,
  ): AsyncGenerator<{ start: number; end: number }> {
    const bytes = pageSize();
    const firstPage = Number(range.start / BigInt(bytes));
    const pages = Number(range.end / BigInt(bytes)) - firstPage;
    // Part by part, since a look at all of a large range takes its time.
    const most = LOOK_AHEAD / bytes;
    for (let page = 0; page < pages; page += most) {
      const runs: { start: number; end: number }[] = [];
      try {
        const opened = {
          pagemap: this.#pagemap,
          make: (calls: CallList) => this.#make(calls),
        };
        await presentRuns(opened, {
          firstPage: firstPage + page,
          pages: Math.min(most, pages - page),
          pageSize: bytes,
        }, (first, count) => {
          const start = (page + first) * bytes;
          runs.push({ start, end: start + count * bytes });
        });
      } catch (error) {
        // Of an address space that is gone, nothing is resident. Who does not answer
        // is asked again, by what looks whether it is gone.
        if (!isMissing(error) && !(error instanceof NotAnswering)) throw error;
      }
      yield* runs;
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

/** A part of a range, small enough for one call. */
interface Piece {
  /** Index of the range it is a part of. */
  readonly range: number;
  readonly start: bigint;
  readonly bytes: number;
  /** How much of it is resident, in bytes. */
  readonly resident: number;
}

/**
 * Opens a descriptor of exactly the process that is meant.
 *
 * The pid may pass to another process until the descriptor is open. The meant
 * process still has it if it is there afterwards.
 */
function openPidfdOf(id: ProcessId): Pidfd {
  using held = new DisposableStack();
  const pidfd = held.use(ofProcess(id.pid, () => openPidfd(id.pid)));
  using _stillThere = ProcDir.open(id);
  held.move();
  return pidfd;
}

/**
 * Finds out whether this user may page a process out, by a call without ranges.
 *
 * @throws ProcessAccessDenied when it may not.
 * @throws CapabilityError when it could not be any other process either.
 */
async function mayPageOut(
  pid: number,
  { pidfd, pagemap }: { pidfd: Pidfd; pagemap: File },
  attempt: Attempt,
): Promise<void> {
  const calls = new CallList();
  // It takes the lock too, and SIGKILL ends its wait: what comes next takes the
  // lock also where there are no ranges, since Linux 6.15 or so.
  const alive = lookWhetherAlive(pagemap, calls);
  const nothing = new RemoteRanges(0);
  const advice = { from: 0, advice: MADV_PAGEOUT };
  const advised = pidfd.advise(calls, nothing, advice);
  try {
    await attempt.make(calls, { isUnstoppable: true });
    if (calls.result(alive) === 0) throw exited(pid);
    calls.checked(advised, "process_madvise");
  } catch (error) {
    if (!(error instanceof SystemError) || !isRefusal(error.errno)) {
      throw processError(pid, error);
    }
    const lacks = lacking(["CAP_SYS_NICE"]).length > 0;
    if (error.errno === Errno.ENOSYS || !lacks) await requirePageout();
    throw new ProcessAccessDenied(
      pid,
      `process ${pid}: may not be paged out (${error.message}); ${
        accessRemedy(["CAP_SYS_NICE"])
      }`,
      { cause: error },
    );
  }
}

/** The error of a process whose address space is not the one that was observed. */
export function replaced(pid: number): ProcessError {
  return new ProcessError(
    pid,
    `process ${pid} has started another program (exec); its memory is not the one that was observed`,
  );
}
