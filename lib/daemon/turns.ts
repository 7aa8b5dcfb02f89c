/**
 * Letting only so many do something at a time.
 *
 * @module
 */

/** Hands out turns, first come, first served. */
export class Turns {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  /** @param places how many may have a turn at a time. */
  constructor(places: number) {
    this.#free = places;
  }

  /** Waits for a turn; `using` ends it. */
  async take(): Promise<Disposable> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return {
      [Symbol.dispose]: () => {
        const next = this.#waiting.shift();
        if (next) next();
        else this.#free++;
      },
    };
  }
}
