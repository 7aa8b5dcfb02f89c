/**
 * What the policy `coldest` keeps of a process: the ages of its pages.
 *
 * @module
 */

import type { Member } from "../group/member.ts";
import type { Clock } from "../platform/clock.ts";
import { AgedProcess } from "../scanner/aged_collection.ts";
import { PageAges } from "../scanner/ages.ts";
import type { ProcessAccess } from "./policy.ts";

/** When the ages of a member are updated. Times are in milliseconds. */
export interface AgingInterval {
  /** The shortest interval, but for the first one. */
  readonly least: number;
  /** The length of the first one. */
  readonly first: number;
  /** Whether references are reset at its end. */
  readonly isReset: boolean;
  /** Whether references are looked at within it. */
  readonly looksBetween: boolean;
}

/** The ages of a process's pages. */
export class Aging {
  readonly aged: AgedProcess;
  readonly #access: ProcessAccess;
  readonly #clock: Clock;
  /** When the interval began, in milliseconds. */
  #since: number;

  /** The first interval begins now: its references have just been reset, or will be by `begin`. */
  constructor(access: ProcessAccess, clock: Clock) {
    this.#access = access;
    this.#clock = clock;
    this.#since = clock.now();
    this.aged = new AgedProcess(access.scanMemory);
  }

  /** For how long the interval has lasted, in milliseconds. */
  get length(): number {
    return this.#clock.now() - this.#since;
  }

  /** Starts to record references and ages. */
  async begin(): Promise<void> {
    await this.#access.memory.reset();
    this.aged.ages = new PageAges();
    this.#since = this.#clock.now();
  }

  /** Adds the references that are visible now, without resetting them. */
  async look(): Promise<void> {
    this.aged.ages.look(await this.#access.memory.read("glance"));
  }

  /**
   * Ends an interval: pages not referenced in it become older.
   *
   * @param isReset whether references are reset. Without, pages in use stay in use, and
   * others become older as well.
   */
  async advance({ isReset = true } = {}): Promise<void> {
    const { memory, scanMemory } = this.#access;
    const now = this.#clock.now();
    const reading =
      await (isReset ? scanMemory.readPagedata() : memory.read("glance"));
    this.aged.ages.advance(reading, (now - this.#since) / 1000, isReset);
    this.#since = now;
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

  constructor(member: Member, clock: Clock) {
    this.member = member;
    this.#aging = new Aging(member, clock);
  }

  get aged(): AgedProcess {
    return this.#aging.aged;
  }

  /**
   * Starts to keep ages, or ends an interval that was long enough.
   *
   * @returns whether its pages have become older.
   */
  async observe(interval: AgingInterval): Promise<boolean> {
    if (!this.#isObserved) {
      await this.#aging.begin();
      this.#isObserved = true;
      return false;
    }
    const { isAged, ages } = this.aged;
    const least = isAged ? interval.least : interval.first;
    if (this.#aging.length < least) {
      // Without ages it loses nothing, and a process that has not run has used nothing.
      if (isAged && interval.looksBetween) {
        if (ages.isStale || this.member.memory.hasRun()) await this.glance();
      }
      return false;
    }
    const isReset = interval.isReset || !isAged;
    await this.#aging.advance({ isReset });
    // Otherwise processors would not mark again pages whose translations they cache.
    if (isReset) await this.#aging.refresh();
    return true;
  }

  glance(): Promise<void> {
    return this.#aging.look();
  }

  /** Reads which mappings can be paged out, unless they were read within a time. */
  async keepResidency(now: number, life: number): Promise<void> {
    if (now - this.#residencyAt < life) return;
    await this.#aging.readResidency();
    this.#residencyAt = now;
  }

  /** Tries again what could not be paged out: others may no longer map it. */
  retry(): void {
    this.aged.ages.retry();
    this.#residencyAt = -Infinity;
  }

  /** Forgets all ages and stops keeping them. */
  forget(): void {
    if (!this.#isObserved) return;
    this.#isObserved = false;
    this.aged.ages = new PageAges();
  }
}
