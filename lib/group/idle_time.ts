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

import type { IdleTimeState } from "./state.ts";

/** For how long a group is seen before anything goes, in minutes. */
export const FIRST_MINUTES = 5;

/** How many minutes are remembered. */
export const REMEMBERED = 60;

/** The share of the remembered minutes whose refaults stay within the limit. */
const PERCENTILE = 0.98;

/** The shortest and the longest idle time, in seconds. */
export const SHORTEST = 30;
export const LONGEST = 86_400;

/** How much longer than what was needed an idle time is. */
const MARGIN = 1.25;

/** By how much an idle time gets shorter in a minute at most. */
const SHORTENING = 0.9;

/** By how much an idle time gets longer when refaults or pressure come. */
const RAISE = 2;

/** Ages are told apart in steps of a quarter of a doubling, from a second on. */
const STEPS_OF_DOUBLING = 4;
const STEPS = Math.ceil(Math.log2(LONGEST) * STEPS_OF_DOUBLING) + 1;

/** A minute, in milliseconds. */
const MINUTE = 60_000;

/** The least age of a step, in seconds. */
function ageOfStep(step: number): number {
  return 2 ** (step / STEPS_OF_DOUBLING);
}

function stepOfAge(seconds: number): number {
  const step = Math.log2(Math.max(1, seconds)) * STEPS_OF_DOUBLING;
  return Math.min(Math.floor(step), STEPS - 1);
}

/** What was learnt, as it is kept. */
export interface LearntIdleTime {
  /** The idle time that each of the last minutes would have needed, in seconds. */
  readonly needed: readonly number[];
  /** The idle time, in seconds. */
  readonly seconds: number;
}

/** What a sample tells of a group. */
export interface IdleTimeSample {
  /** How many pages may be used again in a minute. */
  readonly most: number;
  /** How many pages that had gone came back in the last minute; an upper bound. */
  readonly refaults: number;
  /** Whether it is known what the group uses. */
  readonly isObserved: boolean;
  /** Whether the memory pressure is above its limit. */
  readonly isUnderPressure: boolean;
}

/** Why an idle time was lengthened. */
type Reason = NonNullable<IdleTimeState["raisedBy"]>;

/** The idle time of one group. */
export class IdleTime {
  /** Pages used again in this minute, by the step of the time for which they were idle. */
  readonly #again = new Float64Array(STEPS);
  /** The same of pages that had left; some of them may have been given back and made anew. */
  readonly #back = new Float64Array(STEPS);
  /** The idle time that each of the last minutes would have needed. */
  #needed: number[] = [];
  #seconds = FIRST_MINUTES * 60;
  /** Why it was lengthened in this minute. */
  #raisedBy: Reason | null = null;
  /** The same of the last minutes of which one lengthened it, and how many ended since. */
  #lastRaise: { by: Reason; minutes: number } | undefined;
  /** Whether memory went because it was idle since the idle time was last lengthened. */
  #hasTaken = false;
  /** When this minute began, in milliseconds; all of it was observed. */
  #since: number | undefined;

  /** @param learnt what an earlier daemon had learnt of the same programs. */
  constructor(learnt?: LearntIdleTime) {
    if (!learnt) return;
    this.#needed = learnt.needed.slice(-REMEMBERED);
    this.#seconds = learnt.seconds;
  }

  /** After how many seconds memory may go; `undefined` while too little was seen. */
  get seconds(): number | undefined {
    return this.#needed.length < FIRST_MINUTES ? undefined : this.#seconds;
  }

  /** The time by which the group is observed, in seconds: also while it learns. */
  get observedFor(): number {
    return this.#seconds;
  }

  /** What was learnt; `undefined` if nothing was. */
  get learnt(): LearntIdleTime | undefined {
    return this.#needed.length === 0
      ? undefined
      : { needed: [...this.#needed], seconds: this.#seconds };
  }

  /** What is known, for reports. */
  get state(): IdleTimeState {
    return {
      seconds: this.seconds ?? null,
      minutes: this.#needed.length,
      leastMinutes: FIRST_MINUTES,
      raisedBy: this.#raisedBy ?? this.#lastRaise?.by ?? null,
    };
  }

  /** Forgets everything, since another program may need another time. */
  forget(): void {
    this.#needed = [];
    this.#seconds = FIRST_MINUTES * 60;
    this.#raisedBy = null;
    this.#lastRaise = undefined;
    this.#hasTaken = false;
    this.#begin(undefined);
  }

  /**
   * Notes pages that were used again after they had been idle for a time, in seconds.
   *
   * @param hadLeft whether they were not in memory meanwhile.
   */
  usedAgain(pages: number, seconds: number, hadLeft = false): void {
    (hadLeft ? this.#back : this.#again)[stepOfAge(seconds)] += pages;
  }

  /** Notes that memory has gone because it was idle. */
  tookOut(): void {
    this.#hasTaken = true;
  }

  /**
   * Records a sample.
   *
   * @param now in milliseconds of a monotonic clock.
   * @returns whether a minute has ended, from which something was learnt.
   */
  sampled(sample: IdleTimeSample, now: number): boolean {
    const { most, refaults, isObserved, isUnderPressure } = sample;
    // Of what comes back later, more than this may have gone too early.
    if (this.#hasTaken && refaults > most) this.#raise("refaults");
    if (this.#hasTaken && isUnderPressure) this.#raise("pressure");
    if (!isObserved) this.#begin(undefined);
    else this.#since ??= now;
    if (this.#since === undefined || now - this.#since < MINUTE) return false;
    this.#endMinute(most, refaults);
    this.#begin(now);
    return true;
  }

  #begin(now: number | undefined): void {
    this.#again.fill(0);
    this.#back.fill(0);
    this.#since = now;
  }

  /**
   * Lengthens the idle time, since more was used again than may be, or memory is under
   * pressure. It does so again only after more has gone, so that its effect shows.
   */
  #raise(by: Reason): void {
    this.#hasTaken = false;
    this.#raisedBy = by;
    this.#seconds = Math.min(this.#seconds * RAISE, LONGEST);
  }

  /**
   * Ends a minute.
   *
   * @param most how many pages may be used again in a minute.
   * @param refaults how many of those that had left were read back, at most.
   */
  #endMinute(most: number, refaults: number): void {
    let needed = this.#neededFor(most, refaults);
    const last = this.#lastRaise;
    if (this.#raisedBy) {
      needed = Math.max(needed, this.#seconds / MARGIN);
      this.#lastRaise = { by: this.#raisedBy, minutes: 0 };
    } else if (last && ++last.minutes >= REMEMBERED) {
      this.#lastRaise = undefined;
    }
    this.#raisedBy = null;
    this.#needed.push(needed);
    if (this.#needed.length > REMEMBERED) this.#needed.shift();
    const wanted = this.#highNeed * MARGIN;
    this.#seconds = Math.min(
      Math.max(wanted, this.#seconds * SHORTENING, SHORTEST),
      LONGEST,
    );
  }

  /** The shortest idle time at which no more pages than `most` would have come back. */
  #neededFor(most: number, refaults: number): number {
    const back = this.#back.reduce((sum, pages) => sum + pages, 0);
    // What was not read back was made anew.
    const share = back > 0 ? Math.min(1, refaults / back) : 0;
    let pages = 0;
    for (let step = STEPS - 1; step >= 0; step--) {
      pages += this.#again[step] + this.#back[step] * share;
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
