/**
 * The sum, or the largest, of what happened within a window of time that moves on.
 *
 * @module
 */

/** Into how many parts a window is divided, of which the oldest is dropped as a whole. */
const PARTS = 60;

/** Combines amounts of a time, which are not negative. The result is never too small. */
export class RollingWindow {
  readonly #part: number;
  readonly #combine: (a: number, b: number) => number;
  /** One more than {@linkcode PARTS}: the current one is not over. */
  readonly #amounts = new Float64Array(PARTS + 1);
  /** The number of the current part, counted from time 0. */
  #current = 0;

  /**
   * @param window its length, in milliseconds.
   * @param combine combines two amounts; by default it adds them up.
   */
  constructor(
    window: number,
    combine: (a: number, b: number) => number = (a, b) => a + b,
  ) {
    this.#part = window / PARTS;
    this.#combine = combine;
  }

  /** @param now in milliseconds of a monotonic clock. */
  add(amount: number, now: number): void {
    this.#moveOn(now);
    const at = this.#current % this.#amounts.length;
    this.#amounts[at] = this.#combine(this.#amounts[at], amount);
  }

  /** What the amounts of the window come to that ends now; 0 if there is none. */
  total(now: number): number {
    this.#moveOn(now);
    return this.#amounts.reduce((a, b) => this.#combine(a, b), 0);
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
