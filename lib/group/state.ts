/**
 * What the daemon tells of itself: in its state file, which `rcap stat` reads, and
 * in its metrics. Sizes are in bytes and times in seconds.
 *
 * @module
 */

import type { IdleBytes } from "../scanner/ages.ts";

/** The daemon at one moment. */
export interface DaemonState {
  readonly version: 2;
  readonly pid: number;
  /** When the daemon's process started, in clock ticks as `ProcessStat.startTime`. */
  readonly startTime: number;
  /** When the daemon started, since the epoch. */
  readonly startedAt: number;
  /** When this was written, since the epoch. */
  readonly updatedAt: number;
  /** When this was written, on `CLOCK_BOOTTIME`. */
  readonly monotonic: number;
  /** How often this is written. */
  readonly reportInterval: number;
  /** Where reference bits come from: `pte` or `smaps`. */
  readonly pagedata: string;
  /** Physical memory of the machine. */
  readonly memory: {
    readonly total: number;
    readonly used: number;
    /** Above this share of it caps are enforced, 0 to 1. */
    readonly threshold: number;
  };
  /** What the daemon itself uses: processor time so far, and its resident set. */
  readonly own: { readonly cpu: number; readonly rss: number };
  readonly configuration: {
    /** 1 for what the daemon started with, one more for every reload. */
    readonly serial: number;
    /** When it was loaded, since the epoch. */
    readonly loadedAt: number;
    /** What is wrong with the files as they are now, when they could not be loaded. */
    readonly problems: readonly string[];
  };
  readonly groups: readonly GroupState[];
}

/** One group at that moment. */
export interface GroupState {
  readonly id: number;
  readonly name: string;
  /** The cap in force. */
  readonly cap: number;
  /** The cap of the configuration, which an override may replace. */
  readonly configuredCap: number;
  /** How many processes it has. */
  readonly processes: number;
  /** How many more it would have, did their cgroups not ask that they be left alone. */
  readonly avoided: number;
  /** Sum of their address spaces. */
  readonly addressSpace: number;
  /** What counts against the cap. */
  readonly rss: number;
  /** How `rss` was counted: `pss` when shared pages were counted in proportion. */
  readonly accounting: "rss" | "pss";
  /**
   * How much was not used for so many intervals or longer; null while ages are not
   * kept: by the policy `clock`, and far from the cap.
   */
  readonly idle: readonly IdleBytes[] | null;
  readonly statistics: GroupStatistics;
  /** Why the cap cannot be met, for a person; null when nothing is wrong. */
  readonly warning: string | null;
}

/** Totals of a group since it is watched; they only grow. */
export interface GroupStatistics {
  /** What scans tried to page out. */
  readonly attempted: number;
  /** By how much the resident set fell for it. */
  readonly effective: number;
  readonly scans: number;
  /** Scans that went once through all of the group. */
  readonly completeScans: number;
  /** Scans that brought nothing. */
  readonly ineffectiveScans: number;
  /** Samples that could have enforced the cap and did not. */
  readonly unenforcedSamples: number;
  readonly samples: number;
  /** The smallest resident set of all samples; null before the first. */
  readonly minimumRss: number | null;
  /** The largest; null before the first. */
  readonly maximumRss: number | null;
  readonly processesIn: number;
  readonly processesOut: number;
  /** How long scans took. */
  readonly scanTime: number;
  /** Intervals in which a victim was left alone because its pages had come back. */
  readonly backedOff: number;
}
