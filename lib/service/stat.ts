/**
 * What a daemon has done between two of its states, as `rcap stat` tells it.
 *
 * @module
 */

import type { CollectionState, DaemonState } from "../group/state.ts";

/** What a collection did in an interval. Sizes in bytes. */
export interface StatRow {
  readonly id: number;
  readonly name: string;
  /** How many processes it has. */
  readonly nproc: number;
  /** Size of their address spaces. */
  readonly vm: number;
  readonly rss: number;
  readonly cap: number;
  /** What scans tried to page out, in all and on average. */
  readonly at: number;
  readonly avgat: number;
  /** By how much that lowered the resident set, in all and on average. */
  readonly pg: number;
  readonly avgpg: number;
  /** Intervals in which it was left alone since much came back. */
  readonly breathers: number;
}

/**
 * What every collection did between two states; since the daemon started, when
 * there is no earlier one of the same daemon.
 */
export function statRows(
  now: DaemonState,
  before: DaemonState | undefined,
): StatRow[] {
  const earlier = new Map<number, CollectionState>(
    before && isSameDaemon(now, before)
      ? before.collections.map((one) => [one.id, one])
      : [],
  );
  return now.collections.map((collection) => {
    const { id, name, processes, image, rss, cap, statistics } = collection;
    const then = earlier.get(id)?.statistics;
    const at = statistics.attempted - (then?.attempted ?? 0);
    const pg = statistics.effective - (then?.effective ?? 0);
    const scans = statistics.scans - (then?.scans ?? 0);
    return {
      id,
      name,
      nproc: processes,
      vm: image,
      rss,
      cap,
      at,
      avgat: scans > 0 ? Math.round(at / scans) : 0,
      pg,
      avgpg: scans > 0 ? Math.round(pg / scans) : 0,
      breathers: statistics.breathers - (then?.breathers ?? 0),
    };
  });
}

/** Whether two states are of one daemon, so that totals of one go on in the other. */
export function isSameDaemon(a: DaemonState, b: DaemonState): boolean {
  return a.pid === b.pid && a.startTime === b.startTime;
}
