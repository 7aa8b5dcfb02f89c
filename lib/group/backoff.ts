/**
 * Scans a group less and less often while its scans are ineffective.
 *
 * @module
 */

/** After this many ineffective scans in a row a group is scanned less often. */
const PATIENCE = 3;

/** The longest time between two scans, in milliseconds. */
const LONGEST = 60_000;

/** Changes in size below this share of the cap, or below this size, are ignored. */
const LEAST_CHANGE_SHARE = 0.02;
const LEAST_CHANGE_BYTES = 1 << 20;

/** The circumstances that decide whether another scan may succeed. */
export interface Circumstances {
  /** Resident size of the group, in bytes. */
  readonly size: number;
  readonly cap: number;
  /** A number that changes whenever a process joins or leaves. */
  readonly membership: number;
  readonly hasFreeSwap: boolean;
}

/** Decides when a group is scanned again. Times are in milliseconds. */
export class Backoff {
  #streak = 0;
  #retryAt = -Infinity;
  #then: Circumstances | undefined;

  /** Whether so many scans in a row were ineffective that a warning is due. */
  get isHopeless(): boolean {
    return this.#streak >= PATIENCE;
  }

  /** Records the result of a scan. */
  record(
    ineffective: boolean,
    { now, interval, circumstances }: {
      now: number;
      /** The usual time between two scans. */
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
    // Slightly earlier, so that a tick at exactly that time is not too early.
    this.#retryAt = now + Math.min(delay, Math.max(LONGEST, interval)) -
      interval / 2;
  }

  /** Whether the group should not be scanned yet. Any change ends the wait. */
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
