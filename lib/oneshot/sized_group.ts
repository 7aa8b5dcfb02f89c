/**
 * A group of processes of which `rcap size` finds out what caps would cost.
 *
 * @module
 */

import type { SkipReason } from "../memory/process_memory.ts";
import { GroupReading } from "../scanner/group_reading.ts";
import { RefaultCurve } from "../scanner/refault_curve.ts";
import type { Staying } from "../collection/what_stays.ts";

/** The working set is what was used within so many seconds. */
const WORKING_SET = 120;

/** A mean over readings. */
class Mean {
  #sum = 0;
  #count = 0;

  add(value: number): void {
    this.#sum += value;
    this.#count++;
  }

  /** `undefined` before the first value. */
  get value(): number | undefined {
    return this.#count === 0 ? undefined : this.#sum / this.#count;
  }
}

/** A process of a group: one that is watched, or of a recording. Sizes are in bytes. */
export interface SizedMember {
  /** Whether it is watched. */
  readonly isWatched: boolean;
  readonly hasExited: boolean;
  /** The size by which the daemon would count it. */
  readonly size: number;
  /** What of it can go is recorded. */
  readonly recorded: number;
  /** What is in swap and may come back, now and when it was first watched. */
  readonly out: number;
  readonly outAtStart: number;
  /** What stays, and why. */
  readonly stays: readonly Staying[];
  /** The parts of it that can go: to swap, and to its files. */
  readonly pageable: { readonly toSwap: number; readonly toFiles: number };
  /** Adds what is known of it to a reading of its group. */
  addTo(reading: GroupReading): void;
  /** What looks in use, and was last reset longer ago than so many milliseconds. */
  unresetFor(milliseconds: number): number;
}

export interface SizedGroupOptions {
  /** The least interval of readings, in seconds. */
  readonly interval: number;
  /** For how long is to be watched, in seconds. */
  readonly observation: number;
  /** How exact the curve is: the number of caps, and of readings whose ages are kept. */
  readonly steps?: number;
  readonly samples?: number;
}

/** Sizes in bytes, times in seconds since the observation began. */
export class SizedGroup {
  readonly name: string;
  processes: SizedMember[] = [];
  readonly #options: SizedGroupOptions;
  #curve: RefaultCurve | undefined;
  readonly #inUse = new Mean();
  readonly #workingSet = new Mean();
  /** The working set as of the last reading. */
  #lastWorkingSet = 0;
  /** The last reading, and when. */
  #last: GroupReading | undefined;
  /** When the last reading was taken. */
  seconds = 0;
  readings = 0;
  startSize = 0;
  /** How many pages have come back that were out. */
  returned = 0;
  /** Whether large pages, whose parts cannot be told apart, were used again. */
  hasLarge = false;

  constructor(name: string, options: SizedGroupOptions) {
    this.name = name;
    this.#options = options;
  }

  /** The processes that are watched. */
  get watched(): SizedMember[] {
    return this.processes.filter(({ isWatched }) => isWatched);
  }

  /** The size as the daemon would count it; that of processes that cannot be read, too. */
  get size(): number {
    return sum(
      this.processes.filter(({ hasExited }) => !hasExited),
      (one) => one.size,
    );
  }

  /** What cannot go, or is not known. */
  get fixed(): number {
    const recorded = sum(this.watched, (one) => one.recorded);
    return Math.max(0, this.size - recorded);
  }

  /** What is in swap. */
  get out(): number {
    return sum(this.watched, (one) => one.out);
  }

  get outAtStart(): number {
    return sum(this.processes, (one) => one.outAtStart);
  }

  /** What can go, and needs swap for it; and what can go to its files. */
  get pageable(): { toSwap: number; toFiles: number } {
    return {
      toSwap: sum(this.watched, ({ pageable }) => pageable.toSwap),
      toFiles: sum(this.watched, ({ pageable }) => pageable.toFiles),
    };
  }

  /** What cannot go, by reason, the most first. */
  get stays(): { reason: SkipReason; bytes: number }[] {
    const bytes = new Map<SkipReason, number>();
    for (const { stays } of this.watched) {
      for (const { reason, proportional } of stays) {
        // Nothing is in swap that could not be there.
        if (reason === null || reason === "nonresident") continue;
        bytes.set(reason, (bytes.get(reason) ?? 0) + proportional);
      }
    }
    return Array.from(bytes, ([reason, bytes]) => ({
      reason,
      bytes: Math.round(bytes),
    })).sort((a, b) => b.bytes - a.bytes);
  }

  /** Forgets processes that have exited. */
  forgetExited(): void {
    this.processes = this.processes.filter(({ hasExited }) => !hasExited);
  }

  /** Begins, unless it has: the processes are measured. */
  begin(): void {
    if (this.#curve) return;
    this.startSize = this.size;
    const { steps, samples } = this.#options;
    const largest = this.startSize + this.out;
    this.#curve = new RefaultCurve({ largest, steps, samples });
  }

  /**
   * Takes over what readings of its processes have found.
   *
   * @param seconds since the observation began.
   * @param endsInterval whether they ended an interval.
   */
  take(seconds: number, endsInterval: boolean): void {
    const curve = this.#curve;
    if (!curve) return;
    const { interval, observation } = this.#options;
    const reading = new GroupReading(interval);
    for (const process of this.watched) process.addTo(reading);
    const { fixed, out } = this;
    const hasJustBegun = seconds < Math.min(WORKING_SET, observation / 2);
    curve.add(reading, { fixed, out, seconds, hasJustBegun });
    this.returned += reading.returned;
    this.hasLarge ||= reading.hasLarge;
    if (!endsInterval) return;
    curve.addAges(reading, { fixed });
    this.readings++;
    this.seconds = seconds;
    this.#last = reading;
    this.#inUse.add(fixed + reading.inUse);
    this.#lastWorkingSet = reading.usedWithin(WORKING_SET);
    const window = Math.min(WORKING_SET, observation);
    // Timers are not exact.
    if (seconds >= window * 0.99) this.#workingSet.add(this.#lastWorkingSet);
  }

  /** What caps would have cost; `undefined` before the observation began. */
  get curve(): RefaultCurve | undefined {
    return this.#curve;
  }

  /** What cannot go, and what is used within one interval, on average. */
  get least(): number {
    return this.#inUse.value ?? this.fixed;
  }

  /** What was used within two minutes, or the observation, on average, of what can go. */
  get workingSet(): number {
    return this.#workingSet.value ?? this.#lastWorkingSet;
  }

  /** For how long pages count as in the working set, in seconds. */
  get workingSetTime(): number {
    return Math.min(WORKING_SET, this.seconds);
  }

  /** What was not used at all while it was watched. */
  get neverUsed(): number {
    return this.#last?.neverUsed ?? 0;
  }

  /** What looks in use, and was last reset longer ago than so many seconds. */
  unresetFor(seconds: number): number {
    return sum(this.watched, (one) => one.unresetFor(seconds * 1000));
  }
}

function sum<T>(all: readonly T[], value: (one: T) => number): number {
  return all.reduce((total, one) => total + value(one), 0);
}
