/**
 * Measures one run of the contest: a workload under one contestant.
 *
 * @module
 */

import { systemClock } from "../../lib/platform/clock.ts";
import { statFields } from "../../lib/platform/linux/stat.ts";
import { Cgroup, type Contestant } from "./contestants.ts";
import { type Operations, quantile } from "./operations.ts";
import {
  RunningWorkload,
  type WorkloadKind,
  type WorkloadSizes,
} from "./workloads.ts";

/** How often RSS is sampled, in milliseconds; proportional sizes take longer. */
const SAMPLING = 100;
const SAMPLING_SHARED = 500;
/** How often the jobs that are done are read, in milliseconds. */
const WATCHING = 100;
/** How long jobs are waited for, in seconds. */
const PATIENCE = 90;
const PAGE_SIZE = 4096;
/** How long the speed without an enforcer is measured in every run, in seconds. */
const FREE = 5;
/** Clock ticks a second of `/proc/PID/stat`: `USER_HZ`. */
const TICKS = 100;

/** Figures of one run. Sizes in bytes, times in seconds unless named otherwise. */
export interface Figures {
  /** Operations per second. */
  readonly speed: number;
  /** The same shortly before the enforcer started. */
  readonly freeSpeed: number;
  /** In microseconds. */
  readonly p50: number;
  readonly p99: number;
  /** Per second. */
  readonly majorFaults: number;
  /** Pages written to swap and read from it by the machine, per second. */
  readonly pagesOut: number;
  readonly pagesIn: number;
  /** How much that is, in bytes per second, as the swap device counts it. */
  readonly bytesToSwap: number;
  /** The jobs that were done, and major faults for each; null if the workload has none. */
  readonly jobs: number | null;
  readonly faultsPerJob: number | null;
  /** How long was measured. */
  readonly seconds: number;
  /**
   * The same by how long the page had not been used: less than a quarter of a
   * second, a half, 1, 2, 4, 8, 16, 32, and longer. Empty if not counted.
   */
  readonly refaults: readonly number[];
  /** During the measurement. */
  readonly meanRss: number;
  readonly maxRss: number;
  /**
   * Mean size of the machine's swap cache: pages in memory that no process maps, like
   * those that a child read from swap and its parent still has there. A cgroup counts
   * them, RSS does not.
   */
  readonly meanSwapCache: number;
  /** Processor time of the enforcer, as a share of one core; null without a process. */
  readonly enforcerCpu: number | null;
  /** The part of it in the kernel, which is mostly paging out. */
  readonly enforcerKernel: number | null;
  /** Of the workload: time in the kernel, as a share of one core. */
  readonly systemCpu: number;
  /**
   * Time from the start of the enforcer until RSS was first at or below the cap;
   * null if never.
   */
  readonly underCapAfter: number | null;
  /** RSS before the enforcer started. */
  readonly fullRss: number;
  /** The cap, and the contestant's limit. */
  readonly cap: number;
  readonly limit: number;
}

export interface RunOptions {
  readonly sizes: WorkloadSizes;
  readonly programs: string;
  /** The name of the swap device, like `zram0`. */
  readonly device: string;
  /** In seconds. */
  readonly settle: number;
  readonly measure: number;
  readonly interval: number;
  /** The limit, as a share of the cap. */
  readonly limitShare: number;
  readonly signal: AbortSignal;
}

/** A process of the workload has ended or was killed. */
export class WorkloadEnded extends Error {
  override readonly name = "WorkloadEnded";
}

/**
 * Runs a workload under a contestant and measures it after it has settled.
 *
 * @throws WorkloadEnded if a process of the workload has ended.
 */
export async function runOnce(
  kind: WorkloadKind,
  contestant: Contestant,
  options: RunOptions,
): Promise<Figures> {
  const { sizes, programs, device, interval, limitShare, signal } = options;
  await using held = new AsyncDisposableStack();
  const cgroup = contestant.needsCgroup ? held.use(Cgroup.create()) : undefined;
  const workload = held.use(
    await RunningWorkload.start(kind, sizes, {
      programs,
      cgroup: cgroup?.procs,
    }),
  );
  const rssNow = () => kind.hasChildren ? pssOf(workload) : rssOf(pids);
  const pids = workload.pids();
  await systemClock.sleep(1000, signal);
  const freeSpeed = await speedOf(workload, signal);
  const fullRss = rssNow();
  const cap = fullRss * kind.cap;
  const limit = cap * limitShare;
  const ended = new AbortController();
  const wait = async (milliseconds: number) => {
    await systemClock.sleep(
      milliseconds,
      AbortSignal.any([signal, ended.signal]),
    );
    signal.throwIfAborted();
    if (ended.signal.aborted) throw ended.signal.reason;
  };

  const began = performance.now();
  let underCapAfter: number | null = null;
  let samples: number[] = [];
  let swapCache: number[] = [];
  const sampling = setInterval(() => {
    try {
      const rss = rssNow();
      samples.push(rss);
      swapCache.push(swapCached());
      if (rss <= cap) underCapAfter ??= (performance.now() - began) / 1000;
    } catch (error) {
      ended.abort(error);
    }
  }, kind.hasChildren ? SAMPLING_SHARED : SAMPLING);
  held.defer(() => clearInterval(sampling));
  const enforcer = held.use(
    await contestant.start(workload, { limit, interval, cgroup }),
  );
  const least = kind.atLeast?.(sizes) ?? { settle: 0, measure: 0 };
  const settle = contestant.name === "uncapped"
    ? 2
    : Math.max(options.settle, least.settle);
  await wait(Math.max(0, settle * 1000 - (performance.now() - began)));
  const jobsDone = () => workload.operations().jobs;
  /** Waits until some jobs are done. */
  const waitForJobs = async (count: number) => {
    const [wanted, start] = [jobsDone() + count, performance.now()];
    while (
      jobsDone() < wanted && performance.now() - start < PATIENCE * 1000
    ) await wait(WATCHING);
  };

  if (kind.jobs) await waitForJobs(1);
  const before = snapshot(workload, device, enforcer.pid);
  samples = [];
  swapCache = [];
  await wait(
    kind.jobs ? 0 : Math.max(options.measure, least.measure) * 1000,
  );
  if (kind.jobs) await waitForJobs(kind.jobs.count);
  const after = snapshot(workload, device, enforcer.pid);

  const seconds = (after.at - before.at) / 1000;
  const buckets = after.operations.buckets.map((n, i) =>
    n - before.operations.buckets[i]
  );
  const majorFaults = after.usage.majorFaults - before.usage.majorFaults;
  const jobs = after.operations.jobs - before.operations.jobs;
  return {
    speed: (after.operations.count - before.operations.count) / seconds,
    freeSpeed,
    p50: quantile(buckets, 0.5),
    p99: quantile(buckets, 0.99),
    majorFaults: majorFaults / seconds,
    pagesOut: (after.swapped.out - before.swapped.out) / seconds,
    pagesIn: (after.swapped.in - before.swapped.in) / seconds,
    bytesToSwap: (after.swapped.written - before.swapped.written) / seconds,
    jobs: kind.jobs ? jobs : null,
    // A job that was not done counts as one.
    faultsPerJob: kind.jobs ? majorFaults / Math.max(1, jobs) : null,
    seconds,
    refaults: Array.from(
      after.operations.refaults,
      (count, band) => (count - before.operations.refaults[band]) / seconds,
    ),
    meanRss: meanOf(samples),
    meanSwapCache: meanOf(swapCache),
    maxRss: Math.max(...samples),
    enforcerCpu: before.enforcer && after.enforcer
      ? (after.enforcer.user + after.enforcer.system - before.enforcer.user -
        before.enforcer.system) / seconds
      : null,
    enforcerKernel: before.enforcer && after.enforcer
      ? (after.enforcer.system - before.enforcer.system) / seconds
      : null,
    systemCpu: (after.usage.system - before.usage.system) / seconds,
    underCapAfter,
    fullRss,
    cap,
    limit,
  };
}

/** Measures operations per second while nothing is enforced. */
async function speedOf(
  workload: RunningWorkload,
  signal: AbortSignal,
): Promise<number> {
  const [before, began] = [workload.operations().count, performance.now()];
  await systemClock.sleep(FREE * 1000, signal);
  const seconds = (performance.now() - began) / 1000;
  return (workload.operations().count - before) / seconds;
}

function snapshot(
  workload: RunningWorkload,
  device: string,
  enforcer: number | undefined,
): {
  at: number;
  operations: Operations;
  usage: Usage;
  swapped: ReturnType<typeof swappedSoFar>;
  enforcer: Usage | undefined;
} {
  return {
    at: performance.now(),
    operations: workload.operations(),
    usage: usageOf(workload.pids()),
    swapped: swappedSoFar(device),
    enforcer: enforcer === undefined ? undefined : usageOf([enforcer]),
  };
}

/**
 * Pages that went to swap and came from it so far, of `/proc/vmstat`, and the bytes
 * written to the device: the seventh field of Documentation/block/stat.rst, in sectors
 * of 512 bytes.
 */
function swappedSoFar(device: string) {
  const vmstat = Deno.readTextFileSync("/proc/vmstat");
  const count = (name: string) =>
    Number(new RegExp(`^${name} (\\d+)$`, "m").exec(vmstat)?.[1]);
  const stat = Deno.readTextFileSync(`/sys/block/${device}/stat`);
  return {
    out: count("pswpout"),
    in: count("pswpin"),
    written: Number(stat.trim().split(/\s+/)[6]) * 512,
  };
}

/** The size of the swap cache, in bytes: `SwapCached` of proc_meminfo(5). */
function swapCached(): number {
  const text = Deno.readTextFileSync("/proc/meminfo");
  return Number(/^SwapCached:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1024;
}

function meanOf(samples: readonly number[]): number {
  return samples.reduce((sum, one) => sum + one, 0) / samples.length;
}

/** What processes have used, in seconds and faults. */
interface Usage {
  user: number;
  system: number;
  majorFaults: number;
}

/**
 * The usage of processes so far, and of their children that have ended:
 * proc_pid_stat(5).
 */
function usageOf(pids: readonly number[]): Usage {
  const usage = { user: 0, system: 0, majorFaults: 0 };
  for (const pid of pids) {
    const stat = readIfAny(`/proc/${pid}/stat`);
    if (stat === undefined) continue;
    const fields = statFields(stat);
    const field = (number: number) => Number(fields[number - 3]);
    usage.majorFaults += field(12) + field(13);
    usage.user += (field(14) + field(16)) / TICKS;
    usage.system += (field(15) + field(17)) / TICKS;
  }
  return usage;
}

/** The text of a file of `/proc`; `undefined` if its process has ended. */
function readIfAny(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    const isGone = error instanceof Deno.errors.NotFound ||
      // ESRCH, for which Deno has no error class.
      error instanceof Error && error.message.includes("os error 3)");
    if (isGone) return undefined;
    throw error;
  }
}

/**
 * The proportional size of all processes of a workload, in bytes: what several of them
 * share counts once, as for a cgroup and for rcap.
 */
function pssOf(workload: RunningWorkload): number {
  let kilobytes = 0;
  for (const pid of workload.pids()) {
    const rollup = readIfAny(`/proc/${pid}/smaps_rollup`);
    const pss = /^Pss:\s+(\d+) kB$/m.exec(rollup ?? "")?.[1];
    if (pss === undefined && pid === workload.pid) {
      throw new WorkloadEnded(`process ${pid} has ended`);
    }
    kilobytes += Number(pss ?? 0);
  }
  return kilobytes * 1024;
}

/**
 * Resident memory of processes, in bytes. They share only the same pages of files,
 * which count once, as for a cgroup and for rcap.
 */
function rssOf(pids: readonly number[]): number {
  let pages = 0;
  let shared = 0;
  for (const pid of pids) {
    const statm = readIfAny(`/proc/${pid}/statm`)?.split(" ") ?? [];
    const [, all = 0, ofFiles = 0] = statm.map(Number);
    // Also 0 for a zombie.
    if (all === 0) throw new WorkloadEnded(`process ${pid} has ended`);
    pages += all - ofFiles;
    shared = Math.max(shared, ofFiles);
  }
  return (pages + shared) * PAGE_SIZE;
}
