/**
 * What `rcap top` shows, as lines of a given width. Everything that others have named is
 * escaped, and no line is wider than the screen, whatever its characters are.
 *
 * @module
 */

import { unicodeWidth } from "@std/cli/unicode-width";
import { escapeLine, type Printable, printable } from "../report/escape.ts";
import { heatLegend, heatStrip } from "../report/heat.ts";
import { countOf, formatNanoseconds, formatSize } from "../report/units.ts";
import type { Figures, Grouping, MachineFigures } from "./figures.ts";
import type { Row, RowOptions } from "./rows.ts";

/** The screen. */
export interface Display {
  readonly width: number;
  readonly height: number;
  readonly color: boolean;
  /** Whether it shows UTF-8; otherwise all is ASCII. */
  readonly unicode: boolean;
}

/** What of the list is shown. */
export interface ListView extends RowOptions {
  readonly rows: readonly Row[];
  /** The first row on the screen, and the selected one. */
  readonly first: number;
  readonly selected: number;
  readonly isFrozen: boolean;
  /** The last line: what is asked for or said, instead of the keys. */
  readonly message: string | undefined;
}

/** A mapping of the process that is open. Sizes in bytes. */
export interface MappingView {
  readonly start: bigint;
  readonly perm: string;
  readonly name: string;
  readonly rss: number;
  /** Used within the last ten seconds, by equal parts of the mapping, as shares of each; null if not known. */
  readonly heat: readonly number[] | null;
}

const RESET = "\x1b[0m";
const REVERSE = "\x1b[7m";
const BOLD = "\x1b[1m";
/** From hot to cold: in use, and idle for each of the times. */
const BAR_COLORS = [196, 214, 148, 36, 25];
const BAR_UNICODE = [..."█▓▒░·"];
const BAR_ASCII = [..."#=+-."];
/** Bars have no more cells than this. */
const MOST_BAR = 20;

/** Cuts a text to a width, or fills it up with spaces. */
export function fit(text: string, width: number, unicode = true): string {
  const safe = unicode ? escapeLine(text) : asciiOf(text);
  if (width <= 0) return "";
  const taken = unicodeWidth(safe);
  if (taken <= width) return safe + " ".repeat(width - taken);
  let cut = "";
  let used = 0;
  for (const character of safe) {
    const columns = unicodeWidth(character);
    if (used + columns > width - 1) break;
    cut += character;
    used += columns;
  }
  const end = unicode ? "…" : "~";
  return cut + end + " ".repeat(width - used - 1);
}

/** A text as ASCII: other characters are escaped. */
function asciiOf(text: string): string {
  return escapeLine(text.replaceAll("µ", "u")).replace(
    /[^ -~]/gu,
    (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
}

function right(text: string, width: number): string {
  return text.padStart(width).slice(0, width);
}

/** A bar of ages: in use, and idle for 10 s, 1 min, 10 min, 1 h or longer. */
export function ageBar(
  { idle, recorded }: Pick<Row, "idle" | "recorded">,
  cells: number,
  { color, unicode }: Pick<Display, "color" | "unicode">,
): string {
  if (idle === null || recorded <= 0) return " ".repeat(cells);
  const ends = [...idle.map((bytes) => recorded - bytes), recorded]
    .map((bytes) => Math.round(bytes / recorded * cells));
  const characters = unicode ? BAR_UNICODE : BAR_ASCII;
  let bar = "";
  let at = 0;
  for (const [band, end] of ends.entries()) {
    const length = Math.max(0, Math.min(end, cells) - at);
    if (length === 0) continue;
    const text = characters[band].repeat(length);
    bar += color ? `\x1b[38;5;${BAR_COLORS[band]}m${text}\x1b[39m` : text;
    at += length;
  }
  return bar + " ".repeat(Math.max(0, cells - at));
}

/** What the cells of a bar mean. */
export function legend(display: Pick<Display, "unicode">): string {
  const characters = display.unicode ? BAR_UNICODE : BAR_ASCII;
  const names = ["in use", "10s", "1m", "10m", "1h"];
  return names.map((name, band) => `${characters[band]} ${name}`).join("  ");
}

/** A bar of how much of a cap is taken. */
export function capBar(
  rss: number,
  cap: number,
  cells: number,
  unicode: boolean,
): string {
  const full = Math.min(cells, Math.round(rss / cap * cells));
  const [on, off] = unicode ? ["█", "░"] : ["#", "."];
  const bar = on.repeat(full) + off.repeat(cells - full);
  return rss > cap ? bar.slice(0, -1) + "!" : bar;
}

interface Cells {
  readonly title: string;
  readonly width: number;
  readonly cell: (row: Row, display: Display) => string;
  /** Hidden on screens that are narrower. */
  readonly least: number;
}

const size = (bytes: number | null) => bytes === null ? "-" : formatSize(bytes);

function columnsOf(by: Grouping, width: number, hasCaps: boolean): Cells[] {
  const bar = Math.min(MOST_BAR, Math.max(8, Math.floor(width / 6)));
  const all: Cells[] = [
    by === "process"
      ? {
        title: "PID",
        width: 7,
        cell: ({ process }) => right(`${process?.pid ?? "-"}`, 7),
        least: 60,
      }
      : {
        title: "NPROC",
        width: 5,
        cell: ({ processes }) => right(`${processes}`, 5),
        least: 60,
      },
    {
      title: "RSS",
      width: 7,
      cell: ({ rss }) => right(formatSize(rss), 7),
      least: 0,
    },
    {
      title: "USED1M",
      width: 8,
      // What was not judged counts as in use, so it is at most that.
      cell: ({ inUse, unjudged }) =>
        right(
          inUse === null
            ? "-"
            : `${unjudged > 0 ? "<" : ""}${formatSize(inUse)}`,
          8,
        ),
      least: 52,
    },
    {
      title: "IDLE1M",
      width: 7,
      cell: ({ idle, inUse }) =>
        right(size(inUse === null || idle === null ? null : idle[1]), 7),
      least: 100,
    },
    {
      title: "AGES",
      width: bar,
      cell: (row, display) => ageBar(row, bar, display),
      least: 0,
    },
    {
      title: "SWAP",
      width: 7,
      cell: ({ swap }) => right(size(swap), 7),
      least: 66,
    },
    {
      title: "FAULT/s",
      width: 7,
      cell: ({ refaults }) =>
        right(refaults === null ? "-" : refaults.toFixed(1), 7),
      least: 74,
    },
  ];
  if (hasCaps) {
    all.push({
      title: "CAP",
      width: 7,
      cell: ({ cap }) => right(size(cap?.cap ?? null), 7),
      least: 84,
    }, {
      title: "OF CAP",
      width: 8,
      cell: ({ cap }, { unicode }) =>
        cap && cap.cap ? capBar(cap.rss, cap.cap, 8, unicode) : " ".repeat(8),
      least: by === "cap" ? 48 : 96,
    });
  }
  return all.filter(({ least }) => width >= least);
}

const GAP = 1;

/** The lines above the rows, and below them. */
const HEAD = 4;
const FOOT = 2;

/** How many rows fit on a screen. */
export function roomFor({ height }: Pick<Display, "height">): number {
  return Math.max(1, height - HEAD - FOOT);
}

/** Draws the list: exactly as many lines as the screen has. */
export function drawList(
  figures: Figures,
  view: ListView,
  display: Display,
): Printable[] {
  const { width, height, color, unicode } = display;
  const { rows, first, selected, by } = view;
  const columns = columnsOf(by, width, figures.caps.length > 0);
  const taken = columns.reduce((sum, one) => sum + one.width + GAP, 0);
  const nameWidth = Math.max(0, width - taken);
  const plain = (text: string) => fit(text, width, unicode);
  const title =
    columns.map(({ title, width }) =>
      title === "AGES" ? title.padEnd(width) : title.padStart(width)
    ).join(" ") + " " + fit(by.toUpperCase(), nameWidth, unicode);
  const lines = [
    plain(machineLine(figures.machine, width)),
    plain(swapLine(figures.machine)),
    plain(stateLine(figures, view, display)),
    color ? `${REVERSE}${plain(title)}${RESET}` : plain(title),
  ];
  const room = roomFor(display);
  for (const [at, row] of rows.slice(first, first + room).entries()) {
    const isSelected = first + at === selected;
    const shown = isSelected ? { ...display, color: false } : display;
    const cells = columns.map(({ cell }) => cell(row, shown)).join(" ");
    const mark = isSelected && !color ? ">" : " ";
    const name = "  ".repeat(Math.min(row.depth, 20)) + row.name +
      (row.problem ? `  (${row.problem})` : "") +
      (row.cap?.warning ? `  ! ${row.cap.warning}` : "");
    const text = cells + mark + fit(name, nameWidth, unicode);
    lines.push(isSelected && color ? `${REVERSE}${text}${RESET}` : text);
  }
  while (lines.length < height - FOOT) lines.push(" ".repeat(width));
  const notice = rows.length === 0
    ? view.filter
      ? `nothing matches "${view.filter}"; Escape shows all`
      : "no process is found"
    : rows[selected]?.problem ?? rows[selected]?.cap?.warning ??
      figures.notices.at(-1) ?? legend(display);
  lines.push(plain(notice), footer(view.message, display));
  return lines.slice(0, height).map(printable);
}

function footer(message: string | undefined, display: Display): string {
  const { width, color, unicode } = display;
  const text = fit(
    message ??
      "?help /filter >sort g)roup t)ree f)reeze Enter c)ap s)ize q)uit",
    width,
    unicode,
  );
  return color ? `${BOLD}${text}${RESET}` : text;
}

function machineLine(
  { total, available, pressure }: MachineFigures,
  width: number,
): string {
  const used = total - available;
  const share = (used / total * 100).toFixed(0);
  const memory = `Mem ${formatSize(used)} of ${formatSize(total)} (${share}%)`;
  const waits = pressure === null
    ? "pressure not known"
    : `pressure ${(pressure * 100).toFixed(2)}%`;
  return width < 50 ? `${memory}  ${waits.replace("pressure", "psi")}` : [
    memory,
    `${formatSize(available)} available`,
    waits,
  ].join("  ");
}

function swapLine(
  { totalSwap, freeSwap, memoryOfSwap }: MachineFigures,
): string {
  if (totalSwap === 0) return "Swap none";
  const ratio = memoryOfSwap === null || memoryOfSwap === 0
    ? ""
    : `  compressed ${(1 / memoryOfSwap).toFixed(1)}:1`;
  return `Swap ${formatSize(totalSwap - freeSwap)} of ${
    formatSize(totalSwap)
  }${ratio}`;
}

function stateLine(
  { processes, seconds }: Figures,
  { by, sort, isReversed, filter, tree, isFrozen }: ListView,
  { width }: Display,
): string {
  let cost = 0;
  let watched = 0;
  for (const { ages } of processes) {
    if (!ages) continue;
    watched++;
    cost += ages.cost ?? 0;
  }
  return [
    isFrozen ? "FROZEN" : "",
    `${
      width < 50 ? watched : countOf(watched, "process", "processes")
    } watched ${seconds.toFixed(0)}s`,
    `cost them ${formatNanoseconds(cost * 1e9)}`,
    width < 50
      ? ""
      : `by ${by}${tree ? " (tree)" : ""}, sorted by ${sort}${
        isReversed ? " (reversed)" : ""
      }`,
    filter ? `filter "${filter}"` : "",
  ].filter((part) => part !== "").join("  ");
}

/** Draws one process: its mappings, a strip of heat each. */
export function drawProcess(
  row: Row,
  { mappings, first, message }: {
    mappings: readonly MappingView[] | undefined;
    first: number;
    message: string | undefined;
  },
  display: Display,
): Printable[] {
  const { width, height, unicode, color } = display;
  const plain = (text: string) => fit(text, width, unicode);
  const strip = Math.max(8, Math.floor(width / 3));
  const { process } = row;
  const cost = row.cost === null
    ? "what it costs it is not known"
    : `observing it has cost it ${formatNanoseconds(row.cost * 1e9)}`;
  const lines = [
    plain(
      `process ${process?.pid} (${row.name})  ${formatSize(row.rss)} resident`,
    ),
    plain(
      row.problem ??
        `${size(row.inUse)} used within a minute  ${cost}`,
    ),
    plain(""),
  ];
  const title = `${"RSS".padStart(7)} ${
    fit("USED WITHIN 10s, BY ADDRESS", strip, unicode)
  } ${"ADDRESS".padEnd(12)} MAPPING`;
  lines.push(color ? `${REVERSE}${plain(title)}${RESET}` : plain(title));
  const room = roomFor(display);
  for (const mapping of mappings?.slice(first, first + room) ?? []) {
    const { heat } = mapping;
    const drawn = heat === null
      ? fit("not recorded", strip, unicode)
      : heatStrip(resample(heat, strip), { unicode, color });
    lines.push(
      `${right(formatSize(mapping.rss), 7)} ${drawn} ${
        fit(
          `${mapping.start.toString(16).padEnd(12)} ${
            mapping.name || `[anonymous ${mapping.perm}]`
          }`,
          width - strip - 9,
          unicode,
        )
      }`,
    );
  }
  if (!mappings) lines.push(plain("reading its mappings..."));
  while (lines.length < height - FOOT) lines.push(" ".repeat(width));
  lines.push(
    plain(`of what is in memory: ${heatLegend({ unicode })}`),
    footer(message ?? "Escape: back  s)ize  up/down: scroll  q)uit", display),
  );
  return lines.slice(0, height).map(printable);
}

/** Makes as many parts of some as are wanted: the mean of what each covers. */
function resample(parts: readonly number[], wanted: number): number[] {
  return Array.from({ length: wanted }, (_, at) => {
    const from = Math.floor(at * parts.length / wanted);
    const to = Math.max(from + 1, Math.ceil((at + 1) * parts.length / wanted));
    const some = parts.slice(from, to);
    return some.reduce((sum, one) => sum + one, 0) / some.length;
  });
}

/** Draws a text over the whole screen. */
export function drawText(
  texts: readonly string[],
  { message }: { message: string },
  display: Display,
): Printable[] {
  const { width, height, unicode } = display;
  const lines = texts.flatMap((text) => wrap(text, width))
    .map((text) => fit(text, width, unicode)).slice(0, height - 1);
  while (lines.length < height - 1) lines.push(" ".repeat(width));
  return [...lines, footer(message, display)].map(printable);
}

/** Breaks a text at spaces, so that its parts fit a width. */
function wrap(text: string, width: number): string[] {
  if (text.length <= width) return [text];
  const parts = [""];
  for (const word of text.split(" ")) {
    const last = parts[parts.length - 1];
    if (last !== "" && last.length + 1 + word.length > width) parts.push(word);
    else parts[parts.length - 1] = last === "" ? word : `${last} ${word}`;
  }
  return parts;
}
