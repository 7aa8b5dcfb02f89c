/**
 * What `rcap top --once --json` prints.
 *
 * @module
 */

import {
  type Figures,
  type Grouping,
  IDLE_TIMES,
  type MachineFigures,
} from "./figures.ts";
import type { Row } from "./rows.ts";

/** The report. Sizes in bytes, times in seconds. */
export interface TopReport {
  readonly version: 1;
  readonly by: Grouping;
  readonly observedSeconds: number;
  readonly machine: MachineFigures;
  readonly notices: readonly string[];
  /** Sorted by what is idle, the most first. */
  readonly rows: readonly RowReport[];
}

/** A process or a group. */
export interface RowReport extends
  Pick<
    Row,
    "name" | "processes" | "rss" | "swap" | "refaults" | "unjudged"
  > {
  /** Null for a group. */
  readonly pid: number | null;
  /** What could be paged out, and was judged. */
  readonly judged: number;
  readonly usedWithinMinute: number | null;
  readonly idle: readonly { seconds: number; bytes: number }[] | null;
  /** How much of their time being observed has cost the processes; null if not known. */
  readonly observationCost: number | null;
  /** The cap of a daemon; null if there is none. */
  readonly cap: {
    readonly name: string;
    readonly bytes: number | null;
    readonly rss: number;
    readonly warning: string | null;
  } | null;
  readonly error: string | null;
}

/** Returns the report of some rows. */
export function topReport(
  { seconds, machine, notices }: Figures,
  rows: readonly Row[],
  by: Grouping,
): TopReport {
  return {
    version: 1,
    by,
    observedSeconds: seconds,
    machine,
    notices,
    rows: rows.map((row) => ({
      pid: row.process?.pid ?? null,
      name: row.name,
      processes: row.processes,
      rss: row.rss,
      judged: row.recorded,
      usedWithinMinute: row.inUse,
      idle: row.idle &&
        IDLE_TIMES.map((seconds, at) => ({
          seconds,
          bytes: row.idle?.[at] ?? 0,
        })),
      unjudged: row.unjudged,
      swap: row.swap,
      refaults: row.refaults,
      observationCost: row.cost,
      cap: row.cap
        ? {
          name: row.cap.name,
          bytes: row.cap.cap,
          rss: row.cap.rss,
          warning: row.cap.warning,
        }
        : null,
      error: row.problem ?? null,
    })),
  };
}
