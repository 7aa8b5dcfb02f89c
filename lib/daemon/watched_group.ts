/**
 * One group that the daemon watches, and the policy in charge of it: acts on samples,
 * and logs the results.
 *
 * @module
 */

import type { CappedGroup, Sample } from "../group/capped_group.ts";
import type { OnPagedata } from "../group/measured_memory.ts";
import type { Member } from "../group/member.ts";
import type { Purpose } from "../group/guard_rails.ts";
import type { GroupState } from "../group/state.ts";
import type { ResetRights } from "../observer/reset_rights.ts";
import type { RepeatedDryRun } from "../platform/dry_run.ts";
import type { Platform } from "../platform/platform.ts";
import type {
  EnforceOptions,
  GroupPolicy,
  Judgement,
  ObserveOptions,
  Policy,
  PolicySurroundings,
  ScanOutcome,
} from "../policy/policy.ts";
import { describeIdleTime } from "../group/idle_words.ts";
import { formatTimeSoon } from "../report/units.ts";
import { CapScan } from "./cap_scan.ts";
import { CapWarning } from "./cap_warning.ts";
import { GrowthWatch } from "./growth_watch.ts";
import { GuardLog } from "./guard_log.ts";
import { ScanLog } from "./scan_log.ts";
import { describeError } from "./troubles.ts";
import type { Turns } from "./turns.ts";

/** What watched groups share. */
export interface GroupSurroundings extends PolicySurroundings {
  readonly platform: Platform;
  readonly turns: Turns;
  /** Decides whose references may be reset; by default all. */
  readonly rights?: ResetRights;
  /** The tasks that run beside the loop. */
  readonly work: Set<Promise<void>>;
  /** Called when something was learnt that outlasts the daemon. */
  readonly onLearnt?: () => void;
  /** Called with the duration of each scan, in seconds. */
  readonly onScan?: (seconds: number) => void;
  /** Plans the scans of the group, of which none pages anything out; `undefined` if they do. */
  readonly dryRun?: RepeatedDryRun;
  /** Records what the members do. */
  readonly recorder?: MemberRecorder;
}

/** Records what members do, from the readings that are taken of them anyway. */
export interface MemberRecorder {
  /**
   * Follows a new member until it has left.
   *
   * @param make makes it, with what is called with its readings.
   */
  follow(make: (onPagedata?: OnPagedata) => Member): Member;
}

/** A sample, and the policy's judgement of it. */
export type JudgedSample = Sample & Judgement;

/** A group and its policy. */
export class WatchedGroup {
  readonly group: CappedGroup;
  /** Whether its members have been searched for. */
  isRefreshed = false;
  readonly #policy: GroupPolicy;
  readonly #around: GroupSurroundings;
  readonly #scanLog: ScanLog;
  readonly #capScan: CapScan;
  readonly #guardLog: GuardLog;
  readonly #warning: CapWarning;
  readonly #growth: GrowthWatch;
  /** Whether a task for the group runs beside the loop. */
  #isBusy = false;
  #isStuckTold = false;
  /** The reading of footprints that runs, if any. */
  #measuring: Promise<void> | undefined;
  /** Ends the scan in flight. */
  #scanning: AbortController | undefined;
  /** In a dry run, how much the last scan for the cap would have paged out, in bytes. */
  #plannedForCap = 0;
  constructor(group: CappedGroup, policy: Policy, around: GroupSurroundings) {
    this.group = group;
    this.#policy = policy.forGroup(group, around);
    this.#around = around;
    if (around.dryRun) group.planned = 0;
    this.#scanLog = new ScanLog(group, around);
    this.#capScan = new CapScan(group, this.#policy, around);
    this.#guardLog = new GuardLog(group.name, around);
    this.#warning = new CapWarning(group, this.#policy, around);
    this.#growth = new GrowthWatch(group, this.#policy, around);
  }

  /** Reads the sizes of all members. This is cheap. */
  sample(): JudgedSample {
    const { clock, recorder } = this.#around;
    const sample = this.group.sample(clock.now());
    if (this.#isPaused) return { ...sample, wantsHistory: false, excess: 0 };
    // A recording has references whether or not the group is near its cap.
    const wantsHistory = sample.wantsHistory || recorder !== undefined;
    return { ...sample, wantsHistory, ...this.#policy.judge(sample) };
  }

  /** Tells the guard rails what a sample shows. */
  noteSample({ cameBack, size }: JudgedSample): void {
    const { guard } = this.group;
    const now = this.#around.clock.now();
    const used = this.#policy.workingSet();
    guard.sampled({ cameBack, size, workingSet: used ?? size }, now);
    this.#learn(used !== null, now);
  }

  /** Learns how long memory has to be idle, if that is to be found. */
  #learn(isObserved: boolean, now: number): void {
    const { name, guard, idleTime } = this.group;
    if (!idleTime) return;
    const before = idleTime.seconds;
    const hasLearnt = idleTime.sampled({
      most: guard.mostRefaults,
      refaults: guard.refaults.inLastMinute(now),
      isObserved: isObserved && !this.#isPaused,
      isUnderPressure: guard.isUnderPressure,
    }, now);
    const { seconds, state } = idleTime;
    if (before === undefined ? seconds !== undefined : seconds! > before) {
      this.#around.log.info(`${name}: ${describeIdleTime(state)}`);
    }
    if (hasLearnt) this.#around.onLearnt?.();
  }

  /**
   * Pauses the group: only its sizes are read until a time.
   *
   * @param time in seconds since the epoch; `null` ends the pause.
   */
  pauseUntil(time: number | null): void {
    const { group } = this;
    const { clock, log } = this.#around;
    const now = clock.wallTime();
    const until = time !== null && time > now ? time : null;
    if (until === group.pausedUntil) return;
    group.pausedUntil = until;
    if (until === null) {
      log.info(`${group.name}: the pause has ended`);
      return;
    }
    this.#scanning?.abort();
    log.info(`${group.name}: paused until ${formatTimeSoon(until, now)}`);
  }

  /** Whether the group is paused now. A pause whose time has come ends. */
  get #isPaused(): boolean {
    this.pauseUntil(this.group.pausedUntil);
    return this.group.pausedUntil !== null;
  }

  /**
   * Acts on a sample. The work runs beside the loop.
   *
   * @param mayTake by how much the group must shrink, in bytes.
   * @param interval the time between two samples, in milliseconds.
   */
  act(
    { wantsHistory, excess, needsReading, cameBack }: JudgedSample,
    mayTake: number,
    interval: number,
  ): void {
    const { group } = this;
    const { clock, turns, dryRun } = this.#around;
    const { idle } = group.definition;
    if (dryRun && mayTake <= 0 && group.idle === undefined) group.planned = 0;
    const moment = { now: clock.now(), interval };
    this.#scanLog.sampled();
    this.#tellStuck();
    const measured = needsReading ? this.#measure() : undefined;
    const news = group.backoff.sampled(
      { cameBack, isEnforced: mayTake > 0 },
      group.circumstances(group.backoff.isActive ? this.#freeSwap() : 0),
      moment,
    );
    if (news === "failed") {
      this.#warning.noteFailure("much of what was paged out came back");
    } else if (news) {
      this.#policy.retry?.();
      this.#warning.withdraw(news);
    }
    if (this.#isBusy) return;
    if (!wantsHistory) return this.#stopObserving();
    const { backoff, guard } = group;
    const waits = mayTake > 0 && backoff.isWaiting(moment);
    if (waits) group.backedOff++;
    const take = waits ? 0 : mayTake;
    if (take <= 0) guard.wantsNothing("cap");
    this.#beside(async () => {
      await measured;
      await this.#warning.explain();
      if (idle === undefined && backoff.isDormant(clock.now())) {
        return this.#stopObserving();
      }
      await this.#policy.observe({ interval });
      await this.#growth.look();
      if (this.#isPaused) return;
      const options = { interval, isBounded: mayTake < excess };
      // Nothing is prepared for a cap that cannot be met.
      if (!(waits && backoff.isHopeless) && this.#policy.hasWork(take)) {
        using _turn = await turns.take();
        if (this.#isPaused) return;
        await this.enforce(take, options);
      }
      await this.pageOutIdle(options);
    });
  }

  /** Forgets what was observed of the members, whose references others may reset now. */
  #stopObserving(): void {
    this.group.growth = [];
    this.#policy.forget();
    for (const { entry } of this.group.processes) {
      this.#around.rights?.release(entry);
    }
  }

  /** Observes the members for a number of milliseconds, for one scan. */
  observeOnce(milliseconds: number): Promise<void> {
    return this.#policy.observeOnce(milliseconds);
  }

  /**
   * Scans the group as far as its guard rails allow, and logs the result.
   *
   * @param wanted by how much it should shrink at most, in bytes; 0 to prepare only.
   */
  async enforce(wanted: number, options: EnforceOptions): Promise<void> {
    const { onScan, dryRun } = this.#around;
    const { backoff } = this.group;
    const most = wanted > 0
      ? await this.#allow("cap", wanted, options)
      : Infinity;
    this.#plannedForCap = 0;
    if (most === 0) {
      if (dryRun) this.group.planned = 0;
      return;
    }
    const excess = Math.min(wanted, most);
    if (dryRun && excess <= 0) return;
    using scan = this.#beginScan();
    const limit = most < Infinity ? { most } : {};
    if (dryRun) {
      this.#beginPlan(dryRun);
      // All of the excess at once, since nothing makes up for it later.
      const once = {
        ...options,
        ...limit,
        isOnlyScan: true,
        sparesInUse: this.#capScan.sparesInUse,
      };
      const plan = await this.#policy.enforce(excess, once, scan.signal);
      if (plan) this.#plannedForCap = plan.effective;
      return this.#notePlan(plan, 0);
    }
    if (excess > 0) backoff.begin();
    let outcome: ScanOutcome | undefined;
    try {
      outcome = await this.#capScan.run(
        excess,
        { ...options, ...limit },
        scan.signal,
      );
    } finally {
      if (excess > 0) backoff.end();
    }
    if (!outcome) return;
    onScan?.(outcome.seconds);
    this.#scanLog.scanned(outcome);
    this.#noteTaken(outcome);
    if (outcome.isPartial || scan.signal.aborted) return;
    const hasFailed = backoff.scanned(
      { ...outcome, pagedOut: outcome.effective },
      this.group.circumstances(this.#freeSwap()),
      { now: this.#around.clock.now(), interval: options.interval },
    );
    if (!hasFailed) return;
    this.#warning.noteFailure("next to nothing could be paged out");
    await this.#warning.explain();
  }

  /** Says why the only scan has not met the cap, or why its plan would not. */
  async explainOnlyScan(): Promise<void> {
    const { cap, size, planned, statistics } = this.group;
    // Without a scan, something else has kept the group from one, and is said.
    if (statistics.scanCount === 0 || size - (planned ?? 0) <= cap) return;
    // No other scan follows, so there is no time for which the group is left alone.
    this.group.backoff.reset();
    await this.#warning.explainOnlyScan();
  }

  /** Begins a scan that only plans, anew. */
  #beginPlan(dryRun: RepeatedDryRun): void {
    this.#policy.replan();
    dryRun.begin();
  }

  /**
   * Notes and logs a plan, if it is larger than another one of the same memory.
   *
   * @param other how much that would page out, in bytes.
   */
  #notePlan(outcome: ScanOutcome | undefined, other: number): void {
    this.group.planned = Math.max(outcome?.effective ?? 0, other);
    if (!outcome) return;
    const { effective } = outcome;
    // That nothing would go is news only if there is no other plan.
    if (effective < other || effective === other && other > 0) return;
    this.#around.onScan?.(outcome.seconds);
    this.#scanLog.planned(outcome);
  }

  /** Pages out what has been idle for long enough, as far as guard rails allow. */
  async pageOutIdle(options: ObserveOptions): Promise<void> {
    const { onScan, turns, dryRun } = this.#around;
    const { guard, backoff, idle, idleTime } = this.group;
    if (idle === undefined) return;
    if (dryRun) this.#beginPlan(dryRun);
    const seconds = idle / 1000;
    const wanted = await this.#policy.idleFor?.(seconds);
    if (wanted === undefined) return;
    const allowed = wanted > 0 ? await this.#allow("idle", wanted, options) : 0;
    if (wanted === 0) guard.wantsNothing("idle");
    const most = Math.min(wanted, allowed);
    if (most === 0) {
      if (dryRun) this.group.planned = this.#plannedForCap;
      return;
    }
    using _turn = await turns.take();
    if (this.#isPaused) return;
    using scan = this.#beginScan();
    const outcome = await this.#policy.pageOutIdle?.(
      { seconds, most },
      options,
      scan.signal,
    );
    // What is idle goes first for the cap, too, so the two plans do not add up.
    if (dryRun) return this.#notePlan(outcome, this.#plannedForCap);
    if (!outcome) return;
    onScan?.(outcome.seconds);
    this.#scanLog.scanned(outcome);
    backoff.alsoPagedOut(outcome.effective);
    if (outcome.taken.bytes > 0) idleTime?.tookOut();
    this.#noteTaken(outcome);
  }

  /**
   * Asks the guard rails how much may be paged out, in bytes, and logs it if they
   * allow nothing.
   *
   * @param bytes how much is to be paged out.
   */
  async #allow(
    purpose: Purpose,
    bytes: number,
    { interval }: ObserveOptions,
  ): Promise<number> {
    const { group } = this;
    const { clock, platform, dryRun } = this.#around;
    const { guard, definition: { minRss } } = group;
    const size = minRss === undefined
      ? group.size
      : await group.measure(clock.now(), minRss);
    const allowed = guard.allow(
      { purpose, bytes, size },
      { now: clock.now(), interval },
      platform.memory().swapDisk,
    );
    // Otherwise the scan to come changes it.
    if (allowed === 0 || dryRun) {
      this.#guardLog.heldBack(guard.heldBack(clock.now()));
    }
    return allowed;
  }

  #noteTaken({ taken }: ScanOutcome): void {
    const { guard, size } = this.group;
    const now = this.#around.clock.now();
    guard.tookOut({ ...taken, size }, now);
    this.#guardLog.heldBack(guard.heldBack(now));
  }

  /** Notes that the cap in force has changed. A higher one ends the scan in flight. */
  capChanged(before: number): void {
    if (this.group.cap > before) this.#scanning?.abort();
    this.group.backoff.reset();
    this.#warning.withdraw("the cap has changed");
  }

  /** Returns the signal of a scan that begins, which ends with the daemon; disposal ends the scan. */
  #beginScan(): Disposable & { readonly signal: AbortSignal } {
    const { signal } = this.#around;
    const scanning = new AbortController();
    const abort = () => scanning.abort(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    this.#scanning = scanning;
    return {
      signal: scanning.signal,
      [Symbol.dispose]: () => {
        this.#scanning = undefined;
        signal.removeEventListener("abort", abort);
      },
    };
  }

  #freeSwap(): number {
    return this.#around.platform.memory().freeSwap;
  }

  /** Warns once of members whose main threads have exited. */
  #tellStuck(): void {
    const { stuck, name } = this.group;
    if (stuck !== undefined && !this.#isStuckTold) {
      this.#around.log.warn(`${name}: ${stuck}`, { group: name });
      this.#isStuckTold = true;
    }
  }

  /** Measures the group, beside whatever else is done to it. */
  #measure(): Promise<void> {
    const { clock, log, work } = this.#around;
    if (this.#measuring) return this.#measuring;
    const done = this.group.readDue(clock.now()).then(() => {}, (error) => {
      log.warn(`${this.group.name}: ${describeError(error)}`);
    }).finally(() => {
      this.#measuring = undefined;
      work.delete(done);
    });
    work.add(done);
    return this.#measuring = done;
  }

  /** Runs a task beside the loop. An error in it does not end the daemon. */
  #beside(step: () => Promise<void>): void {
    const { log, signal, work } = this.#around;
    this.#isBusy = true;
    const done = step().catch((error) => {
      // The daemon was told to end.
      if (signal.aborted && error === signal.reason) return;
      log.warn(`${this.group.name}: ${describeError(error)}`);
    }).finally(() => {
      this.#isBusy = false;
      work.delete(done);
    });
    work.add(done);
  }

  /** The state of the group, for reports. */
  state(): GroupState {
    return this.group.state(this.#policy.idle(), this.#around.clock);
  }
}
