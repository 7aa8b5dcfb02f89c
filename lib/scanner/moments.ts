/**
 * The moments at which pages were last known to be in use, each with a number that fits
 * a byte. So a page that is not used keeps its number, and nothing is added to it, while
 * its age grows.
 *
 * There are 256 numbers. When they run out, moments that are close to each other,
 * compared to how long ago they are, become one.
 *
 * @module
 */

/** The number of moments. */
export const MOMENTS = 256;

/**
 * How far apart the moments that become one may be, as a share of the age of the
 * latest. An age is too small by at most as much.
 */
export const TOLERANCE = 0.25;

/** Moments of the past, from the first on. Times are in seconds. */
export class Moments {
  /** The latest of the moments that have a number, since the first. */
  readonly #times = new Float64Array(MOMENTS);
  /** The earliest of them. */
  readonly #earliest = new Float64Array(MOMENTS);
  /** The number of the last moment. */
  #last = 0;

  /** The number of the last moment, which is now. */
  get last(): number {
    return this.#last;
  }

  /** How long ago a moment was. */
  ageOf(moment: number): number {
    return this.#times[this.#last] - this.#times[moment];
  }

  /** Whether the next moment needs numbers that are in use. */
  get isFull(): boolean {
    return this.#last === MOMENTS - 1;
  }

  /** Adds a moment, so many seconds after the last. */
  add(seconds: number): void {
    const time = this.#times[this.#last] + Math.max(0, seconds);
    this.#times[++this.#last] = time;
    this.#earliest[this.#last] = time;
  }

  /**
   * Makes room for new moments.
   *
   * @returns the new number of each.
   */
  makeRoom(): Uint8Array {
    const [times, earliest] = [this.#times, this.#earliest];
    // Which of them become one, counted from the last.
    const group = new Uint8Array(MOMENTS);
    let groups = 0;
    let latest = this.#last;
    for (let moment = this.#last - 1; moment >= 0; moment--) {
      const span = times[latest] - earliest[moment];
      // The first moment stays alone: it has the pages that were never used.
      if (moment === 0 || span > this.ageOf(latest) * TOLERANCE) {
        groups++;
        latest = moment;
      }
      group[moment] = groups;
    }
    const number = new Uint8Array(MOMENTS);
    let before = -1;
    for (let moment = 0; moment <= this.#last; moment++) {
      const to = number[moment] = groups - group[moment];
      // The group has its earliest moment first, and its latest last.
      if (to !== before) earliest[to] = earliest[moment];
      times[to] = times[moment];
      before = to;
    }
    this.#last = groups;
    return number;
  }
}
