/**
 * Help for tests: the state of a daemon that does not run.
 *
 * @module
 */

import type { CollectionState, DaemonState } from "./state.ts";

/** A collection, as given and otherwise unremarkable. */
export function collectionState(
  { statistics, ...given }: Partial<Omit<CollectionState, "statistics">> & {
    statistics?: Partial<CollectionState["statistics"]>;
  } = {},
): CollectionState {
  return {
    id: 1,
    name: "browsers",
    cap: 2 ** 30,
    configuredCap: 2 ** 30,
    processes: 3,
    avoided: 0,
    image: 2 ** 33,
    rss: 2 ** 29,
    idle: null,
    accounting: "rss",
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
      breathers: 0,
      ...statistics,
    },
  };
}

/** A daemon, as given and otherwise unremarkable. */
export function daemonState(given: Partial<DaemonState> = {}): DaemonState {
  return {
    version: 1,
    pid: 4242,
    startTime: 12345,
    startedAt: 1_700_000_000,
    updatedAt: 1_700_000_060,
    monotonic: 5000.5,
    reportInterval: 5,
    pagedata: "pte",
    memory: { total: 2 ** 34, used: 2 ** 33, threshold: 0 },
    own: { cpu: 0.25, rss: 50 * 2 ** 20 },
    configuration: { serial: 1, loadedAt: 1_700_000_000, problems: [] },
    collections: [],
    ...given,
  };
}
