/**
 * Page-out on Linux: `process_madvise(MADV_PAGEOUT)` through a process descriptor.
 * The process is never stopped.
 *
 * @module
 */

import {
  NoSuchProcess,
  ProcessAccessDenied,
  ProcessError,
} from "../../errors.ts";
import type { File } from "../../../ffi/file.ts";
import { Errno, SystemError } from "../../../ffi/libc.ts";
import { isAddressSpaceAlive } from "../../../ffi/pagemap.ts";
import {
  MADV_PAGEOUT,
  MAX_RANGES,
  Pidfd,
  RemoteRanges,
} from "../../../ffi/pidfd.ts";
import { memoryInfo } from "../../../ffi/system.ts";
import type { PageoutControl, PageoutResult, PageRange } from "../platform.ts";
import {
  ofProcess,
  ProcDir,
  processError,
  type ProcessId,
} from "./proc_dir.ts";

/** How long one call should take, in milliseconds, so that signals are honoured promptly. */
const CALL_MS = 50;
/** Calls grow and shrink with the speed of page-outs, in bytes. */
const SMALLEST_CALL = 2 << 20;
const LARGEST_CALL = 32 << 20;
/** Pieces end where large pages do, so that none is split without need. */
const LARGE_PAGE = 2 << 20;

export interface LinuxPageoutOptions {
  /** Layout of the address space that is meant, as in `ProcessStat`. */
  layout: string | undefined;
  /** Whether a mapping, by its start, can only go to swap. */
  needsSwap: (mappingStart: bigint) => boolean;
}

/** Control over one process; holds its descriptors until disposed. */
export class LinuxPageout implements PageoutControl {
  readonly maxRanges = MAX_RANGES;
  readonly #pid: number;
  readonly #pidfd: Pidfd;
  readonly #pagemap: File;
  readonly #needsSwap: (mappingStart: bigint) => boolean;
  readonly #ranges = new RemoteRanges(MAX_RANGES);
  #callBytes = SMALLEST_CALL;

  private constructor(
    pid: number,
    { pidfd, pagemap }: { pidfd: Pidfd; pagemap: File },
    { needsSwap }: LinuxPageoutOptions,
  ) {
    this.#pid = pid;
    this.#pidfd = pidfd;
    this.#pagemap = pagemap;
    this.#needsSwap = needsSwap;
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
    const { pid } = id;
    using held = new DisposableStack();
    const pidfd = held.use(openPidfd(id));
    // The pagemap stays with the address space it was opened for, so the layout
    // is compared after that.
    using directory = ProcDir.open(id);
    const pagemap = held.use(directory.openFile("pagemap"));
    if (
      options.layout !== undefined && directory.stat().layout !== options.layout
    ) {
      throw replaced(pid);
    }
    await mayPageOut(pid, pidfd);
    held.move();
    return new LinuxPageout(pid, { pidfd, pagemap }, options);
  }

  async pageOut(
    ranges: readonly PageRange[],
    signal?: AbortSignal,
  ): Promise<PageoutResult[]> {
    const results: PageoutResult[] = [];
    const pieces: Piece[] = [];
    let resident = 0;
    for (const [index, range] of ranges.entries()) {
      results[index] = { result: "done" };
      for (const piece of this.#piecesOf(range, index)) {
        if (
          this.#needsSwap(range.mappingStart) && memoryInfo().freeSwap === 0
        ) {
          results[index] = { result: "busy", message: "no swap is free" };
          break;
        }
        pieces.push(piece);
        resident += piece.resident;
        if (resident < this.#callBytes && pieces.length < MAX_RANGES) continue;
        if (!await this.#call(pieces, results)) return results;
        if (signal?.aborted) return results;
        pieces.length = 0;
        resident = 0;
      }
    }
    await this.#call(pieces, results);
    return results;
  }

  /** Cuts a range into pieces that a call can take. */
  *#piecesOf(range: PageRange, index: number): Generator<Piece> {
    const span = Number(range.end - range.start);
    let start = range.start;
    while (start < range.end) {
      const step = Math.ceil(this.#callBytes * (span / range.bytes));
      const aligned = (start + BigInt(step)) & -BigInt(LARGE_PAGE);
      const end = aligned <= start || aligned > range.end ? range.end : aligned;
      const bytes = Number(end - start);
      const resident = bytes * (range.bytes / span);
      yield { range: index, start, bytes, resident };
      start = end;
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
      const done = await this.#advise(next);
      if (typeof done !== "number") {
        if (done.result === "failed") results.length = range;
        results[range] = done;
        if (done.result === "failed") return false;
        next++;
        continue;
      }
      let left = done;
      while (next < pieces.length && left >= pieces[next].bytes) {
        left -= pieces[next++].bytes;
      }
    }
    this.#adapt(pieces, performance.now() - began);
    return true;
  }

  /**
   * Pages out the pieces from an index on.
   *
   * @returns the size of those that are done, or the result of the first one
   * where that is not.
   */
  async #advise(from: number): Promise<number | PageoutResult> {
    if (!isAddressSpaceAlive(this.#pagemap)) {
      const error = this.#pidfd.isAlive()
        ? replaced(this.#pid)
        : exited(this.#pid);
      return { result: "failed", message: error.message };
    }
    try {
      const advice = MADV_PAGEOUT;
      return await this.#pidfd.madvise(this.#ranges, { from, advice });
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      // Locked or otherwise refused; or unmapped by now, at least in part.
      const { EINVAL, ENOMEM, EAGAIN, EINTR } = Errno;
      const isBusy = [EINVAL, ENOMEM, EAGAIN, EINTR].some((e) =>
        e === error.errno
      );
      return { result: isBusy ? "busy" : "failed", message: error.message };
    }
  }

  /** Lets the size of calls follow the speed of page-outs. */
  #adapt(pieces: readonly Piece[], elapsed: number): void {
    const resident = pieces.reduce((sum, piece) => sum + piece.resident, 0);
    // Small calls are all overhead and say nothing about the speed.
    if (resident < SMALLEST_CALL / 2) return;
    const wanted = Math.min(resident * CALL_MS / elapsed, this.#callBytes * 2);
    this.#callBytes = Math.min(Math.max(wanted, SMALLEST_CALL), LARGEST_CALL);
  }

  [Symbol.dispose](): void {
    this.#pidfd[Symbol.dispose]();
    this.#pagemap[Symbol.dispose]();
  }
}

/** A part of a range, small enough for one call. */
interface Piece {
  /** Index of the range it is a part of. */
  readonly range: number;
  readonly start: bigint;
  readonly bytes: number;
  /** How much of it is resident, in bytes, if the range is so evenly. */
  readonly resident: number;
}

/**
 * Opens a descriptor of exactly the process that is meant.
 *
 * The pid may pass to another process until the descriptor is open. The meant
 * process still has it if it is there afterwards.
 */
function openPidfd(id: ProcessId): Pidfd {
  using held = new DisposableStack();
  const pidfd = held.use(ofProcess(id.pid, () => Pidfd.open(id.pid)));
  using _stillThere = ProcDir.open(id);
  held.move();
  return pidfd;
}

/** Finds out whether this user may page a process out, by a call without ranges. */
async function mayPageOut(pid: number, pidfd: Pidfd): Promise<void> {
  try {
    await pidfd.madvise(new RemoteRanges(0), { from: 0, advice: MADV_PAGEOUT });
  } catch (error) {
    if (error instanceof SystemError && error.errno === Errno.EPERM) {
      throw new ProcessAccessDenied(
        pid,
        `process ${pid}: may not be paged out (${error.message}); run as root, or with CAP_SYS_NICE and CAP_SYS_PTRACE`,
        { cause: error },
      );
    }
    throw processError(pid, error);
  }
}

function replaced(pid: number): ProcessError {
  return new ProcessError(
    pid,
    `process ${pid} has started another program (exec); its memory is not the one that was observed`,
  );
}

function exited(pid: number): NoSuchProcess {
  return new NoSuchProcess(pid, `process ${pid} has exited`);
}
