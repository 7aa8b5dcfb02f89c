/**
 * Sizes, durations and percentages as users write and read them.
 *
 * @module
 */

import { UsageError } from "../errors.ts";

const UNITS = ["", "K", "M", "G", "T", "P"];

/** A number of things: `1 cap`, `3 caps`. The plural of the noun ends in `s` by default. */
export function countOf(
  number: number,
  noun: string,
  plural = `${noun}s`,
): string {
  return `${number} ${number === 1 ? noun : plural}`;
}

/**
 * Parses a size: `1048576`, `512K`, `1.5G`, `2GiB` (powers of 1024), or `25%` of
 * physical memory.
 *
 * @param what what the size is for, for the message, for example `--cap`.
 * @param least the smallest possible size, in bytes.
 * @returns the size in bytes, a whole number greater than 0.
 * @throws UsageError if the text is not a valid size.
 */
export function parseSize(
  text: string,
  { what, totalMemory, least = 1 }: {
    what: string;
    totalMemory: () => number;
    least?: number;
  },
): number {
  const bytes = sizeOf(text, totalMemory);
  if (bytes === undefined) {
    throw new UsageError(
      `${what}: "${text}" is not a size`,
      "write bytes (1048576), a unit (512K, 1.5G, 2GiB) or a share of memory (25%)",
    );
  }
  if (bytes < 1 || !Number.isSafeInteger(bytes)) {
    throw new UsageError(
      `${what}: "${text}" is out of range`,
      `a size is at least ${
        least === 1 ? "one byte" : exactSize(least)
      }, below 8P, and at most 100%`,
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

/** Formats a size for people: `512.0M`; `512` below one kibibyte. */
export function formatSize(bytes: number): string {
  return formatWith(bytes, 1);
}

function formatWith(bytes: number, decimals: number): string {
  const { value, unit } = scaled(bytes);
  return unit === 0
    ? String(value)
    : `${value.toFixed(decimals)}${UNITS[unit]}`;
}

/** A size in the largest unit of which it has at least one. */
function scaled(bytes: number): { value: number; unit: number } {
  let value = bytes;
  let unit = 0;
  while (Math.abs(value) >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return { value, unit };
}

/**
 * Returns the format of a cap and of the sizes that are printed beside it. All have one
 * decimal, or as many as it takes for each size over the cap to read as more than the
 * cap: `60.005M of 60.000M`. A size at or under the cap never reads as more, because
 * both are rounded alike.
 *
 * @param cap in bytes.
 * @param sizes in bytes.
 */
export function formatBeside(
  cap: number,
  ...sizes: number[]
): (bytes: number) => string {
  let decimals = 1;
  const read = (bytes: number) => {
    const { value, unit } = scaled(bytes);
    return Number(value.toFixed(decimals)) * 1024 ** unit;
  };
  for (const size of sizes) {
    while (size > cap && read(size) <= read(cap)) decimals++;
  }
  return (bytes) => formatWith(bytes, decimals);
}

/** Formats a size so that {@linkcode parseSize} reads back the exact value: `1536M`. */
export function exactSize(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value > 0 && value % 1024 === 0 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value}${UNITS[unit]}`;
}

/** Formats an address for people and JSON: hexadecimal, with 0x. */
export function hex(address: bigint): string {
  return `0x${address.toString(16)}`;
}

/** The units of short times, in nanoseconds. */
const NANOSECONDS: readonly (readonly [unit: string, length: number])[] = [
  ["s", 1e9],
  ["ms", 1e6],
  ["µs", 1e3],
  ["ns", 1],
];

/** Formats a short time for people, with two digits at least: `33 ns`, `9.7 µs`. */
export function formatNanoseconds(nanoseconds: number): string {
  const [unit, length] =
    NANOSECONDS.find(([, length]) => nanoseconds >= length) ?? ["ns", 1];
  const value = nanoseconds / length;
  return `${value.toFixed(value < 10 && length > 1 ? 1 : 0)} ${unit}`;
}

/** Formats a share for people, with two digits at least: `51 %`, `0.27 %`. */
export function formatShare(share: number): string {
  const percent = share * 100;
  const decimals = percent >= 10 ? 0 : percent >= 1 ? 1 : 2;
  return `${percent.toFixed(decimals)} %`;
}

/**
 * Formats a time for people: `14:05:10`, in the local time zone.
 *
 * @param time in seconds since the epoch.
 */
export function formatTimeOfDay(time: number): string {
  return new Date(time * 1000).toTimeString().slice(0, 8);
}

/**
 * Formats a time to come for people: `14:05:10`, or with its date `2026-03-01 14:05:10`
 * if it is not today; in the local time zone.
 *
 * @param time in seconds since the epoch, as `now`.
 */
export function formatTimeSoon(time: number, now: number): string {
  const dateOf = (seconds: number) => {
    const date = new Date(seconds * 1000);
    const digits = (value: number) => `${value}`.padStart(2, "0");
    return `${date.getFullYear()}-${digits(date.getMonth() + 1)}-${
      digits(date.getDate())
    }`;
  };
  const day = dateOf(time);
  return day === dateOf(now)
    ? formatTimeOfDay(time)
    : `${day} ${formatTimeOfDay(time)}`;
}

/** The units of durations, the longest first, in milliseconds. */
const MILLISECONDS: Readonly<Record<string, number>> = {
  h: 3_600_000,
  m: 60_000,
  s: 1000,
  ms: 1,
};

/** The longest possible timer, in milliseconds. */
const LONGEST = 2 ** 31 - 1;

/**
 * Parses a duration: `500ms`, `5s`, `2m`, `1h`, or seconds: `5`, `0.5`.
 *
 * @param what what the duration is for, for the message, for example `--observe`.
 * @param limits the allowed values in milliseconds; the default is anything up to
 * the longest timer.
 * @returns milliseconds.
 * @throws UsageError if the text is not valid or out of range.
 */
export function parseDuration(
  text: string,
  what: string,
  { least, most }: { least: number; most: number } = {
    least: 0,
    most: LONGEST,
  },
): number {
  const [, number, unit = "s"] = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text) ??
    [];
  if (number === undefined) {
    throw new UsageError(
      `${what}: "${text}" is not a duration`,
      "write a number and a unit (500ms, 5s, 2m, 1h), or seconds (5)",
    );
  }
  const milliseconds = Number(number) * MILLISECONDS[unit];
  if (milliseconds < least || milliseconds > most) {
    throw new UsageError(
      `${what}: "${text}" is out of range`,
      least === 0
        ? "the longest duration is 596h"
        : `it is at least ${exactDuration(least)} and at most ${
          exactDuration(most)
        }`,
    );
  }
  return milliseconds;
}

/** Formats a number of seconds for people: `4m0s`, `1m20s`, `20s`, `2h5m`. */
export function formatSeconds(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return seconds < 10 ? `${rounded(seconds)}s` : `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m${whole % 60}s`;
  return `${Math.floor(whole / 3600)}h${Math.floor(whole % 3600 / 60)}m`;
}

function rounded(seconds: number): number {
  return Number(seconds.toFixed(1));
}

/**
 * Formats a duration so that {@linkcode parseDuration} reads back the exact value:
 * `90s`.
 */
export function exactDuration(milliseconds: number): string {
  const [unit] =
    Object.entries(MILLISECONDS).find(([, length]) =>
      milliseconds % length === 0
    ) ?? ["ms"];
  return `${milliseconds / MILLISECONDS[unit]}${unit}`;
}

/**
 * Parses a percentage with at most three decimals: `85%`, `12.5%`.
 *
 * @param what what the percentage is for, for the message.
 * @param least the smallest possible share.
 * @returns the share, up to 1.
 * @throws UsageError if the text is not valid or out of range.
 */
export function parsePercent(text: string, what: string, least = 0): number {
  const [, number] = /^(\d+(?:\.\d{1,3})?)%$/.exec(text) ?? [];
  if (number === undefined) {
    throw new UsageError(
      `${what}: "${text}" is not a percentage`,
      "write a number from 0 to 100 with at most three decimals and a percent sign (85%)",
    );
  }
  const share = Number(number) / 100;
  if (share < least || share > 1) {
    throw new UsageError(
      `${what}: "${text}" is out of range`,
      `it is at least ${exactPercent(least)} and at most 100%`,
    );
  }
  return share;
}

/** Formats a share so that {@linkcode parsePercent} reads it back: `12.5%`. */
export function exactPercent(share: number): string {
  return `${Number((share * 100).toFixed(3))}%`;
}
