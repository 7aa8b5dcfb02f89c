/**
 * `rcap size`: what a cap would cost.
 *
 * @module
 */

import { Command, Option } from "@commander-js/extra-typings";
import { green } from "@std/fmt/colors";
import { selectorHelp, writtenAs } from "../lib/collection/selectors.ts";
import { UsageError } from "../lib/errors.ts";
import {
  type PlayedGroupOf,
  sizesOfRecording,
} from "../lib/oneshot/recorded_sizes.ts";
import { findSizes, OTHERS } from "../lib/oneshot/size.ts";
import {
  eachProcess,
  type Grouping,
  GROUPINGS,
  groupsBy,
  NO_GROUP,
} from "../lib/oneshot/size_groups.ts";
import {
  type CapCost,
  chosenCaps,
  type GroupSizeReport,
  SHORT,
  type SizeReport,
  sizeReport,
} from "../lib/oneshot/size_report.ts";
import {
  describeSize,
  formatPart,
  formatRate,
  renderCaps,
} from "../lib/oneshot/size_summary.ts";
import type { OperatingSystem } from "../lib/platform/operating_system.ts";
import { lines } from "../lib/report/escape.ts";
import type { Column } from "../lib/report/table.ts";
import {
  DEFAULT_MAX_REFAULTS,
  parseRefaultLimit,
} from "../lib/report/rates.ts";
import { countOf, formatSeconds, parseDuration } from "../lib/report/units.ts";
import { exitStatusHelp } from "./exit_status.ts";
import {
  type Context,
  hostRootOption,
  observing,
  pagedataOption,
  selectorsOf,
} from "./options.ts";
import { addTableOptions, columnNames, ResultTable } from "./result.ts";

const MINUTE = 60_000;
/** How long may be watched: one group, and many. */
const LIMITS = { least: 1000, most: 24 * 60 * MINUTE };
const LIMITS_OF_MANY = { least: 1000, most: 60 * MINUTE };

/** A row: a cap, and what it is. */
interface CapRow extends CapCost {
  readonly note: string;
}

type Shown = Omit<CapCost, "cap" | "saved" | "unjudged">;

/** The columns that both tables have. */
const COSTS: readonly Column<Shown | null>[] = [
  {
    name: "idle",
    title: "idle for",
    kind: "number",
    value: (row) => row && idleOf(row),
  },
  {
    name: "refaults",
    kind: "number",
    value: (row) => row && formatRate(row.refaults),
  },
  {
    name: "minute",
    title: "a minute",
    kind: "number",
    value: (row) => row && partOf(row.perMinute),
  },
  {
    name: "stalled",
    kind: "number",
    value: (row) => row && partOf(row.stalled),
  },
];

function idleOf({ idleSeconds, idleIsAtLeast }: Shown): string | null {
  if (idleSeconds === null) return null;
  return `${idleIsAtLeast ? ">" : ""}${formatSeconds(idleSeconds)}`;
}

function partOf(share: number | null): string | null {
  return share === null ? null : formatPart(share);
}

const CAP_COLUMNS: readonly Column<CapRow>[] = [
  { name: "cap", kind: "size", value: ({ cap }) => cap },
  { name: "saved", kind: "size", value: ({ saved }) => saved },
  ...COSTS,
  {
    name: "note",
    title: "",
    kind: "text",
    value: ({ note }) => note,
    style: (text) => green(text),
  },
];

const GROUP_COLUMNS: readonly Column<GroupSizeReport>[] = [
  { name: "group", kind: "text", value: ({ name }) => name },
  { name: "nproc", kind: "number", value: ({ processes }) => processes },
  { name: "size", kind: "size", value: ({ size }) => size },
  { name: "unused", kind: "size", value: ({ neverUsed }) => neverUsed },
  {
    name: "cap",
    kind: "size",
    value: ({ recommended }) => recommended && recommended.cap,
  },
  {
    name: "saved",
    kind: "size",
    value: ({ recommended }) => recommended ? recommended.saved : 0,
  },
  ...COSTS.map((column): Column<GroupSizeReport> => ({
    ...column,
    value: ({ recommended }) => column.value(recommended),
    style: undefined,
    format: undefined,
  })),
];

function help(system: OperatingSystem): string {
  return `
Watches, pages nothing out, and prints what a cap would cost. Selectors:
${
    selectorHelp(system).map(([form, what]) => `  ${form.padEnd(14)} ${what}`)
      .join("\n")
  }

Columns: ${columnNames(CAP_COLUMNS)}
  cap        the resident size, as the daemon counts it
  saved      by how much the present size exceeds it
  idle       for how long the pages are not used that it pages out: the median;
             with > they were not used at all while they were watched
  refaults   pages that would come back, a second
  minute     the same a minute, as a share of the working set
  stalled    the share of one thread's time that this takes
  note       which cap is recommended, and where prediction ends: with what
             cannot go, and what is used within one interval (working set)

The recommended cap is the smallest at which no minute that was watched exceeds
--refaults, plus 5 %, plus the growth seen. --refaults is a share of the working
set (what was used within two minutes) a minute, or a number a second; it is
never below one refault a second. 0.2 % a minute is the published budget of a
large fleet's far memory.

--each has a row for each process, and --by one for each user, unit, cgroup,
command, container or pod, of the whole machine if no selector is given; the cap
is the recommended one, and unused what was not used at all while it was
watched. Columns:
${columnNames(GROUP_COLUMNS, 0)}

--from takes a recording of rcap record instead of watching, with --each or --by
user or comm. What was in swap already when it began is not predicted.

--toml prints the recommended caps for a configuration. SIGINT ends the
observation and prints what is known so far.

${
    exitStatusHelp({
      done: true,
      failed: true,
      usage: "wrong usage",
      incapable: true,
      noProcess: true,
      SIGINT: true,
    })
  }

Examples:
  rcap size unit:postgresql
  rcap size user:alice --observe 1h --refaults 50/s
  rcap size --by unit --observe 30s
  rcap size unit:nginx --toml >> /etc/rcap.toml`;
}

/** The command. */
export function sizeCommand(context: Context) {
  const { system } = context;
  return addTableOptions(
    new Command("size")
      .description(
        "Watches some processes, and shows for each cap how much it would save and\n" +
          "what it would cost. Pages nothing out.",
      )
      .argument("[selector...]", "the processes")
      .addOption(
        new Option("--observe <duration>", "how long to watch")
          .default(10 * MINUTE, "10m")
          .argParser((text) => parseDuration(text, "--observe", LIMITS)),
      )
      .addOption(
        new Option("--refaults <rate>", "the most refaults")
          .default(DEFAULT_MAX_REFAULTS, "0.2%")
          .argParser((text) => parseRefaultLimit(text, "--refaults")),
      )
      .option(
        "--from <file>",
        "a recording of rcap record, instead of watching",
      )
      .option("--each", "a row for each process", false)
      .addOption(
        new Option("--by <what>", "a row for each of these groups")
          .choices(GROUPINGS),
      )
      .option("--toml", "print the recommended caps as TOML", false)
      .addOption(pagedataOption(system))
      .addOption(hostRootOption(system)),
  )
    .addHelpText("after", help(system))
    .action(async (texts, options) => {
      const { signal, log } = context;
      const { each, by, toml, observe, refaults } = options;
      requireSensible(texts, options);
      const printing = { color: context.color, print: context.printLast };
      const capTable = new ResultTable(
        { columns: CAP_COLUMNS },
        each || by ? { ...options, output: undefined } : options,
        printing,
      );
      const groupTable = new ResultTable(
        { columns: GROUP_COLUMNS },
        each || by ? options : { ...options, output: undefined },
        printing,
      );
      const selectors = texts.length === 0 || options.from !== undefined
        ? []
        : await selectorsOf(texts, context);
      const report = options.from === undefined
        ? await observing(
          { ...options, observe },
          context,
          async (observatory) => {
            const { platform } = observatory;
            if (platform.granularity === "mapping") {
              log.warn(
                "references are known by mapping only: a page in use makes its whole mapping look in use, so little is predicted",
              );
            }
            const findings = await findSizes({
              ...observatory,
              selectors,
              groupOf: each
                ? eachProcess
                : by && groupsBy(by as Grouping, platform),
              observation: observe,
              signal,
              log,
            });
            return sizeReport(findings, {
              limit: refaults,
              pagedata: platform.pagedata,
              memory: platform.memory(),
            });
          },
        )
        : await sizesOfRecording(
          { files: system.files, path: options.from, signal },
          { limit: refaults, groupOf: recordedGroups(options) },
        );
      if (toml) {
        const select = selectors.map(writtenAs);
        const rendered = renderCaps(
          report.groups.filter(({ name }) =>
            name !== NO_GROUP && name !== OTHERS
          ),
          ({ name }) => name === "" ? select : [name],
        );
        await context.printLast(rendered);
      } else if (each || by) {
        const bySaved = report.groups.toSorted((a, b) =>
          (b.recommended?.saved ?? 0) - (a.recommended?.saved ?? 0)
        );
        await groupTable.print({
          json: report,
          rows: bySaved,
          below: belowGroups(report),
        });
      } else {
        const [group] = report.groups;
        await capTable.print({
          json: report,
          rows: group ? rowsOf(group) : [],
          below: group && describeSize(report, group),
        });
      }
      signal.throwIfAborted();
    });
}

/** @throws UsageError if options exclude each other. */
function requireSensible(
  texts: readonly string[],
  { each, by, toml, json, observe, from }: {
    each: boolean;
    by?: string;
    toml: boolean;
    json?: true;
    observe: number;
    from?: string;
  },
): void {
  if (from !== undefined && texts.length > 0) {
    throw new UsageError(
      "--from and selectors exclude each other: a recording has its processes",
    );
  }
  if (from !== undefined && toml) {
    throw new UsageError(
      "--from and --toml exclude each other: a recording does not have all selectors",
    );
  }
  if (each && by) {
    throw new UsageError("--each and --by exclude each other; give only one");
  }
  if (toml && json) {
    throw new UsageError("--toml and --json exclude each other; give only one");
  }
  if (texts.length === 0 && !by && from === undefined) {
    throw new UsageError(
      "there is no selector",
      "name processes, as in rcap size unit:nginx, or group those of the machine, as in rcap size --by unit",
    );
  }
  if ((each || by) && observe > LIMITS_OF_MANY.most) {
    throw new UsageError(
      "--observe: with --each and --by it is at most 1h",
    );
  }
}

/**
 * Returns what groups the processes of a recording.
 *
 * @throws UsageError if that is not recorded.
 */
function recordedGroups(
  { each, by }: { each: boolean; by?: string },
): PlayedGroupOf | undefined {
  if (each) return ({ source: { identity } }) => `pid:${identity.pid}`;
  switch (by) {
    case undefined:
      return undefined;
    case "comm":
      return ({ source: { identity } }) => `comm:${identity.comm}`;
    case "user":
      return ({ source: { identity: { uid } } }) =>
        uid === undefined ? NO_GROUP : `user:+${uid}`;
    default:
      throw new UsageError(
        `--by ${by}: a recording does not say it`,
        "choose user or comm",
      );
  }
}

/** The rows of the table of one group. */
function rowsOf(group: GroupSizeReport): CapRow[] {
  return chosenCaps(group).map((row) => ({
    ...row,
    note: row.cap === group.recommended?.cap
      ? "<- recommended"
      : row.cap === group.least
      ? "working set"
      : "",
  }));
}

function belowGroups({ observedSeconds, interval, groups }: SizeReport) {
  return lines(
    "",
    `Watched ${countOf(groups.length, "group")} for ${
      formatSeconds(observedSeconds)
    }, every ${formatSeconds(interval)}; nothing was paged out.`,
    ...observedSeconds < SHORT
      ? [
        "That is short: nothing is known of when memory is used that was not used meanwhile.",
      ]
      : [],
  );
}
