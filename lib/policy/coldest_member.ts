/**
 * What the policy `coldest` keeps of a process: the ages of its pages.
 *
 * @module
 */

import type { Member } from "../group/member.ts";
import type { Pagedata } from "../memory/pagedata.ts";
import type { Clock } from "../platform/clock.ts";
import { AgedProcess } from "../scanner/aged_collection.ts";
import type { Pace } from "./coldest_pace.ts";
import type { ProcessAccess } from "./policy.ts";

/** Called with pages that were used again, and for how many seconds they had been idle. */
export type OnUsedAgain = (
  pages: number,
  seconds: number,
  hadLeft: boolean,
) => void;

/** The ages of a process's pages. */
export class Aging {
  readonly aged: AgedProcess;
  readonly #access: ProcessAccess;
  readonly #clock: Clock;
  readonly #onUsedAgain: OnUsedAgain | undefined;
  /** When the interval began, in milliseconds. */
  #since: number;
  /** Since when the process has not run, if it has not run since its last reading. */
  #stillSince: number;

  /**
   * The first interval begins now: its references have just been reset, or will be by
   * `begin`.
   */
  constructor(access: ProcessAccess, clock: Clock, onUsedAgain?: OnUsedAgain) {
    this.#access = access;
    this.#clock = clock;
    this.#since = this.#stillSince = clock.now();
    this.#onUsedAgain = onUsedAgain;
    // Where a page comes from makes no difference.
    const originOf = () => "swap" as const;
    const options = onUsedAgain && { originOf };
    this.aged = new AgedProcess(access.scanMemory, options);
  }

  /** For how long the interval has lasted, in milliseconds. */
  get length(): number {
    return this.#clock.now() - this.#since;
  }

  /** Starts to record references and ages. */
  async begin(): Promise<void> {
    await this.#access.memory.reset();
    this.aged.forget();
    this.#since = this.#clock.now();
  }

  /**
   * Whether nothing uses the memory of the process until it runs again: it cannot run, or
   * has not for a time. Of one that runs, that is known from the next reading on.
   *
   * @param after the time, in milliseconds.
   */
  rests(after: number): boolean {
    const { memory } = this.#access;
    const isStill = this.aged.isAged && !memory.hasRun();
    if (this.aged.isAged && !isStill) return false;
    if (!memory.isAlone?.()) return false;
    if (this.aged.isResting) return true;
    return isStill && this.#clock.now() - this.#stillSince >= after ||
      (memory.isHalted?.() ?? false);
  }

  /** Whether the process has not run since it was last read, and all of it was judged. */
  get isStill(): boolean {
    const { ages, isAged } = this.aged;
    const { memory } = this.#access;
    return isAged && !ages.isStale && !memory.hasRun() && !memory.unjudged;
  }

  /** Adds the references that are visible now, without resetting them. */
  async look(): Promise<void> {
    this.aged.ages.look(await this.#glance());
    this.#tellUsedAgain();
  }

  /** Reads which pages there are of a process that uses none, where this is not known. */
  async rest(): Promise<void> {
    const { aged } = this;
    aged.isResting = true;
    if (aged.isAged && !aged.ages.isStale) return;
    const reading = await this.#glance();
    reading.bits.fill(0);
    if (aged.isAged) return aged.ages.look(reading);
    aged.ages.advance(reading, 0, false);
    this.#since = this.#clock.now();
  }

  /** Ends an interval in which the process has not run. */
  pass(): void {
    const now = this.#clock.now();
    this.aged.ages.pass((now - this.#since) / 1000);
    this.#since = now;
  }

  #glance(): Promise<Pagedata> {
    return this.#read(() => this.#access.memory.read("glance"));
  }

  /** Reads pagedata, and notes whether the process has run until then. */
  async #read(read: () => Promise<Pagedata>): Promise<Pagedata> {
    const hasRun = this.#access.memory.hasRun();
    const reading = await read();
    if (hasRun) this.#stillSince = this.#clock.now();
    return reading;
  }

  /**
   * Ends an interval: pages not referenced in it become older.
   *
   * @param isReset whether references are reset. Without, pages in use stay in use, and
   * others become older as well.
   */
  async advance({ isReset = true } = {}): Promise<void> {
    const { scanMemory } = this.#access;
    const now = this.#clock.now();
    const reading = isReset
      ? await this.#read(() => scanMemory.readPagedata())
      : await this.#glance();
    this.aged.ages.advance(reading, (now - this.#since) / 1000, isReset);
    this.#since = now;
    this.#tellUsedAgain();
  }

  /** Tells what the last reading found in use again. */
  #tellUsedAgain(): void {
    const { ages } = this.aged;
    const { again } = ages;
    const tell = this.#onUsedAgain;
    if (!again || !tell) return;
    const tellAll = (pages: Int32Array, hadLeft: boolean) => {
      for (const [moment, count] of pages.entries()) {
        if (count > 0) tell(count, ages.ageOf(moment), hadLeft);
      }
    };
    for (const { pages } of again.counts) tellAll(pages, false);
    tellAll(again.back, true);
  }

  /** Makes references to pages in use visible again. */
  refresh(): Promise<void> {
    return this.#access.memory.refresh();
  }

  /** Reads which mappings can be paged out. */
  async readResidency(): Promise<void> {
    this.aged.residency = await this.#access.scanMemory.readResidency();
  }
}

/** A member with the ages of its pages. Times are in milliseconds of the monotonic clock. */
export class ColdestMember {
  readonly member: Member;
  readonly #aging: Aging;
  /** Whether references are recorded. */
  #isObserved = false;
  #residencyAt = -Infinity;

  /** @param onUsedAgain called after each reading. */
  constructor(member: Member, clock: Clock, onUsedAgain?: OnUsedAgain) {
    this.member = member;
    this.#aging = new Aging(member, clock, onUsedAgain);
  }

  get aged(): AgedProcess {
    return this.#aging.aged;
  }

  /**
   * Starts to keep ages, or ends an interval that was long enough.
   *
   * @returns whether its pages have become older.
   */
  async observe(pace: Pace): Promise<boolean> {
    if (this.#aging.rests(pace.restsAfter)) {
      await this.#aging.rest();
      if (this.#aging.length < pace.least) return false;
      this.#aging.pass();
      return true;
    }
    this.aged.isResting = false;
    if (!this.#isObserved) {
      await this.#aging.begin();
      this.#isObserved = true;
      return false;
    }
    const { isAged, ages } = this.aged;
    const least = isAged ? pace.least : pace.first;
    if (this.#aging.length < least) {
      // Without ages it loses nothing.
      if (!isAged) return false;
      // A process that has not run has used nothing.
      const looks = pace.looks && this.member.memory.hasRun();
      if (looks || ages.isStale) await this.glance();
      return false;
    }
    // What it used before is known, and will look in use when it runs again.
    if (this.#aging.isStill) {
      this.#aging.pass();
      return true;
    }
    const isReset = pace.isReset || !isAged;
    await this.#aging.advance({ isReset });
    // Otherwise processors would not mark again pages whose translations they cache.
    if (isReset) await this.#aging.refresh();
    return true;
  }

  glance(): Promise<void> {
    return this.#aging.look();
  }

  /** Notes that a process that rested has run; returns whether it rests. */
  stillRests(): boolean {
    this.aged.isResting &&= !this.member.memory.hasRun();
    return this.aged.isResting;
  }

  /** Reads which mappings can be paged out, unless they were read within a time. */
  async keepResidency(now: number, life: number): Promise<void> {
    if (now - this.#residencyAt < life) return;
    await this.#aging.readResidency();
    this.#residencyAt = now;
    // A reading leaves out what cannot go, which may have changed since the last one.
    if (!this.member.memory.hasRun()) this.aged.ages.isStale = true;
  }

  /** Tries again what could not be paged out: others may no longer map it. */
  retry(): void {
    this.aged.ages.retry();
    this.#residencyAt = -Infinity;
  }

  /** Forgets all ages and stops keeping them. */
  forget(): void {
    if (!this.#isObserved && !this.aged.isResting) return;
    this.#isObserved = this.aged.isResting = false;
    this.#residencyAt = -Infinity;
    this.aged.forget();
  }
}
