/**
 * Finds for how long memory has to be idle before it may go, so that few of its pages are
 * used again: `idle = "auto"`.
 *
 * It learns from what was used again, and after how long: for each minute of the last
 * hour it knows the shortest idle time that would have kept the refaults of that minute
 * within the limit. It begins with a long time, shortens it slowly, and lengthens it at
 * once.
 *
 * @module
 */

/** For how long a group is seen before anything goes, in minutes. */
const FIRST_MINUTES = 5;

/** How many minutes are remembered. */
const REMEMBERED = 60;

/** The share of the remembered minutes whose refaults stay within the limit. */
const PERCENTILE = 0.98;

/** The shortest and the longest idle time, in seconds. */
const SHORTEST = 30;
const LONGEST = 86_400;

/** How much longer than what was needed an idle time is. */
const MARGIN = 1.25;

/** By how much an idle time gets shorter in a minute at most. */
const SHORTENING = 0.9;

/** By how much an idle time gets longer when refaults or pressure come. */
const RAISE = 2;

/** Ages are told apart in steps of a quarter of a doubling, from a second on. */
const STEPS_OF_DOUBLING = 4;
const STEPS = Math.ceil(Math.log2(LONGEST) * STEPS_OF_DOUBLING) + 1;

/** The least age of a step, in seconds. */
function ageOfStep(step: number): number {
  return 2 ** (step / STEPS_OF_DOUBLING);
}

/** What was learnt, as it is kept. */
export interface LearntIdleTime {
  /** The idle time that each of the last minutes would have needed, in seconds. */
  readonly needed: readonly number[];
  /** The idle time, in seconds. */
  readonly seconds: number;
}

/** The idle time of one group. */
export class IdleTime {
  /** Pages used again in this minute, by the step of the time for which they were idle. */
  readonly #again = new Float64Array(STEPS);
  /** The idle time that each of the last minutes would have needed. */
  #needed: number[];
  #seconds: number;
  #isRaised = false;

  /** @param learnt what an earlier daemon had learnt of the same programs. */
  constructor(learnt?: LearntIdleTime) {
    this.#needed = learnt?.needed.slice(-REMEMBERED) ?? [];
    this.#seconds = learnt?.seconds ?? FIRST_MINUTES * 60;
  }

  /** After how many seconds memory may go; `undefined` while too little was seen. */
  get seconds(): number | undefined {
    return this.#needed.length < FIRST_MINUTES ? undefined : this.#seconds;
  }

  /** What was learnt. */
  get learnt(): LearntIdleTime {
    return { needed: [...this.#needed], seconds: this.#seconds };
  }

  /** Notes pages that were used again after they had been idle for a time, in seconds. */
  usedAgain(pages: number, seconds: number): void {
    const step = Math.floor(
      Math.log2(Math.max(1, seconds)) * STEPS_OF_DOUBLING,
    );
    this.#again[Math.min(step, STEPS - 1)] += pages;
  }

  /**
   * Lengthens the idle time, since more was used again than may be, or memory is under
   * pressure. It does so once a minute at most, so that its effect shows.
   */
  raise(): void {
    if (this.#isRaised) return;
    this.#isRaised = true;
    this.#seconds = Math.min(this.#seconds * RAISE, LONGEST);
  }

  /**
   * Ends a minute.
   *
   * @param most how many pages may be used again in a minute.
   */
  endMinute(most: number): void {
    let needed = this.#neededFor(most);
    if (this.#isRaised) needed = Math.max(needed, this.#seconds / MARGIN);
    this.#again.fill(0);
    this.#isRaised = false;
    this.#needed.push(needed);
    if (this.#needed.length > REMEMBERED) this.#needed.shift();
    const wanted = this.#highNeed * MARGIN;
    this.#seconds = Math.min(
      Math.max(wanted, this.#seconds * SHORTENING, SHORTEST),
      LONGEST,
    );
  }

  /** The shortest idle time at which no more pages than `most` would have come back. */
  #neededFor(most: number): number {
    let pages = 0;
    for (let step = STEPS - 1; step >= 0; step--) {
      pages += this.#again[step];
      if (pages > most) return ageOfStep(step + 1);
    }
    return 0;
  }

  /** The high percentile of what the remembered minutes needed. */
  get #highNeed(): number {
    const sorted = this.#needed.toSorted((a, b) => a - b);
    return sorted[Math.ceil(sorted.length * PERCENTILE) - 1];
  }
}
