/**
 * The policy `coldest`: the pages that have not been used for the longest time, of all
 * processes, are paged out first; a page that was not used for longer before its last
 * use counts as old as that.
 *
 * @module
 */

import type { CappedGroup, Sample } from "../group/capped_group.ts";
import { LEAST_AGE, type MemberGrowth } from "../group/growth.ts";
import {
  AgedCollection,
  type AgedProcess,
} from "../scanner/aged_collection.ts";
import { type IdleBytes, idleBytes } from "../scanner/ages.ts";
import { idleFor, pageOutIdle, scanColdest } from "../scanner/coldest.ts";
import { ColdestMember } from "./coldest_member.ts";
import { type Pace, paceOf, restsAfter } from "./coldest_pace.ts";
import { ColdestScan } from "./coldest_scan.ts";
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
  IdleGoal,
  Judgement,
  ObserveOptions,
  Policy,
  PolicySurroundings,
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

/** What was used within this time is the working set, in seconds. */
const WORKING_SET = 120;

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
  /** Whether pages have become older since idle ones were last paged out. */
  #hasAged = false;
  /** Whether a member has left since the last pass, whose pages others may share. */
  #hasLost = false;
  shortfall = 0;
  /** The size after the last pass, in bytes; `undefined` before the first. */
  #sizeThen: number | undefined;

  constructor(group: CappedGroup, around: PolicySurroundings) {
    this.#group = group;
    this.#around = around;
    this.#collection = new AgedCollection([], group.statistics);
    this.#members = new KnownMembers(
      group,
      (member) =>
        new ColdestMember(
          member,
          around.clock,
          group.idleTime &&
            ((...used) => group.idleTime?.usedAgain(...used)),
        ),
      () => this.#hasLost = true,
    );
  }

  judge(sample: Sample): Judgement {
    const size = sample.size + this.#expectedGrowth;
    return { excess: Math.max(0, size - this.#group.cap) };
  }

  async observe({ interval }: ObserveOptions): Promise<void> {
    await this.#observe(paceOf(this.#group, {
      interval,
      expectedGrowth: this.#expectedGrowth,
      agesFaster: this.#agesFaster,
      processes: this.#members.all().map(({ aged }) => aged),
    }));
  }

  async observeOnce(milliseconds: number): Promise<void> {
    const { clock, signal } = this.#around;
    const every = {
      least: 0,
      first: 0,
      looks: true,
      isReset: true,
      restsAfter: restsAfter(this.#group),
    };
    await this.#observe(every);
    for (let age = 1; age <= AGES_OF_ONE_SCAN && !signal.aborted; age++) {
      await clock.sleep(milliseconds / AGES_OF_ONE_SCAN, signal);
      await this.#observe(every);
    }
  }

  async #observe(pace: Pace): Promise<void> {
    const { signal, log } = this.#around;
    for (const known of this.#members.all()) {
      if (signal.aborted) return;
      await tolerate(known.member, log, async () => {
        if (await known.observe(pace)) this.#hasAged = true;
      });
    }
  }

  /** Always if there is a cap: even if nothing has to go, something may have to be cooled. */
  hasWork(): boolean {
    return this.#group.hasCap;
  }

  async enforce(
    excess: number,
    options: EnforceOptions,
    signal: AbortSignal,
  ): Promise<ScanOutcome | undefined> {
    const { clock, log } = this.#around;
    const { isBounded = false, isOnlyScan } = options;
    const { sparesInUse = false, most } = options;
    this.shortfall = 0;
    const group = this.#group;
    const collection = this.#collection;
    const { statistics } = collection;
    const members = this.#members.all();
    const known = members.filter(({ aged }) => aged.isAged);
    if (known.length === 0) return undefined;
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
    const awake = known.filter((one) => !one.stillRests());
    if (allowed > 0 && awake.length > 0) {
      await lookSoon(awake, { clock, log, signal });
    }
    if (signal.aborted) return undefined;
    await this.#prepare(known, allowed > 0);
    const isPartial = known.length < members.length || unjudgedOf(awake) > 0;
    const goal = Math.max(cap, group.size - wanted);
    const before = { ...statistics, taken: { ...group.taken } };
    const listener = new ScanListener(group, log);
    const limit = Math.max(options.interval, SHORTEST_LIMIT);
    using pass = this.#beginPass(signal, isOnlyScan ? Infinity : limit);
    const result = await scanColdest(collection, {
      excess: wanted,
      headroom: excess > 0 ? headroom - Math.max(0, -over) : 0,
      reserve: isOnlyScan ? undefined : reserve,
      most,
      spareReferenced: isPartial || sparesInUse,
      signal: pass.signal,
      onEvent: listener.onEvent,
    });
    if (!isPartial) this.shortfall = Math.max(0, wanted - result.idle);
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

  /** Hands processes to the collection, with what is known of their mappings. */
  async #prepare(
    known: readonly ColdestMember[],
    pagesOut: boolean,
  ): Promise<void> {
    const { clock, log } = this.#around;
    if (this.#hasLost) known.forEach((one) => one.retry());
    this.#hasLost = false;
    const life = pagesOut ? RESIDENCY_LIFE : IDLE_RESIDENCY_LIFE;
    for (const one of known) {
      await tolerate(
        one.member,
        log,
        () => one.keepResidency(clock.now(), life),
      );
    }
    this.#collection.processes = known.map(({ aged }) => aged);
  }

  async idleFor(seconds: number): Promise<number | undefined> {
    if (!this.#hasAged) return undefined;
    const members = this.#members.all();
    await this.#prepare(members.filter(({ aged }) => aged.isAged), false);
    const idle = idleFor(this.#collection, seconds);
    if (idle === 0) this.#hasAged = false;
    return idle;
  }

  async pageOutIdle(
    { seconds, most }: IdleGoal,
    { interval }: ObserveOptions,
    signal: AbortSignal,
  ): Promise<ScanOutcome | undefined> {
    const { clock, log } = this.#around;
    const group = this.#group;
    const { statistics } = this.#collection;
    const known = this.#members.all().filter(({ aged }) => aged.isAged);
    const awake = known.filter((one) => !one.stillRests());
    const started = clock.now();
    // Others may have reset references, so that memory in use looks idle.
    if (awake.length > 0) await lookSoon(awake, { clock, log, signal });
    if (signal.aborted) return undefined;
    await this.#prepare(known, true);
    const before = { ...statistics, taken: { ...group.taken } };
    const listener = new ScanListener(group, log);
    using pass = this.#beginPass(signal, Math.max(interval, SHORTEST_LIMIT));
    const { idle, complete } = await pageOutIdle(this.#collection, {
      seconds,
      most,
      signal: pass.signal,
      onEvent: listener.onEvent,
    });
    if (complete && idle <= most) this.#hasAged = false;
    if (statistics.attempted === before.attempted) return undefined;
    group.scans++;
    const outcome = await concludeScan(group, clock, {
      before,
      statistics,
      goal: Infinity,
      listener,
      isPartial: false,
      started,
    });
    this.#sizeThen = group.size;
    return outcome;
  }

  growth(): MemberGrowth[] {
    return this.#members.all().filter(({ aged }) => aged.isAged)
      .map(({ member, aged: { ages } }) => ({
        member,
        seconds: ages.watchedFor,
        mappings: ages.unusedGrowth(LEAST_AGE),
      }));
  }

  replan(): void {
    for (const { aged } of this.#members.all()) aged.ages.retry();
    this.#hasAged = true;
  }

  workingSet(): number | null {
    const aged = this.#aged();
    if (aged.length === 0) return null;
    const [{ bytes: unused }] = idleBytes(
      aged.map(({ ages }) => ages),
      [WORKING_SET],
    );
    return aged.reduce((sum, { ages }) => sum + ages.residentBytes, -unused);
  }

  /** The members whose ages are known. */
  #aged(): AgedProcess[] {
    return this.#members.all().map(({ aged }) => aged)
      .filter(({ isAged }) => isAged);
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
    const aged = this.#aged();
    return aged.length > 0 ? idleBytes(aged.map(({ ages }) => ages)) : null;
  }

  inUse(): number | null {
    const known = this.#members.all().filter(({ aged }) => aged.isAged);
    const awake = known.filter(({ aged }) => !aged.isResting);
    if (known.length === 0 || unjudgedOf(awake) > 0) return null;
    return known.reduce((sum, { aged }) => sum + aged.referenced, 0);
  }

  retry(): void {
    for (const known of this.#members.all()) known.retry();
  }

  forget(): void {
    for (const known of this.#members.all()) known.forget();
  }
}
