/**
 * Tables: for people, aligned and with a header; for scripts, separated by tabs.
 *
 * @module
 */

import Table from "cli-table3";
import { UsageError } from "../errors.ts";
import { escapeControls } from "./output.ts";
import { formatSize } from "./units.ts";

/** A column of a table of `Row`s. */
export interface Column<Row> {
  /** By which the user chooses it. */
  readonly name: string;
  /** `size` is a number of bytes. */
  readonly kind: "text" | "number" | "size";
  /** What stands in it; `null` for nothing. */
  readonly value: (row: Row) => string | number | null;
  /** Colours the text on a terminal. */
  readonly style?: (text: string, row: Row) => string;
}

/** How a table is printed: the options of every command that prints one. */
export interface TableOptions {
  /** No header, columns separated by tabs. */
  readonly bare: boolean;
  /** Sizes in bytes. */
  readonly exact: boolean;
  readonly color: boolean;
}

/**
 * The columns that a user has chosen by a list of names.
 *
 * @param list `name,name,…`, or `undefined` for all.
 * @throws UsageError when there is no such column.
 */
export function chooseColumns<Row>(
  columns: readonly Column<Row>[],
  list: string | undefined,
): readonly Column<Row>[] {
  if (list === undefined) return columns;
  return list.split(",").map((name) => {
    const column = columns.find((column) => column.name === name.trim());
    if (column) return column;
    const names = columns.map((column) => column.name).join(", ");
    throw new UsageError(`-o: there is no field "${name}"; there are ${names}`);
  });
}

/**
 * Renders a table.
 *
 * @param totals rows that stand below the others, apart from them; not for scripts.
 */
export function renderTable<Row>(
  columns: readonly Column<Row>[],
  { rows, totals = [], bare, exact, color }: TableOptions & {
    rows: readonly Row[];
    totals?: readonly Row[];
  },
): string {
  const text = (column: Column<Row>, row: Row): string => {
    const value = column.value(row);
    if (value === null) return bare ? "" : "-";
    if (column.kind !== "size" || typeof value !== "number") {
      return escapeControls(String(value));
    }
    return exact ? String(value) : formatSize(value);
  };
  if (bare) {
    return rows.map((row) =>
      columns.map((column) => text(column, row)).join("\t") + "\n"
    ).join("");
  }
  const table = new Table({
    chars: NO_LINES,
    style: { "padding-left": 0, "padding-right": 2, head: [], border: [] },
    colAligns: columns.map(({ kind }) => kind === "text" ? "left" : "right"),
    head: columns.map(({ name }) => name.toUpperCase()),
  });
  const cells = (row: Row) =>
    columns.map((column) => {
      const plain = text(column, row);
      return color && column.style ? column.style(plain, row) : plain;
    });
  for (const row of rows) table.push(cells(row));
  if (totals.length > 0) table.push(columns.map(() => ""));
  for (const row of totals) table.push(cells(row));
  return table.toString().replace(/[ \t]+$/gm, "") + "\n";
}

/** Only space between the columns. */
const NO_LINES = Object.fromEntries(
  [
    "top",
    "top-mid",
    "top-left",
    "top-right",
    "bottom",
    "bottom-mid",
    "bottom-left",
    "bottom-right",
    "left",
    "left-mid",
    "mid",
    "mid-mid",
    "right",
    "right-mid",
    "middle",
  ].map((name) => [name, ""]),
);
