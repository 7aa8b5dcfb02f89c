/**
 * Sizes and durations, as users write and read them.
 *
 * @module
 */

import { UsageError } from "../errors.ts";

const UNITS = ["", "K", "M", "G", "T", "P"];

/**
 * Parses a size: `1536`, `512K`, `1.5G`, `2GiB` (powers of 1024), or `25%` of
 * physical memory.
 *
 * @param what what the size is for, for the message: `--cap` say.
 * @returns bytes, a whole number above 0.
 * @throws UsageError when it is no size.
 */
export function parseSize(
  text: string,
  { what, totalMemory }: { what: string; totalMemory: () => number },
): number {
  const bytes = sizeOf(text, totalMemory);
  if (bytes === undefined) {
    throw new UsageError(
      `${what}: "${text}" is not a size`,
      "write bytes (1536), a unit (512K, 1.5G, 2GiB) or a share of memory (25%)",
    );
  }
  if (bytes < 1 || !Number.isSafeInteger(bytes)) {
    throw new UsageError(
      `${what}: "${text}" is out of range`,
      "a size is at least one byte, below 8P, and at most 100%",
    );
  }
  return bytes;
}

function sizeOf(text: string, totalMemory: () => number): number | undefined {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(%|[A-Za-z]*)$/.exec(text) ?? [];
  if (number === undefined) return undefined;
  if (unit === "%") {
    const share = Number(number) / 100;
    return share <= 1 ? Math.round(share * totalMemory()) : Infinity;
  }
  const [, letter] = /^([KMGTP]?)(?:i?B)?$/i.exec(unit) ?? [];
  if (letter === undefined) return undefined;
  const power = UNITS.indexOf(letter.toUpperCase());
  return Math.round(Number(number) * 1024 ** power);
}

/** A size for people: `512.0M`; below one kibibyte just `512`. */
export function formatSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (Math.abs(value) >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return unit === 0 ? String(value) : `${value.toFixed(1)}${UNITS[unit]}`;
}

/** An address as people and JSON have it: hexadecimal, with 0x. */
export function hex(address: bigint): string {
  return `0x${address.toString(16)}`;
}

const MILLISECONDS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** The longest timer there is, in milliseconds. */
const LONGEST = 2 ** 31 - 1;

/**
 * Parses a duration: `500ms`, `5s`, `2m`, `1h`, or `0`.
 *
 * @param what what it is for, for the message: `--observe` say.
 * @returns milliseconds.
 * @throws UsageError when it is none.
 */
export function parseDuration(text: string, what: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text) ?? [];
  if (text === "0") return 0;
  if (number === undefined) {
    throw new UsageError(
      `${what}: "${text}" is not a duration`,
      "write a number and a unit (500ms, 5s, 2m, 1h)",
    );
  }
  const milliseconds = Number(number) * MILLISECONDS[unit];
  if (milliseconds > LONGEST) {
    throw new UsageError(
      `${what}: "${text}" is out of range`,
      "the longest duration is 596h",
    );
  }
  return milliseconds;
}
