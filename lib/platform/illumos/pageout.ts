/**
 * Page-out on illumos: a grabbed process executes memcntl(2) on itself. It is stopped
 * from the moment it is grabbed until it is released.
 *
 * @module
 */

import { IllumosErrno, illumosErrorWords } from "../../../ffi/illumos_libc.ts";
import {
  type GrabbedProcess,
  GrabCode,
  GrabError,
  type Libproc,
  ProcessState,
} from "../../../ffi/libproc.ts";
import {
  NoSuchProcess,
  ProcessAccessDenied,
  ProcessError,
} from "../../errors.ts";
import type {
  PageoutControl,
  PageoutResult,
  PageRange,
} from "../../memory/process_memory.ts";
import type { ProcessId } from "../platform.ts";
import type { DescriptorPool } from "./descriptor_pool.ts";
import { systemClock } from "../clock.ts";
import { exited, replaced } from "../process_errors.ts";
import type { ProcessFiles } from "./process_files.ts";

/** How long a process may take to stop, in milliseconds. */
const STOP_MS = 2000;
/** How long to wait between two checks, in milliseconds. */
const WAIT_MS = 20;

/** How long one call should take, in milliseconds, so that signals are handled promptly. */
const CALL_MS = 10;
/** The limits of the size of a call, which follows the speed of page-outs, in bytes. */
const SMALLEST_CALL = 256 * 1024;
const LARGEST_CALL = 32 * 2 ** 20;

export interface IllumosPageoutOptions {
  readonly libproc: Libproc;
  readonly pool: DescriptorPool;
  readonly files: ProcessFiles;
  /** The layout of the address space that was observed; `undefined` accepts any. */
  readonly layout: string | undefined;
}

/** Control over one process, which is stopped until disposal. */
export class IllumosPageout implements PageoutControl {
  /** RSS has to be read after every range, since the algorithm depends on it. */
  readonly maxRanges = 1;
  readonly #pid: number;
  readonly #grabbed: GrabbedProcess;
  readonly #job: Disposable;
  #callBytes = SMALLEST_CALL;

  private constructor(pid: number, grabbed: GrabbedProcess, job: Disposable) {
    this.#pid = pid;
    this.#grabbed = grabbed;
    this.#job = job;
  }

  /**
   * Takes control of a process.
   *
   * @throws NoSuchProcess if it has exited.
   * @throws ProcessAccessDenied if this user may not control it.
   * @throws ProcessError if it cannot be controlled, or its address space is not the
   * one that was observed. In that case the process continues to run.
   */
  static open(
    { pid }: ProcessId,
    { libproc, pool, files, layout }: IllumosPageoutOptions,
  ): IllumosPageout {
    using held = new DisposableStack();
    const job = held.use(staysInForeground());
    const grabbed = held.use(grab(pid, { libproc, pool }));
    // A grabbed process keeps its pid, so only now it is certain which process has it.
    const psinfo = files.readPsinfo();
    if (layout !== undefined && psinfo.layout !== layout) throw replaced(pid);
    if (!grabbed.createAgent()) {
      // Throws a more exact error if the process was killed.
      files.readPsinfo();
      throw new ProcessError(
        pid,
        `process ${pid}: no agent can be made in it, so it cannot be paged out`,
      );
    }
    waitUntilStopped(pid, grabbed);
    held.move();
    return new IllumosPageout(pid, grabbed, job);
  }

  async pageOut(
    ranges: readonly PageRange[],
    signal?: AbortSignal,
  ): Promise<PageoutResult[]> {
    const results: PageoutResult[] = [];
    for (const range of ranges) {
      const result = await this.#pageOutRange(range, signal);
      results.push(result);
      if (result.result === "failed" || signal?.aborted) break;
    }
    return results;
  }

  /** Pages out one range, part by part. */
  async #pageOutRange(
    { start, end }: PageRange,
    signal?: AbortSignal,
  ): Promise<PageoutResult> {
    let outcome: PageoutResult = { result: "done" };
    let turned = performance.now();
    for (let at = start; at < end;) {
      const bytes = Math.min(this.#callBytes, Number(end - at));
      const began = performance.now();
      const errno = this.#grabbed.pageOut(at, bytes);
      at += BigInt(bytes);
      const now = performance.now();
      this.#adapt(bytes, now - began);
      if (errno === IllumosErrno.EBUSY) {
        outcome = {
          result: "busy",
          message: "some of it is locked, or has nowhere to go",
        };
      } else if (errno !== 0) {
        return { result: "failed", message: this.#failure(errno) };
      }
      if (now - turned > CALL_MS) {
        // Signals are handled when the event loop turns.
        await systemClock.sleep(0);
        turned = performance.now();
      }
      if (signal?.aborted) break;
    }
    return outcome;
  }

  #failure(errno: number): string {
    return errno === IllumosErrno.ESRCH || errno === IllumosErrno.ENOENT
      ? exited(this.#pid).message
      : `process ${this.#pid}: page-out failed: ${illumosErrorWords(errno)}`;
  }

  /** Adapts the size of calls to the speed of page-outs. */
  #adapt(bytes: number, elapsed: number): void {
    const factor = elapsed > CALL_MS ? 0.5 : elapsed < CALL_MS / 4 ? 2 : 1;
    this.#callBytes = Math.min(
      Math.max(Math.max(bytes, SMALLEST_CALL) * factor, SMALLEST_CALL),
      LARGEST_CALL,
    );
    // In multiples of the smallest call, so in whole small pages.
    this.#callBytes -= this.#callBytes % SMALLEST_CALL;
  }

  [Symbol.dispose](): void {
    this.#grabbed[Symbol.dispose]();
    this.#job[Symbol.dispose]();
  }
}

/** Grabs a process; makes the pool give up descriptors if there are too few. */
function grab(
  pid: number,
  { libproc, pool }: Pick<IllumosPageoutOptions, "libproc" | "pool">,
): GrabbedProcess {
  try {
    return libproc.grab(pid);
  } catch (error) {
    if (!(error instanceof GrabError)) throw error;
    if (error.code !== GrabCode.NOFD) throw grabError(pid, error);
  }
  // Other parts of rcap have taken the descriptors that the pool leaves free.
  pool.shrink();
  try {
    return libproc.grab(pid);
  } catch (error) {
    if (!(error instanceof GrabError)) throw error;
    throw grabError(pid, error);
  }
}

/** The error for a process that cannot be grabbed. */
function grabError(pid: number, error: GrabError): ProcessError {
  const cause = { cause: error };
  const { errno } = error;
  switch (error.code) {
    case GrabCode.NOPROC:
      return exited(pid, cause);
    case GrabCode.ZOMB:
      return new NoSuchProcess(pid, `process ${pid} is a zombie`, cause);
    case GrabCode.PERM:
      return new ProcessAccessDenied(
        pid,
        `process ${pid}: may not be controlled (${error.message}); run as root, or with the privileges proc_owner and proc_session`,
        cause,
      );
    case GrabCode.STRANGE:
      if (errno === IllumosErrno.ENOENT || errno === IllumosErrno.ESRCH) {
        return exited(pid, cause);
      }
  }
  return new ProcessError(
    pid,
    `process ${pid}: cannot be controlled (${error.message})`,
    cause,
  );
}

/** Waits until a grabbed process has stopped. */
function waitUntilStopped(pid: number, grabbed: GrabbedProcess): void {
  const deadline = performance.now() + STOP_MS;
  let state = grabbed.state();
  while (state === ProcessState.RUN && performance.now() < deadline) {
    grabbed.wait(WAIT_MS);
    state = grabbed.state();
  }
  switch (state) {
    case ProcessState.STOP:
      return;
    case ProcessState.UNDEAD:
      throw exited(pid);
    case ProcessState.RUN:
      throw new ProcessError(
        pid,
        `process ${pid}: does not stop within ${STOP_MS / 1000} s`,
      );
    case ProcessState.LOST:
      throw new ProcessError(
        pid,
        `process ${pid}: control over it is lost; it may have started a program that this user may not control`,
      );
  }
  throw new ProcessError(
    pid,
    `process ${pid}: is in state ${state} rather than stopped`,
  );
}

/**
 * Keeps rcap running when the terminal asks it to stop (SIGTSTP), until disposal: the
 * process that it controls would stay stopped as long as rcap.
 */
function staysInForeground(): Disposable {
  const listener = () => {};
  Deno.addSignalListener("SIGTSTP", listener);
  return {
    [Symbol.dispose]() {
      Deno.removeSignalListener("SIGTSTP", listener);
    },
  };
}
