/**
 * `rcap replay`: what each policy would have done with the references of a recording.
 *
 * @module
 */

import { Command, Option } from "@commander-js/extra-typings";
import { POLICIES, type PolicyName } from "../lib/config/policy_names.ts";
import {
  type PolicyReplay,
  replayRecording,
  type ReplayReport,
} from "../lib/oneshot/replay.ts";
import { formatPart, formatRate } from "../lib/oneshot/size_summary.ts";
import { progress } from "../lib/platform/output.ts";
import { lines, type Printable } from "../lib/report/escape.ts";
import { type Column, renderTable } from "../lib/report/table.ts";
import { formatSeconds, formatSize } from "../lib/report/units.ts";
import { exitStatusHelp } from "./exit_status.ts";
import { type Context, sizeParser } from "./options.ts";
import { jsonOption, printResult } from "./result.ts";

/** How many rows show what happens over time. */
const ROWS = 12;

const POLICY_COLUMNS: readonly Column<PolicyReplay>[] = [
  { name: "policy", kind: "text", value: ({ policy }) => policy },
  { name: "size", kind: "size", value: ({ meanSize }) => meanSize },
  {
    name: "met",
    title: "met after",
    kind: "number",
    value: ({ metAfter }) => metAfter === null ? null : formatSeconds(metAfter),
  },
  {
    name: "over",
    title: "over cap",
    kind: "number",
    value: ({ overCap }) => overCap === null ? null : formatPart(overCap),
  },
  {
    name: "out",
    title: "pages out",
    kind: "number",
    value: ({ pagedOut }) => pagedOut,
  },
  {
    name: "refaults",
    kind: "number",
    value: ({ refaultsPerSecond }) =>
      refaultsPerSecond === null ? null : formatRate(refaultsPerSecond),
  },
  {
    name: "minute",
    title: "worst minute",
    kind: "number",
    value: ({ worstMinute }) => worstMinute,
  },
];

const HELP = `
Plays a recording of rcap record on a simulated machine, under a cap that the
real policies hold, and prints what each would have done: the size on average,
after which time the cap was first met, for how much of the time after that it
was exceeded, pages paged out in all, and pages that came back: a second, and in
the worst minute, after the cap was first met.

A page that was used in two intervals in a row counts as used all the time in
the second; another one as used once, at some time in its interval. There is
swap for all that goes; page-outs take no time; the daemon samples once an
interval of the recording. Guard rails are not simulated.

${
  exitStatusHelp({
    done: true,
    failed: "failed, or a recording is damaged; the message says where and why",
    usage: "wrong usage",
    SIGINT: true,
  })
}

Examples:
  rcap replay alice.rcap --cap 2G
  rcap replay alice.rcap --cap 2G --policy coldest --json`;

/** The command. */
export function replayCommand(context: Context) {
  const { system } = context;
  return new Command("replay")
    .description(
      "Shows what each policy would have done with the references of a recording.",
    )
    .argument("<file>", "the recording")
    .addOption(
      new Option("--cap <size>", "the cap of all processes together")
        .argParser(sizeParser("--cap", system)).makeOptionMandatory(),
    )
    .addOption(
      new Option("--policy <name>", "only this policy").choices(POLICIES),
    )
    .addOption(jsonOption)
    .addHelpText("after", HELP)
    .action(async (file, options) => {
      const { signal } = context;
      const policies: readonly PolicyName[] = options.policy === undefined
        ? POLICIES
        : [options.policy];
      let shown = progress(`replaying ${file}…`);
      let last = 0;
      const report = await replayRecording(system.files, file, {
        cap: options.cap,
        policies,
        signal,
        onProgress: (policy, seconds) => {
          if (Math.abs(seconds - last) < 60) return;
          last = seconds;
          shown[Symbol.dispose]();
          shown = progress(
            `replaying ${file} with ${policy}, ${formatSeconds(seconds)} done…`,
          );
        },
      }).finally(() => shown[Symbol.dispose]());
      await printResult(
        { json: report, text: () => textOf(report) },
        options,
        context,
      );
    });
}

function textOf(report: ReplayReport): Printable[] {
  const { cap, seconds, meanSize, policies, interval } = report;
  const plain = { bare: false, exact: false, color: false };
  return [
    renderTable(POLICY_COLUMNS, { rows: policies, ...plain }),
    ...policies.flatMap((one) => [
      lines("", `Over time, ${one.policy}:`),
      renderTable(TIME_COLUMNS, { rows: rowsOf(one), ...plain }),
    ]),
    lines(
      "",
      `Replayed ${formatSeconds(seconds)}, every ${
        formatSeconds(interval)
      }, under ${formatSize(cap)}; without a cap, ${
        formatSize(meanSize)
      } on average.`,
    ),
  ];
}

/** A part of the time. */
type TimeRow = PolicyReplay["timeline"][number];

const TIME_COLUMNS: readonly Column<TimeRow>[] = [
  {
    name: "until",
    kind: "number",
    value: ({ seconds }) => formatSeconds(seconds),
  },
  { name: "size", kind: "size", value: ({ size }) => size },
  {
    name: "out",
    title: "pages out",
    kind: "number",
    value: ({ pagedOut }) => formatRate(pagedOut),
  },
  {
    name: "refaults",
    kind: "number",
    value: ({ refaults }) => formatRate(refaults),
  },
];

/** The intervals of a replay, several in a row each: means of them. */
function rowsOf({ timeline }: PolicyReplay): TimeRow[] {
  const count = Math.min(ROWS, timeline.length);
  return Array.from({ length: count }, (_, row) => {
    const part = timeline.slice(
      Math.floor(timeline.length * row / count),
      Math.floor(timeline.length * (row + 1) / count),
    );
    const mean = (figure: (one: TimeRow) => number) =>
      part.reduce((sum, one) => sum + figure(one), 0) / part.length;
    return {
      seconds: part[part.length - 1].seconds,
      size: Math.round(mean(({ size }) => size)),
      pagedOut: mean(({ pagedOut }) => pagedOut),
      refaults: mean(({ refaults }) => refaults),
    };
  });
}
