/**
 * What the policies have in common: what they are told, and what a scan came to.
 *
 * @module
 */

import type { CappedGroup } from "../group/capped_group.ts";
import type { Log } from "../platform/output.ts";
import { formatSize } from "../report/units.ts";

export interface EnforcementOptions {
  /** How often the collection is sampled, in milliseconds. */
  readonly interval: number;
  /** Stops it at the next step. */
  readonly signal: AbortSignal;
  readonly log: Log;
  /** Whether the threshold asks for less than the excess, so that no more may go than that. */
  readonly isBounded?: boolean;
  /** Whether no other scan follows. */
  readonly isOnlyScan?: boolean;
}

/** What a scan came to. Sizes in bytes, times in seconds. */
export interface ScanOutcome {
  /** By how much the resident set fell. */
  readonly effective: number;
  readonly attempted: number;
  /** What is left of the excess, 0 or less for nothing. */
  readonly left: number;
  /** Whether it went once through everything and did not cover the excess. */
  readonly ineffective: boolean;
  /** Whether members were left out that cannot be judged yet. */
  readonly isPartial: boolean;
  readonly seconds: number;
}

/** What a scan came to, in words. */
export function describeOutcome(
  { name, size, cap }: CappedGroup,
  { effective, left, seconds }: ScanOutcome,
): string {
  return `${name}: paged out ${formatSize(effective)} in ${
    seconds.toFixed(2)
  } s; ${formatSize(size - effective)} of ${formatSize(cap)}` +
    (left > 0 ? `, ${formatSize(left)} too much` : "");
}
