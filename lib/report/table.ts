/**
 * Tables: aligned and with a header for people, separated by tabs for scripts.
 *
 * @module
 */

import { unicodeWidth } from "@std/cli/unicode-width";
import { UsageError } from "../errors.ts";
import { escapeLine, type Printable, printable } from "./escape.ts";
import { formatSize } from "./units.ts";

/** A column of a table of `Row`s. */
export interface Column<Row> {
  /** The name by which the user chooses it. */
  readonly name: string;
  /** What is above it; the name by default. */
  readonly title?: string;
  /** `size` is a number of bytes. */
  readonly kind: "text" | "number" | "size";
  /** Returns the content of a cell; `null` if it is empty. */
  readonly value: (row: Row) => string | number | null;
  /** Returns how the sizes of a row are written; {@linkcode formatSize} by default. */
  readonly format?: (row: Row) => (bytes: number) => string;
  /** Colours the text on a terminal. */
  readonly style?: (text: string, row: Row) => string;
}

/** How a table is printed: the options of every command that prints one. */
export interface TableOptions {
  /** No header, columns separated by tabs. */
  readonly bare: boolean;
  /** Show sizes in bytes. */
  readonly exact: boolean;
  /** How wide a line may be for people: the widest texts are cut to it; no limit by default. */
  readonly width?: number;
  readonly color: boolean;
}

/**
 * Returns the columns that a user has chosen by a list of names.
 *
 * @param list `name,name,…`, or `undefined` for all.
 * @throws UsageError if a name is not that of a column.
 */
export function chooseColumns<Row>(
  columns: readonly Column<Row>[],
  list: string | undefined,
): readonly Column<Row>[] {
  if (list === undefined) return columns;
  return list.split(",").map((name) => {
    const column = columns.find((column) =>
      column.name === name.trim().toLowerCase()
    );
    if (column) return column;
    const names = columns.map((column) => column.name).join(", ");
    throw new UsageError(
      `-o: there is no field "${name}"`,
      `the fields are ${names}`,
    );
  });
}

/**
 * Renders a table.
 *
 * @param totals rows that are shown below the others, after an empty line; omitted
 * for scripts.
 */
export function renderTable<Row>(
  columns: readonly Column<Row>[],
  { rows, totals = [], bare, exact, color, width = Infinity }: TableOptions & {
    rows: readonly Row[];
    totals?: readonly Row[];
  },
): Printable {
  const text = (column: Column<Row>, row: Row): string => {
    const value = column.value(row);
    // For scripts no cell is empty, because shells take consecutive tabs for one.
    if (value === null || bare && value === "") return "-";
    if (column.kind !== "size" || typeof value !== "number") {
      return escapeLine(String(value));
    }
    if (exact) return String(value);
    const format = column.format?.(row) ?? formatSize;
    return format(value);
  };
  if (bare) {
    return printable(
      rows.map((row) =>
        columns.map((column) => text(column, row)).join("\t") + "\n"
      ).join(""),
    );
  }
  const header = columns.map(({ name, title = name }) => title.toUpperCase());
  const lines = (rows: readonly Row[]) =>
    rows.map((row) => columns.map((column) => text(column, row)));
  const [body, foot] = [lines(rows), lines(totals)];
  const widths = columns.map((_, at) =>
    [header, ...body, ...foot].reduce(
      (widest, cells) => Math.max(widest, unicodeWidth(cells[at])),
      0,
    )
  );
  narrow(columns, [...body, ...foot], { widths, most: width });
  const align = (cells: readonly string[], row?: Row): string =>
    columns.map(({ kind, style }, at) => {
      const space = " ".repeat(widths[at] - unicodeWidth(cells[at]));
      const styled = row && color && style ? style(cells[at], row) : cells[at];
      return kind === "text" ? styled + space : space + styled;
    }).join("  ").trimEnd() + "\n";
  const part = (lines: string[][], rows: readonly Row[]) =>
    lines.map((cells, at) => align(cells, rows[at])).join("");
  const gap = totals.length > 0 ? "\n" : "";
  return printable(
    align(header) + part(body, rows) + gap + part(foot, totals),
  );
}

/** The spaces between two columns. */
const GAP = 2;

/**
 * Cuts the texts of the widest column of text, so that lines are not too wide.
 *
 * @param widths of the columns, which are updated.
 */
function narrow<Row>(
  columns: readonly Column<Row>[],
  lines: string[][],
  { widths, most }: { widths: number[]; most: number },
): void {
  const total = widths.reduce((sum, width) => sum + width + GAP, -GAP);
  if (total <= most) return;
  const widest = columns.reduce(
    (best, { kind }, at) =>
      kind === "text" && widths[at] > (widths[best] ?? 0) ? at : best,
    -1,
  );
  if (widest < 0) return;
  const { length } = columns[widest].name;
  const room = Math.max(length, widths[widest] - (total - most));
  for (const cells of lines) cells[widest] = cutTo(cells[widest], room);
  widths[widest] = room;
}

/** Cuts a text to a width; an ellipsis shows it. */
function cutTo(text: string, width: number): string {
  if (unicodeWidth(text) <= width) return text;
  let cut = "";
  for (const character of text) {
    if (unicodeWidth(cut + character) >= width) break;
    cut += character;
  }
  return `${cut}…`;
}
