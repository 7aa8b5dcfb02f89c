/**
 * Describes the result of a scan in words.
 *
 * @module
 */

import { lines, type Printable } from "../report/escape.ts";
import { describeSkipReason } from "../report/skip_reasons.ts";
import { countOf, formatBeside, formatSize } from "../report/units.ts";
import type { ScanReport } from "./scan_once.ts";

/** Describes a scan in the lines below its table. */
export function describeScan(report: ScanReport): Printable {
  const { dryRun, rss, cap, excess, rssAfter, capMet } = report;
  const format = formatBeside(cap, rss, rssAfter);
  const summary: string[] = [""];
  if (dryRun) {
    summary.push(
      excess > 0
        ? "Dry run: nothing was paged out, only reference bits were reset."
        : "Dry run: nothing was changed.",
    );
  }
  const what = report.accounting === "rss" ? "resident" : "proportional";
  if (excess === 0) {
    const where = rss === cap ? "at" : "under";
    summary.push(
      `${format(rss)} ${what}, ${where} the cap of ${
        format(cap)
      }: nothing to do.`,
    );
    return lines(...summary);
  }
  summary.push(
    `${format(rss)} ${what}, ${formatSize(excess)} over the cap of ${
      format(cap)
    }.`,
    dryRun
      ? `Would page out ${wouldGo(report)}.`
      : `Paged out ${went(report)}.`,
    ...(report.workingSetToo
      ? [
        `Unused memory ${
          dryRun ? "would not suffice" : "did not suffice"
        }: memory in use ${dryRun ? "would go" : "went"}, too.`,
      ]
      : []),
    ...report.stayed.map(({ reason, bytes, limit }) =>
      `${dryRun ? "Would stay" : "Stayed"}: ${formatSize(bytes)} ${
        reason
          ? describeSkipReason(reason, limit)
          : dryRun
          ? UNKNOWN
          : CAME_BACK
      }.`
    ),
    dryRun
      ? `That would leave ${format(rssAfter)}: the cap would ${
        capMet ? "" : "not "
      }be met.`
      : `Now ${format(rssAfter)}: the cap is ${capMet ? "" : "not "}met.`,
  );
  return lines(...summary);
}

const UNKNOWN = "for a reason that is not known";
const CAME_BACK = `in use again, or ${UNKNOWN}`;

/** What a scan would take, in words. */
function wouldGo({ rss, rssAfter, processes }: ScanReport): string {
  const bytes = rss - rssAfter;
  return bytes > 0
    ? `${formatSize(bytes)} in ${countOf(rangesOf(processes), "range")}`
    : "nothing";
}

/** What a scan took, and tried to take if that differs, in words. */
function went(
  { attempted, effective, processes, seconds }: ScanReport,
): string {
  const time = `within ${seconds.toFixed(2)} s`;
  const ranges = rangesOf(processes);
  if (ranges === 0) return `nothing ${time}`;
  const tried = formatSize(attempted);
  // RSS also falls if the process gives memory back meanwhile.
  const fell = formatSize(Math.min(effective ?? 0, attempted));
  return `${fell === tried ? tried : `${fell} of ${tried}`} in ${
    countOf(ranges, "range")
  } ${time}`;
}

function rangesOf(processes: ScanReport["processes"]): number {
  return processes.reduce((sum, { pageouts }) => sum + pageouts.length, 0);
}
