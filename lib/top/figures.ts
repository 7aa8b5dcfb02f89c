/**
 * What `rcap top` knows: figures of processes, of caps, and of the machine.
 *
 * @module
 */

/** The times of the bar of ages, in seconds. */
export const IDLE_TIMES = [10, 60, 600, 3600] as const;

/** By what processes are grouped: not at all with `process`. */
export const GROUPINGS = [
  "process",
  "user",
  "unit",
  "cgroup",
  "comm",
  "container",
  "pod",
  "cap",
] as const;
export type Grouping = typeof GROUPINGS[number];

/** One process. Sizes in bytes. */
export interface ProcessFigures {
  readonly pid: number;
  readonly startTime: number;
  readonly ppid: number;
  readonly comm: string;
  /** The name of its group, for the grouping that was asked for. */
  readonly group: string;
  /** The name of the cap of a daemon that counts it, as far as it is known. */
  readonly cap: string | undefined;
  readonly rss: number;
  /** Null if it is not known. */
  readonly swap: number | null;
  /** Page faults a second that waited for a disk or swap; null until two samples. */
  readonly refaults: number | null;
  /** What is known of its ages; `undefined` while it is not observed. */
  readonly ages: AgeFigures | undefined;
  /** Why it is not observed, in words for users. */
  readonly error: string | undefined;
}

/** The ages of what could be paged out. Sizes in bytes. */
export interface AgeFigures {
  /** For how many seconds it has been observed; `Infinity` if from its start. */
  readonly seconds: number;
  readonly recorded: number;
  /** Not used for each of {@linkcode IDLE_TIMES} or longer. */
  readonly idle: readonly number[];
  /** What counts as in use only because it was not judged yet, for lack of budget. */
  readonly unjudged: number;
  /** What being observed has cost it so far, in seconds; null if that is not known. */
  readonly cost: number | null;
}

/** A cap of a running daemon. */
export interface CapFigures {
  readonly name: string;
  readonly cap: number | null;
  readonly rss: number;
  readonly swap: number | null;
  readonly warning: string | null;
}

/** The memory of the machine, in bytes. */
export interface MachineFigures {
  readonly total: number;
  readonly available: number;
  readonly totalSwap: number;
  readonly freeSwap: number;
  /** Bytes of memory for each byte in swap, if that is compressed memory; null if not known. */
  readonly memoryOfSwap: number | null;
  /** The share of the last ten seconds in which some process waited for memory; null if not known. */
  readonly pressure: number | null;
}

/** All that is known at a moment. */
export interface Figures {
  readonly machine: MachineFigures;
  readonly processes: readonly ProcessFigures[];
  readonly caps: readonly CapFigures[];
  /** Since when it is observed, in seconds. */
  readonly seconds: number;
  /** What is missing, and why; in words for users. */
  readonly notices: readonly string[];
}
