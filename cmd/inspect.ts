/**
 * `rcap inspect`: the mappings of one process.
 *
 * @module
 */

import { Command, Option } from "@commander-js/extra-typings";
import { dim, green, red, type Style, yellow } from "@std/fmt/colors";
import { parsePid } from "../lib/collection/selectors.ts";
import { UsageError } from "../lib/errors.ts";
import {
  type AddressRange,
  type AgeRow,
  type AgesReport,
  inspect,
  inspectAges,
  type InspectOptions,
  inspectPages,
  type InspectReport,
  type MappingReport,
  type PagesReport,
  parseAddressRange,
  type Verdict,
} from "../lib/oneshot/inspect.ts";
import { inspectHeat } from "../lib/oneshot/inspect_heat.ts";
import { drawHeat } from "../lib/oneshot/recording_text.ts";
import { lines, type Printable } from "../lib/report/escape.ts";
import type { Column } from "../lib/report/table.ts";
import { countOf, formatSize, hex } from "../lib/report/units.ts";
import { exitStatusHelp } from "./exit_status.ts";
import {
  type Context,
  observeOption,
  observing,
  pagedataOption,
} from "./options.ts";
import {
  addTableOptions,
  columnNames,
  printResult,
  ResultTable,
  type TableOptions,
} from "./result.ts";
import { consoleWidth, showsUtf8 } from "./terminal.ts";

/** A row: a mapping, or the totals. */
type Row = Omit<MappingReport, "verdict"> & { readonly verdict: Verdict | "" };

const COLUMNS: readonly Column<Row>[] = [
  { name: "start", kind: "text", value: ({ start }) => start },
  { name: "size", kind: "size", value: ({ size }) => size },
  { name: "rss", kind: "size", value: ({ rss }) => rss },
  { name: "own", kind: "size", value: ({ own }) => own },
  { name: "anon", kind: "size", value: ({ anon }) => anon },
  { name: "ref", kind: "size", value: ({ referenced }) => referenced },
  { name: "mod", kind: "size", value: ({ modified }) => modified },
  { name: "swap", kind: "size", value: ({ swapped }) => swapped },
  { name: "locked", kind: "size", value: ({ locked }) => locked },
  { name: "perm", kind: "text", value: ({ perm }) => perm },
  {
    name: "verdict",
    kind: "text",
    value: ({ verdict }) => verdict,
    style: (text, { verdict }) => styleOf(verdict)(text),
  },
  { name: "name", kind: "text", value: ({ name }) => name },
];

const STYLES: Readonly<Partial<Record<Verdict, Style>>> = {
  cold: green,
  warm: yellow,
  hot: red,
};

function styleOf(verdict: Verdict | ""): Style {
  return (verdict && STYLES[verdict]) || dim;
}

const AGE_COLUMNS: readonly Column<AgeRow>[] = [
  { name: "seconds", kind: "number", value: ({ seconds }) => seconds },
  { name: "idle", kind: "size", value: ({ idle }) => idle },
  { name: "used", kind: "size", value: ({ used }) => used },
];

const HELP = `
Columns:
  ${columnNames(COLUMNS)}
  rss     in memory                own     of that, mapped exactly once
  anon    of rss, not of a file    swap    in swap
  ref     referenced meanwhile     mod     modified meanwhile
  locked  cannot be paged out

The verdict says what a scan would do. It pages out cold mappings, and the
unused part of warm ones; hot ones are fully in use. Only what own shows can go:
pages that are mapped more than once, by several processes or several times by
one, stay. A mapping is shared if less than 1% of it is mapped once. A scan
skips the others: locked, hugetlb, special, pinned, nonresident, no-swap,
swap-limit, no-main-thread, and secondary-mmu (a virtual machine or device uses
it, whose references do not show). With --pagedata smaps, which has one figure
per mapping, a warm mapping counts as fully in use. On Linux, mod is an upper
bound: the pages that are referenced and differ from their file or swap. If the
kernel keeps soft-dirty bits, so is ref of memory that is mapped more than once,
locked, secondary-mmu, or no-main-thread.

--ages shows how much was not used for so many seconds or longer, and how much
was used within that time: the working set. References are read and reset every
250 ms, or less often if --observe exceeds a minute. Columns:
${columnNames(AGE_COLUMNS)}

--heat draws one column of a heat map: the addresses down, what is in memory
only, and how much of it was used; rcap record and report draw it over time.

--pages prints one character per page: . not resident, - resident,
r referenced, m modified, s swapped.

${
  exitStatusHelp({
    done: true,
    failed: true,
    usage: "wrong usage",
    incapable: true,
    noProcess: "no such process",
  })
}

Examples:
  rcap inspect 4242
  rcap inspect 4242 -H -p -o start,rss,verdict
  rcap inspect 4242 --ages --observe 1m
  rcap inspect 4242 --pages 7f30c8000000-7f30c8400000`;

/** How many rows --heat has at most. */
const HEAT_ROWS = 40;

/** How many pages a line of --pages shows. */
const PAGES_PER_LINE = 64;

/** The command. */
export function inspectCommand(context: Context) {
  return addTableOptions(
    new Command("inspect")
      .description(
        "Watches one process for a while and shows, for each mapping, what is in\n" +
          "memory, what was touched, and what a scan would do with it.",
      )
      .argument("<pid>", "the process", parseArgument)
      .addOption(observeOption)
      .addOption(
        new Option("--pages <start[-end]>", "show single pages of this range")
          .argParser(parseAddressRange),
      )
      .option(
        "--ages",
        "show for how many seconds its memory was not used",
        false,
      )
      .option("--heat", "draw how much of which addresses is in use", false)
      .addOption(pagedataOption(context.system)),
  )
    .addHelpText("after", HELP)
    .action(async (pid, options) => {
      const { signal, log } = context;
      const given = (["ages", "heat", "pages"] as const)
        .filter((name) => options[name]).map((name) => `--${name}`);
      if (given.length > 1) {
        throw new UsageError(
          `${given.join(" and ")} exclude each other; give only one`,
        );
      }
      const present = options.heat
        ? presentHeat(options, context)
        : options.pages
        ? presentPages(options.pages, options, context)
        : options.ages
        ? presentAges(options, context)
        : presentMappings(options, context);
      const print = await observing(options, context, (observatory) =>
        present({
          ...observatory,
          pid,
          observation: options.observe,
          signal,
          log,
        }));
      await print();
    });
}

/** Inspects a process, and returns what prints the report. */
type Presentation = (
  request: InspectOptions,
) => Promise<() => Promise<unknown>>;

function presentMappings(
  options: TableOptions,
  context: Context,
): Presentation {
  const table = new ResultTable({ columns: COLUMNS }, options, context);
  return async (request) => {
    const report = await inspect(request);
    return () =>
      table.print({
        json: report,
        rows: report.mappings,
        totals: [totalsRow(report)],
      });
  };
}

function presentAges(options: TableOptions, context: Context): Presentation {
  const table = new ResultTable({ columns: AGE_COLUMNS }, options, context);
  return async (request) => {
    const report = await inspectAges(request);
    return () =>
      table.print({
        json: report,
        rows: report.ages,
        below: agesLine(report),
      });
  };
}

function presentHeat(options: TableOptions, context: Context): Presentation {
  return async (request) => {
    const report = await inspectHeat(request, HEAT_ROWS);
    const text = () =>
      drawHeat(report.heat, {
        color: context.color,
        unicode: showsUtf8(),
        width: consoleWidth(),
      });
    return () => printResult({ json: report, text }, options, context);
  };
}

function presentPages(
  range: AddressRange,
  options: TableOptions,
  context: Context,
): Presentation {
  return async (request) => {
    const report = await inspectPages(range, request);
    const text = () => picture(report, !options.header);
    return () => printResult({ json: report, text }, options, context);
  };
}

function parseArgument(text: string): number {
  return parsePid(text.replace(/^pid:/, ""), `process "${text}"`);
}

/** The line below the table of ages. */
function agesLine(
  { resident, interval, observedSeconds }: AgesReport,
): Printable {
  return lines(
    "",
    `${
      formatSize(resident)
    } in memory, watched for ${observedSeconds} s, every ${
      interval.toFixed(2)
    } s`,
  );
}

/** The sums, as a row below the others. */
function totalsRow({ totals, mappings }: InspectReport): Row {
  return {
    ...totals,
    start: "total",
    end: "",
    perm: "",
    pageSize: 0,
    verdict: "",
    name: countOf(mappings.length, "mapping"),
  };
}

/** The pages, {@linkcode PAGES_PER_LINE} per line; each line begins with its address. */
function picture(
  { start, pageSize, pages }: PagesReport,
  bare: boolean,
): Printable {
  const rows: string[] = [];
  for (let at = 0; at < pages.length; at += PAGES_PER_LINE) {
    const address = BigInt(start) + BigInt(at * pageSize);
    const line = pages.slice(at, at + PAGES_PER_LINE);
    rows.push(bare ? line : `${hex(address)}  ${line}`);
  }
  const legend =
    ". not resident  - resident  r referenced  m modified  s swapped";
  return lines(rows, bare ? [] : ["", legend]);
}
