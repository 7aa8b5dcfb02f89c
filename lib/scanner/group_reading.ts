/**
 * One reading of a group of processes: how much of it was how old, and what of it was
 * used again. Ages are in bands, which are exact for short ages: pages of different
 * processes that were last used in the same interval have the same age.
 *
 * @module
 */

import type { PageAges } from "./ages.ts";
import type { Origin } from "./used_again.ts";

/** Ages of less than so many intervals have a band for each. */
const EXACT = 64;
/** How many bands an octave of longer ages has. */
const PER_OCTAVE = 8;
/** The band of what was never used while it was watched: its age is not known. */
export const NEVER = EXACT + PER_OCTAVE * 18;
/** The number of bands; those of known ages are up to 2^24 intervals. */
const BANDS = NEVER + 1;

/** Sizes are in bytes, by band of age. Times are in seconds. */
export class GroupReading {
  /** The interval between two readings, which ages are counted in. */
  readonly #interval: number;
  /** What was how old before the reading. */
  readonly before = new Float64Array(BANDS);
  /** What is how old after it, and the ages of that, multiplied by the bytes. */
  readonly after = new Float64Array(BANDS);
  readonly #ages = new Float64Array(BANDS);
  /** How many pages were used again, by where they would have come from. */
  readonly again: Readonly<Record<Origin, Float64Array>> = {
    swap: new Float64Array(BANDS),
    file: new Float64Array(BANDS),
  };
  /** Size of the pages that were used again. */
  readonly againBytes = new Float64Array(BANDS);
  /** Size of the pages that were not in memory before. */
  fresh = 0;
  /** How many pages that were in swap have come back. */
  returned = 0;
  /** What was in use in the interval. */
  inUse = 0;
  /** What has not been used since it was first watched. */
  neverUsed = 0;
  /** Whether large pages are among the pages that were used again. */
  hasLarge = false;

  /** @param interval the shortest time between two readings of a process. */
  constructor(interval: number) {
    this.#interval = interval;
  }

  /** Adds a process of which a reading was taken. */
  addRead(ages: PageAges): void {
    const { again, bytesBefore } = ages;
    const after = ages.bytesByMoment();
    this.#addAfter(ages, after, 0);
    if (!again || !bytesBefore) return;
    const moments = bytesBefore.length;
    for (let moment = 0; moment < moments; moment++) {
      if (bytesBefore[moment] === 0) continue;
      this.before[this.#bandOf(ages, moment)] += bytesBefore[moment];
    }
    for (const { origin, pageSize, pages } of again.counts) {
      for (let moment = 0; moment < moments; moment++) {
        if (pages[moment] === 0) continue;
        const band = this.#bandOf(ages, moment);
        this.again[origin][band] += pages[moment];
        this.againBytes[band] += pages[moment] * pageSize;
      }
    }
    let resident = 0;
    for (let moment = 0; moment < moments; moment++) resident += after[moment];
    this.fresh += Math.max(0, resident - again.kept);
    this.returned += again.returned;
    this.hasLarge ||= again.hasLarge;
  }

  /**
   * Adds a process that was not read.
   *
   * @param seconds since its last reading.
   */
  addUnread(ages: PageAges, seconds: number): void {
    const bytes = ages.bytesByMoment();
    this.#addAfter(ages, bytes, seconds);
    for (let moment = 0; moment < bytes.length; moment++) {
      if (bytes[moment] === 0) continue;
      const band = this.#bandOf(ages, moment, seconds);
      this.before[band] += bytes[moment];
    }
  }

  #addAfter(ages: PageAges, bytes: Float64Array, seconds: number): void {
    for (let moment = 0; moment < bytes.length; moment++) {
      if (bytes[moment] === 0) continue;
      const age = ages.ageOf(moment) + seconds;
      const band = this.#bandOf(ages, moment, seconds);
      this.after[band] += bytes[moment];
      this.#ages[band] += bytes[moment] * age;
    }
    this.inUse += ages.referencedBytes;
    this.neverUsed += ages.neverReferencedBytes;
  }

  /** @param seconds since the reading of the process. */
  #bandOf(ages: PageAges, moment: number, seconds = 0): number {
    // The first moment is that of pages that were not used since.
    if (moment === 0) return NEVER;
    const age = ages.ageOf(moment) + seconds;
    const steps = Math.round(age / this.#interval);
    if (steps < EXACT) return Math.max(0, steps);
    const octaves = Math.log2(steps / EXACT);
    return Math.min(EXACT + Math.floor(octaves * PER_OCTAVE), NEVER - 1);
  }

  /** How old the pages of a band are after the reading, on average. */
  ageOf(band: number): number {
    const bytes = this.after[band];
    return bytes === 0 ? 0 : this.#ages[band] / bytes;
  }

  /** What was used within so many seconds before the reading. */
  usedWithin(seconds: number): number {
    let bytes = 0;
    for (let band = 0; band < NEVER; band++) {
      if (this.ageOf(band) < seconds) bytes += this.after[band];
    }
    return bytes;
  }

  /** What can go, in all. */
  get resident(): number {
    return this.after.reduce((sum, some) => sum + some, 0);
  }
}
