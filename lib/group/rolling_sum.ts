/**
 * A sum over a window of time that moves on.
 *
 * @module
 */

/** Into how many parts a window is divided, of which the oldest is dropped as a whole. */
const PARTS = 60;

/** Adds up what happened within a time. The sum is never too small. */
export class RollingSum {
  readonly #part: number;
  /** One more than {@linkcode PARTS}: the current one is not over. */
  readonly #amounts = new Float64Array(PARTS + 1);
  /** The number of the current part, counted from time 0. */
  #current = 0;

  /** @param window its length, in milliseconds. */
  constructor(window: number) {
    this.#part = window / PARTS;
  }

  /** @param now in milliseconds of a monotonic clock. */
  add(amount: number, now: number): void {
    this.#moveOn(now);
    this.#amounts[this.#current % this.#amounts.length] += amount;
  }

  /** The sum of the window that ends now. */
  sum(now: number): number {
    this.#moveOn(now);
    return this.#amounts.reduce((sum, amount) => sum + amount, 0);
  }

  #moveOn(now: number): void {
    const { length } = this.#amounts;
    const current = Math.floor(now / this.#part);
    const passed = current - this.#current;
    if (passed >= length) this.#amounts.fill(0);
    for (let part = 1; part <= passed && part < length; part++) {
      this.#amounts[(this.#current + part) % length] = 0;
    }
    this.#current = Math.max(current, this.#current);
  }
}
