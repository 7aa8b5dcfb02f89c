/**
 * What a daemon did between two of its states, as `rcap stat` shows it.
 *
 * @module
 */

import { systemClock } from "../platform/clock.ts";
import type { DaemonState, GroupState } from "../group/state.ts";
import { readState, type StateSystem } from "./state_directory.ts";

/** What scans of a group did in an interval. Sizes in bytes. */
export interface StatRow {
  readonly id: number;
  readonly name: string;
  /** The number of its processes. */
  readonly processes: number;
  /** Size of their address spaces. */
  readonly addressSpace: number;
  readonly rss: number;
  /** Null if there is none. */
  readonly cap: number | null;
  /** What scans tried to page out, in total and on average. */
  readonly attempted: number;
  readonly attemptedPerScan: number;
  /** By how much that lowered the resident set, in total and on average. */
  readonly effective: number;
  readonly effectivePerScan: number;
  /** As those of {@linkcode GroupState}. */
  readonly swap: number | null;
  readonly saved: number | null;
  readonly pressure: number | null;
  /** Pages that were used again after they had been paged out. */
  readonly refaults: number;
  /** What was not used for a minute or longer; null if that is not known. */
  readonly idleForMinute: number | null;
  /** Intervals in which it was left alone because its cap could not be met. */
  readonly backedOff: number;
  /** As {@linkcode GroupState.warning}. */
  readonly warning: string | null;
}

/**
 * Computes what every group did between two states; or since the daemon started, if
 * `before` is not a state of the same daemon.
 */
export function statRows(
  now: DaemonState,
  before: DaemonState | undefined,
): StatRow[] {
  const earlier = new Map<number, GroupState>(
    before && isSameDaemon(now, before)
      ? before.groups.map((one) => [one.id, one])
      : [],
  );
  return now.groups.map((group) => {
    const { id, name, processes, addressSpace, rss, cap, statistics, warning } =
      group;
    const { swap, saved, pressure, idle } = group;
    const then = earlier.get(id)?.statistics;
    const attempted = statistics.attempted - (then?.attempted ?? 0);
    const effective = statistics.effective - (then?.effective ?? 0);
    const scans = statistics.scans - (then?.scans ?? 0);
    return {
      id,
      name,
      processes,
      addressSpace,
      rss,
      cap,
      attempted,
      attemptedPerScan: scans > 0 ? Math.round(attempted / scans) : 0,
      effective,
      effectivePerScan: scans > 0 ? Math.round(effective / scans) : 0,
      swap,
      saved,
      pressure,
      refaults: statistics.refaults - (then?.refaults ?? 0),
      idleForMinute: idle?.find(({ seconds }) => seconds === 60)?.bytes ?? null,
      backedOff: statistics.backedOff - (then?.backedOff ?? 0),
      warning,
    };
  });
}

/** A row, with more of the group's state. */
export type StatEntry =
  & StatRow
  & Pick<
    GroupState,
    | "heldBack"
    | "avoided"
    | "accounting"
    | "idle"
    | "cgroup"
    | "containers"
    | "idleTime"
    | "growth"
    | "planned"
    | "pausedUntil"
    | "statistics"
  >;

/** What `rcap stat --json` prints. Sizes in bytes, times in seconds. */
export interface StatReport {
  readonly version: 2;
  /** The time of the state, since the epoch. */
  readonly time: number;
  /** The time since the state before; null without one. */
  readonly seconds: number | null;
  readonly memory: DaemonState["memory"];
  /** Whether nothing is paged out. */
  readonly dryRun: boolean;
  readonly kubernetes: DaemonState["kubernetes"];
  readonly groups: readonly StatEntry[];
}

/** Computes what every group did between two states, for scripts. */
export function statReport(
  now: DaemonState,
  before: DaemonState | undefined,
): StatReport {
  return {
    version: 2,
    time: now.updatedAt,
    seconds: before ? now.updatedAt - before.updatedAt : null,
    memory: now.memory,
    dryRun: now.dryRun,
    kubernetes: now.kubernetes,
    groups: statRows(now, before).map((row, index) => {
      const { heldBack, avoided, accounting, idle, statistics } =
        now.groups[index];
      const { cgroup, containers, growth, planned, pausedUntil, idleTime } =
        now.groups[index];
      return {
        ...row,
        heldBack,
        avoided,
        accounting,
        idle,
        idleTime,
        cgroup,
        containers,
        growth,
        planned,
        pausedUntil,
        statistics,
      };
    }),
  };
}

/** Whether no group is over its cap, or would be. */
export function areCapsMet({ groups }: DaemonState): boolean {
  return groups.every(({ rss, cap, planned }) =>
    cap === null || rss - (planned ?? 0) <= cap
  );
}

/** How long a restart of the daemon may take, in milliseconds. */
const RESTART_PATIENCE = 10_000;
/** How often to look for the restarted daemon, in milliseconds. */
const RESTART_LOOKS = 100;

/** A state of the daemon, and the one before. */
export interface FollowedState {
  readonly now: DaemonState;
  /** `undefined` for the first. */
  readonly before: DaemonState | undefined;
}

/**
 * Reads the state of the running daemon repeatedly, and goes on with the daemon that
 * replaces it.
 *
 * @param interval the time between two states, in milliseconds.
 * @param warn called once with each warning.
 * @throws RcapError if no daemon runs.
 * @throws the signal's reason if it is aborted.
 */
export async function* followStates(
  system: StateSystem,
  directory: string,
  { interval, signal, warn }: {
    interval: number;
    signal: AbortSignal;
    warn: (text: string) => void;
  },
): AsyncGenerator<FollowedState, never> {
  const given = new Set<string>();
  const warnOnce = (text: string) => {
    if (!given.has(text)) warn(text);
    given.add(text);
  };
  const options = { signal, warn: warnOnce };
  let now = readState(system, directory, options);
  let before: DaemonState | undefined;
  for (;;) {
    yield { now, before };
    await systemClock.sleep(interval, signal);
    signal.throwIfAborted();
    before = now;
    now = await nextState(system, directory, options);
    if (!isSameDaemon(now, before)) {
      warn(`rcap was started again; totals count from process ${now.pid} on`);
    }
  }
}

/** Reads the state of the daemon, or waits for that of the daemon that replaces it. */
async function nextState(
  system: StateSystem,
  directory: string,
  { signal, warn }: { signal: AbortSignal; warn: (text: string) => void },
): Promise<DaemonState> {
  const began = performance.now();
  for (;;) {
    try {
      return readState(system, directory, { warn });
    } catch (error) {
      if (performance.now() - began > RESTART_PATIENCE) throw error;
    }
    await systemClock.sleep(RESTART_LOOKS, signal);
    signal.throwIfAborted();
  }
}

/** Whether two states are of the same daemon, so that their totals can be compared. */
function isSameDaemon(a: DaemonState, b: DaemonState): boolean {
  return a.pid === b.pid && a.startTime === b.startTime;
}
