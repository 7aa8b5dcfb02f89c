/**
 * Describes in words what `rcap size` has found out.
 *
 * @module
 */

import { lines, type Printable } from "../report/escape.ts";
import { describeSkipReason } from "../report/skip_reasons.ts";
import { exactSize, formatSeconds, formatSize } from "../report/units.ts";
import { quoteToml } from "../config/toml.ts";
import { type GroupSizeReport, SHORT, type SizeReport } from "./size_report.ts";

/** Formats pages a second for people: `0/s`, `0.3/s`, `2150/s`. */
export function formatRate(rate: number): string {
  if (rate === 0) return "0/s";
  return rate < 0.05 ? "<0.1/s" : `${rate.toFixed(rate < 9.95 ? 1 : 0)}/s`;
}

/** Formats a share with one decimal at most: `0 %`, `0.1 %`, `41 %`. */
export function formatPart(share: number): string {
  const percent = share * 100;
  if (share === 0) return "0 %";
  return `${percent.toFixed(percent < 9.95 ? 1 : 0)} %`;
}

/** Describes one group in the lines below its table. */
export function describeSize(
  report: SizeReport,
  group: GroupSizeReport,
): Printable {
  const { observedSeconds, interval, interrupted } = report;
  const { size, recommended, budget } = group;
  const watched = `Watched for ${formatSeconds(observedSeconds)}, every ${
    formatSeconds(interval)
  }${interrupted ? ", then interrupted" : ""}; nothing was paged out.`;
  if (group.curve.length === 0) {
    return lines(
      "",
      watched,
      "Too little was seen to predict anything: at least two intervals are needed.",
    );
  }
  return lines(
    "",
    watched,
    recommended
      ? `Recommended: ${exactSize(recommended.cap)} saves ${
        formatSize(recommended.saved)
      } of ${formatSize(size)}; no minute exceeded ${
        formatBudget(budget)
      } before a margin of 5 % was added${grown(group)}.`
      : `No cap below ${
        formatSize(size)
      } can be recommended: with a margin of 5 %${
        grown(group)
      }, every one would exceed ${formatBudget(budget)}, or what is in use.`,
    `Working set: ${formatSize(group.workingSet)} was used within ${
      formatSeconds(group.workingSetSeconds)
    }, on average. Caps below ${
      formatSize(group.least)
    } are not predicted: what cannot go, and what is used within an interval.`,
    ...describeNeverUsed(group, observedSeconds),
    ...describeFixed(group),
    ...describeSwapped(group),
    ...describeSwap(report, group),
    ...group.toFiles > 0
      ? [
        `Files: ${
          formatSize(group.toFiles)
        } can go to files; predicted in pages, of which one fault may bring in several.`,
      ]
      : [],
    ...group.hasLargePages
      ? [
        "Large pages: each counts once, since its parts cannot be told apart; more of them may come back.",
      ]
      : [],
  );
}

function formatBudget(pages: number): string {
  return `${pages} refaults a minute`;
}

function grown({ size, startSize }: GroupSizeReport): string {
  const growth = size - startSize;
  return growth > 0 ? `, and the ${formatSize(growth)} that it grew` : "";
}

/** What nothing is known of: memory that was not used. */
function describeNeverUsed(
  { neverUsed, neverUsedRefaults }: GroupSizeReport,
  seconds: number,
): string[] {
  if (neverUsed === 0 || neverUsedRefaults === null) return [];
  const bound = formatRate(neverUsedRefaults);
  return [
    `Not used at all: ${formatSize(neverUsed)} in ${
      formatSeconds(seconds)
    }. Used once in as long, it would add ${bound}.` +
    (seconds < SHORT
      ? " That is short: nothing is known of when this memory is used."
      : ""),
  ];
}

function describeFixed({ fixed, cannotGo }: GroupSizeReport): string[] {
  if (fixed === 0) return [];
  const reasons = cannotGo.map(({ reason, bytes }) =>
    `${formatSize(bytes)} ${describeSkipReason(reason)}`
  );
  return [
    `Cannot go: ${formatSize(fixed)}${
      reasons.length > 0 ? ` (${reasons.join("; ")})` : ""
    }.`,
  ];
}

function describeSwapped({ swapped, returned }: GroupSizeReport): string[] {
  if (swapped === 0 && returned === 0) return [];
  return [
    `Already in swap at the start: ${
      formatSize(swapped)
    }; ${returned} pages came back, and count at every cap up to the present size.`,
  ];
}

/** Whether the machine's swap could hold what would go. */
function describeSwap(
  { swapFree, swapTotal }: SizeReport,
  { swapNeeded, toSwap }: GroupSizeReport,
): string[] {
  const needed = swapNeeded ?? toSwap;
  if (needed === 0) return ["Swap: none is needed."];
  const what = swapNeeded === null
    ? `all that can go to swap, ${formatSize(needed)}`
    : `what would go, at most ${formatSize(needed)}`;
  if (swapTotal === 0) {
    return [`Swap: there is none, and ${what}, needs it: add swap or zram.`];
  }
  return [
    swapFree >= needed
      ? `Swap: ${formatSize(swapFree)} is free, enough for ${what}.`
      : `Swap: only ${formatSize(swapFree)} is free, too little for ${what}.`,
  ];
}

/** Renders the recommended caps as tables to paste into a configuration. */
export function renderCaps(
  groups: readonly GroupSizeReport[],
  selectOf: (group: GroupSizeReport) => readonly (string | readonly string[])[],
): Printable {
  const taken = new Set<string>();
  const rendered = groups.flatMap((group): string[] => {
    const select = selectOf(group);
    if (!group.recommended) {
      return [
        `# ${group.name || "these processes"}: no cap below ${
          formatSize(group.size)
        } is recommended`,
      ];
    }
    const listed = select.map((one) =>
      typeof one === "string"
        ? quoteToml(one)
        : `[${one.map(quoteToml).join(", ")}]`
    ).join(", ");
    return [
      "[[cap]]",
      `name = ${quoteToml(nameFor(select, taken))}`,
      `select = [${listed}]`,
      `max_rss = ${quoteToml(exactSize(group.recommended.cap))}`,
    ];
  });
  return lines(...rendered);
}

/** Returns a name for a cap, which no other has. */
function nameFor(
  select: readonly (string | readonly string[])[],
  taken: Set<string>,
): string {
  const [first] = select.flat();
  const base = first.replace(/^[a-z]+:/, "").replace(/\.service$/, "")
    .replace(/[^A-Za-z0-9_.-]+/g, "_").replace(/^[_.-]+|_+$/g, "")
    .slice(0, 60) || "cap";
  let name = base;
  for (let number = 2; taken.has(name); number++) name = `${base}-${number}`;
  taken.add(name);
  return name;
}
