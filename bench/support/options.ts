/**
 * Parsers of the options of benchmarks, with errors of Commander's class.
 *
 * @module
 */

import { InvalidArgumentError } from "@commander-js/extra-typings";
import { UsageError } from "../../lib/errors.ts";
import { parseDuration, parseSize } from "../../lib/report/units.ts";

/** Returns a parser of sizes, in bytes. */
export const size = (name: string) => (text: string) =>
  parsed(() =>
    parseSize(text, {
      what: name,
      totalMemory: () => Deno.systemMemoryInfo().total,
    })
  );

/** Returns a parser of durations, in seconds. */
export const seconds = (name: string) => (text: string) =>
  parsed(() => parseDuration(text, name) / 1000);

/** Returns the result of one of rcap's parsers. */
function parsed<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new InvalidArgumentError(error.message);
  }
}

/** Parses the path of a writable file. */
export function writableFile(path: string): string {
  try {
    Deno.openSync(path, { append: true, create: true }).close();
    return path;
  } catch (error) {
    throw new InvalidArgumentError(`It cannot be written: ${error}`);
  }
}

/** Returns a parser of names, separated by commas. */
export const names =
  <T extends { name: string }>(all: readonly T[]) => (text: string) =>
    text.split(",").map((name) => {
      const found = all.find((one) => one.name === name);
      if (found) return found;
      throw new InvalidArgumentError(
        `"${name}" is not one of ${all.map(({ name }) => name).join(", ")}`,
      );
    });

/** Parses a whole number greater than 0. */
export const count = (text: string) => {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError(
    `"${text}" is not a whole number greater than 0.`,
  );
};

/** Describes an option that takes names. */
export const list = (all: readonly { name: string }[]) =>
  `only these of ${all.map(({ name }) => name).join(",")}`;
