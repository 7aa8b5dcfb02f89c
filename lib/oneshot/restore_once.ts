/**
 * Brings back what of some processes is in swap, from selectors to a report, for
 * `rcap restore`.
 *
 * @module
 */

import { selectProcesses } from "../collection/members.ts";
import type { Selector } from "../collection/selectors.ts";
import {
  CapabilityError,
  ProcessAccessDenied,
  ProcessError,
  RcapError,
} from "../errors.ts";
import { progress } from "../platform/output.ts";
import type { MonitoredMemory, Platform } from "../platform/platform.ts";
import { formatSize } from "../report/units.ts";

/** What was brought back of one process. Sizes in bytes. */
export interface RestoredProcess {
  readonly pid: number;
  readonly comm: string;
  /** How much of it was in swap; null if it could not be read. */
  out: number | null;
  /** How much of that the system was asked to read. */
  requested: number;
  /** How much of it comes back only when the process uses it. */
  outOfReach: number;
  /** Why not all of the rest was asked for. */
  error: string | null;
}

/** What was brought back. Sizes in bytes. The JSON form of `rcap restore`. */
export interface RestoreReport {
  readonly version: 1;
  readonly processes: readonly RestoredProcess[];
  readonly out: number;
  readonly requested: number;
  readonly outOfReach: number;
  /** What of the machine's memory was in swap and in memory, before and after; null if not known. */
  readonly swapCachedBefore: number | null;
  readonly swapCachedAfter: number | null;
  /** What programs could allocate, before and after. */
  readonly availableBefore: number;
  readonly availableAfter: number;
  /** Whether all was asked for that advice brings back. */
  readonly isComplete: boolean;
  readonly seconds: number;
}

export interface RestoreOnceOptions {
  readonly selectors: readonly Selector[];
  readonly platform: Platform;
  /** The most to bring back, in bytes; all by default. */
  readonly limit?: number;
  /** Whether it may take more than is available. */
  readonly force: boolean;
  readonly signal: AbortSignal;
  readonly log: { warn(message: string): void };
}

/** The share of physical memory that stays available. */
const KEPT_SHARE = 0.02;

/**
 * Brings back what is in swap.
 *
 * @throws NoMatch, NoSuchProcess if there is no such process.
 * @throws RcapError if what is out does not fit into memory; nothing has been read then.
 * @throws CapabilityError if this system cannot do it.
 * @throws ProcessAccessDenied if this user may do it to none of the processes.
 * @throws the signal's reason if it is aborted.
 */
export async function restoreOnce(
  { selectors, platform, limit = Infinity, force, signal, log }:
    RestoreOnceOptions,
): Promise<RestoreReport> {
  const { processes: entries, problems } = await selectProcesses(
    selectors,
    platform,
    signal,
  );
  for (const problem of problems) log.warn(problem);
  const shared = await platform.sharedMemory?.(entries);
  const targets = entries.filter(({ pid }) => !shared?.has(pid))
    .map((entry) => ({
      memory: platform.open(entry),
      report: newReport(entry),
    }));
  const before = platform.memory();
  const availableBefore = before.availableMemory;
  const swapCachedBefore = before.swapCached ?? null;
  const kept = force ? -Infinity : before.totalMemory * KEPT_SHARE;
  // Without shared memory, which cannot be read as cheaply.
  const known = targets.reduce((sum, { memory }) => sum + swapOf(memory), 0);
  refuseExcess(Math.min(known, limit), availableBefore - kept);

  const began = performance.now();
  let requested = 0;
  let whyEnded: string | undefined;
  using shown = new Progress();
  const show = () => {
    // More may be out: what is known is without shared memory.
    const all = Math.min(Math.max(known, requested), limit);
    shown.show(`${formatSize(requested)} of ${formatSize(all)} asked for…`);
  };
  const mayRead = (bytes: number) => {
    if (signal.aborted) whyEnded = "interrupted";
    else if (requested + bytes > limit) whyEnded = "the limit is reached";
    else if (platform.memory().availableMemory - bytes < kept) {
      whyEnded = `only ${
        formatSize(platform.memory().availableMemory)
      } of memory is available`;
    } else requested += bytes;
    show();
    return whyEnded === undefined;
  };
  const denied: ProcessAccessDenied[] = [];
  for (const { memory, report } of targets) {
    const error = await restoreProcess(memory, report, mayRead);
    if (error instanceof ProcessAccessDenied) denied.push(error);
    report.error ??= lackOf(report) > 0 ? whyEnded ?? null : null;
  }
  signal.throwIfAborted();
  if (denied.length > 0 && denied.length === targets.length) throw denied[0];
  const processes = targets.map(({ report }) => report);
  const sum = (value: (report: RestoredProcess) => number) =>
    processes.reduce((sum, report) => sum + value(report), 0);
  const after = platform.memory();
  return {
    version: 1,
    processes,
    out: sum(({ out }) => out ?? 0),
    requested: sum((report) => report.requested),
    outOfReach: sum(({ outOfReach }) => outOfReach),
    swapCachedBefore,
    swapCachedAfter: after.swapCached ?? null,
    availableBefore,
    availableAfter: after.availableMemory,
    isComplete: processes.every(({ error }) => error === null),
    seconds: Math.round(performance.now() - began) / 1000,
  };
}

/** How often progress is shown, in milliseconds. */
const PROGRESS_INTERVAL = 200;

/** A line of progress that changes. */
class Progress implements Disposable {
  #shown: Disposable | undefined;
  #shownAt = -Infinity;

  show(text: string): void {
    if (performance.now() - this.#shownAt < PROGRESS_INTERVAL) return;
    this[Symbol.dispose]();
    this.#shown = progress(text);
    this.#shownAt = performance.now();
  }

  [Symbol.dispose](): void {
    this.#shown?.[Symbol.dispose]();
    this.#shown = undefined;
  }
}

/** @throws RcapError if there is not enough room. */
function refuseExcess(bytes: number, room: number): void {
  if (bytes <= room) return;
  throw new RcapError(
    `${formatSize(bytes)} is in swap, and only ${
      formatSize(Math.max(0, room))
    } of memory can be had for it; --limit brings back a part, --force all that the system can make room for`,
  );
}

function newReport(
  { pid, comm }: { pid: number; comm: string },
): RestoredProcess {
  return { pid, comm, out: null, requested: 0, outOfReach: 0, error: null };
}

/** How much was neither asked for nor out of reach. */
function lackOf({ out, requested, outOfReach }: RestoredProcess): number {
  return (out ?? 0) - requested - outOfReach;
}

/** How much of a process is in swap; 0 if that cannot be read. */
function swapOf(memory: MonitoredMemory): number {
  try {
    return memory.readSwap?.() ?? 0;
  } catch (error) {
    if (!(error instanceof ProcessError)) throw error;
    return 0;
  }
}

/** @returns why it failed, which the report says, too. */
async function restoreProcess(
  memory: MonitoredMemory,
  report: RestoredProcess,
  mayRead: (bytes: number) => boolean,
): Promise<ProcessError | undefined> {
  if (!memory.restore) {
    throw new CapabilityError(
      "this system cannot be asked to bring back the memory of a process; the process brings it back when it uses it",
    );
  }
  try {
    const result = await memory.restore({ mayRead });
    report.out = result.out;
    report.requested = result.requested;
    report.outOfReach = result.outOfReach;
    if (result.isAtLimit) {
      report.error = "its cgroup may not use more memory";
    }
    return undefined;
  } catch (error) {
    if (!(error instanceof ProcessError)) throw error;
    report.error = error.message;
    return error;
  }
}
