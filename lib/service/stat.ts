/**
 * What a daemon has done between two of its states, as `rcap stat` tells it.
 *
 * @module
 */

import { systemClock } from "../platform/clock.ts";
import type { DaemonState, GroupState } from "../group/state.ts";
import { readState, type StateSystem } from "./state_directory.ts";

/** What a group did in an interval. Sizes in bytes. */
export interface StatRow {
  readonly id: number;
  readonly name: string;
  /** How many processes it has. */
  readonly processes: number;
  /** Size of their address spaces. */
  readonly addressSpace: number;
  readonly rss: number;
  readonly cap: number;
  /** What scans tried to page out, in all and on average. */
  readonly attempted: number;
  readonly attemptedPerScan: number;
  /** By how much that lowered the resident set, in all and on average. */
  readonly effective: number;
  readonly effectivePerScan: number;
  /** Intervals in which it was left alone since much came back. */
  readonly backedOff: number;
}

/**
 * What every group did between two states; since the daemon started, when
 * there is no earlier one of the same daemon.
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
    const { id, name, processes, addressSpace, rss, cap, statistics } = group;
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
      backedOff: statistics.backedOff - (then?.backedOff ?? 0),
    };
  });
}

/** A row, with what else the state says of the group. */
export type StatEntry =
  & StatRow
  & Pick<
    GroupState,
    "avoided" | "accounting" | "idle" | "statistics" | "warning"
  >;

/** What `rcap stat --json` prints. Sizes in bytes, times in seconds. */
export interface StatReport {
  readonly version: 2;
  /** Since the epoch. */
  readonly time: number;
  /** Since the state before; null without one. */
  readonly seconds: number | null;
  readonly memory: DaemonState["memory"];
  readonly groups: readonly StatEntry[];
}

/** What every group did between two states, for scripts. */
export function statReport(
  now: DaemonState,
  before: DaemonState | undefined,
): StatReport {
  return {
    version: 2,
    time: now.updatedAt,
    seconds: before ? now.updatedAt - before.updatedAt : null,
    memory: now.memory,
    groups: statRows(now, before).map((row, index) => {
      const { avoided, accounting, idle, statistics, warning } =
        now.groups[index];
      return { ...row, avoided, accounting, idle, statistics, warning };
    }),
  };
}

/** Whether no group is over its cap. */
export function areCapsMet({ groups }: DaemonState): boolean {
  return groups.every(({ rss, cap }) => rss <= cap);
}

/** How long a daemon that is being started again may take, in milliseconds. */
const RESTART_PATIENCE = 10_000;
/** How often that is looked at, in milliseconds. */
const RESTART_LOOKS = 100;

/** A state of the daemon, and the one before. */
export interface FollowedState {
  readonly now: DaemonState;
  /** `undefined` for the first. */
  readonly before: DaemonState | undefined;
}

/**
 * Reads the state of the running daemon again and again, and goes on with the daemon
 * that takes its place.
 *
 * @param interval between two states, in milliseconds.
 * @param warn gets each warning once.
 * @throws RcapError if no daemon runs.
 * @throws the signal's reason when it is aborted.
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
  const told = new Set<string>();
  const warnOnce = (text: string) => {
    if (!told.has(text)) warn(text);
    told.add(text);
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
      warn(`rcap was started again; the totals begin at process ${now.pid}`);
    }
  }
}

/** The state of the daemon, or of the one that takes its place. */
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

/** Whether two states are of one daemon, so that totals of one go on in the other. */
function isSameDaemon(a: DaemonState, b: DaemonState): boolean {
  return a.pid === b.pid && a.startTime === b.startTime;
}
