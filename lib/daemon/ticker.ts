/**
 * What is due again and again, on a clock that nobody sets.
 *
 * @module
 */

/** Ticks at an interval, beginning at once. Times are in milliseconds. */
export class Ticker {
  interval: number;
  #next: number;

  constructor(interval: number, now: number) {
    this.interval = interval;
    this.#next = now;
  }

  /** How long until it is due, 0 when it is. */
  wait(now: number): number {
    return Math.max(0, this.#next - now);
  }

  /**
   * Takes a tick when one is due. Ticks that were missed, by a machine that was
   * suspended say, are left out: there is never a burst of them.
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

  /** From now on at another interval, the next tick at most one of it away. */
  setInterval(interval: number, now: number): void {
    this.interval = interval;
    this.#next = Math.min(this.#next, now + interval);
  }
}
