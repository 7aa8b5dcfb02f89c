/**
 * The results of the contest: tables in Markdown, and which aims are met.
 *
 * @module
 */

import { POLICIES } from "../../lib/config/policy_names.ts";
import { median } from "../../lib/platform/linux/median.ts";
import type { Figures } from "./measure.ts";
import type { WorkloadKind, WorkloadSizes } from "./workloads.ts";

/** One run. */
export interface Run {
  readonly workload: string;
  readonly contestant: string;
  readonly repeat: number;
  readonly figures: Figures;
  /**
   * Operations per second divided by those of the same processes before the
   * enforcer started, because shared machines change their speed from run to run.
   * The report shows it as a share of the same figure of the uncapped runs.
   */
  readonly relative: number;
  /** Whether its mean RSS is that of `coldest` in the same repeat, within {@linkcode TOLERANCE}. */
  readonly isMatched: boolean;
}

/** A run in which the kernel killed a process of the workload. */
export interface Killed {
  readonly workload: string;
  readonly contestant: string;
}

/** The share by which mean RSS may differ. */
export const TOLERANCE = 0.02;

/** Differences of fewer major faults a second do not count: services cause some by themselves. */
const FEW_FAULTS = 10;

/** A column: its title, its figure of a run, and the figure's format. */
const COLUMNS: readonly [
  title: string,
  value: (run: Run) => number | null,
  format: (value: number) => string,
][] = [
  ["major faults/s", ({ figures }) => figures.majorFaults, whole],
  ["a job", ({ figures }) => figures.faultsPerJob, whole],
  ["pages to swap/s", ({ figures }) => figures.pagesOut, whole],
  [
    "MiB to swap/s",
    ({ figures }) => figures.bytesToSwap / 2 ** 20,
    (n) => n.toFixed(1),
  ],
  [
    "mean RSS",
    ({ figures: { meanRss, cap } }) => meanRss / cap,
    percent(1),
  ],
  [
    "swap cache",
    ({ figures: { meanSwapCache, cap } }) => meanSwapCache / cap,
    percent(1),
  ],
  ["max RSS", ({ figures: { maxRss, cap } }) => maxRss / cap, percent(1)],
  ["speed", ({ relative }) => relative, percent(1)],
  ["ops/s", ({ figures }) => figures.speed, whole],
  ["p50 µs", ({ figures }) => figures.p50, (n) => n.toFixed(2)],
  ["p99 µs", ({ figures }) => figures.p99, (n) => n.toFixed(2)],
  ["enforcer CPU", ({ figures }) => figures.enforcerCpu, percent(2)],
  ["in the kernel", ({ figures }) => figures.enforcerKernel, percent(2)],
  ["system CPU", ({ figures }) => figures.systemCpu, percent(2)],
  ["under cap", ({ figures }) => figures.underCapAfter, (n) => n.toFixed(1)],
  ["limit", ({ figures: { limit, cap } }) => limit / cap, percent(1)],
];

/** The columns of which the spread is shown, too; the JSON has that of all figures. */
const SPREAD = new Set(["major faults/s", "a job", "speed", "p99 µs"]);

function whole(n: number): string {
  return n.toFixed(0);
}

function percent(digits: number) {
  return (share: number) => `${(share * 100).toFixed(digits)} %`;
}

/** Formats tables of all workloads, and the aims. */
export function report(
  runs: readonly Run[],
  killed: readonly Killed[],
  workloads: readonly WorkloadKind[],
  sizes: WorkloadSizes,
): string {
  const compared = besideUncapped(runs);
  const tables = workloads.map(({ name, what, cap, jobs }) =>
    `### ${name}\n\n${what(sizes)}; cap ${percent(0)(cap)}${
      jobs ? `; a job is a ${jobs.what}` : ""
    }\n\n` +
    table(compared.filter(({ workload }) => workload === name)) +
    refaults(compared.filter(({ workload }) => workload === name)) +
    deaths(killed.filter(({ workload }) => workload === name))
  );
  return `${tables.join("\n")}\n### Aims\n\n${aims(compared).join("\n")}\n`;
}

/**
 * Divides the speed of runs by that of the uncapped runs, if any, because workloads
 * also change speed as they continue.
 */
function besideUncapped(runs: readonly Run[]): Run[] {
  const uncapped = Map.groupBy(
    runs.filter(({ contestant }) => contestant === "uncapped"),
    ({ workload }) => workload,
  );
  return runs.map((run) => {
    const free = uncapped.get(run.workload);
    return free
      ? {
        ...run,
        relative: run.relative / median(free.map(({ relative }) => relative)),
      }
      : run;
  });
}

function table(runs: readonly Run[]): string {
  const rows = [...Map.groupBy(runs, ({ contestant }) => contestant)].map((
    [contestant, runs],
  ) => [
    contestant + (runs.every(({ isMatched }) => isMatched) ? "" : " *"),
    ...COLUMNS.map(([title, value, format]) => {
      const values = runs.map(value).filter((n) => n !== null);
      if (values.length === 0) return "-";
      const middle = format(median(values));
      return SPREAD.has(title) && values.length > 1
        ? `${middle} (${format(Math.min(...values))} to ${
          format(Math.max(...values))
        })`
        : middle;
    }),
  ]);
  return markdown(["contestant", ...COLUMNS.map(([title]) => title)], rows);
}

/** Formats a table in Markdown. */
export function markdown(head: string[], rows: string[][]): string {
  return [head, head.map(() => "---"), ...rows]
    .map((cells) => `| ${cells.join(" | ")} |\n`).join("");
}

/** Page faults by how long the page had not been used, if counted. */
function refaults(runs: readonly Run[]): string {
  const counted = runs.filter(({ figures }) =>
    figures.refaults.some((count) => count > 0)
  );
  if (counted.length === 0) return "";
  const head = ["major faults/s, page idle"].concat(
    ["< 0.25 s", "0.25", "0.5", "1", "2", "4", "8", "16", "≥ 32 s"],
  );
  const rows = [...Map.groupBy(counted, ({ contestant }) => contestant)].map((
    [contestant, runs],
  ) => [
    contestant,
    ...runs[0].figures.refaults.map((_, band) =>
      median(runs.map(({ figures }) => figures.refaults[band])).toFixed(0)
    ),
  ]);
  return `\n${markdown(head, rows)}`;
}

/** The contestants whose workloads were killed, and how often. */
function deaths(killed: readonly Killed[]): string {
  const counts = Map.groupBy(killed, ({ contestant }) => contestant);
  return [...counts].map(([contestant, runs]) =>
    `\n${contestant}: the kernel killed the workload in ${runs.length} runs, which are not counted above.\n`
  ).join("");
}

/** The contestants that are rcap, with its policies. */
const RCAP = POLICIES.toReversed();

/** The workloads of which all that is in use fits under the cap. */
const FITTING = ["hotcold", "drift", "redis"];

/** The workloads in which the choice matters most. */
const CHOOSING = ["backup", "jvm", "bgsave"];

/** Each aim, whether each policy meets it, and its figures. */
function aims(runs: readonly Run[]): string[] {
  const names = [...new Set(runs.map(({ workload }) => workload))];
  return RCAP.flatMap((policy) => {
    const lines: string[] = [];
    const note = (
      what: string,
      values: readonly number[],
      isMet: (value: number) => boolean,
      format: (value: number) => string,
    ) => {
      if (values.length === 0) return;
      const middle = median(values);
      const spread = values.length > 1
        ? ` (${format(Math.min(...values))} to ${format(Math.max(...values))})`
        : "";
      lines.push(
        `- ${isMet(middle) ? "met" : "MISSED"}: ${policy}: ${what}: ${
          format(middle)
        }${spread}`,
      );
    };
    for (const name of names) {
      const own = runs.filter(({ workload, contestant }) =>
        workload === name && contestant === policy
      );
      const relative = runs.some(({ workload, contestant }) =>
        workload === name && contestant === "uncapped"
      );
      if (relative && FITTING.includes(name)) {
        note(
          `${name}: at least 98 % of uncapped speed`,
          own.map(({ relative }) => relative),
          (n) => n >= 0.98,
          percent(1),
        );
      }
      const pairs = pairsOf(runs, name, policy);
      const most = CHOOSING.includes(name) ? 0.7 : 1;
      note(
        `${name}: at most ${most} times the major faults of the cgroup`,
        pairs.map(([mine, other]) => faultsBeside(mine, other)),
        (n) => n <= most,
        (n) => `${n.toFixed(2)} times`,
      );
    }
    return lines;
  });
}

/** The runs of a contestant, each with that of the cgroup in the same repeat, if both have the same mean RSS. */
function pairsOf(
  runs: readonly Run[],
  name: string,
  contestant: string,
): [Run, Run][] {
  const mine = runs.filter((run) =>
    run.workload === name && run.contestant === contestant && run.isMatched
  );
  return mine.flatMap((run): [Run, Run][] => {
    const other = runs.find((other) =>
      other.workload === name && other.contestant === "cgroup" &&
      other.repeat === run.repeat && other.isMatched
    );
    return other ? [[run, other]] : [];
  });
}

/**
 * The major faults of a run beside those of another: for each job, if the workload has
 * jobs, otherwise per second.
 */
function faultsBeside({ figures: mine }: Run, { figures: other }: Run): number {
  // As if few more or less were the same.
  const few = FEW_FAULTS * mine.seconds / Math.max(1, mine.jobs ?? 0);
  return mine.faultsPerJob !== null && other.faultsPerJob !== null
    ? (mine.faultsPerJob + few) / (other.faultsPerJob + few)
    : (mine.majorFaults + FEW_FAULTS) / (other.majorFaults + FEW_FAULTS);
}
