/**
 * `rcap stat`: what a running daemon has done.
 *
 * @module
 */

import { Argument, Command, Option } from "@commander-js/extra-typings";
import { UsageError } from "../lib/errors.ts";
import type { DaemonState } from "../lib/group/state.ts";
import { systemClock } from "../lib/platform/clock.ts";
import { json, lines, type Printable } from "../lib/report/escape.ts";
import {
  chooseColumns,
  type Column,
  renderTable,
} from "../lib/report/table.ts";
import { formatSize, parseDuration } from "../lib/report/units.ts";
import { isSameDaemon, type StatRow, statRows } from "../lib/service/stat.ts";
import { readState } from "../lib/service/state_directory.ts";
import {
  bareOption,
  type Context,
  exactOption,
  fieldsOption,
  jsonOption,
  stateDirectoryOption,
} from "./options.ts";

/** How often a line is printed unless told otherwise, in milliseconds. */
const INTERVAL = 5000;

export const STAT_COLUMNS: readonly Column<StatRow>[] = [
  { name: "id", kind: "number", value: ({ id }) => id },
  { name: "name", kind: "text", value: ({ name }) => name },
  { name: "nproc", kind: "number", value: ({ nproc }) => nproc },
  { name: "vm", kind: "size", value: ({ vm }) => vm },
  { name: "rss", kind: "size", value: ({ rss }) => rss },
  { name: "cap", kind: "size", value: ({ cap }) => cap },
  { name: "at", kind: "size", value: ({ at }) => at },
  { name: "avgat", kind: "size", value: ({ avgat }) => avgat },
  { name: "pg", kind: "size", value: ({ pg }) => pg },
  { name: "avgpg", kind: "size", value: ({ avgpg }) => avgpg },
  { name: "breathers", kind: "number", value: ({ breathers }) => breathers },
];

const HELP = `
INTERVAL is in seconds (5), or a duration (500ms, 2m). Without COUNT it goes on
until it is interrupted. The first table tells of all since the daemon started,
every other of the time since the one before.

Columns: ${STAT_COLUMNS.map(({ name }) => name).join(", ")}
  nproc     processes                vm     size of their address spaces
  rss       resident size            cap    what it should not exceed
  at        tried to page out        avgat  that on average per scan
  pg        paged out in effect      avgpg  that on average per scan
  breathers intervals in which it was left alone since much had come back

Exit status: 0 done; 1 rcap is not running; 2 usage; 130 interrupted.

Examples:
  rcap stat
  rcap stat 1 10 -g
  rcap stat 5 1 -H -p -o name,rss,cap
  rcap stat 5 --json`;

/** The command. */
export function statCommand(context: Context) {
  return new Command("stat")
    .summary("what a running daemon has done, every few seconds")
    .description(
      "Tells of each collection of the running daemon how large it is, what its cap\n" +
        "is, and what was paged out. Needs no privileges.",
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
        "also physical memory in use, and from where on caps are enforced",
      ),
    )
    .addOption(stateDirectoryOption)
    .addOption(jsonOption)
    .addOption(bareOption)
    .addOption(fieldsOption)
    .addOption(exactOption)
    .addHelpText("after", HELP)
    .action(async (interval, count, options) => {
      const { signal, log, color, print } = context;
      const columns = chooseColumns(STAT_COLUMNS, options.output);
      const bare = !options.header;
      const told = new Set<string>();
      const warn = (text: string) => {
        if (!told.has(text)) log.warn(text);
        told.add(text);
      };
      let before: DaemonState | undefined;
      for (let round = 1;; round++) {
        const state = before
          ? await nextState(options.stateDir, { signal, warn })
          : readState(options.stateDir, { warn });
        if (before && !isSameDaemon(state, before)) {
          log.warn(
            `rcap was started again; the totals begin at process ${state.pid}`,
          );
        }
        const rows = statRows(state, before);
        const exact = options.parsable === true;
        const texts = options.json ? [json(jsonOf(state, rows, before))] : [
          ...(round > 1 && !bare ? [lines("")] : []),
          ...(options.global ? [globalLine(state.memory)] : []),
          renderTable(columns, { rows, bare, exact, color }),
          ...(bare ? [] : [warningsOf(state)]),
        ];
        // When nobody reads it any more, there is nothing left to do.
        if (!await print(...texts)) return;
        before = state;
        if (round >= count) return;
        await systemClock.sleep(interval, signal);
        signal.throwIfAborted();
      }
    });
}

/** Why caps cannot be met, and who is left alone, a line each. */
function warningsOf({ collections }: DaemonState): Printable {
  return lines(...collections.flatMap(({ name, warning, avoided }) => [
    ...(warning ? [warning] : []),
    // A daemon of an earlier version does not tell.
    ...(avoided > 0 ? [`${name}: ${describeAvoided(avoided)}`] : []),
  ]));
}

function describeAvoided(count: number): string {
  return count === 1
    ? "1 process is left alone, as its cgroup asks (user.rcap.avoid)"
    : `${count} processes are left alone, as their cgroups ask (user.rcap.avoid)`;
}

/** How long a daemon that is being started again may take, in milliseconds. */
const RESTART_PATIENCE = 10_000;

/** The state of the daemon, or of the one that takes its place. */
async function nextState(
  directory: string,
  { signal, warn }: { signal: AbortSignal; warn: (text: string) => void },
): Promise<DaemonState> {
  const began = performance.now();
  for (;;) {
    try {
      return readState(directory, { warn });
    } catch (error) {
      if (performance.now() - began > RESTART_PATIENCE) throw error;
    }
    await systemClock.sleep(100, signal);
    signal.throwIfAborted();
  }
}

function jsonOf(
  { updatedAt, memory, collections }: DaemonState,
  rows: readonly StatRow[],
  before: DaemonState | undefined,
) {
  return {
    version: 1,
    time: updatedAt,
    seconds: before ? updatedAt - before.updatedAt : null,
    memory,
    collections: rows.map((row, index) => ({
      ...row,
      avoided: collections[index].avoided,
      accounting: collections[index].accounting,
      idle: collections[index].idle,
      statistics: collections[index].statistics,
      warning: collections[index].warning,
    })),
  };
}

function globalLine(
  { total, used, threshold }: DaemonState["memory"],
): Printable {
  const percent = (share: number) => `${(share * 100).toFixed(0)}%`;
  return lines(
    `physical memory: ${formatSize(used)} of ${formatSize(total)} (${
      percent(used / total)
    }) in use; caps are enforced ${
      threshold > 0 ? `above ${percent(threshold)}` : "always"
    }`,
  );
}

function parseInterval(text: string): number {
  const interval = /^\d+(\.\d+)?$/.test(text)
    ? Number(text) * 1000
    : parseDuration(text, "INTERVAL (seconds, or a duration)");
  if (interval > 0 && interval < 2 ** 31) return interval;
  throw new UsageError(
    `INTERVAL: "${text}" is out of range; it is above 0 and at most 596h`,
  );
}

function parseCount(text: string): number {
  if (/^[1-9]\d*$/.test(text)) return Number(text);
  throw new UsageError(
    `COUNT: "${text}" is not a count; write a whole number from 1 on`,
  );
}
