/**
 * The age of every page: for how many seconds it has not been referenced. One byte per
 * recorded page, carried from reading to reading while mappings change, grow and move.
 *
 * @module
 */

import { endOffset, firstOffset, type Pagedata } from "../memory/pagedata.ts";
import { AgeCarrier, TRIED } from "./carry_ages.ts";
import { DepartedPages } from "./departed_pages.ts";
import { MOMENTS, Moments } from "./moments.ts";
import { findMoves, isSameSpace } from "./moves.ts";
import type { OutPages } from "./out_pages.ts";
import { type UnusedGrowth, unusedGrowth } from "./unused_growth.ts";
import { type OriginOf, UsedAgain } from "./used_again.ts";

/** Ages of less than this many seconds are in the first band. */
const FIRST_BAND = 0.5;

/**
 * The number of bands, which group similar ages: band 0 is age 0, in use; band 1 contains
 * ages below half a second, and each further one ages of up to twice as long; the last
 * has those of more than 18 hours.
 */
export const BANDS = 20;

/** Returns the band of an age in seconds. */
export function bandOfAge(seconds: number): number {
  return seconds <= 0 ? 0 : bandOfSteps(Math.floor(seconds / FIRST_BAND));
}

/** Returns the band of an age that is not 0, in whole steps of half a second. */
function bandOfSteps(steps: number): number {
  return Math.min(33 - Math.clz32(steps), BANDS - 1);
}

/** What is to be known of a process besides its ages. */
export interface PageAgesOptions {
  /**
   * Where pages come from when they come back. Only with it, pages in use again are
   * counted.
   */
  readonly originOf?: OriginOf;
  /** The pages that are in swap, if it is of interest whether they come back. */
  readonly out?: OutPages;
}

/** The ages of the pages of one process. */
export class PageAges {
  /**
   * What the last reading found in use again, and by when it had been in use before;
   * `undefined` if it is not counted.
   */
  readonly again: UsedAgain | undefined;
  readonly #out: OutPages | undefined;
  #pagedata: Pagedata | undefined;
  readonly #moments = new Moments();
  #used = new Uint8Array(0);
  #usedBefore = new Uint8Array(0);
  /** The pages that are not resident any more. */
  readonly #departed = new DepartedPages();
  /** Whether the bits belong to the current interval. */
  #isOpen = false;
  /** Whether references were not reset after the last reading. */
  #isContinued = false;
  /** Whether pages of the last reading have been paged out since. */
  isStale = false;
  /** What {@linkcode bytesByMoment} has counted of the last reading, and of the one before. */
  #bytes: Float64Array | undefined;
  #bytesBefore: Float64Array | undefined;
  /** Buffers for the next moments: those of the previous ones. */
  #room: [Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>] = [
    new Uint8Array(0),
    new Uint8Array(0),
  ];

  constructor({ originOf, out }: PageAgesOptions = {}) {
    this.again = originOf && new UsedAgain(originOf);
    this.#out = out;
  }

  /**
   * The last reading. Its bits are `REFERENCED` and `MODIFIED` as read, and for an
   * unreferenced page what was done with it: `COOLED` and `TRIED`.
   */
  get pagedata(): Pagedata | undefined {
    return this.#pagedata;
  }

  /**
   * When every page of the last reading was last known to be in use, in the order of its
   * `bits`: the number of a moment, of which {@linkcode ageOf} has the age.
   */
  get used(): Uint8Array {
    return this.#used;
  }

  /**
   * When every page had been in use before it was last in use, likewise; the same moment
   * if that is not known.
   */
  get usedBefore(): Uint8Array {
    return this.#usedBefore;
  }

  /** The age of the pages of a moment, in seconds, as of the end of the last interval. */
  ageOf(moment: number): number {
    return this.#moments.ageOf(moment);
  }

  /**
   * The last moment so long ago: pages last used then or before have been idle for that
   * many seconds. -1 if there is none.
   */
  lastMomentBefore(seconds: number): number {
    let moment = this.#moments.last;
    while (moment >= 0 && this.ageOf(moment) < seconds) moment--;
    return moment;
  }

  /**
   * Returns a function that ranks a page by the index of its bits: by the band of its
   * age, or of the *gap* between its last two uses if that is longer, since it may be as
   * long again before the page is needed. Pages in use have band 0.
   */
  get bandOfPage(): (at: number) => number {
    const bands = new Uint8Array(MOMENTS);
    // In whole steps of the first band.
    const steps = new Int32Array(MOMENTS);
    const last = this.#moments.last;
    for (let moment = 0; moment <= last; moment++) {
      bands[moment] = bandOfAge(this.ageOf(moment));
      steps[moment] = (this.ageOf(0) - this.ageOf(moment)) / FIRST_BAND;
    }
    const [used, usedBefore] = [this.#used, this.#usedBefore];
    return (at) => {
      const moment = used[at];
      const band = bands[moment];
      if (band === 0) return 0;
      const gap = steps[moment] - steps[usedBefore[at]];
      return Math.max(band, bandOfSteps(gap));
    };
  }

  /**
   * Takes a reading that ends an interval. Referenced pages get age 0, others become
   * older. New pages have age 0; in the first reading, in which all pages are new,
   * unreferenced pages have the age of the interval.
   *
   * @param reading owned by this object afterwards.
   * @param seconds the length of the interval: the time from the reading, or reset, that
   * ended the interval before.
   * @param isReset whether references are reset after it.
   */
  advance(reading: Pagedata, seconds: number, isReset = true): void {
    const last = this.#addMoment(seconds);
    this.#take(reading, last);
    this.#isOpen = false;
    this.#isContinued = !isReset;
  }

  /**
   * Ends an interval without a reading: no page was referenced since the last one, and
   * nothing is reset.
   *
   * @param seconds as for {@linkcode advance}.
   */
  pass(seconds: number): void {
    this.#addMoment(seconds);
    // What an interval has seen until now belongs to the past, with its bits still set.
    this.#isContinued ||= this.#isOpen;
    this.#isOpen = false;
  }

  /** @returns the moment before. */
  #addMoment(seconds: number): number {
    const moments = this.#moments;
    if (moments.isFull) {
      this.#renumber(moments.makeRoom());
      this.#bytes = undefined;
    }
    const { last } = moments;
    moments.add(seconds);
    return last;
  }

  /**
   * Takes a reading within an interval. Referenced pages get age 0, others keep
   * their age.
   *
   * @param reading owned by this object afterwards.
   */
  look(reading: Pagedata): void {
    this.#take(reading, this.#moments.last);
    this.#isOpen = true;
  }

  /** @param inUse the moment of the pages that were in use in the interval before. */
  #take(reading: Pagedata, inUse: number): void {
    const before = this.#pagedata;
    const { last: moment } = this.#moments;
    const room = this.#room.map((room) =>
      makeRoom(room, reading.bits.length, moment)
    );
    const [used, usedBefore] = room;
    this.isStale = false;
    const { again } = this;
    // Of the pages in use again, none was in use at a moment that no page had.
    const bytesBefore = again && before ? this.bytesByMoment() : undefined;
    this.#bytesBefore = bytesBefore;
    this.#bytes = undefined;
    again?.begin(inUse);
    if (before) {
      const carrier = new AgeCarrier(
        {
          pagedata: before,
          used: this.#used,
          usedBefore: this.#usedBefore,
        },
        { pagedata: reading, used, usedBefore },
        {
          moment,
          // A reset of references by others must not make pages look idle.
          isSameInterval: this.#isOpen,
          isContinued: this.#isContinued,
          again,
        },
      );
      carrier.carryInPlace(this.#departed, this.#out);
      if (!isSameSpace(before.mappings, reading.mappings)) {
        for (const move of findMoves(before.mappings, reading.mappings)) {
          carrier.carryMoved(move);
        }
        this.#departed.keepMapped(reading.mappings);
      }
      this.#departed.limit(reading.bits.length);
    } else {
      this.#departed.first = moment;
      // The first interval began when references were reset: at moment 0.
      const { bits } = reading;
      for (let at = 0; at < bits.length; at++) {
        if (bits[at] === 0) used[at] = usedBefore[at] = 0;
      }
    }
    again?.end((moment) => bytesBefore?.[moment] !== 0);
    this.#pagedata = reading;
    this.#room = [
      new Uint8Array(this.#used.buffer),
      new Uint8Array(this.#usedBefore.buffer),
    ];
    this.#used = used;
    this.#usedBefore = usedBefore;
  }

  /** For how long growth can have been seen, in seconds: since the first reading. */
  get watchedFor(): number {
    return this.#pagedata ? this.ageOf(this.#departed.first) : 0;
  }

  /**
   * The pages that appeared at least some seconds ago, after the first reading, and were
   * not used again.
   */
  unusedGrowth(leastAge: number): UnusedGrowth[] {
    const pagedata = this.#pagedata;
    if (!pagedata) return [];
    const departed = this.#departed;
    return unusedGrowth({
      pagedata,
      used: this.#used,
      usedBefore: this.#usedBefore,
      departed,
      first: departed.first,
      ageOf: (moment) => this.ageOf(moment),
    }, leastAge);
  }

  #renumber(number: Uint8Array): void {
    for (const moments of [this.#used, this.#usedBefore]) {
      for (let at = 0; at < moments.length; at++) {
        moments[at] = number[moments[at]];
      }
    }
    this.#departed.renumber(number);
    const bytes = this.#bytes;
    if (!bytes) return;
    this.#bytes = new Float64Array(MOMENTS);
    for (let moment = 0; moment < MOMENTS; moment++) {
      this.#bytes[number[moment]] += bytes[moment];
    }
  }

  /**
   * Size of the pages that have not been referenced since the first interval, in
   * bytes.
   */
  get neverReferencedBytes(): number {
    return this.#pagedata && this.#moments.last > 0
      ? this.bytesByMoment()[0]
      : 0;
  }

  /** Size of what was not referenced in the last interval, in bytes. */
  get unreferencedBytes(): number {
    return this.residentBytes - this.referencedBytes;
  }

  /** Size of what was referenced in the last interval, in bytes. */
  get referencedBytes(): number {
    return this.bytesByMoment()[this.#moments.last];
  }

  /** Size of all pages, in bytes. */
  get residentBytes(): number {
    const bytes = this.bytesByMoment();
    let sum = 0;
    for (let moment = 0; moment < MOMENTS; moment++) sum += bytes[moment];
    return sum;
  }

  /** Clears `TRIED`, so that pages that were not paged out are tried again. */
  retry(): void {
    const bits = this.#pagedata?.bits;
    if (!bits) return;
    for (let at = 0; at < bits.length; at++) bits[at] &= ~TRIED;
  }

  /**
   * What {@linkcode bytesByMoment} was before the last reading, by the moments of now;
   * `undefined` if pages in use again are not counted, or it was the first.
   */
  get bytesBefore(): Float64Array | undefined {
    return this.#bytesBefore;
  }

  /** The size of the pages last used at each moment, in bytes; counted once a reading. */
  bytesByMoment(): Float64Array {
    return this.#bytes ??= this.#countBytes();
  }

  #countBytes(): Float64Array {
    const bytes = new Float64Array(MOMENTS);
    const pagedata = this.#pagedata;
    if (!pagedata) return bytes;
    const used = this.#used;
    const pages = new Uint32Array(MOMENTS);
    for (const mapping of pagedata.mappings) {
      const end = endOffset(pagedata, mapping);
      const first = firstOffset(pagedata, mapping);
      if (first === end) continue;
      pages.fill(0);
      for (let at = first; at < end; at++) pages[used[at]]++;
      for (let moment = 0; moment < MOMENTS; moment++) {
        bytes[moment] += pages[moment] * mapping.pageSize;
      }
    }
    return bytes;
  }
}

/** Returns room for the moments of pages, which are all new: that of others, if it fits. */
function makeRoom(
  room: Uint8Array<ArrayBuffer>,
  pages: number,
  moment: number,
): Uint8Array<ArrayBuffer> {
  const isUsable = room.length >= pages && room.length <= pages * 2 + 4096;
  const usable = isUsable ? room : new Uint8Array(pages);
  return usable.subarray(0, pages).fill(moment);
}

/** The size of the pages that were idle for a number of seconds or longer, in bytes. */
export interface IdleBytes {
  readonly seconds: number;
  readonly bytes: number;
}

/** The ages of which idle memory is reported, in seconds: up to a day. */
export const IDLE_SECONDS: readonly number[] = [
  1,
  2,
  5,
  10,
  30,
  60,
  300,
  900,
  3600,
  14_400,
  86_400,
];

/** Returns how much of some processes was idle for some times or longer. */
export function idleBytes(
  processes: Iterable<PageAges>,
  times: readonly number[] = IDLE_SECONDS,
): IdleBytes[] {
  const rows = times.map((seconds) => ({ seconds, bytes: 0 }));
  // Counted for every process at every sample, so nothing is allocated for a moment.
  for (const ages of processes) {
    const bytes = ages.bytesByMoment();
    for (let moment = 0; moment < MOMENTS; moment++) {
      if (bytes[moment] === 0) continue;
      // Timers are not exact.
      const age = ages.ageOf(moment) * 1.01;
      for (let row = 0; row < rows.length; row++) {
        if (age >= rows[row].seconds) rows[row].bytes += bytes[moment];
      }
    }
  }
  return rows;
}

/**
 * Returns the age in seconds that the oldest pages of some processes have at least, to a
 * power of two; 0 if not so much is idle.
 *
 * @param bytes how much of the oldest.
 */
export function leastAgeOfOldest(
  processes: Iterable<PageAges>,
  bytes: number,
): number {
  const sizes = new Float64Array(BANDS);
  for (const ages of processes) {
    const bytes = ages.bytesByMoment();
    for (let moment = 0; moment < MOMENTS; moment++) {
      if (bytes[moment] === 0) continue;
      sizes[bandOfAge(ages.ageOf(moment))] += bytes[moment];
    }
  }
  let older = 0;
  for (let band = BANDS - 1; band > 0; band--) {
    older += sizes[band];
    if (older >= bytes) return band === 1 ? 0 : FIRST_BAND * 2 ** (band - 2);
  }
  return 0;
}
