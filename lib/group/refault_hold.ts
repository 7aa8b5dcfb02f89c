/**
 * Leaves a group alone, for longer each time, whose refaults are above their limit.
 *
 * @module
 */

/** The first and the longest time for which a group is left alone, in milliseconds. */
const FIRST = 60_000;
const LONGEST = 3_600_000;

/** Decides for how long a group is left alone. Times are in milliseconds. */
export class RefaultHold {
  #until = -Infinity;
  /** How long the last hold was. */
  #length = 0;
  /** Whether something was paged out since the last hold ended. */
  #hasTaken = false;
  #isAbove = false;

  /** Until when the group is left alone; it may be longer if refaults go on. */
  get until(): number {
    return this.#until;
  }

  /** Whether the group is to be left alone. */
  isHolding(now: number): boolean {
    return this.#isAbove || now < this.#until;
  }

  /** Notes that something was paged out. */
  tookOut(): void {
    this.#hasTaken = true;
  }

  /** Records whether refaults are above the limit. */
  sampled(isAbove: boolean, now: number): void {
    this.#isAbove = isAbove;
    // What was paged out before comes back.
    if (now < this.#until || !this.#hasTaken) return;
    if (isAbove) {
      this.#length = Math.min(Math.max(FIRST, this.#length * 2), LONGEST);
      this.#until = now + this.#length;
      this.#hasTaken = false;
    } else if (now - this.#until >= this.#length) {
      // It has been calm for as long as the group was left alone.
      this.#length = 0;
    }
  }
}
