/**
 * Logs the scans of a group: the first at once, and those that follow at most once a
 * minute, summed up.
 *
 * @module
 */

import type { CappedGroup } from "../group/capped_group.ts";
import type { Clock } from "../platform/clock.ts";
import type { Log } from "../platform/output.ts";
import {
  describeOutcome,
  describePlan,
  type ScanOutcome,
} from "../policy/policy.ts";
import { countOf, formatBeside, formatSize } from "../report/units.ts";

/** How long scans are summed up, in milliseconds. */
const PERIOD = 60_000;

/** A result that did not occur for this long is logged at once, in milliseconds. */
const MEMORY = 10 * PERIOD;

/** Scans that are not logged yet. Sizes are in bytes, times in seconds. */
interface Sum {
  /** When the line before was written, in milliseconds. */
  readonly since: number;
  scans: number;
  attempted: number;
  effective: number;
  seconds: number;
}

/** Whether a scan has met the cap. */
type Kind = "met" | "missed";

/** Logs the scans of a group. At level `debug` each of them is logged. */
export class ScanLog {
  readonly #group: CappedGroup;
  readonly #log: Log;
  readonly #clock: Clock;
  #sum: Sum | undefined;
  /** When the last line was written, in milliseconds. */
  #loggedAt = -Infinity;
  /** When there was last a scan of each kind, in milliseconds. */
  readonly #seen = new Map<Kind, number>();

  constructor(
    group: CappedGroup,
    { log, clock }: { readonly log: Log; readonly clock: Clock },
  ) {
    this.#group = group;
    this.#log = log;
    this.#clock = clock;
  }

  /** Logs a scan, or adds it to the sum. */
  scanned(outcome: ScanOutcome): void {
    const { name } = this.#group;
    const now = this.#clock.now();
    const { attempted, effective, left, seconds } = outcome;
    const kind = left > 0 ? "missed" : "met";
    const isNew = now - (this.#seen.get(kind) ?? -Infinity) >= MEMORY;
    this.#seen.set(kind, now);
    const words = describeOutcome(this.#group, outcome);
    const fields = {
      group: name,
      attempted,
      effective,
      left: Math.max(0, left),
      seconds,
    };
    const isDue = this.#sum === undefined && now - this.#loggedAt >= PERIOD;
    if (isNew || isDue) {
      this.#log.info(words, fields);
      this.#loggedAt = now;
      return;
    }
    this.#log.debug(words, fields);
    const sum = this.#sum ??= {
      since: this.#loggedAt,
      scans: 0,
      attempted: 0,
      effective: 0,
      seconds: 0,
    };
    sum.scans++;
    sum.attempted += attempted;
    sum.effective += effective;
    sum.seconds += seconds;
  }

  /**
   * Logs a scan of a dry run, at most once a minute. Such scans are not summed up: each
   * plans the same memory again.
   */
  planned(outcome: ScanOutcome): void {
    const now = this.#clock.now();
    const words = describePlan(this.#group, outcome);
    const fields = { group: this.#group.name, planned: outcome.effective };
    if (now - this.#loggedAt < PERIOD) {
      this.#log.debug(words, fields);
      return;
    }
    this.#log.info(words, fields);
    this.#loggedAt = now;
  }

  /** Logs the sum of a minute; called with every sample. */
  sampled(): void {
    const time = this.#clock.now();
    const sum = this.#sum;
    if (!sum || time - this.#loggedAt < PERIOD) return;
    const { since, ...totals } = sum;
    const { name, size, cap, hasCap } = this.#group;
    const format = formatBeside(cap, size);
    const now = hasCap
      ? `${format(size)} of ${format(cap)}`
      : `${formatSize(size)} resident`;
    this.#log.info(
      `${name}: paged out ${formatSize(totals.effective)} in ${
        countOf(totals.scans, "scan")
      } within ${describePeriod(time - since)}; now ${now}`,
      { group: name, ...totals, rss: size, ...hasCap && { cap } },
    );
    this.#sum = undefined;
    this.#loggedAt = time;
  }
}

/** A period in words: `a minute`, or in seconds if it is much longer. */
function describePeriod(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000);
  return seconds < 90 ? "a minute" : `${seconds} s`;
}
