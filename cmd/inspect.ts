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
  type AgeRow,
  type AgesReport,
  inspect,
  inspectAges,
  inspectPages,
  type InspectReport,
  type MappingReport,
  type PagesReport,
  parseAddressRange,
  type Verdict,
} from "../lib/oneshot/inspect.ts";
import { json, lines, type Printable } from "../lib/report/escape.ts";
import {
  chooseColumns,
  type Column,
  renderTable,
} from "../lib/report/table.ts";
import { formatSize, hex } from "../lib/report/units.ts";
import {
  bareOption,
  type Context,
  exactOption,
  fieldsOption,
  jsonOption,
  observeOption,
  openProcesses,
  pagedataOption,
} from "./options.ts";

/** A row: a mapping, or the totals. */
type Row = Omit<MappingReport, "verdict"> & { readonly verdict: Verdict | "" };

const COLUMNS: readonly Column<Row>[] = [
  { name: "start", kind: "text", value: ({ start }) => start },
  { name: "size", kind: "size", value: ({ size }) => size },
  { name: "rss", kind: "size", value: ({ rss }) => rss },
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

const HELP = `
Columns: ${COLUMNS.map(({ name }) => name).join(", ")}
  rss     in memory                anon    of that, what belongs to no file
  ref     referenced meanwhile     mod     modified meanwhile
  swap    in swap                  locked  cannot be paged out

The verdict says what a scan would do: cold pages go; warm memory is in use in
part, hot memory in full; else it is passed over: locked, hugetlb, special,
shared, nonresident, no-swap. With --pagedata smaps, which knows one reference a
mapping, warm mappings are in use as a whole. Where the kernel keeps no
soft-dirty bits, mod is an upper bound: what is referenced and differs from its
file or swap.

--ages tells how much was not used for 1, 2, 4, … 128 intervals or longer, and
how much was used within that time: the working set. An interval is 250 ms, or
longer where --observe is more than a minute. Columns: intervals, seconds, idle,
used.

--pages prints a character a page: . not resident, - resident, r referenced,
m modified, s swapped.

Exit status: 0 done; 2 usage; 4 a privilege or kernel feature is missing; 5 no
such process; 1 anything else.

Examples:
  rcap inspect 4242
  rcap inspect 4242 -H -p -o start,rss,verdict
  rcap inspect 4242 --ages --observe 1m
  rcap inspect 4242 --pages 7f30c8000000-7f30c8400000`;

const AGE_COLUMNS: readonly Column<AgeRow>[] = [
  { name: "intervals", kind: "number", value: ({ intervals }) => intervals },
  { name: "seconds", kind: "number", value: ({ seconds }) => seconds },
  { name: "idle", kind: "size", value: ({ idle }) => idle },
  { name: "used", kind: "size", value: ({ used }) => used },
];

/** How many pages stand in a line of --pages. */
const PAGES_A_LINE = 64;

/** The command. */
export function inspectCommand(context: Context) {
  return new Command("inspect")
    .summary("the mappings of one process, page by page if asked")
    .description(
      "Watches one process for a while and tells of each of its mappings what is\n" +
        "in memory, what was touched, and what a scan would do with it.",
    )
    .argument("<pid>", "the process", parseArgument)
    .addOption(observeOption)
    .addOption(
      new Option("--pages <start[-end]>", "page by page, from an address on")
        .argParser(parseAddressRange),
    )
    .option(
      "--ages",
      "how long its memory was not used, in intervals of --observe",
      false,
    )
    .addOption(pagedataOption())
    .addOption(jsonOption)
    .addOption(bareOption)
    .addOption(fieldsOption)
    .addOption(exactOption)
    .addHelpText("after", HELP)
    .action(async (pid, options) => {
      const { signal, log, color, print } = context;
      if (options.ages && options.pages) {
        throw new UsageError(
          "--ages and --pages exclude each other: give one of them",
        );
      }
      const columns = chooseColumns(
        COLUMNS,
        options.ages ? undefined : options.output,
      );
      const ageColumns = chooseColumns(
        AGE_COLUMNS,
        options.ages ? options.output : undefined,
      );
      const bare = !options.header;
      const exact = options.parsable === true;
      using platform = openProcesses(options, context);
      const request = {
        pid,
        observation: options.observe,
        signal,
        log,
        platform,
      };
      if (options.pages) {
        const report = await inspectPages(options.pages, request);
        await print(options.json ? json(report) : picture(report, bare));
        return;
      }
      if (options.ages) {
        const report = await inspectAges(request);
        if (options.json) {
          await print(json(report));
          return;
        }
        await print(
          renderTable(ageColumns, { rows: report.ages, bare, exact, color }),
          ...(bare ? [] : [agesLine(report)]),
        );
        return;
      }
      const report = await inspect(request);
      if (options.json) {
        await print(json(report));
        return;
      }
      await print(renderTable(columns, {
        rows: report.mappings,
        totals: [totalsRow(report)],
        bare,
        exact,
        color,
      }));
    });
}

function parseArgument(text: string): number {
  return parsePid(text.replace(/^pid:/, ""), `process "${text}"`);
}

/** What the table of ages is of. */
function agesLine(
  { resident, interval, observedSeconds }: AgesReport,
): Printable {
  return lines(
    "",
    `${
      formatSize(resident)
    } in memory, watched for ${observedSeconds} s in intervals of ${
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
    name: `${mappings.length} mappings`,
  };
}

/** The pages, some a line, each line with its address. */
function picture(
  { start, pageSize, pages }: PagesReport,
  bare: boolean,
): Printable {
  const rows: string[] = [];
  for (let at = 0; at < pages.length; at += PAGES_A_LINE) {
    const address = BigInt(start) + BigInt(at * pageSize);
    const line = pages.slice(at, at + PAGES_A_LINE);
    rows.push(bare ? line : `${hex(address)}  ${line}`);
  }
  const legend =
    ". not resident  - resident  r referenced  m modified  s swapped";
  return lines(rows, bare ? [] : ["", legend]);
}
