/**
 * The guard rails of a cap: what holds rcap back from paging out, and by how much.
 *
 * A guard rail that is configured holds for the cap and for idle memory. Those that a cap
 * has by default hold for idle memory only, since its users could otherwise make a cap
 * advisory.
 *
 * @module
 */

import type { CapConfig } from "../config/config.ts";
import { type ByteRate, DEFAULT_MAX_REFAULTS } from "../report/rates.ts";
import { LEAST_PAGEOUT, PageoutRate, SwapBudget } from "./pageout_budget.ts";
import type { Taken } from "./measured_memory.ts";
import { Refaults } from "./refaults.ts";
import { RollingWindow } from "./rolling_window.ts";
import { RefaultHold } from "./refault_hold.ts";
import {
  describeFloor,
  describePressure,
  describeRate,
  describeRefaults,
  describeSwapWrites,
  type PressureReading,
} from "./held_back.ts";
import type { GuardRail, HeldBack } from "./state.ts";

/**
 * The memory pressure of the group's own cgroup above which an idle time that finds itself
 * is lengthened, if the cap has no limit.
 */
const AUTO_MAX_PRESSURE = 0.01;

/**
 * The rate at which idle memory goes to swap on a disk if no other is configured: such a
 * disk has to serve others, too.
 */
export const DEFAULT_DISK_RATE: ByteRate = { bytes: 16 << 20, per: 1000 };

/** A share of a working set is never less than this many pages in a minute. */
const LEAST_REFAULTS = 60;

/** What was used within this time is the working set, in milliseconds. */
const WORKING_SET = 120_000;

/** Why memory is to be paged out: the cap is exceeded, or it is idle. */
export type Purpose = "cap" | "idle";

/** The settings of a cap that are guard rails. */
export type GuardSettings = Pick<
  CapConfig,
  | "idle"
  | "maxRefaults"
  | "maxPressure"
  | "minRss"
  | "maxPageoutRate"
  | "maxSwapWrites"
  | "only"
>;

/** What a sample tells of a group. Sizes are in bytes. */
export interface GuardSample {
  /** The size of the pages whose faults waited for a disk or swap since the sample before. */
  readonly cameBack: number;
  readonly size: number;
  /** What it has used within the last two minutes; as large as it is if that is not known. */
  readonly workingSet: number;
}

/** What is to be paged out, in bytes. */
export interface Wanted {
  readonly purpose: Purpose;
  readonly bytes: number;
  /** The size of the group now. */
  readonly size: number;
}

/** Says what holds back, as of a time in milliseconds. */
type Why = (now: number) => HeldBack;

/** A moment. Times are in milliseconds of a monotonic clock. */
export interface GuardMoment {
  readonly now: number;
  /** The time between two samples. */
  readonly interval: number;
}

/** Decides how much of a group may be paged out. */
export class GuardRails {
  readonly refaults: Refaults;
  readonly #pageSize: number;
  #settings: GuardSettings;
  #hold = new RefaultHold();
  /** In bytes. What was used and has gone since counts as in use, too. */
  readonly #workingSets = new RollingWindow(WORKING_SET, Math.max);
  #workingSet = 0;
  /** As last known, in bytes. */
  #size = 0;
  #pressure: PressureReading | undefined;
  #rate: PageoutRate | undefined;
  /** Of {@linkcode DEFAULT_DISK_RATE}. */
  readonly #diskRate = new PageoutRate(DEFAULT_DISK_RATE);
  #swap: SwapBudget | undefined;
  readonly #heldBack = new Map<Purpose, readonly Why[]>();

  /** @param pageSize in bytes. */
  constructor(settings: GuardSettings, pageSize: number) {
    this.#settings = settings;
    this.#pageSize = pageSize;
    this.refaults = new Refaults(pageSize);
    this.configure(settings);
  }

  /** Applies other settings. What was counted under a limit that stays is kept. */
  configure(settings: GuardSettings): void {
    const { maxPageoutRate, maxSwapWrites } = settings;
    if (!isSame(this.#rate?.rate, maxPageoutRate)) {
      this.#rate = maxPageoutRate && new PageoutRate(maxPageoutRate);
    }
    if (!isSame(this.#swap?.limit, maxSwapWrites)) {
      this.#swap = maxSwapWrites && new SwapBudget(maxSwapWrites);
    }
    if (!isSame(this.#settings.maxRefaults, settings.maxRefaults)) {
      this.#hold = new RefaultHold();
    }
    this.#settings = settings;
  }

  /** What holds rcap back at present, each guard rail once. */
  heldBack(now: number): HeldBack[] {
    const all = new Map<GuardRail, HeldBack>();
    // What could only go to swap is not even looked at.
    const used = this.#swapUsedUp(now);
    if (used) all.set(used.by, used);
    for (const some of this.#heldBack.values()) {
      for (const why of some) {
        const one = why(now);
        all.set(one.by, one);
      }
    }
    return [...all.values()];
  }

  /** Whether memory may go to swap. */
  maySwap(now: number): boolean {
    return !this.#swap?.isUsedUp(now);
  }

  /** Records a sample. */
  sampled(sample: GuardSample, now: number): void {
    this.#size = sample.size;
    this.#workingSets.add(sample.workingSet, now);
    this.#workingSet = this.#workingSets.total(now);
    this.refaults.sampled(sample, now);
    const most = this.mostRefaults;
    this.#hold.sampled(this.refaults.inLastMinute(now) > most, now);
  }

  /** Records the memory pressure, which only a limit on it needs. */
  notePressure(pressure: PressureReading): void {
    this.#pressure = pressure;
  }

  /** The most refaults in a minute. */
  get mostRefaults(): number {
    const { maxRefaults, idle } = this.#settings;
    const limit = maxRefaults ??
      (idle === undefined ? undefined : DEFAULT_MAX_REFAULTS);
    if (limit === undefined) return Infinity;
    if ("perSecond" in limit) return limit.perSecond * 60;
    const pages = this.#workingSet / this.#pageSize;
    return Math.max(LEAST_REFAULTS, limit.sharePerMinute * pages);
  }

  /** Notes that nothing is to be paged out for a purpose. */
  wantsNothing(purpose: Purpose): void {
    this.#heldBack.delete(purpose);
  }

  /**
   * Returns how much may be paged out, in bytes: more than wanted, too, since a scan may
   * go further; Infinity without a limit.
   *
   * @param swapDisk the device of the swap that is used next, if it is on a disk; null if
   * that is not known.
   */
  allow(
    { purpose, bytes, size }: Wanted,
    { now, interval }: GuardMoment,
    swapDisk?: string | null,
  ): number {
    const { minRss, maxRefaults, only } = this.#settings;
    this.#size = size;
    const held: Why[] = [];
    let allowed = Infinity;
    /** Applies a limit, in bytes. */
    const limit = (most: number, why: Why) => {
      // So little idle memory is not worth a scan.
      const isTooLittle = purpose === "idle" &&
        most < Math.min(bytes, LEAST_PAGEOUT);
      const some = isTooLittle ? 0 : most;
      if (some < bytes) held.push(why);
      allowed = Math.min(allowed, some);
    };
    const refaults = this.#refaultsAbove(now);
    if (refaults && (purpose === "idle" || maxRefaults !== undefined)) {
      limit(0, () => refaults);
    }
    const pressure = this.#pressureAbove();
    if (pressure) limit(0, () => pressure);
    if (minRss !== undefined) {
      limit(
        Math.max(0, size - minRss),
        () => describeFloor(this.#size, minRss),
      );
    }
    const rate = this.#rate ??
      (purpose === "idle" && swapDisk !== undefined && only !== "file"
        ? this.#diskRate
        : undefined);
    if (rate) {
      limit(
        rate.available(now, interval),
        () =>
          describeRate(rate.rate, rate === this.#rate ? undefined : swapDisk),
      );
    }
    const swap = only === "file" ? undefined : this.#swap;
    // Once it is used up, nothing goes to swap, but files still go.
    if (swap && !swap.isUsedUp(now)) {
      limit(
        swap.left(now),
        (now) => describeSwapWrites(swap.written(now), swap.limit),
      );
    }
    this.#heldBack.set(purpose, held);
    return allowed;
  }

  #swapUsedUp(now: number): HeldBack | undefined {
    const swap = this.#swap;
    if (!swap?.isUsedUp(now) || this.#settings.only === "file") {
      return undefined;
    }
    return describeSwapWrites(swap.written(now), swap.limit);
  }

  #refaultsAbove(now: number): HeldBack | undefined {
    if (!this.#hold.isHolding(now)) return undefined;
    const { maxRefaults = DEFAULT_MAX_REFAULTS } = this.#settings;
    return describeRefaults({
      limit: maxRefaults,
      inLastMinute: this.refaults.inLastMinute(now),
      most: this.mostRefaults,
      workingSet: this.#workingSet / this.#pageSize,
    });
  }

  /** Whether an idle time that finds itself is too short for the memory pressure. */
  get isUnderPressure(): boolean {
    const { maxPressure = AUTO_MAX_PRESSURE } = this.#settings;
    return (this.#pressure?.share ?? 0) > maxPressure;
  }

  #pressureAbove(): HeldBack | undefined {
    const { maxPressure } = this.#settings;
    const pressure = this.#pressure;
    if (maxPressure === undefined || pressure?.share === undefined) {
      return undefined;
    }
    return pressure.share > maxPressure
      ? describePressure(pressure, maxPressure)
      : undefined;
  }

  /** Until when the group is left alone because of its refaults. */
  get heldUntil(): number {
    return this.#hold.until;
  }

  /**
   * Notes what was paged out.
   *
   * @param taken what page-outs took, and the size of the group after them, in bytes.
   */
  tookOut(
    { bytes, toSwap, size }: Readonly<Taken> & { readonly size: number },
    now: number,
  ): void {
    if (bytes > 0) this.#hold.tookOut();
    this.#size = size;
    this.refaults.tookOut(bytes, size);
    this.#rate?.tookOut(bytes);
    this.#diskRate.tookOut(bytes);
    this.#swap?.tookOut(toSwap, now);
  }
}

function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
