/**
 * What a scan came to, in words.
 *
 * @module
 */

import type { SkipReason } from "../memory/process_memory.ts";
import { lines, type Printable } from "../report/escape.ts";
import { formatSize } from "../report/units.ts";
import type { ScanReport } from "./scan_once.ts";

/** What each reason means, for a person. */
const REASONS: Readonly<Record<SkipReason, string>> = {
  locked: "locked in memory",
  hugetlb: "huge pages of hugetlb",
  special: "device or kernel pages",
  shared: "shared with other processes",
  nonresident: "not in memory",
  "no-swap": "anonymous, and no swap is free: add swap or zram",
  ignored: "did not go before",
};

/** Some lines below the table of a scan. */
export function describeScan(report: ScanReport): Printable {
  const { dryRun, rss, cap, excess, attempted, rssAfter, capMet } = report;
  const told: string[] = [""];
  if (dryRun) {
    told.push(
      excess > 0
        ? "Dry run: nothing was paged out, only reference bits were reset."
        : "Dry run: nothing was changed.",
    );
  }
  const what = report.accounting === "rss" ? "resident" : "proportional";
  if (excess === 0) {
    told.push(
      `${formatSize(rss)} ${what}, under the cap of ${
        formatSize(cap)
      }: nothing to do.`,
    );
    return lines(...told);
  }
  const ranges = report.processes.reduce((n, p) => n + p.pageouts.length, 0);
  told.push(
    `${formatSize(rss)} ${what}, ${formatSize(excess)} over the cap of ${
      formatSize(cap)
    }.`,
    dryRun
      ? `Would page out ${formatSize(attempted)} in ${count(ranges, "range")}.`
      : `Paged out ${wentOf(report)} in ${count(ranges, "range")} within ${
        report.seconds.toFixed(2)
      } s.`,
    ...(report.workingSetToo
      ? [
        `What was not in use did not suffice: memory in use ${
          dryRun ? "would go" : "went"
        } too.`,
      ]
      : []),
    ...skippedLines(report),
    dryRun
      ? `That would leave ${formatSize(rssAfter)}: the cap would ${
        capMet ? "" : "not "
      }be met.`
      : `Now ${formatSize(rssAfter)}: the cap is ${capMet ? "" : "not "}met.`,
  );
  return lines(...told);
}

/** What went, and what was to go where that is more. */
function wentOf({ attempted, effective }: ScanReport): string {
  const [tried, went] = [attempted, effective ?? 0].map(formatSize);
  return went === tried ? went : `${went} of ${tried}`;
}

/** How many mappings were passed over, by reason; what was not in memory goes without saying. */
function skippedLines({ processes }: ScanReport): string[] {
  const skipped = processes.flatMap((process) => process.skipped)
    .filter(({ reason }) => reason !== "nonresident");
  return [...Map.groupBy(skipped, ({ reason }) => reason)].map((
    [reason, mappings],
  ) => `Passed over ${count(mappings.length, "mapping")}: ${REASONS[reason]}.`);
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
