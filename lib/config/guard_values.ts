/**
 * The values of a cap's keys besides its size: how long memory may be idle, and the guard
 * rails.
 *
 * @module
 */

import { UsageError } from "../errors.ts";
import { MEMORY_KINDS } from "../platform/platform.ts";
import {
  parseByteRate,
  parseRefaultLimit,
  type RefaultLimit,
  type TimeUnit,
} from "../report/rates.ts";
import { parsePercent } from "../report/units.ts";
import {
  describe,
  durationOf,
  parseChoice,
  wrongShare,
  wrongType,
} from "./config_values.ts";

/** Bounds of `idle`, in milliseconds. */
const IDLE_BOUNDS = { least: 1000, most: 168 * 3_600_000 };

/**
 * Parses the time after which memory is paged out, in milliseconds.
 *
 * @param knowsRefaults whether the system counts what comes back, which `auto` needs.
 * @param key what it is called, for messages.
 */
export function parseIdle(
  value: unknown,
  { knowsRefaults = true, key = "idle" } = {},
): number | "auto" {
  if (value === "auto" && !knowsRefaults) {
    throw new UsageError(
      `${key} is "auto", which does not work on this system: it does not tell refaults`,
      `write a duration ("10m")`,
    );
  }
  if (value === "auto") return value;
  return durationOf(value, key, IDLE_BOUNDS, "10m");
}

/** Parses the limit on refaults. */
export function parseMaxRefaults(value: unknown): RefaultLimit {
  const key = "max_refaults";
  if (typeof value === "string") return parseRefaultLimit(value, key);
  throw wrongType(value, {
    key,
    wanted: "a limit on refaults",
    examples: (number) => [`${number}/s`],
    parse: parseMaxRefaults,
    otherwise: "0.2%/min",
  });
}

/** Parses the limit on memory pressure, a share from 0 to 1. */
export function parseMaxPressure(value: unknown): number {
  const key = "max_pressure";
  if (typeof value === "string") return parsePercent(value, key);
  throw wrongShare(value, { key, parse: parseMaxPressure, otherwise: "1%" });
}

/** Returns the parser of a key that is bytes in a time. */
export function byteRateOf(key: string, units: readonly TimeUnit[]) {
  const parse = (value: unknown) => {
    if (typeof value === "string") {
      return parseByteRate(value, { what: key, units });
    }
    throw wrongType(value, {
      key,
      wanted: "an amount in a time",
      examples: (number) => [`${number}M/${units[0]}`],
      parse,
      otherwise: `64M/${units[0]}`,
    });
  };
  return parse;
}

/** Parses the kind of memory that goes. */
export function parseOnly(value: unknown) {
  return parseChoice(value, "only", MEMORY_KINDS);
}

/** The least and the greatest priority. */
const PRIORITIES = { least: 1, most: 100 };

/** Parses a priority. */
export function parsePriority(value: unknown): number {
  const { least, most } = PRIORITIES;
  if (typeof value === "bigint" && value >= least && value <= most) {
    return Number(value);
  }
  throw new UsageError(
    `priority is ${describe(value)}`,
    `write a whole number from ${least} to ${most}, without quotation marks`,
  );
}
