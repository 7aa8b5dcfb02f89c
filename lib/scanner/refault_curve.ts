/**
 * What a cap would cost a group of processes: how many of its pages would have been paged
 * out under each cap, and come back.
 *
 * A page that is used again would have been out under every cap that is smaller than its
 * _stack distance_: what cannot go, and all pages that were used more recently. Pages of
 * the same age cannot be ordered, and are spread evenly. Of what was used in the same
 * interval as the page, half was used before it. What was never used while it was watched
 * is the oldest.
 *
 * What is kept does not grow with time: caps are in a fixed number of steps, which become
 * larger with the group.
 *
 * @module
 */

import { MOMENTS } from "./moments.ts";
import { type GroupReading, NEVER } from "./group_reading.ts";

/** The number of caps. */
const STEPS = 512;
/** The most readings whose ages are kept, evenly spread over the observation. */
const SAMPLES = MOMENTS;
const PAGE = 4096;
/** A last minute of less than so many seconds is added to the one before. */
const SHORTEST_MINUTE = 30;
const MINUTE = 60;

/** Above so many minutes, a few of them may exceed a limit: that share. */
const MANY_MINUTES = 50;
const EXCEEDING = 0.02;

/** How much of the curve is kept. */
export interface CurveOptions {
  /** In bytes: the largest cap of interest at first. */
  readonly largest: number;
  /** The number of caps; even. */
  readonly steps?: number;
  /** The most readings whose ages are kept; even. */
  readonly samples?: number;
}

/** What is known of a group besides the ages of its pages, in bytes. */
export interface Surroundings {
  /** What cannot go. */
  readonly fixed: number;
  /** What is in swap. */
  readonly out: number;
  /** Since the observation began. */
  readonly seconds: number;
  /**
   * Whether it has only begun, so that it says nothing about pages that are used for the
   * first time: they may have been used just before. Caps that cut into such pages are
   * not judged meanwhile. Not by default.
   */
  readonly hasJustBegun?: boolean;
}

/** Pages a second. */
export interface Refaults {
  readonly fromSwap: number;
  readonly fromFiles: number;
}

/** For how long pages are not used that a cap pages out. */
export interface IdleTime {
  /** In seconds; `null` if the cap pages out nothing. */
  readonly seconds: number | null;
  /** Whether these pages were not used at all while they were watched. */
  readonly isAtLeast: boolean;
}

/** What each of many caps would have cost. */
export class RefaultCurve {
  readonly #steps: number;
  readonly #samples: number;
  /** The cap with the index 0, and the distance of the others, in bytes. */
  #step: number;
  /** Pages that would have come back, by cap. */
  #fromSwap: Float64Array;
  #fromFiles: Float64Array;
  /** The same of each minute in which a reading was, from both. */
  readonly #minutes = new Map<number, Float32Array>();
  #minuteCount = 0;
  /** How many seconds the last minute has so far. */
  #seconds = 0;
  /** For how many seconds it is known what would have come back, by cap. */
  #known: Float64Array;
  /** When the last reading was. */
  #lastSeconds: number | undefined;
  /** The age at which each cap cuts, by reading; negative if it is one of pages never used. */
  #ages: Float32Array[] = [];
  /** Of so many readings, the ages of one are kept, and how many have not been kept since. */
  #stride = 1;
  #skipped = 0;

  constructor({ largest, steps = STEPS, samples = SAMPLES }: CurveOptions) {
    this.#steps = steps;
    this.#samples = samples;
    this.#step = Math.ceil(Math.max(largest, PAGE) / steps / PAGE) * PAGE;
    this.#fromSwap = new Float64Array(steps);
    this.#fromFiles = new Float64Array(steps);
    this.#known = new Float64Array(steps);
  }

  /** The caps for which costs are known, in ascending order, in bytes. */
  get caps(): number[] {
    return Array.from(
      { length: this.#steps },
      (_, index) => (index + 1) * this.#step,
    );
  }

  /** How many minutes were observed; the last may have begun only. */
  get minutes(): number {
    return this.#minuteCount;
  }

  /** Adds what a reading has found in use again. */
  add(
    reading: GroupReading,
    { fixed, out, seconds, hasJustBegun = false }: Surroundings,
  ): void {
    const { before, again, againBytes, fresh, returned } = reading;
    let younger = fixed + fresh / 2;
    for (const bytes of againBytes) younger += bytes / 2;
    const swap = new Float64Array(this.#steps);
    const file = new Float64Array(this.#steps);
    const total = before.reduce((sum, bytes) => sum + bytes, fixed);
    const largest = total + fresh / 2;
    const passed = total > fixed ? seconds - (this.#lastSeconds ?? seconds) : 0;
    this.#lastSeconds = seconds;
    this.#makeRoom(largest + Math.max(out, returned * PAGE));
    for (let band = 0; band < before.length; band++) {
      // What was used again besides, but is younger, is not counted twice.
      younger -= againBytes[band] / 2;
      const span = before[band];
      const [fromSwap, fromFiles] = [again.swap[band], again.file[band]];
      if (fromSwap > 0) this.#spread(swap, { pages: fromSwap, younger, span });
      if (fromFiles > 0) {
        this.#spread(file, { pages: fromFiles, younger, span });
      }
      younger += span;
    }
    if (returned > 0) {
      const bytes = returned * PAGE;
      this.#spread(swap, {
        pages: returned,
        younger: largest - Math.min(bytes, fresh) / 2,
        span: Math.max(out, bytes),
      });
    }
    const minute = this.#minuteOf(seconds);
    // Caps that cut into what may have been used just before.
    const unknown = hasJustBegun ? total - before[NEVER] : Infinity;
    for (let index = 0; index < this.#steps; index++) {
      const cap = (index + 1) * this.#step;
      if (cap > unknown && cap < total) continue;
      this.#known[index] += passed;
      this.#fromSwap[index] += swap[index];
      this.#fromFiles[index] += file[index];
      minute[index] += swap[index] + file[index];
    }
  }

  /** Spreads pages over the caps: their distance is at least one size, and evenly more. */
  #spread(
    to: Float64Array,
    { pages, younger, span }: {
      pages: number;
      younger: number;
      span: number;
    },
  ): void {
    for (let index = 0; index < this.#steps; index++) {
      const left = younger + span - (index + 1) * this.#step;
      if (left <= 0) return;
      to[index] += left >= span ? pages : pages * left / span;
    }
  }

  #minuteOf(seconds: number): Float32Array {
    const number = Math.max(Math.ceil(seconds / MINUTE) - 1, 0);
    this.#minuteCount = Math.max(this.#minuteCount, number + 1);
    this.#seconds = seconds - number * MINUTE;
    let minute = this.#minutes.get(number);
    if (!minute) {
      minute = new Float32Array(this.#steps);
      this.#minutes.set(number, minute);
    }
    return minute;
  }

  /** Adds the ages at which caps cut, as of the end of an interval. */
  addAges(reading: GroupReading, { fixed }: Pick<Surroundings, "fixed">): void {
    if (++this.#skipped < this.#stride) return;
    this.#skipped = 0;
    if (this.#ages.length === this.#samples) {
      this.#ages = this.#ages.filter((_, index) => index % 2 === 1);
      this.#stride *= 2;
    }
    const { after, neverUsed } = reading;
    const total = fixed + reading.resident;
    this.#makeRoom(total);
    const ages = new Float32Array(this.#steps).fill(Infinity);
    let index = 0;
    let end = fixed;
    for (let band = 0; band < after.length && index < this.#steps; band++) {
      if (after[band] === 0) continue;
      end += after[band];
      const age = reading.ageOf(band);
      for (; index < this.#steps; index++) {
        const cap = (index + 1) * this.#step;
        if (cap >= end) break;
        ages[index] = cap < total - neverUsed ? age : -age;
      }
    }
    this.#ages.push(ages);
  }

  /** Makes the steps as large as a cap requires. */
  #makeRoom(largest: number): void {
    while (largest > this.#step * this.#steps) {
      this.#step *= 2;
      this.#fromSwap = halved(this.#fromSwap, 0);
      this.#fromFiles = halved(this.#fromFiles, 0);
      this.#known = halved(this.#known, this.#known[this.#steps - 1]);
      for (const [number, minute] of this.#minutes) {
        this.#minutes.set(number, halved(minute, 0));
      }
      this.#ages = this.#ages.map((ages) => halved(ages, Infinity));
    }
  }

  /**
   * How many pages a second would have come back under a cap, on average.
   *
   * @param seconds for how long it is known.
   */
  refaults(
    cap: number,
    seconds: number = this.#at(this.#known, cap),
  ): Refaults {
    const mean = (pages: Float64Array) =>
      seconds > 0 ? this.#at(pages, cap) / seconds : 0;
    return {
      fromSwap: mean(this.#fromSwap),
      fromFiles: mean(this.#fromFiles),
    };
  }

  /** The value at a cap, between those of the caps beside it. */
  #at(values: ArrayLike<number>, cap: number): number {
    const place = cap / this.#step - 1;
    const below = Math.min(Math.max(Math.floor(place), 0), this.#steps - 1);
    const above = Math.min(below + 1, this.#steps - 1);
    const part = Math.min(Math.max(place - below, 0), 1);
    return values[below] * (1 - part) + values[above] * part;
  }

  /**
   * How many pages would have come back in the worst minute; with more than 50 of them, in
   * the worst but 2 %.
   */
  worstMinute(cap: number): number {
    const { rates, count } = this.#minuteRates(cap);
    const left = count > MANY_MINUTES ? Math.floor(count * EXCEEDING) : 0;
    // The others had no reading, and nothing that came back.
    return rates.sort((a, b) => b - a)[left] ?? 0;
  }

  /**
   * Pages in each minute in which a reading was, and how many minutes there are in all;
   * pages of a part of one as if the rest were like it.
   */
  #minuteRates(cap: number): { rates: number[]; count: number } {
    const last = this.#minuteCount - 1;
    const isJoined = last > 0 && this.#seconds < SHORTEST_MINUTE;
    const rates: number[] = [];
    let end = 0;
    for (const [number, minute] of this.#minutes) {
      const pages = this.#at(minute, cap);
      if (number === last || (isJoined && number === last - 1)) end += pages;
      else rates.push(pages);
    }
    if (last < 0) return { rates, count: 0 };
    const seconds = isJoined
      ? MINUTE + this.#seconds
      : Math.max(this.#seconds, 1);
    rates.push(end * MINUTE / seconds);
    return { rates, count: last + (isJoined ? 0 : 1) };
  }

  /** For how long pages are not used that a cap pages out: the median over the readings. */
  idleTime(cap: number): IdleTime {
    // Of the cap below it, which cuts more.
    const index = Math.min(
      Math.max(Math.floor(cap / this.#step) - 1, 0),
      this.#steps - 1,
    );
    const ages = this.#ages.map((ages) => ages[index])
      .sort((a, b) => Math.abs(a) - Math.abs(b));
    const age = ages[Math.floor((ages.length - 1) / 2)] ?? Infinity;
    return Math.abs(age) === Infinity
      ? { seconds: null, isAtLeast: false }
      : { seconds: Math.abs(age), isAtLeast: age < 0 };
  }

  /**
   * The smallest cap under which no minute would have had more refaults than a limit.
   *
   * @param limit in pages a minute.
   * @param least the smallest cap that is predicted.
   */
  smallestCap(limit: number, least: number): number {
    let [low, high] = [
      Math.max(least, this.#step),
      this.#step * this.#steps,
    ];
    if (this.worstMinute(low) <= limit) return low;
    while (high - low > PAGE) {
      const middle = (low + high) / 2;
      if (this.worstMinute(middle) <= limit) high = middle;
      else low = middle;
    }
    return Math.ceil(high / PAGE) * PAGE;
  }
}

/** Every second value: those of the caps that are left. */
function halved<T extends Float32Array | Float64Array>(
  values: T,
  above: number,
): T {
  const half = values.slice() as T; // slice() of a typed array returns its own type.
  const { length } = values;
  for (let index = 0; index < length; index++) {
    half[index] = 2 * index + 1 < length ? values[2 * index + 1] : above;
  }
  return half;
}
