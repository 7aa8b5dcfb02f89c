/**
 * How commands print results: the options of every command that prints a table, and
 * the result as text or JSON.
 *
 * @module
 */

import { type Command, Option } from "@commander-js/extra-typings";
import { json, type Printable } from "../lib/report/escape.ts";
import {
  chooseColumns,
  type Column,
  renderTable,
} from "../lib/report/table.ts";
import type { Context } from "./options.ts";
import { HELP_WIDTH, wrap } from "./wrap.ts";

/** `--json`, an option of every command with a result. */
export const jsonOption = new Option("--json", "print one JSON object");

/** Adds the options of every command that prints a table. */
export function addTableOptions<
  Args extends unknown[],
  Options extends Record<PropertyKey, unknown>,
  Globals extends Record<PropertyKey, unknown>,
>(command: Command<Args, Options, Globals>) {
  return command
    .addOption(jsonOption)
    .option("-H, --no-header", "no header, columns separated by tabs")
    .option(
      "-o, --output <fields>",
      "columns to print, in this order: FIELD,…",
    )
    .option("-p, --parsable", "sizes in exact bytes");
}

/** The values of {@linkcode jsonOption}. */
export interface JsonOptions {
  readonly json?: true;
}

/** The values of the options that {@linkcode addTableOptions} adds. */
export interface TableOptions extends JsonOptions {
  readonly header: boolean;
  readonly output?: string;
  readonly parsable?: true;
}

/** A result, as JSON and as text. */
export interface Result {
  readonly json: object;
  /** Returns the text; called without `--json` only. */
  text(): Printable | readonly Printable[];
}

/**
 * Prints a result, as JSON with `--json`, else as text.
 *
 * @returns `false` if the reader of standard output has closed it.
 */
export function printResult(
  result: Result,
  options: JsonOptions,
  { print }: Pick<Context, "print">,
): Promise<boolean> {
  return print(
    ...(options.json ? [json(result.json)] : [result.text()].flat()),
  );
}

/** The rows of a table, and the text around it. */
export interface TableResult<Row> {
  readonly json: object;
  readonly rows: readonly Row[];
  /** Rows of totals, set apart below the others; not with `-H`. */
  readonly totals?: readonly Row[];
  /** Text above the table. */
  readonly above?: Printable;
  /** Text below the table; not with `-H`. */
  readonly below?: Printable;
}

/** Prints tables as the options say. */
export class ResultTable<Row> {
  readonly #columns: readonly Column<Row>[];
  readonly #width: number | undefined;
  readonly #options: TableOptions;
  readonly #context: Pick<Context, "color" | "print">;

  /**
   * @param columns all columns, and with `shown` the names of those that are printed
   * without `-H` or `--output`, separated by commas; all by default.
   * @throws UsageError if `--output` names a column that does not exist.
   */
  constructor(
    { columns, shown, width }: {
      readonly columns: readonly Column<Row>[];
      readonly shown?: string;
      /** How wide the table of these may be. */
      readonly width?: number;
    },
    options: TableOptions,
    context: Pick<Context, "color" | "print">,
  ) {
    const usual = options.header ? shown : undefined;
    this.#columns = chooseColumns(columns, options.output ?? usual);
    this.#width = options.output === undefined ? width : undefined;
    this.#options = options;
    this.#context = context;
  }

  /** Prints rows, or JSON with `--json`; returns what {@linkcode printResult} returns. */
  print({ json, ...text }: TableResult<Row>): Promise<boolean> {
    const result = { json, text: () => this.#render(text) };
    return printResult(result, this.#options, this.#context);
  }

  #render(
    { rows, totals, above, below }: Omit<TableResult<Row>, "json">,
  ): Printable[] {
    const bare = !this.#options.header;
    const exact = this.#options.parsable === true;
    const { color } = this.#context;
    return [
      ...(above === undefined ? [] : [above]),
      renderTable(this.#columns, {
        rows,
        totals,
        bare,
        exact,
        color,
        width: this.#width,
      }),
      ...(bare || below === undefined ? [] : [below]),
    ];
  }
}

/**
 * The names of columns, as help lists them: in several lines if they do not fit one.
 *
 * @param used how many characters the line has already.
 */
export function columnNames<Row>(
  columns: readonly Column<Row>[],
  used = "Columns: ".length,
): string {
  const names = columns.map(({ name }) => name).join(", ");
  return wrap(names, HELP_WIDTH, used).join("\n");
}
