/**
 * Describes the result of a scan in words.
 *
 * @module
 */

import { lines, type Printable } from "../report/escape.ts";
import { describeSkipReason } from "../report/skip_reasons.ts";
import { countOf, formatSize } from "../report/units.ts";
import type { ScanReport } from "./scan_once.ts";

/** Describes a scan in the lines below its table. */
export function describeScan(report: ScanReport): Printable {
  const { dryRun, rss, cap, excess, attempted, rssAfter, capMet } = report;
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
    summary.push(
      `${formatSize(rss)} ${what}, under the cap of ${
        formatSize(cap)
      }: nothing to do.`,
    );
    return lines(...summary);
  }
  const ranges = report.processes.reduce((n, p) => n + p.pageouts.length, 0);
  summary.push(
    `${formatSize(rss)} ${what}, ${formatSize(excess)} over the cap of ${
      formatSize(cap)
    }.`,
    dryRun
      ? `Would page out ${formatSize(attempted)} in ${
        countOf(ranges, "range")
      }.`
      : `Paged out ${pagedOut(report)} in ${countOf(ranges, "range")} within ${
        report.seconds.toFixed(2)
      } s.`,
    ...(report.workingSetToo
      ? [
        `Unused memory did not suffice: memory in use ${
          dryRun ? "would go" : "went"
        }, too.`,
      ]
      : []),
    ...skippedLines(report),
    dryRun
      ? `That would leave ${formatSize(rssAfter)}: the cap would ${
        capMet ? "" : "not "
      }be met.`
      : `Now ${formatSize(rssAfter)}: the cap is ${capMet ? "" : "not "}met.`,
  );
  return lines(...summary);
}

/** The paged-out size, and the attempted size if it differs. */
function pagedOut({ attempted, effective }: ScanReport): string {
  const [tried, went] = [attempted, effective ?? 0].map(formatSize);
  return went === tried ? went : `${went} of ${tried}`;
}

/** How many mappings were skipped, by reason; without those that are not resident. */
function skippedLines({ processes }: ScanReport): string[] {
  const skipped = processes.flatMap((process) => process.skipped)
    .filter(({ reason }) => reason !== "nonresident");
  return [...Map.groupBy(skipped, ({ reason }) => reason)].map(
    ([reason, mappings]) =>
      `Passed over ${countOf(mappings.length, "mapping")}: ${
        describeSkipReason(reason)
      }.`,
  );
}
