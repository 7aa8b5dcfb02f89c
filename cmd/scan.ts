/**
 * `rcap scan`: one scan of some processes.
 *
 * @module
 */

import { Command, Option } from "@commander-js/extra-typings";
import { selectorHelp } from "../lib/collection/selectors.ts";
import { POLICIES } from "../lib/config/policy_names.ts";
import { EXIT_CODES, UsageError } from "../lib/errors.ts";
import { type ProcessReport, scanOnce } from "../lib/oneshot/scan_once.ts";
import { describeScan } from "../lib/oneshot/scan_summary.ts";
import type { OperatingSystem } from "../lib/platform/operating_system.ts";
import { SECONDARY_MMU_CHOICES } from "../lib/platform/platform.ts";
import type { Column } from "../lib/report/table.ts";
import { exitStatusHelp } from "./exit_status.ts";
import {
  type Context,
  harmlessness,
  hostRootOption,
  observeOption,
  observing,
  pagedataOption,
  selectorsOf,
  sizeParser,
} from "./options.ts";
import { addTableOptions, columnNames, ResultTable } from "./result.ts";

const COLUMNS: readonly Column<ProcessReport>[] = [
  { name: "pid", kind: "number", value: ({ pid }) => pid },
  { name: "comm", kind: "text", value: ({ comm }) => comm },
  { name: "rss", kind: "size", value: ({ rss }) => rss },
  {
    name: "unreferenced",
    kind: "size",
    value: ({ unreferenced }) => unreferenced,
  },
  { name: "attempted", kind: "size", value: ({ attempted }) => attempted },
  { name: "effective", kind: "size", value: ({ effective }) => effective },
  { name: "error", kind: "text", value: ({ error }) => error },
];

/** The help text below the options. */
function help(system: OperatingSystem): string {
  const hasProjects = system.projectIdOf !== undefined;
  return `
Selectors; several select a union, two joined by + what both select:
${
    selectorHelp(system).map(([form, what]) => `  ${form.padEnd(14)} ${what}`)
      .join(
        "\n",
      )
  }
In a GLOB, * matches any characters, including /. rcap never selects itself,
kernel threads or zombies${
    hasProjects ? "" : ", nor processes left alone by user.rcap.avoid"
  }.
Other users control what their processes match with comm:, exe:${
    hasProjects ? "" : ", cgroup:"
  } and
tree:, but not with user:${
    hasProjects ? "" : " and unit:, except their own unit:user@UID/NAME"
  }.

A virtual machine of KVM, or a process whose memory a device maps by page tables
of its own, is left alone unless --secondary-mmu is scan: the references of the
guest or device are not visible, so memory in use looks idle.

Sizes: 1048576, 512K, 1.5G, 2GiB, or 25% of physical memory.

Columns: ${columnNames(COLUMNS)}

${
    exitStatusHelp({
      done: "the cap is met, or would be",
      failed: true,
      usage: "wrong usage",
      capNotMet: "the cap is not met, or would not be",
      incapable: true,
      noProcess: true,
    })
  }

Examples:
  rcap scan pid:4242 --cap 100M --dry-run
  rcap scan user:alice exe:/usr/lib/firefox/* --cap 2G
  rcap scan exe:/usr/bin/postgres + user:postgres --cap 2G
  rcap scan ${
    hasProjects ? "project:web" : "unit:postgresql"
  } --excess 512M --json`;
}

/** The command. */
export function scanCommand(context: Context) {
  const { system } = context;
  return addTableOptions(
    new Command("scan")
      .description(
        "Watches what some processes use, then pages out what they do not until\n" +
          `their resident memory is down to a cap.\n${harmlessness(system)}`,
      )
      .argument("<selector...>", "the processes")
      .addOption(
        new Option("--cap <size>", "lower their resident memory to this size")
          .argParser(sizeParser("--cap", system)),
      )
      .addOption(
        new Option(
          "--excess <size>",
          "lower their resident memory by this size",
        )
          .argParser(sizeParser("--excess", system)),
      )
      .option(
        "-n, --dry-run",
        "page out nothing; reset only reference bits",
        false,
      )
      .addOption(observeOption)
      .addOption(
        new Option(
          "--policy <policy>",
          "what goes first: the idle pages of one process after another, or the pages idle for longest of all processes",
        ).choices(POLICIES)
          .default(system.defaultPolicy),
      )
      .addOption(pagedataOption(system))
      .addOption(hostRootOption(system))
      .addOption(
        new Option(
          "--secondary-mmu <choice>",
          "what to do with virtual machines and the like: leave them alone, or scan them as any other process",
        ).choices(SECONDARY_MMU_CHOICES).default("leave" as const),
      ),
  )
    .addHelpText("after", help(system))
    .action(async (texts, options) => {
      const { signal, log } = context;
      const table = new ResultTable({ columns: COLUMNS }, options, context);
      const goal = goalOf(options);
      const selectors = await selectorsOf(texts, context);
      // Closed before the report is printed, which may wait for its reader.
      const report = await observing(
        options,
        context,
        (observatory) =>
          scanOnce({
            ...observatory,
            selectors,
            goal,
            dryRun: options.dryRun,
            observation: options.observe,
            policy: options.policy,
            secondaryMmu: options.secondaryMmu,
            signal,
            log,
          }),
      );
      await table.print({
        json: report,
        rows: report.processes,
        below: describeScan(report),
      });
      if (!report.capMet) context.setExitCode(EXIT_CODES.capNotMet.code);
    });
}

/** The goal: exactly one of `--cap` and `--excess`. */
function goalOf(
  { cap, excess }: { cap?: number; excess?: number },
): { cap: number } | { excess: number } {
  if (cap !== undefined && excess === undefined) return { cap };
  if (excess !== undefined && cap === undefined) return { excess };
  throw new UsageError(
    cap === undefined
      ? "the goal is missing; give --cap SIZE or --excess SIZE"
      : "--cap and --excess exclude each other; give only one",
  );
}
