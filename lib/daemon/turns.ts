/**
 * Letting only so many do something at a time, without letting any keep all others
 * from it.
 *
 * @module
 */

import type { Clock } from "../platform/clock.ts";

/** Hands out turns, first come, first served. */
export class Turns {
  /** Below 0 while more have a turn than there are places. */
  #free: number;
  readonly #patience: number;
  readonly #clock: Clock;
  readonly #waiting: (() => void)[] = [];

  /**
   * @param places how many may have a turn at a time.
   * @param patience after how many milliseconds of waiting a turn is given all the
   * same: those who have one may be kept waiting themselves.
   */
  constructor(places: number, patience: number, clock: Clock) {
    this.#free = places;
    this.#patience = patience;
    this.#clock = clock;
  }

  /** Waits for a turn; `using` ends it. */
  async take(): Promise<Disposable> {
    if (this.#free > 0) this.#free--;
    else await this.#wait();
    return {
      [Symbol.dispose]: () => {
        const next = this.#free < 0 ? undefined : this.#waiting.shift();
        if (next) next();
        else this.#free++;
      },
    };
  }

  /** Waits until somebody hands over a turn, or for long enough. */
  async #wait(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push(resolve);
    const given = new AbortController();
    this.#clock.sleep(this.#patience, given.signal).then(() => {
      const at = this.#waiting.indexOf(resolve);
      // It was handed over.
      if (at < 0) return;
      this.#waiting.splice(at, 1);
      this.#free--;
      resolve();
    });
    await promise;
    given.abort();
  }
}
