/**
 * `rcap stat`: what a running daemon has done.
 *
 * @module
 */

import { Argument, Command, Option } from "@commander-js/extra-typings";
import { UsageError } from "../lib/errors.ts";
import { describeGrowth } from "../lib/group/growth.ts";
import { describeIdleTime } from "../lib/group/idle_words.ts";
import type { DaemonState } from "../lib/group/state.ts";
import type { KubernetesState } from "../lib/kubernetes/annotated_pod.ts";
import { lines, type Printable } from "../lib/report/escape.ts";
import type { Column } from "../lib/report/table.ts";
import {
  countOf,
  formatBeside,
  formatSeconds,
  formatSize,
  formatTimeSoon,
  parseDuration,
} from "../lib/report/units.ts";
import {
  followStates,
  statReport,
  type StatRow,
  statRows,
} from "../lib/service/stat.ts";
import { exitStatusHelp } from "./exit_status.ts";
import { type Context, stateDirectoryOption } from "./options.ts";
import { addTableOptions, columnNames, ResultTable } from "./result.ts";

/** The default interval between two tables, in milliseconds. */
const INTERVAL = 5000;

const STAT_COLUMNS: readonly Column<StatRow>[] = [
  { name: "id", kind: "number", value: ({ id }) => id },
  { name: "name", kind: "text", value: ({ name }) => name },
  { name: "nproc", kind: "number", value: ({ processes }) => processes },
  { name: "vm", kind: "size", value: ({ addressSpace }) => addressSpace },
  { name: "rss", kind: "size", value: ({ rss }) => rss, format: besideCap },
  { name: "cap", kind: "size", value: ({ cap }) => cap, format: besideCap },
  { name: "at", kind: "size", value: ({ attempted }) => attempted },
  {
    name: "avgat",
    kind: "size",
    value: ({ attemptedPerScan }) => attemptedPerScan,
  },
  { name: "pg", kind: "size", value: ({ effective }) => effective },
  {
    name: "avgpg",
    kind: "size",
    value: ({ effectivePerScan }) => effectivePerScan,
  },
  { name: "backed_off", kind: "number", value: ({ backedOff }) => backedOff },
  { name: "warning", kind: "text", value: ({ warning }) => warning },
  { name: "swap", kind: "size", value: ({ swap }) => swap },
  {
    name: "saved",
    kind: "size",
    value: ({ swap, saved }) => saved ?? (swap === null ? null : "not known"),
  },
  { name: "refaults", kind: "number", value: ({ refaults }) => refaults },
  { name: "idle", kind: "size", value: ({ idleForMinute }) => idleForMinute },
  {
    name: "pressure",
    kind: "number",
    value: ({ pressure }) =>
      pressure === null ? null : `${(pressure * 100).toFixed(2)}%`,
  },
];

/** A group over its cap never reads as if it met it. */
function besideCap({ rss, cap }: StatRow): (bytes: number) => string {
  return cap === null ? formatSize : formatBeside(cap, rss);
}

/** The columns of a table without `-H` and `-o`: warnings are below it. */
const STAT_SHOWN = "name,nproc,rss,cap,swap,saved,refaults,idle,pressure,pg";

/** The table of groups. */
export const STAT_TABLE = {
  columns: STAT_COLUMNS,
  shown: STAT_SHOWN,
  width: 100,
};

const HELP = `
INTERVAL is a duration (500ms, 2m) or in seconds (5). Without COUNT, stat goes
on until it is interrupted. The first table covers the time since the daemon
started, each later one the time since the one before. By default it has the
columns ${STAT_SHOWN},
in at most 100 characters, for which long names are cut; -o chooses others.

Columns: ${columnNames(STAT_COLUMNS)}
  nproc      processes               vm     size of their address spaces
  rss        resident size           cap    the limit of rss, - if there is none
  at         tried to page out       avgat  the same, average per scan
  pg         fall of rss             avgpg  the same, average per scan
  swap       in swap
  saved      that, less what the machine keeps of it, compressed, in memory
  idle       not used for a minute  refaults  pages used again that were out
  pressure   share of the last 10 s in which some process of its own cgroup, or
             else of the machine, waited for memory
  backed_off intervals in which it was left alone, as its cap could not be met
  warning    why the cap cannot be met, what holds rcap back, and which
             processes do not answer; below the table unless -o names it

${
  exitStatusHelp({
    done: true,
    failed: "rcap is not running, or its state is out of date",
    usage: "wrong usage",
    SIGINT: true,
  })
}

Examples:
  rcap stat
  rcap stat 1 10 -g
  rcap stat 5 1 -H -p -o name,rss,cap
  rcap stat 5 1 -H -o name,warning
  rcap stat 5 --json`;

/** The command. */
export function statCommand(context: Context) {
  return addTableOptions(
    new Command("stat")
      .description(
        "Shows, for each group of the running daemon, its size, its cap, and what was\n" +
          "paged out. Needs no privileges.",
      )
      .addArgument(
        new Argument("[interval]", "how often").argParser(parseInterval)
          .default(INTERVAL, "5s"),
      )
      .addArgument(
        new Argument("[count]", "how many times").argParser(parseCount)
          .default(Infinity, "until interrupted"),
      )
      .addOption(
        new Option(
          "-g, --global",
          "also physical memory in use, and the enforcement threshold",
        ),
      )
      .addOption(stateDirectoryOption(context.system)),
  )
    .addHelpText("after", HELP)
    .action(async (interval, count, options) => {
      const { system, signal, log } = context;
      const table = new ResultTable(
        STAT_TABLE,
        options,
        context,
      );
      const states = followStates(system, options.stateDir, {
        interval,
        signal,
        warn: (text) => log.warn(text),
      });
      let rounds = 0;
      for await (const { now, before } of states) {
        const gap = rounds > 0 && options.header ? [""] : [];
        const memory = options.global ? [memoryLine(now.memory)] : [];
        const isRead = await table.print({
          json: statReport(now, before),
          rows: statRows(now, before),
          above: lines(...gap, ...memory),
          below: notesOf(now),
        });
        rounds++;
        // Without a reader there is nothing left to do.
        if (!isRead || rounds >= count) return;
      }
    });
}

/**
 * What a table does not show, a line each: what would be paged out in a dry run, why caps
 * cannot be met, and how many processes are left alone.
 */
export function notesOf(
  { groups, dryRun, updatedAt, kubernetes }: DaemonState,
): Printable {
  return lines(
    ...(kubernetes ? kubernetesNotes(kubernetes, updatedAt) : []),
    ...(groups.length === 0
      ? ["no group: the configuration in force contains no cap"]
      : []),
    ...(dryRun ? ["dry run: nothing is paged out"] : []),
    ...groups.flatMap((
      { name, warning, avoided, planned, pausedUntil, growth, idleTime },
    ) => [
      ...(pausedUntil === null
        ? []
        : [`${name}: paused until ${formatTimeSoon(pausedUntil, updatedAt)}`]),
      ...(planned
        ? [`${name}: ${formatSize(planned)} would be paged out`]
        : []),
      ...(idleTime ? [`${name}: ${describeIdleTime(idleTime)}`] : []),
      ...(warning ? [warning] : []),
      ...growth.map((one) => `${name}: ${describeGrowth(one)}`),
      ...(avoided > 0 ? [`${name}: ${describeAvoided(avoided)}`] : []),
    ]),
  );
}

/** What keeps pods from their caps. */
function kubernetesNotes(
  { problem, heardAt, pods, annotations }: KubernetesState,
  now: number,
): string[] {
  const since = heardAt === null
    ? "no cap of a pod is known"
    : `the caps of ${countOf(pods, "pod")} are those of ${
      formatSeconds(Math.max(0, now - heardAt))
    } ago`;
  return [
    ...problem === null
      ? []
      : [`the API server of Kubernetes: ${problem}; ${since}`],
    ...annotations,
  ];
}

function describeAvoided(count: number): string {
  return count === 1
    ? "1 process is left alone, as its cgroup asks (user.rcap.avoid)"
    : `${count} processes are left alone, as their cgroups ask (user.rcap.avoid)`;
}

/** Physical memory in use, and the use above which caps are enforced. */
function memoryLine(
  { total, used, threshold }: DaemonState["memory"],
): string {
  const percent = (share: number) => `${(share * 100).toFixed(0)}%`;
  return `physical memory: ${formatSize(used)} of ${formatSize(total)} (${
    percent(used / total)
  }) in use; caps are enforced ${
    threshold > 0 ? `above ${percent(threshold)}` : "always"
  }`;
}

function parseInterval(text: string): number {
  const interval = parseDuration(text, "INTERVAL");
  if (interval > 0) return interval;
  throw new UsageError(
    `INTERVAL: "${text}" is out of range; write more than 0 and at most 596h`,
  );
}

function parseCount(text: string): number {
  if (/^[1-9]\d*$/.test(text)) return Number(text);
  throw new UsageError(
    `COUNT: "${text}" is not a count; write a whole number, at least 1`,
  );
}
