/**
 * A report of a recording in words and characters: its summary, and its heat map.
 *
 * @module
 */

import {
  escapeLine,
  lines,
  type Printable,
  printable,
} from "../report/escape.ts";
import { heatLegend, type HeatOptions, heatStrip } from "../report/heat.ts";
import {
  countOf,
  exactSize,
  formatSeconds,
  formatSize,
} from "../report/units.ts";
import type {
  RecordingReport,
  ReportedHeat,
  TimelineRow,
} from "./recording_report.ts";
import { formatPart, formatRate } from "./size_summary.ts";

/** How characters are written. */
export interface TextOptions extends HeatOptions {
  /** How wide lines may be, where names are cut for it; no limit by default. */
  readonly width?: number;
}

/** The name of a mapping, for people. */
export function nameOf(name: string): string {
  return name === "" ? "anonymous" : name;
}

/** The headline figures, as sentences. */
export function describeRecording(report: RecordingReport): string[] {
  const { summary, from, to, interval, timeline } = report;
  const length = Math.max(to - from, interval);
  const unjudged = Math.max(0, ...timeline.map(({ unjudged }) => unjudged));
  return [
    `${countOf(summary.processes, "process", "processes")} for ${
      formatSeconds(length)
    }, every ${formatSeconds(interval)}${
      from > 0 ? `, from ${formatSeconds(from)} on` : ""
    }.`,
    `Size: ${formatSize(summary.meanSize)} on average, ${
      formatSize(summary.largestSize)
    } at most; ${formatSize(summary.meanPageable)} of it could be paged out.`,
    `Working set: ${formatSize(summary.meanWorkingSet)} was used within ${
      formatSeconds(Math.min(120, length))
    }, on average; ${formatSize(summary.meanUsed)} within an interval.`,
    `Not used at all: ${formatSize(summary.neverUsed)} in ${
      formatSeconds(length)
    }.`,
    ...describeRecommendation(report),
    `Major faults: ${formatRate(summary.majorFaults)}. In swap at the end: ${
      formatSize(summary.swapped)
    }.${
      summary.highestPressure === null
        ? ""
        : ` Memory pressure of the machine: up to ${
          formatPart(summary.highestPressure)
        }.`
    }`,
    ...unjudged > 0
      ? [
        `Up to ${
          formatSize(unjudged)
        } counts as in use only because its references could not be reset within the budget of observation.`,
      ]
      : [],
    ...report.ended === null
      ? [
        report.cutAt === null
          ? `The recording has no end: it is still being made, or was cut off. It is complete until ${
            formatSeconds(report.seconds)
          }.`
          : `The recording was cut off at byte ${report.cutAt}. It is complete until ${
            formatSeconds(report.seconds)
          }.`,
      ]
      : report.ended === "interrupted"
      ? ["The recording was interrupted, and is complete until then."]
      : [],
  ];
}

function describeRecommendation({ sizing }: RecordingReport): string[] {
  if (!sizing || sizing.curve.length === 0) {
    return ["Too little was seen to recommend a cap."];
  }
  const { recommended, size, budget } = sizing;
  return [
    recommended
      ? `Recommended cap: ${exactSize(recommended.cap)} saves ${
        formatSize(recommended.saved)
      } of ${formatSize(size)} for ${
        formatRate(recommended.refaults)
      } refaults; no minute exceeded ${budget}.`
      : `No cap below ${
        formatSize(size)
      } can be recommended: each would exceed ${budget} refaults a minute, or what is in use.`,
  ];
}

/** Draws a heat map: time across, addresses down. */
export function drawHeat(
  { rows, columns, resident, used }: ReportedHeat,
  { color, unicode, width: widest = Infinity }: TextOptions,
): Printable {
  const width = columns.length;
  const edge = unicode ? "│" : "|";
  const size = (bytes: number) => formatSize(bytes).padStart(8);
  const texts: string[] = [];
  let [pid, name] = [-1, ""];
  for (const [at, row] of rows.entries()) {
    const shares = columns.map((_, column) => {
      const cell = at * width + column;
      return resident[cell] === 0 ? null : used[cell];
    });
    const line = heatStrip(shares, { unicode, color });
    const isNewProcess = row.pid !== pid;
    const isNew = isNewProcess || row.name !== name || row.isMixed;
    [pid, name] = [row.pid, row.name];
    const text = nameOf(row.name) + (row.isMixed ? " and others" : "");
    const label = isNew ? text : unicode ? "″" : '"';
    const process = isNewProcess ? `${row.pid} ` : "";
    const room = Math.max(SHORTEST_NAME, widest - width - 12);
    const beside = endOf(escapeLine(process + label), room, unicode);
    texts.push(`${edge}${line}${edge}${size(row.bytes)}  ${beside}\n`);
  }
  const end = formatSeconds(columns[width - 1] ?? 0);
  const axis = `0s${end.padStart(Math.max(width, 4))}`;
  return printable(
    `${texts.join("")} ${axis}\n\n${
      lines(`Use of what was in memory: ${heatLegend({ unicode })}`)
    }`,
  );
}

/** How long a name may be in any case. */
const SHORTEST_NAME = 20;

/** The end of a text that is too long: of a path, it says more than the start. */
function endOf(text: string, room: number, unicode: boolean): string {
  const characters = [...text];
  if (characters.length <= room) return text;
  const mark = unicode ? "…" : "...";
  return mark + characters.slice(characters.length - room + mark.length)
    .join("");
}

/** The names of the columns of `--csv`. */
export const CSV_COLUMNS = [
  "seconds",
  "processes",
  "size",
  "pageable",
  "used",
  "workingSet",
  "unjudged",
  "swapped",
  "majorFaults",
  "pressure",
  "availableMemory",
  "freeSwap",
] as const satisfies readonly (keyof TimelineRow)[];

/** The figures over time as comma-separated values, with a header. */
export function csvOf({ timeline }: RecordingReport): Printable {
  return lines(
    CSV_COLUMNS.join(","),
    ...timeline.map((row) =>
      CSV_COLUMNS.map((name) => row[name] ?? "").join(",")
    ),
  );
}
