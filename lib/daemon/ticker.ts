/**
 * Periodic work on a monotonic clock.
 *
 * @module
 */

/** Ticks at an interval, starting at once. Times are in milliseconds. */
export class Ticker {
  interval: number;
  #next: number;

  constructor(interval: number, now: number) {
    this.interval = interval;
    this.#next = now;
  }

  /** The time until the next tick is due; 0 if one is due now. */
  wait(now: number): number {
    return Math.max(0, this.#next - now);
  }

  /**
   * Takes a tick if one is due. Missed ticks, for example of a suspended machine, are
   * skipped: they never come in a burst.
   *
   * @returns whether one was due.
   */
  take(now: number): boolean {
    if (now < this.#next) return false;
    const next = this.#next + this.interval;
    this.#next = next > now ? next : now + this.interval;
    return true;
  }

  /** Makes the next tick due now. */
  hurry(now: number): void {
    this.#next = now;
  }

  /** Changes the interval. The next tick is at most one new interval away. */
  setInterval(interval: number, now: number): void {
    this.interval = interval;
    this.#next = Math.min(this.#next, now + interval);
  }
}
