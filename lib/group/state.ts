/**
 * What the daemon reports about itself: in its state file, which `rcap stat` reads,
 * and in its metrics. Sizes are in bytes and times in seconds.
 *
 * @module
 */

import type { KubernetesState } from "../kubernetes/annotated_pod.ts";
import type { MemoryCosts, ProcessId } from "../platform/platform.ts";
import type { GroupContainer } from "./group_containers.ts";
import type { Growth } from "./growth.ts";
import type { IdleBytes } from "../scanner/ages.ts";

/** The state of the daemon. */
export interface DaemonState {
  readonly version: 2;
  readonly pid: number;
  /** When the daemon's process started, in clock ticks as `ProcessStat.startTime`. */
  readonly startTime: number;
  /** When the daemon started, in seconds since the epoch. */
  readonly startedAt: number;
  /** When this was written, in seconds since the epoch. */
  readonly updatedAt: number;
  /** When this was written, on `CLOCK_BOOTTIME`. */
  readonly monotonic: number;
  /** How often this is written. */
  readonly reportInterval: number;
  /** Where reference bits come from: `pte` or `smaps`, on illumos `proc`. */
  readonly pagedata: string;
  /**
   * What it costs processes to be observed and paged out; null until it is measured, and
   * where it cannot be. In nanoseconds.
   */
  readonly costs: MemoryCosts | null;
  /** Physical memory of the machine. */
  readonly memory: {
    readonly total: number;
    readonly used: number;
    /** The share of it above which caps are enforced, 0 to 1. */
    readonly threshold: number;
    /** Its swap; null if that is not known, as of a daemon of an earlier version. */
    readonly swap: { readonly total: number; readonly used: number } | null;
  };
  /** The daemon's own processor time so far, and its resident set. */
  readonly own: { readonly cpu: number; readonly rss: number };
  readonly configuration: {
    /** 1 for the configuration at start, one more for every reload. */
    readonly serial: number;
    /** When it was loaded, in seconds since the epoch. */
    readonly loadedAt: number;
    /** What is wrong with the current files, if they could not be loaded. */
    readonly problems: readonly string[];
    /** Whether all of these are temporary, so that the files may be valid. */
    readonly isPassing: boolean;
  };
  /** What is known of the caps of pods; null unless `kubernetes` is true. */
  readonly kubernetes: KubernetesState | null;
  /** Whether it is a dry run, so that nothing is paged out. */
  readonly dryRun: boolean;
  readonly groups: readonly GroupState[];
}

/** The most members that are named, so that the state stays small. */
export const MOST_MEMBERS = 2000;

/** The state of one group. */
export interface GroupState {
  readonly id: number;
  readonly name: string;
  /** The cap in force; null if there is none. */
  readonly cap: number | null;
  /** The cap of the configuration, which a cap set by hand may replace; likewise. */
  readonly configuredCap: number | null;
  /** How many members it has. */
  readonly processes: number;
  /** Which processes these are, at most {@linkcode MOST_MEMBERS} of them. */
  readonly members: readonly ProcessId[];
  /** How many further processes are left alone because their cgroups ask for it. */
  readonly avoided: number;
  /** Total size of the members' address spaces. */
  readonly addressSpace: number;
  /** The size that counts against the cap. */
  readonly rss: number;
  /** How `rss` was counted: `pss` if shared pages were counted in proportion. */
  readonly accounting: "rss" | "pss";
  /**
   * How much was idle for a number of seconds or longer; null while ages are not
   * kept, which is always so with the policy `clock`, and otherwise far from the cap.
   */
  readonly idle: readonly IdleBytes[] | null;
  /** The idle time that rcap has found; null unless the cap has `idle = "auto"`. */
  readonly idleTime: IdleTimeState | null;
  /** What of the members is in swap, by their page tables; null if it is not known. */
  readonly swap: number | null;
  /**
   * `swap`, less what the machine keeps of it in memory in compressed form, on average;
   * null if that is not known.
   */
  readonly saved: number | null;
  /**
   * The share of the last ten seconds in which some process waited for memory, 0 to 1;
   * null if it is not known.
   */
  readonly pressure: number | null;
  /** The cgroup of the group whose pressure that is; null for that of the machine. */
  readonly cgroup: string | null;
  /** The containers that members were in when they joined, at most 20. */
  readonly containers: readonly GroupContainer[];
  /** The processes that may leak, the fastest first: known with the policy `coldest`. */
  readonly growth: readonly Growth[];
  /** In a dry run, how much would be paged out now to meet the cap; else null. */
  readonly planned: number | null;
  /** Until when it is paused, in seconds since the epoch; null if it is not. */
  readonly pausedUntil: number | null;
  readonly statistics: GroupStatistics;
  /** What holds rcap back from paging out more. */
  readonly heldBack: readonly HeldBack[];
  /**
   * Why the cap cannot be met, what holds rcap back, which members do not answer, and which are known
   * coarsely, in words for users; null if nothing is wrong.
   */
  readonly warning: string | null;
}

/** The idle time that rcap has found: `idle = "auto"`. */
export interface IdleTimeState {
  /** What was not used for so long goes, in seconds; null while too little was seen. */
  readonly seconds: number | null;
  /** From how many minutes it is known: at most those of an hour. */
  readonly minutes: number;
  /** How many of them there have to be before anything goes. */
  readonly leastMinutes: number;
  /** Why it was lengthened within the last hour; null if it was not. */
  readonly raisedBy: "refaults" | "pressure" | null;
}

/** The guard rails, by the names that users see. */
export const GUARD_RAILS = [
  "refaults",
  "pressure",
  "min_rss",
  "max_pageout_rate",
  "max_swap_writes",
] as const;
export type GuardRail = typeof GUARD_RAILS[number];

/** A guard rail that holds rcap back. */
export interface HeldBack {
  readonly by: GuardRail;
  /** A sentence for users: `held back by refaults: 3.1 % a minute, at most 0.2 %`. */
  readonly why: string;
}

/** Totals of a group since the daemon began to watch it. They only grow. */
export interface GroupStatistics {
  /** How much scans tried to page out. */
  readonly attempted: number;
  /** By how much scans lowered the resident set. */
  readonly effective: number;
  readonly scans: number;
  /** Scans that went through the whole group once. */
  readonly completeScans: number;
  /** Scans that went through everything once and did not cover the excess. */
  readonly ineffectiveScans: number;
  /**
   * Samples over the cap that did not enforce it, since memory use was below the threshold,
   * or groups of a higher priority gave enough.
   */
  readonly unenforcedSamples: number;
  readonly samples: number;
  /** The smallest resident set of all samples; null before the first. */
  readonly minimumRss: number | null;
  /** The largest; null before the first. */
  readonly maximumRss: number | null;
  readonly processesIn: number;
  readonly processesOut: number;
  /** Total duration of scans. */
  readonly scanTime: number;
  /** Intervals in which the group was left alone because its cap could not be met. */
  readonly backedOff: number;
  /**
   * Pages that were paged out and used again: the page faults of members that waited for
   * a disk or swap, as far as more was out; an upper bound.
   */
  readonly refaults: number;
  /**
   * How much of their time being observed has cost the processes, in all; null while what
   * a reference costs is not known.
   */
  readonly observationCost: number | null;
}
