/**
 * Trying a group less and less often while its scans bring nothing.
 *
 * @module
 */

/** After this many ineffective scans in a row a group is tried less often. */
const PATIENCE = 3;

/** The longest time between two tries, in milliseconds. */
const LONGEST = 60_000;

/** A change of memory below this share of the cap, or this size, is none. */
const LEAST_CHANGE_SHARE = 0.02;
const LEAST_CHANGE_BYTES = 1 << 20;

/** What may have changed since a scan brought nothing. */
export interface Circumstances {
  /** Resident size of the group, in bytes. */
  readonly size: number;
  readonly cap: number;
  /** Changes with every process that joins or leaves. */
  readonly membership: number;
  readonly hasFreeSwap: boolean;
}

/** Decides when a group is scanned again. Times are in milliseconds. */
export class Backoff {
  #streak = 0;
  #retryAt = -Infinity;
  #then: Circumstances | undefined;

  /** Whether so many scans in a row have brought nothing that it is worth a warning. */
  get isHopeless(): boolean {
    return this.#streak >= PATIENCE;
  }

  /** Notes how a scan has ended. */
  record(
    ineffective: boolean,
    { now, interval, circumstances }: {
      now: number;
      /** How often the group is tried otherwise. */
      interval: number;
      circumstances: Circumstances;
    },
  ): void {
    if (!ineffective) {
      this.reset();
      return;
    }
    this.#streak++;
    this.#then = circumstances;
    if (!this.isHopeless) return;
    const delay = interval * 2 ** (this.#streak - PATIENCE + 1);
    // Just below, so that a tick that comes at that time is not too early.
    this.#retryAt = now + Math.min(delay, Math.max(LONGEST, interval)) -
      interval / 2;
  }

  /** Whether the group is to be left alone for now; recovers on any change. */
  isWaiting(now: number, circumstances: Circumstances): boolean {
    if (!this.isHopeless) return false;
    if (this.#then && hasChanged(this.#then, circumstances)) {
      this.reset();
      return false;
    }
    return now < this.#retryAt;
  }

  reset(): void {
    this.#streak = 0;
    this.#retryAt = -Infinity;
    this.#then = undefined;
  }
}

function hasChanged(then: Circumstances, now: Circumstances): boolean {
  const least = Math.max(LEAST_CHANGE_BYTES, now.cap * LEAST_CHANGE_SHARE);
  return Math.abs(now.size - then.size) >= least || now.cap !== then.cap ||
    now.membership !== then.membership || now.hasFreeSwap !== then.hasFreeSwap;
}
