/**
 * `rcap restore`: brings back what of some processes is in swap.
 *
 * @module
 */

import { Command, Option } from "@commander-js/extra-typings";
import { EXIT_CODES } from "../lib/errors.ts";
import {
  type RestoredProcess,
  restoreOnce,
  type RestoreReport,
} from "../lib/oneshot/restore_once.ts";
import { lines, type Printable } from "../lib/report/escape.ts";
import type { Column } from "../lib/report/table.ts";
import { formatSize } from "../lib/report/units.ts";
import { exitStatusHelp } from "./exit_status.ts";
import { type Context, selectorsOf, sizeParser } from "./options.ts";
import { addTableOptions, columnNames, ResultTable } from "./result.ts";

const COLUMNS: readonly Column<RestoredProcess>[] = [
  { name: "pid", kind: "number", value: ({ pid }) => pid },
  { name: "comm", kind: "text", value: ({ comm }) => comm },
  { name: "out", kind: "size", value: ({ out }) => out },
  { name: "requested", kind: "size", value: ({ requested }) => requested },
  {
    name: "out_of_reach",
    kind: "size",
    value: ({ outOfReach }) => outOfReach,
  },
  { name: "error", kind: "text", value: ({ error }) => error },
];

const HELP = `
The kernel is asked to read what page tables name as swapped, and what of shared
memory is in swap, into memory: its swap cache (MADV_WILLNEED). Page tables name
swap until the process uses a page, which then takes no read; so VmSwap and
RSS change only then. Out of reach are private changes of mapped files. Pages of
files are read when they are used.

It is refused if what is out does not fit into the memory that is available,
less 2 %, and ends when that or a limit of a cgroup of the process is reached.
A daemon may page out again what is not used: rcap pause keeps it from that.

Columns: ${columnNames(COLUMNS)}

${
  exitStatusHelp({
    done: "all was asked for that can be",
    failed:
      "it does not fit into memory, so nothing was read; or some of it could not be asked for",
    usage: "wrong usage",
    incapable: true,
    noProcess: true,
    SIGINT: true,
  })
}

Examples:
  rcap restore unit:postgresql
  rcap restore user:alice --limit 1G
  rcap restore pid:4242 --json`;

/** The command. */
export function restoreCommand(context: Context) {
  const { system } = context;
  return addTableOptions(
    new Command("restore")
      .description(
        "Brings back what of some processes is in swap, now, before they use it.",
      )
      .argument("<selector...>", "the processes, as for rcap scan")
      .addOption(
        new Option("--limit <size>", "bring back at most this much")
          .argParser(sizeParser("--limit", system)),
      )
      .option("--force", "take more memory than is available", false),
  )
    .addHelpText("after", HELP)
    .action(async (texts, { limit, force, ...options }) => {
      const { signal, log } = context;
      const table = new ResultTable({ columns: COLUMNS }, options, context);
      const selectors = await selectorsOf(texts, context);
      // References are not read, so it does not matter which source shows them.
      using platform = system.open("auto", (text) => log.debug(text), signal);
      const report = await restoreOnce({
        selectors,
        platform,
        limit,
        force,
        signal,
        log,
      });
      await table.print({
        json: report,
        rows: report.processes,
        below: describe(report),
      });
      if (!report.isComplete) context.setExitCode(EXIT_CODES.failed.code);
    });
}

/** The result in words. */
function describe(
  {
    out,
    requested,
    outOfReach,
    swapCachedBefore,
    swapCachedAfter,
    availableAfter,
  }: RestoreReport,
): Printable {
  const size = formatSize;
  const cache = swapCachedBefore === null || swapCachedAfter === null ? [] : [
    `The machine's swap cache went from ${size(swapCachedBefore)} to ${
      size(swapCachedAfter)
    }; ${size(availableAfter)} of memory is available.`,
  ];
  return lines(
    `${size(out)} was out; the kernel was asked to read ${size(requested)}.`,
    ...outOfReach > 0
      ? [`${size(outOfReach)} comes back when it is used.`]
      : [],
    ...cache,
  );
}
