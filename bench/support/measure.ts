/**
 * Measures one run of the contest: a workload under one contestant.
 *
 * @module
 */

import { systemClock } from "../../lib/platform/clock.ts";
import { statFields } from "../../lib/platform/linux/stat.ts";
import { Cgroup, type Contestant } from "./contestants.ts";
import {
  quantile,
  RunningWorkload,
  type WorkloadKind,
  type WorkloadSizes,
} from "./workloads.ts";

/** How often RSS is sampled, in milliseconds. */
const SAMPLING = 100;
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
  /**
   * The same by how long the page had not been used: less than a quarter of a
   * second, a half, 1, 2, 4, 8, 16, 32, and longer. Empty if not counted.
   */
  readonly refaults: readonly number[];
  /** During the measurement. */
  readonly meanRss: number;
  readonly maxRss: number;
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
  const { sizes, programs, interval, limitShare, signal } = options;
  await using held = new AsyncDisposableStack();
  const cgroup = contestant.needsCgroup ? held.use(Cgroup.create()) : undefined;
  const workload = held.use(
    await RunningWorkload.start(kind, sizes, {
      programs,
      cgroup: cgroup?.procs,
    }),
  );
  const pids = workload.pids();
  await systemClock.sleep(1000, signal);
  const freeSpeed = await speedOf(workload, signal);
  const fullRss = rssOf(pids);
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
  const sampling = setInterval(() => {
    try {
      const rss = rssOf(pids);
      samples.push(rss);
      if (rss <= cap) underCapAfter ??= (performance.now() - began) / 1000;
    } catch (error) {
      ended.abort(error);
    }
  }, SAMPLING);
  held.defer(() => clearInterval(sampling));
  const enforcer = held.use(
    await contestant.start(workload, { limit, interval, cgroup }),
  );
  const longer = kind.longer?.(sizes) ?? { settle: 0, measure: 0 };
  const settle = contestant.name === "uncapped"
    ? 2
    : Math.max(2, options.settle + longer.settle);
  await wait(settle * 1000 - (performance.now() - began));

  const before = snapshot(workload, pids, enforcer.pid);
  samples = [];
  await wait((options.measure + longer.measure) * 1000);
  const after = snapshot(workload, pids, enforcer.pid);

  const seconds = (after.at - before.at) / 1000;
  const buckets = after.operations.buckets.map((n, i) =>
    n - before.operations.buckets[i]
  );
  return {
    speed: (after.operations.count - before.operations.count) / seconds,
    freeSpeed,
    p50: quantile(buckets, 0.5),
    p99: quantile(buckets, 0.99),
    majorFaults: (after.usage.majorFaults - before.usage.majorFaults) /
      seconds,
    refaults: Array.from(
      after.operations.refaults,
      (count, band) => (count - before.operations.refaults[band]) / seconds,
    ),
    meanRss: samples.reduce((sum, rss) => sum + rss, 0) / samples.length,
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
  pids: readonly number[],
  enforcer: number | undefined,
) {
  return {
    at: performance.now(),
    operations: workload.operations(),
    usage: usageOf(pids),
    enforcer: enforcer === undefined ? undefined : usageOf([enforcer]),
  };
}

/** The usage of processes so far, with times in seconds: proc_pid_stat(5). */
function usageOf(pids: readonly number[]) {
  const usage = { user: 0, system: 0, majorFaults: 0 };
  for (const pid of pids) {
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    const fields = statFields(stat);
    usage.majorFaults += Number(fields[12 - 3]);
    usage.user += Number(fields[14 - 3]) / TICKS;
    usage.system += Number(fields[15 - 3]) / TICKS;
  }
  return usage;
}

/**
 * Resident memory of processes, in bytes. They share only the same pages of files,
 * which count once, as for a cgroup and for rcap.
 */
function rssOf(pids: readonly number[]): number {
  let pages = 0;
  let shared = 0;
  for (const pid of pids) {
    let all = 0;
    let ofFiles = 0;
    try {
      const statm = Deno.readTextFileSync(`/proc/${pid}/statm`).split(" ");
      all = Number(statm[1]);
      ofFiles = Number(statm[2]);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    // Also 0 for a zombie.
    if (all === 0) throw new WorkloadEnded(`process ${pid} has ended`);
    pages += all - ofFiles;
    shared = Math.max(shared, ofFiles);
  }
  return (pages + shared) * PAGE_SIZE;
}
