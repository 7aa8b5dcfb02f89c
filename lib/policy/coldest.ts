/**
 * The policy `coldest`: the pages that have not been used for the longest time, of all
 * processes, are paged out first; a page that was not used for longer before its last
 * use counts as old as that.
 *
 * @module
 */

import type { CappedGroup, Sample } from "../group/capped_group.ts";
import type { Member } from "../group/member.ts";
import type { Clock } from "../platform/clock.ts";
import { AgedCollection, AgedProcess } from "../scanner/aged_collection.ts";
import { type IdleBytes, idleBytes, PageAges } from "../scanner/ages.ts";
import { scanColdest } from "../scanner/coldest.ts";
import type { ScanOptions, ScanResult } from "../scanner/scan.ts";
import {
  concludeScan,
  KnownMembers,
  lookSoon,
  ScanListener,
  tolerate,
  unjudgedOf,
} from "./members.ts";
import type {
  EnforceOptions,
  GroupPolicy,
  Judgement,
  ObservedProcess,
  ObserveOptions,
  OneShotPolicy,
  Policy,
  PolicySurroundings,
  ProcessAccess,
  ScanOutcome,
} from "./policy.ts";

/**
 * How far below its cap a group is brought, as shares of the cap: room for the growth
 * of an interval, so that the group is under its cap on average and not only right
 * after a scan. Only idle memory is paged out for it.
 */
const LEAST_HEADROOM = 0.01;
const MOST_HEADROOM = 0.05;

/** How much is cooled, as a multiple of the growth in the last interval. */
const RESERVE_FACTOR = 1.5;

/**
 * The shortest interval of ages, in milliseconds. After every reset the processor has
 * to mark each page in use again, at the expense of the process.
 */
const SHORTEST_INTERVAL = 5000;

/**
 * Idle memory suffices if there is more of it than a share of the cap and the growth of a
 * time, in milliseconds: then references are not reset to find more.
 */
const SUFFICIENT_SHARE = 0.25;
const SUFFICIENT_TIME = 300_000;

/** The longest first interval, in milliseconds: memory may have to be paged out soon. */
const FIRST_INTERVAL = 2000;

/**
 * A pass takes no longer than an interval, or this many milliseconds: a busy process uses
 * again meanwhile what was idle when it was chosen. The next pass looks again.
 */
const SHORTEST_LIMIT = 2000;

/**
 * How old a member's residency may get, in milliseconds, and while nothing has to be
 * paged out: reading it takes as long as smaps.
 */
const RESIDENCY_LIFE = 60_000;
const IDLE_RESIDENCY_LIFE = 5 * RESIDENCY_LIFE;

/** How many intervals there are in the observation for a single scan. */
const AGES_OF_ONE_SCAN = 8;

/** The policy `coldest`. */
export const coldest: Policy = {
  forGroup: (group, around) => new ColdestGroup(group, around),
  forScan: (processes, { clock }) => new ColdestScan(processes, clock),
};

/** The ages of a process's pages. */
class Aging {
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
class ColdestMember {
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
   * @param interval the shortest interval, and the length of the first one; and whether
   * references are reset at its end.
   */
  async observe(
    interval: { least: number; first: number; isReset: boolean },
  ): Promise<void> {
    if (!this.#isObserved) {
      await this.#aging.begin();
      this.#isObserved = true;
      return;
    }
    const { isAged, ages } = this.aged;
    const least = isAged ? interval.least : interval.first;
    if (this.#aging.length < least) {
      // Without ages it loses nothing, and a process that has not run has used nothing.
      if (!isAged || !(ages.isStale || this.member.memory.hasRun())) return;
      return await this.glance();
    }
    const isReset = interval.isReset || !isAged;
    await this.#aging.advance({ isReset });
    // Otherwise processors would not mark again pages whose translations they cache.
    if (isReset) await this.#aging.refresh();
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

/** The policy in charge of one group. */
class ColdestGroup implements GroupPolicy {
  readonly #group: CappedGroup;
  readonly #around: PolicySurroundings;
  readonly #collection: AgedCollection;
  readonly #members: KnownMembers<ColdestMember>;
  /** By how much the group is expected to grow in an interval, in bytes. */
  #expectedGrowth = 0;
  /** Whether pages age with every sample, because little is idle. */
  #agesFaster = false;
  /** Whether a member has left since the last pass, whose pages others may share. */
  #hasLost = false;
  /** The size after the last pass, in bytes; `undefined` before the first. */
  #sizeThen: number | undefined;

  constructor(group: CappedGroup, around: PolicySurroundings) {
    this.#group = group;
    this.#around = around;
    this.#collection = new AgedCollection([], group.statistics);
    this.#members = new KnownMembers(
      group,
      (member) => new ColdestMember(member, around.clock),
      () => this.#hasLost = true,
    );
  }

  judge(sample: Sample): Judgement {
    const size = sample.size + this.#expectedGrowth;
    return { excess: Math.max(0, size - this.#group.cap) };
  }

  async observe({ interval }: ObserveOptions): Promise<void> {
    // Timers are not exact.
    const least = interval * 0.9;
    await this.#observe({
      least: this.#agesFaster ? least : Math.max(least, SHORTEST_INTERVAL),
      first: Math.min(least, FIRST_INTERVAL),
      isReset: !this.#suffices(interval),
    });
  }

  async observeOnce(milliseconds: number): Promise<void> {
    const { clock, signal } = this.#around;
    const every = { least: 0, first: 0, isReset: true };
    await this.#observe(every);
    for (let age = 1; age <= AGES_OF_ONE_SCAN && !signal.aborted; age++) {
      await clock.sleep(milliseconds / AGES_OF_ONE_SCAN, signal);
      await this.#observe(every);
    }
  }

  /**
   * Whether so much is known to be idle that it suffices for the next minutes: then
   * references are not reset, at the expense of the processes, to find more.
   *
   * @param interval between two samples, in milliseconds.
   */
  #suffices(interval: number): boolean {
    const growth = this.#expectedGrowth * SUFFICIENT_TIME / interval;
    const needed = this.#group.cap * SUFFICIENT_SHARE + growth;
    const members = this.#members.all();
    return members.every(({ aged }) => aged.isAged) &&
      members.reduce((sum, { aged }) => sum + aged.unreferenced, 0) > needed;
  }

  async #observe(
    interval: { least: number; first: number; isReset: boolean },
  ): Promise<void> {
    const { signal, log } = this.#around;
    for (const known of this.#members.all()) {
      if (signal.aborted) return;
      await tolerate(
        known.member,
        log,
        () => known.observe(interval),
      );
    }
  }

  /** Always: even if nothing has to be paged out, something may have to be cooled. */
  hasWork(): boolean {
    return true;
  }

  async enforce(
    excess: number,
    options: EnforceOptions,
    signal: AbortSignal,
  ): Promise<ScanOutcome | undefined> {
    const { clock, log } = this.#around;
    const { isBounded = false, isPlan = false, isOnlyScan = isPlan } = options;
    const group = this.#group;
    const collection = this.#collection;
    const { statistics } = collection;
    const members = this.#members.all();
    const known = members.filter(({ aged }) => aged.isAged);
    if (known.length === 0) return undefined;
    // What an earlier scan has only planned is there to go.
    if (isPlan) known.forEach(({ aged }) => aged.ages.retry());
    const started = clock.now();
    const { cap } = group;
    const lowest = cap * (1 - MOST_HEADROOM);
    const over = await group.measure(started, lowest) - cap;
    const grown = this.#takeGrowth();
    const headroom = isBounded
      ? 0
      : Math.max(cap * LEAST_HEADROOM, this.#expectedGrowth);
    const reserve = Math.max(headroom, grown * RESERVE_FACTOR);
    const allowed = excess > 0 ? Math.min(excess, over + headroom) : 0;
    // Memory in use is paged out only for the real excess, idle memory for the rest too.
    const wanted = Math.max(0, Math.min(allowed, over));
    // Far below the cap, nothing will have to be paged out in the next interval.
    if (signal.aborted || (allowed <= 0 && over < -2 * reserve)) {
      return undefined;
    }

    // Others may have reset references, so that memory in use looks idle.
    if (allowed > 0) await lookSoon(known, { clock, log, signal });
    if (signal.aborted) return undefined;
    if (this.#hasLost) known.forEach((one) => one.retry());
    this.#hasLost = false;
    const life = allowed > 0 ? RESIDENCY_LIFE : IDLE_RESIDENCY_LIFE;
    for (const one of known) {
      await tolerate(
        one.member,
        log,
        () => one.keepResidency(clock.now(), life),
      );
    }
    collection.processes = known.map(({ aged }) => aged);
    const isPartial = known.length < members.length || unjudgedOf(known) > 0;
    const goal = Math.max(cap, group.size - wanted);
    const before = { ...statistics };
    const listener = new ScanListener(group, log);
    const limit = Math.max(options.interval, SHORTEST_LIMIT);
    using pass = this.#beginPass(signal, isOnlyScan ? Infinity : limit);
    const result = await scanColdest(collection, {
      excess: wanted,
      headroom: excess > 0 ? headroom - Math.max(0, -over) : 0,
      reserve: isOnlyScan ? undefined : reserve,
      spareReferenced: isPartial,
      signal: pass.signal,
      onEvent: listener.onEvent,
    });
    // If little is idle, ages have to tell pages apart sooner.
    this.#agesFaster = result.idle < (allowed + reserve) * 2;
    this.#sizeThen = group.size;
    // Nothing had to go; what has been tried in vain is not tried again for a while.
    if (
      statistics.attempted === before.attempted &&
      statistics.ineffective === before.ineffective
    ) return undefined;
    group.scans++;
    const outcome = await concludeScan(group, clock, {
      before,
      statistics,
      goal,
      listener,
      isPartial,
      started,
    });
    this.#sizeThen = group.size;
    return outcome;
  }

  /**
   * Returns a signal that ends a pass: with another signal, or after a number of
   * milliseconds. Disposal stops the clock.
   */
  #beginPass(
    signal: AbortSignal,
    longest: number,
  ): Disposable & { readonly signal: AbortSignal } {
    const end = new AbortController();
    const over = new AbortController();
    if (longest < Infinity) {
      this.#around.clock.sleep(longest, over.signal).then(() => end.abort());
    }
    return {
      signal: AbortSignal.any([signal, end.signal]),
      [Symbol.dispose]: () => over.abort(),
    };
  }

  /**
   * Returns by how much the group has grown since the last pass, in bytes; negative if
   * it has shrunk. It is expected to grow by as much again.
   */
  #takeGrowth(): number {
    const { size, cap } = this.#group;
    const grown = size - (this.#sizeThen ?? size);
    this.#sizeThen = size;
    this.#expectedGrowth = Math.min(
      Math.max(grown, this.#expectedGrowth / 2),
      cap * MOST_HEADROOM,
    );
    return grown;
  }

  idle(): IdleBytes[] | null {
    const aged = this.#members.all().filter(({ aged }) => aged.isAged);
    return aged.length > 0
      ? idleBytes(aged.map(({ aged }) => aged.ages))
      : null;
  }

  inUse(): number | null {
    const aged = this.#members.all().filter(({ aged }) => aged.isAged);
    if (aged.length === 0 || unjudgedOf(aged) > 0) return null;
    return aged.reduce((sum, { aged }) => sum + aged.ages.referencedBytes, 0);
  }

  forget(): void {
    for (const known of this.#members.all()) known.forget();
  }
}

/** The policy in charge of a one-shot scan. */
class ColdestScan implements OneShotPolicy {
  readonly processes: readonly ObservedProcess[];
  readonly #collection: AgedCollection;

  constructor(processes: readonly ProcessAccess[], clock: Clock) {
    const agings = processes.map((access) => new Aging(access, clock));
    this.processes = agings.map((aging): ObservedProcess => ({
      target: aging.aged,
      glance: () => aging.look(),
      refresh: () => aging.refresh(),
      endPart: () => aging.advance(),
      async end() {
        await aging.advance();
        await aging.refresh();
        await aging.readResidency();
      },
      unreferenced: () =>
        aging.aged.isAged ? aging.aged.ages.neverReferencedBytes : null,
    }));
    this.#collection = new AgedCollection(agings.map(({ aged }) => aged));
  }

  get statistics(): AgedCollection["statistics"] {
    return this.#collection.statistics;
  }

  scan(options: ScanOptions): Promise<ScanResult> {
    return scanColdest(this.#collection, options);
  }
}
