/**
 * Rates as users write and read them: bytes in a time, and refaults.
 *
 * @module
 */

import { UsageError } from "../errors.ts";
import { exactPercent, exactSize, parsePercent, parseSize } from "./units.ts";

/** The units of time of a rate, in milliseconds. */
const TIMES = { s: 1000, min: 60_000, h: 3_600_000, day: 86_400_000 } as const;
export type TimeUnit = keyof typeof TIMES;

/** So many bytes within a time, in milliseconds. */
export interface ByteRate {
  readonly bytes: number;
  readonly per: number;
}

/**
 * Parses bytes in a time: `64M/s`, `20G/day`.
 *
 * @param what what the rate is for, for the message, for example `max_pageout_rate`.
 * @param units the units of time that make sense for it.
 * @throws UsageError if the text is not such a rate.
 */
export function parseByteRate(
  text: string,
  { what, units }: { what: string; units: readonly TimeUnit[] },
): ByteRate {
  const [, size, unit] = /^([^/%]+)\/([a-z]+)$/.exec(text) ?? [];
  const known = units.find((one) => one === unit);
  if (known === undefined) {
    throw new UsageError(
      `${what}: "${text}" is not an amount in a time`,
      `write a size, a slash and ${units.join(" or ")} ("64M/${units[0]}")`,
    );
  }
  // A share of memory is not a size here.
  const bytes = parseSize(size, { what, totalMemory: () => NaN });
  return { bytes, per: TIMES[known] };
}

/** Formats a rate so that {@linkcode parseByteRate} reads back the exact value. */
export function exactByteRate({ bytes, per }: ByteRate): string {
  return `${exactSize(bytes)}/${timeUnit(per)}`;
}

/** The unit of a time in milliseconds, as a rate has it. */
export function timeUnit(per: number): string {
  const unit = Object.entries(TIMES).find(([, length]) => length === per);
  if (!unit) throw new RangeError(`no unit of ${per} ms`);
  return unit[0];
}

/**
 * How many refaults are too many: a share of the working set in a minute, or a number of
 * pages in a second.
 */
export type RefaultLimit =
  | { readonly sharePerMinute: number }
  | { readonly perSecond: number };

/** The limit on the refaults of idle memory if no other is given. */
export const DEFAULT_MAX_REFAULTS: RefaultLimit = { sharePerMinute: 0.002 };

/**
 * Parses a limit on refaults: `0.2%/min`, or `0.2%` for short, and `50/s`.
 *
 * @throws UsageError if the text is not valid.
 */
export function parseRefaultLimit(text: string, what: string): RefaultLimit {
  const [, share] = /^(.+%)(?:\/min)?$/.exec(text) ?? [];
  if (share !== undefined) {
    return { sharePerMinute: parsePercent(share, what) };
  }
  const [, pages] = /^(\d{1,9}(?:\.\d+)?)\/s$/.exec(text) ?? [];
  if (pages !== undefined) return { perSecond: Number(pages) };
  throw new UsageError(
    `${what}: "${text}" is not a limit on refaults`,
    `write a share of the working set in a minute ("0.2%/min") or pages in a second ("50/s")`,
  );
}

/** Formats a limit so that {@linkcode parseRefaultLimit} reads back the exact value. */
export function exactRefaultLimit(limit: RefaultLimit): string {
  return "perSecond" in limit
    ? `${limit.perSecond}/s`
    : `${exactPercent(limit.sharePerMinute)}/min`;
}
