/**
 * What the page of a recording keeps of a report: as much as fits in the size of a page
 * that is sent to somebody.
 *
 * @module
 */

import { escapeLine } from "../../report/escape.ts";
import type {
  RecordingReport,
  ReportedHeat,
  ReportedMapping,
  ReportedProcess,
  TimelineRow,
} from "../recording_report.ts";
import { describeRecording } from "../recording_text.ts";
import type { GroupSizeReport } from "../size_report.ts";

/** The most rows, columns and cells of the heat map, and points of a line. */
export const PAGE_LIMITS = {
  heatRows: 240,
  heatColumns: 720,
  heatCells: 160_000,
  points: 720,
} as const;

/** The most processes and mappings that are listed. */
export const MOST_LISTED = 400;
/** The most caps of the curve, characters of a name, and selectors. */
const MOST_CAPS = 200;
const LONGEST_NAME = 120;
const MOST_SELECTORS = 10;

/** Lines over time, by name of the figure. */
export type PageTimeline = {
  readonly [Name in keyof TimelineRow]: readonly (TimelineRow[Name])[];
};

/** A row of the heat map, with the index of its mapping's name. */
interface PageRow extends Omit<ReportedHeat["rows"][number], "name"> {
  readonly name: number;
}

/** A heat map. Cells are by row, then by column. */
export interface PageHeat {
  readonly names: readonly string[];
  readonly rows: readonly PageRow[];
  /** When each column ends, in seconds. */
  readonly columns: readonly number[];
  /**
   * Bytes in base64. 0: nothing was in memory; else 1 and 254 times the share of it that
   * was used in an interval.
   */
  readonly used: string;
  /** Bytes in base64: 255 times the share of the row that was in memory. */
  readonly resident: string;
}

/** What the script of the page reads. Sizes in bytes, times in seconds. */
export interface PageData extends
  Pick<
    RecordingReport,
    "interval" | "startedAt" | "from" | "to" | "summary" | "rcap"
  > {
  /** What caps would have cost; null if too little was seen. */
  readonly sizing:
    | Pick<GroupSizeReport, "recommended" | "budget" | "curve">
    | null;
  readonly file: string;
  readonly selectors: readonly string[];
  readonly sentences: readonly string[];
  readonly timeline: PageTimeline;
  /** How many intervals a point of a line stands for. */
  readonly merged: number;
  readonly heat: PageHeat;
  readonly processes: readonly ReportedProcess[];
  readonly mappings: readonly ReportedMapping[];
  /** How many more there are in the report. */
  readonly processesLeft: number;
  readonly mappingsLeft: number;
}

/**
 * Returns what a page keeps of a report.
 *
 * @param listed the most processes and mappings that are listed.
 */
export function pageData(
  report: RecordingReport,
  listed = MOST_LISTED,
): PageData {
  const { timeline, processes, mappings, selectors, sizing } = report;
  const merged = Math.ceil(timeline.length / PAGE_LIMITS.points);
  return {
    file: shortName(report.file.slice(report.file.lastIndexOf("/") + 1)),
    rcap: shortName(report.rcap),
    startedAt: report.startedAt,
    interval: report.interval,
    from: report.from,
    to: report.to,
    selectors: selectors.slice(0, MOST_SELECTORS).map(shortName),
    sentences: describeRecording(report).map(escapeLine),
    summary: report.summary,
    timeline: linesOf(timeline, merged),
    merged,
    heat: heatOf(report.heat),
    sizing: sizing && {
      recommended: sizing.recommended,
      budget: sizing.budget,
      curve: thinned(sizing.curve, MOST_CAPS),
    },
    processes: processes.slice(0, listed).map((one) => ({
      ...one,
      comm: shortName(one.comm),
    })),
    mappings: mappings.slice(0, listed).map((one) => ({
      ...one,
      name: shortName(one.name),
    })),
    processesLeft: Math.max(0, processes.length - listed),
    mappingsLeft: Math.max(0, mappings.length - listed),
  };
}

/** A name as one line that shows every character; of a long path, its end. */
function shortName(name: string): string {
  // Bounded before it is escaped, which makes it longer.
  const characters = [...escapeLine(name.slice(-LONGEST_NAME))];
  const isWhole = name.length <= LONGEST_NAME &&
    characters.length <= LONGEST_NAME;
  return isWhole
    ? characters.join("")
    : `…${characters.slice(1 - LONGEST_NAME).join("")}`;
}

/** Takes so many steps together: the mean, and the highest pressure. */
function linesOf(rows: readonly TimelineRow[], merged: number): PageTimeline {
  const groups = Array.from(
    { length: Math.ceil(rows.length / merged) },
    (_, at) => rows.slice(at * merged, (at + 1) * merged),
  );
  const mean = (figure: (row: TimelineRow) => number, decimals = 0) =>
    groups.map((group) =>
      Number(
        (group.reduce((sum, row) => sum + figure(row), 0) / group.length)
          .toFixed(decimals),
      )
    );
  return {
    seconds: groups.map((group) => group[group.length - 1].seconds),
    processes: mean(({ processes }) => processes, 1),
    size: mean(({ size }) => size),
    pageable: mean(({ pageable }) => pageable),
    used: mean(({ used }) => used),
    workingSet: mean(({ workingSet }) => workingSet),
    unjudged: mean(({ unjudged }) => unjudged),
    swapped: mean(({ swapped }) => swapped),
    majorFaults: mean(({ majorFaults }) => majorFaults, 3),
    pressure: groups.map((group) => {
      const known = group.flatMap(({ pressure }) => pressure ?? []);
      return known.length === 0 ? null : Math.max(...known);
    }),
    availableMemory: mean(({ availableMemory }) => availableMemory),
    freeSwap: mean(({ freeSwap }) => freeSwap),
  };
}

function heatOf({ rows, columns, resident, used }: ReportedHeat): PageHeat {
  const names = new Map<string, number>();
  const indexOf = (name: string) => {
    const index = names.get(name) ?? names.size;
    names.set(name, index);
    return index;
  };
  const width = columns.length;
  const bytesOfUse = new Uint8Array(used.length);
  const bytesOfShare = new Uint8Array(used.length);
  for (let cell = 0; cell < used.length; cell++) {
    if (resident[cell] === 0) continue;
    const share = resident[cell] / rows[Math.floor(cell / width)].bytes;
    bytesOfUse[cell] = toByte(used[cell], 1);
    bytesOfShare[cell] = toByte(share, 0);
  }
  return {
    rows: rows.map((row) => ({ ...row, name: indexOf(shortName(row.name)) })),
    names: [...names.keys()],
    columns,
    used: bytesOfUse.toBase64(),
    resident: bytesOfShare.toBase64(),
  };
}

/** A share as a byte from `least` on; one above nothing does not become nothing. */
function toByte(share: number, least: number): number {
  if (share <= 0) return least;
  const most = 255 - least;
  return least + Math.min(most, Math.max(1, Math.round(share * most)));
}

/** Leaves out as many of the middle as there are too many. */
function thinned<T>(all: readonly T[], most: number): readonly T[] {
  if (all.length <= most) return all;
  return Array.from(
    { length: most },
    (_, at) => all[Math.round(at * (all.length - 1) / (most - 1))],
  );
}
