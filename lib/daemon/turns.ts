/**
 * Limits how many tasks run at a time, without letting any task block all others.
 *
 * @module
 */

import type { Clock } from "../platform/clock.ts";

/** Hands out turns, first come, first served. */
export class Turns {
  /** Negative while there are more turns than places. */
  #free: number;
  readonly #patience: number;
  readonly #clock: Clock;
  readonly #waiting: (() => void)[] = [];

  /**
   * @param places how many turns there are at a time.
   * @param patience after how many milliseconds of waiting a turn is granted even if
   * no place is free: the tasks that have one may be stuck.
   */
  constructor(places: number, patience: number, clock: Clock) {
    this.#free = places;
    this.#patience = patience;
    this.#clock = clock;
  }

  /** Waits for a turn; disposal ends it. */
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

  /** Waits until a turn is handed over, or until patience runs out. */
  async #wait(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push(resolve);
    const given = new AbortController();
    this.#clock.sleep(this.#patience, given.signal).then(() => {
      const at = this.#waiting.indexOf(resolve);
      // A turn was handed over.
      if (at < 0) return;
      this.#waiting.splice(at, 1);
      this.#free--;
      resolve();
    });
    await promise;
    given.abort();
  }
}
