/**
 * The results of the contest: tables in Markdown, and which aims are met.
 *
 * @module
 */

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
  /** Whether its mean RSS is within 3 % of the common value. */
  readonly isMatched: boolean;
}

/** A run in which the kernel killed a process of the workload. */
export interface Killed {
  readonly workload: string;
  readonly contestant: string;
}

/** The share by which mean RSS may differ. */
export const TOLERANCE = 0.03;

/** A column: its title, its figure of a run, and the figure's format. */
const COLUMNS: readonly [
  title: string,
  value: (run: Run) => number | null,
  format: (value: number) => string,
][] = [
  ["speed", ({ relative }) => relative, percent(1)],
  ["ops/s", ({ figures }) => figures.speed, (n) => Math.round(n).toString()],
  ["p50 µs", ({ figures }) => figures.p50, (n) => n.toFixed(2)],
  ["p99 µs", ({ figures }) => figures.p99, (n) => n.toFixed(2)],
  ["major faults/s", ({ figures }) => figures.majorFaults, (n) => n.toFixed(0)],
  [
    "mean RSS",
    ({ figures: { meanRss, cap } }) => meanRss / cap,
    percent(1),
  ],
  ["max RSS", ({ figures: { maxRss, cap } }) => maxRss / cap, percent(1)],
  ["enforcer CPU", ({ figures }) => figures.enforcerCpu, percent(2)],
  ["in the kernel", ({ figures }) => figures.enforcerKernel, percent(2)],
  ["system CPU", ({ figures }) => figures.systemCpu, percent(2)],
  ["under cap", ({ figures }) => figures.underCapAfter, (n) => n.toFixed(1)],
  ["limit", ({ figures: { limit, cap } }) => limit / cap, percent(1)],
];

function percent(digits: number) {
  return (share: number) => `${(share * 100).toFixed(digits)} %`;
}

/** The median; for an even number of values, the mean of the middle two. */
export function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2;
}

/** Formats tables of all workloads, and the aims. */
export function report(
  runs: readonly Run[],
  killed: readonly Killed[],
  workloads: readonly WorkloadKind[],
  sizes: WorkloadSizes,
): string {
  const compared = besideUncapped(runs);
  const tables = workloads.map(({ name, what, cap }) =>
    `### ${name}\n\n${what(sizes)}; cap ${percent(0)(cap)}\n\n` +
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
      // The spread of the compared figures; the JSON has that of all figures.
      return title === "speed" || title === "p99 µs"
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

/** Each aim, whether it is met, and its figures. */
function aims(runs: readonly Run[]): string[] {
  const of = (
    workload: string,
    contestant: string,
    value: (run: Run) => number | null,
  ) => {
    const values = runs.filter((run) =>
      run.workload === workload && run.contestant === contestant
    ).map(value).filter((n) => n !== null);
    return values.length > 0 ? median(values) : undefined;
  };
  const speed = ({ relative }: Run) => relative;
  const lines: string[] = [];
  const note = (
    what: string,
    value: number | undefined,
    isMet: (value: number) => boolean,
    format: (value: number) => string = percent(1),
  ) => {
    if (value === undefined || Number.isNaN(value)) return;
    lines.push(
      `- ${isMet(value) ? "met" : "MISSED"}: ${what}: ${format(value)}`,
    );
  };
  const times = (n: number) => `${n.toFixed(3)} times`;
  const isKnown = runs.some(({ contestant }) => contestant === "uncapped");
  for (const workload of ["hotcold", "drift", "redis", "fleet"]) {
    if (isKnown) {
      note(
        `${workload}: at least 97 % of uncapped speed`,
        of(workload, "coldest", speed),
        (n) => n >= 0.97,
      );
    }
    note(
      `${workload}: mean RSS at most 102 % of the cap`,
      of(workload, "coldest", ({ figures }) => figures.meanRss / figures.cap),
      (n) => n <= 1.02,
    );
  }
  const ratios: number[] = [];
  for (const workload of ["hotcold", "drift", "skewed", "redis", "fleet"]) {
    const coldest = of(workload, "coldest", speed);
    const cgroup = of(workload, "cgroup", speed);
    if (coldest === undefined || cgroup === undefined) {
      if (coldest !== undefined) {
        lines.push(`- not measured: ${workload}: the speed of the cgroup`);
      }
      continue;
    }
    const ratio = coldest / cgroup;
    ratios.push(ratio);
    const least = workload === "skewed" ? 0.8 : 1;
    note(
      `${workload}: at least ${least} times as fast as the cgroup`,
      ratio,
      (n) => n >= least,
      times,
    );
  }
  note(
    "1.2 times as fast as the cgroup in two workloads",
    ratios.length < 2
      ? undefined
      : ratios.filter((ratio) => ratio >= 1.2).length,
    (n) => n >= 2,
    (n) => `in ${n}`,
  );
  const [p99, free] = ["coldest", "uncapped"].map((contestant) =>
    of("redis", contestant, ({ figures }) => figures.p99)
  );
  if (p99 !== undefined && free !== undefined) {
    note(
      "redis: p99 at most 1.5 times uncapped",
      p99 / free,
      (n) => n <= 1.5,
      times,
    );
  }
  for (const workload of ["hotcold", "drift", "skewed", "redis", "fleet"]) {
    note(
      `${workload}: rcap uses at most 2 % of a core`,
      of(workload, "coldest", ({ figures }) => figures.enforcerCpu),
      (n) => n <= 0.02,
      percent(2),
    );
  }
  return lines;
}
