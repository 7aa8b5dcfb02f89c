/**
 * Test helpers: states of a daemon.
 *
 * @module
 */

import type { DaemonState, GroupState } from "./state.ts";

/** The state of a group: the given properties, and plausible values for the rest. */
export function groupState(
  { statistics, ...given }: Partial<Omit<GroupState, "statistics">> & {
    statistics?: Partial<GroupState["statistics"]>;
  } = {},
): GroupState {
  return {
    id: 1,
    name: "browsers",
    cap: 2 ** 30,
    configuredCap: 2 ** 30,
    processes: 3,
    members: [],
    avoided: 0,
    addressSpace: 2 ** 33,
    rss: 2 ** 29,
    idle: null,
    idleTime: null,
    swap: 0,
    saved: 0,
    pressure: null,
    cgroup: null,
    containers: [],
    growth: [],
    planned: null,
    pausedUntil: null,
    accounting: "rss",
    heldBack: [],
    warning: null,
    ...given,
    statistics: {
      attempted: 0,
      effective: 0,
      scans: 0,
      completeScans: 0,
      ineffectiveScans: 0,
      unenforcedSamples: 0,
      samples: 12,
      minimumRss: 2 ** 28,
      maximumRss: 2 ** 29,
      processesIn: 3,
      processesOut: 0,
      scanTime: 0,
      backedOff: 0,
      refaults: 0,
      observationCost: null,
      ...statistics,
    },
  };
}

/** The state of a daemon: the given properties, and plausible values for the rest. */
export function daemonState(given: Partial<DaemonState> = {}): DaemonState {
  return {
    version: 2,
    pid: 4242,
    startTime: 12345,
    startedAt: 1_700_000_000,
    updatedAt: 1_700_000_060,
    monotonic: 5000.5,
    reportInterval: 5,
    pagedata: "pte",
    costs: null,
    memory: {
      total: 2 ** 34,
      used: 2 ** 33,
      threshold: 0,
      swap: { total: 2 ** 32, used: 2 ** 30 },
    },
    own: { cpu: 0.25, rss: 50 * 2 ** 20 },
    configuration: {
      serial: 1,
      loadedAt: 1_700_000_000,
      problems: [],
      isPassing: false,
    },
    kubernetes: null,
    dryRun: false,
    groups: [],
    ...given,
  };
}
