/**
 * `rcap report`: what a recording shows, and how two of them differ.
 *
 * @module
 */

import { Command, Option } from "@commander-js/extra-typings";
import { MalformedGlob, parseGlob } from "../lib/collection/glob.ts";
import { UsageError } from "../lib/errors.ts";
import type { PlaybackFilter } from "../lib/oneshot/playback.ts";
import {
  type RecordingReport,
  type ReportedMapping,
  type ReportedProcess,
  reportRecording,
} from "../lib/oneshot/recording_report.ts";
import {
  csvOf,
  describeRecording,
  drawHeat,
  nameOf,
} from "../lib/oneshot/recording_text.ts";
import { json, lines, type Printable } from "../lib/report/escape.ts";
import { DEFAULT_MAX_REFAULTS } from "../lib/report/rates.ts";
import { type Column, renderTable } from "../lib/report/table.ts";
import { formatSize, parseDuration } from "../lib/report/units.ts";
import { formatRate } from "../lib/oneshot/size_summary.ts";
import { makeRecordingFile } from "../lib/recording/recording_file.ts";
import { exitStatusHelp } from "./exit_status.ts";
import type { Context } from "./options.ts";
import { jsonOption } from "./result.ts";
import { consoleWidth, showsUtf8 } from "./terminal.ts";

/** How many rows a heat map has, and how many columns without a terminal. */
const HEAT_ROWS = 40;
const USUAL_WIDTH = 80;
/** What a row needs besides its cells: the edges, a size, and a name. */
const BESIDE_CELLS = 34;
/** The cells of `--json`. */
const JSON_COLUMNS = 240;
/** The most mappings in the table. */
const MOST_MAPPINGS = 15;
const LIMITS = { least: 0, most: 30 * 24 * 3_600_000 };

const MAPPING_COLUMNS: readonly Column<ReportedMapping>[] = [
  { name: "pid", kind: "number", value: ({ pid }) => pid },
  { name: "pageable", kind: "size", value: ({ pageable }) => pageable },
  {
    name: "workingset",
    title: "working set",
    kind: "size",
    value: ({ workingSet }) => workingSet,
  },
  { name: "unused", kind: "size", value: ({ neverUsed }) => neverUsed },
  { name: "name", kind: "text", value: ({ name }) => nameOf(name) },
];

const PROCESS_COLUMNS: readonly Column<ReportedProcess>[] = [
  { name: "pid", kind: "number", value: ({ pid }) => pid },
  { name: "comm", kind: "text", value: ({ comm }) => comm },
  { name: "size", kind: "size", value: ({ size }) => size },
  {
    name: "workingset",
    title: "working set",
    kind: "size",
    value: ({ workingSet }) => workingSet,
  },
  { name: "unused", kind: "size", value: ({ neverUsed }) => neverUsed },
  { name: "swap", kind: "size", value: ({ swapped }) => swapped },
  { name: "faults", kind: "number", value: ({ majorFaults }) => majorFaults },
  {
    name: "there",
    kind: "text",
    value: ({ joinedAt, leftAt }) =>
      `${joinedAt}s-${leftAt === null ? "end" : `${leftAt}s`}`,
  },
];

/** A figure of two recordings. */
interface Compared {
  readonly name: string;
  readonly a: number | null;
  readonly b: number | null;
  readonly format: (value: number) => string;
}

const HELP = `
Prints what a recording of rcap record shows: figures as sentences, a heat map
with time across and addresses down, processes, and mappings. The heat map has
what could be paged out and was in memory; each cell shows how much of it was
used in an interval, on average, and each row its size and mapping.

unused is what was not used while it was recorded; working set what was used
within two minutes.

--process takes a pid or a name, --mapping a name as the heat map has it
("anonymous" for memory without one), both with * and ?. --from and --to are
times since the recording began. --csv has one line per interval: sizes in
bytes, times in seconds, faults a second.

--html writes one page for a browser, which needs no network. It is readable by
its owner only, and overwrites nothing.

With two recordings, prints how the second differs from the first.

${
  exitStatusHelp({
    done: true,
    failed: "failed, or a recording is damaged; the message says where and why",
    usage: "wrong usage",
    SIGINT: true,
  })
}

Examples:
  rcap report alice.rcap
  rcap report alice.rcap --process 'python*' --mapping '[heap]' --from 5m
  rcap report alice.rcap --csv > alice.csv
  rcap report alice.rcap --html alice.html
  rcap report before.rcap after.rcap`;

/** The command. */
export function reportCommand(context: Context) {
  return new Command("report")
    .description("Shows what a recording of rcap record has.")
    .argument("<file>", "the recording")
    .argument("[other]", "another one, to be compared with it")
    .option("--process <pid|name>", "only these processes")
    .option("--mapping <name>", "only these mappings")
    .addOption(
      new Option("--from <duration>", "from this time on").argParser((text) =>
        parseDuration(text, "--from", LIMITS)
      ),
    )
    .addOption(
      new Option("--to <duration>", "until this time").argParser((text) =>
        parseDuration(text, "--to", LIMITS)
      ),
    )
    .addOption(jsonOption)
    .option("--csv", "print the figures over time as CSV")
    .option(
      "--html <file>",
      "write a page that shows it, and needs nothing else",
    )
    .addHelpText("after", HELP)
    .action(async (file, other, options) => {
      const { system: { files }, signal, color, print } = context;
      requireOneForm(options, other);
      if (options.html !== undefined) {
        await writePage(file, options.html, filterOf(options), context);
        return;
      }
      const width = consoleWidth() ?? USUAL_WIDTH;
      const filter = filterOf(options);
      const reportOf = (path: string) =>
        reportRecording({ files, path, signal }, {
          filter,
          limit: DEFAULT_MAX_REFAULTS,
          heatRows: HEAT_ROWS,
          heatColumns: options.json
            ? JSON_COLUMNS
            : Math.max(20, width - BESIDE_CELLS),
        });
      const report = await reportOf(file);
      if (other !== undefined) {
        const second = await reportOf(other);
        await print(
          options.json
            ? json({ version: 1, a: report, b: second })
            : compare(report, second),
        );
      } else if (options.json) await print(json(report));
      else if (options.csv) await print(csvOf(report));
      else {
        await print(
          lines(...describeRecording(report), ""),
          drawHeat(report.heat, { color, unicode: showsUtf8(), width }),
          ...tables(report, color),
        );
      }
    });
}

/** @throws UsageError if what is asked for excludes each other. */
function requireOneForm(
  { html, csv, json }: { html?: string; csv?: true; json?: true },
  other: string | undefined,
): void {
  const [first, second] = [
    html !== undefined && "--html",
    csv && "--csv",
    json && "--json",
    other !== undefined && "two recordings",
  ].filter((one) => typeof one === "string");
  // How two recordings differ is printed as JSON, too.
  if (second === undefined || first === "--json") return;
  throw new UsageError(`${first} and ${second} exclude each other`);
}

/** Writes the page of a recording, for its owner only, like the recording itself. */
async function writePage(
  file: string,
  path: string,
  filter: PlaybackFilter,
  { system: { files }, signal, print }: Context,
): Promise<void> {
  const [{ recordingPage }, { PAGE_LIMITS }] = await Promise.all([
    import("../lib/oneshot/recording_page/page.ts"),
    import("../lib/oneshot/recording_page/page_data.ts"),
  ]);
  // Made first: reading a recording takes time, which a name that is taken would waste.
  using page = makeRecordingFile(files, path, "--html");
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    const report = await reportRecording({ files, path: file, signal }, {
      filter,
      limit: DEFAULT_MAX_REFAULTS,
      ...PAGE_LIMITS,
    });
    bytes = await recordingPage(report);
    page.write(bytes);
  } catch (error) {
    page.remove();
    throw error;
  }
  await print(
    lines(`${path}: ${formatSize(bytes.length)}, to be opened with a browser.`),
  );
}

/** Returns what of a recording the options choose. */
function filterOf(
  { process, mapping, from, to }: {
    process?: string;
    mapping?: string;
    from?: number;
    to?: number;
  },
): PlaybackFilter {
  if (from !== undefined && to !== undefined && from >= to) {
    throw new UsageError("--from is not before --to");
  }
  const isProcess = process === undefined
    ? undefined
    : globOf(process, "--process");
  const isMapping = mapping === undefined
    ? undefined
    : globOf(mapping, "--mapping");
  return {
    from: from === undefined ? undefined : from / 1000,
    to: to === undefined ? undefined : to / 1000,
    process: isProcess &&
      (({ identity: { pid, comm } }) => isProcess(`${pid}`) || isProcess(comm)),
    mapping: isMapping && (({ name }) => isMapping(nameOf(name))),
  };
}

function globOf(text: string, option: string): (text: string) => boolean {
  try {
    return parseGlob(text);
  } catch (error) {
    if (!(error instanceof MalformedGlob)) throw error;
    throw new UsageError(`${option}: "${text}": ${error.message}`);
  }
}

function tables(
  { processes, mappings }: RecordingReport,
  color: boolean,
): Printable[] {
  const options = { bare: false, exact: false, color };
  const left = mappings.length - MOST_MAPPINGS;
  return [
    lines(""),
    renderTable(PROCESS_COLUMNS, {
      rows: processes.slice(0, MOST_MAPPINGS),
      ...options,
    }),
    ...processes.length > MOST_MAPPINGS
      ? [lines(`and ${processes.length - MOST_MAPPINGS} more; --json has them`)]
      : [],
    lines(""),
    renderTable(MAPPING_COLUMNS, {
      rows: mappings.slice(0, MOST_MAPPINGS),
      ...options,
    }),
    ...left > 0 ? [lines(`and ${left} more; --json has them`)] : [],
  ];
}

/** Shows how two recordings differ. */
function compare(a: RecordingReport, b: RecordingReport): Printable {
  const size = (
    name: string,
    figure: (report: RecordingReport) => number | null,
  ): Compared => ({ name, a: figure(a), b: figure(b), format: formatSize });
  const rows: Compared[] = [
    size("size, on average", ({ summary }) => summary.meanSize),
    size("size, at most", ({ summary }) => summary.largestSize),
    size("could be paged out", ({ summary }) => summary.meanPageable),
    size("working set", ({ summary }) => summary.meanWorkingSet),
    size("used in an interval", ({ summary }) => summary.meanUsed),
    size("not used at all", ({ summary }) => summary.neverUsed),
    size("in swap at the end", ({ summary }) => summary.swapped),
    size("recommended cap", ({ sizing }) => sizing?.recommended?.cap ?? null),
    {
      name: "major faults",
      a: a.summary.majorFaults,
      b: b.summary.majorFaults,
      format: formatRate,
    },
  ];
  const columns: readonly Column<Compared>[] = [
    { name: "figure", title: "", kind: "text", value: ({ name }) => name },
    {
      name: "first",
      kind: "number",
      value: ({ a, format }) => a === null ? null : format(a),
    },
    {
      name: "second",
      kind: "number",
      value: ({ b, format }) => b === null ? null : format(b),
    },
    {
      name: "change",
      kind: "number",
      value: ({ a, b }) => a === null || b === null ? null : changeOf(a, b),
    },
  ];
  const table = renderTable(columns, {
    rows,
    bare: false,
    exact: false,
    color: false,
  });
  const doubts = a.interval === b.interval ? [] : [
    "",
    `The intervals differ (${a.interval} s and ${b.interval} s): what was used in one does not compare.`,
  ];
  return [
    lines(`first:  ${a.file}`, `second: ${b.file}`, ""),
    table,
    lines(...doubts),
  ].join("") as Printable; // Texts that are safe one after another are safe.
}

function changeOf(a: number, b: number): string {
  if (a === b) return "0 %";
  if (a === 0) return "new";
  const percent = (b - a) / a * 100;
  const digits = Math.abs(percent) < 10 ? 1 : 0;
  return `${percent > 0 ? "+" : ""}${percent.toFixed(digits)} %`;
}
