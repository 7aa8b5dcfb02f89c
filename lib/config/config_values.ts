/**
 * Values of a configuration file: what is wrong with one, and what to write instead.
 *
 * @module
 */

import { UsageError } from "../errors.ts";
import { exactPercent, parseDuration } from "../report/units.ts";
import { didYouMean } from "./did_you_mean.ts";

/**
 * Returns the choice that a value names.
 *
 * @throws UsageError if it names none.
 */
export function parseChoice<T extends string>(
  value: unknown,
  key: string,
  choices: readonly T[],
): T {
  const choice = choices.find((choice) => choice === value);
  if (choice !== undefined) return choice;
  const guess = typeof value === "string"
    ? didYouMean(value, choices)
    : undefined;
  throw new UsageError(
    `${key} is ${describe(value)}`,
    guess === undefined
      ? `use one of ${choices.map((choice) => `"${choice}"`).join(", ")}`
      : `did you mean "${guess}"?`,
  );
}

/**
 * Parses a duration, as text or as a number of seconds.
 *
 * @param limits the allowed values, in milliseconds.
 * @param otherwise a valid value, for the message.
 * @returns milliseconds.
 * @throws UsageError if it is neither, or out of range.
 */
export function durationOf(
  value: unknown,
  key: string,
  limits: { least: number; most: number },
  otherwise: string,
): number {
  if (
    typeof value === "string" || typeof value === "bigint" ||
    typeof value === "number"
  ) {
    return parseDuration(String(value), key, limits);
  }
  throw new UsageError(
    `${key} is ${describe(value)}, not a duration`,
    `write one in quotation marks ("${otherwise}"), or a number of seconds`,
  );
}

/** What would be valid in place of a value of another type. */
export interface WantedValue {
  readonly key: string;
  readonly wanted: string;
  /** Returns values that may be meant by a number, the likeliest first. */
  readonly examples: (number: number | bigint) => readonly string[];
  /** Throws a `UsageError` if an example is not valid. */
  readonly parse: (example: string) => unknown;
  /** A valid value. */
  readonly otherwise: string;
}

/** Returns the error of a value of another type than wanted. */
export function wrongType(
  value: unknown,
  { key, wanted, examples, parse, otherwise }: WantedValue,
): UsageError {
  const isNumber = typeof value === "bigint" || typeof value === "number";
  const isValid = (example: string) => {
    try {
      parse(example);
      return true;
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      return false;
    }
  };
  const example = isNumber ? examples(value).find(isValid) : undefined;
  return new UsageError(
    `${key} is ${describe(value)}, not ${wanted}`,
    `write it in quotation marks: "${example ?? otherwise}"`,
  );
}

/** Describes a value in TOML's terms. */
export function describe(value: unknown): string {
  if (typeof value === "string") return `"${value}"`;
  if (typeof value === "bigint") return `the integer ${value}`;
  if (typeof value === "number") return `the number ${value}`;
  if (typeof value === "boolean") return `the boolean ${value}`;
  if (Array.isArray(value)) return "a list";
  return value instanceof Date ? "a date" : "a table";
}

/** Returns the error of a value that is not a percentage as text. */
export function wrongShare(
  value: unknown,
  wanted: Pick<WantedValue, "key" | "parse" | "otherwise">,
): UsageError {
  return wrongType(value, {
    ...wanted,
    wanted: "a percentage",
    // A share below one is more likely than less than one percent.
    examples: (number) => [
      Number(number) < 1 ? exactPercent(Number(number)) : `${number}%`,
    ],
  });
}
