/**
 * One group that the daemon watches, and the policy in charge of it: acts on samples,
 * and logs the results.
 *
 * @module
 */

import type { CappedGroup, Sample } from "../group/capped_group.ts";
import { whyNotMet } from "../group/diagnosis.ts";
import type { GroupState } from "../group/state.ts";
import type { Platform } from "../platform/platform.ts";
import {
  describeOutcome,
  type EnforceOptions,
  type GroupPolicy,
  type Judgement,
  type Policy,
  type PolicySurroundings,
  type ScanOutcome,
} from "../policy/policy.ts";
import { describeError } from "./troubles.ts";
import type { Turns } from "./turns.ts";

/** What watched groups share. */
export interface GroupSurroundings extends PolicySurroundings {
  readonly platform: Platform;
  readonly turns: Turns;
  /** The tasks that run beside the loop. */
  readonly work: Set<Promise<void>>;
  /** Called with the duration of each scan, in seconds. */
  readonly onScan?: (seconds: number) => void;
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
  /** Whether a task for the group runs beside the loop. */
  #isBusy = false;
  #isStuckTold = false;
  /** The reading of footprints that runs, if any. */
  #measuring: Promise<void> | undefined;

  constructor(group: CappedGroup, policy: Policy, around: GroupSurroundings) {
    this.group = group;
    this.#policy = policy.forGroup(group, around);
    this.#around = around;
  }

  /** Reads the sizes of all members. This is cheap. */
  sample(): JudgedSample {
    const sample = this.group.sample(this.#around.clock.now());
    return { ...sample, ...this.#policy.judge(sample) };
  }

  /**
   * Acts on a sample. The work runs beside the loop.
   *
   * @param mayTake by how much the group must shrink, in bytes.
   * @param interval the time between two samples, in milliseconds.
   */
  act(
    { wantsHistory, suffers, excess, needsReading }: JudgedSample,
    mayTake: number,
    interval: number,
  ): void {
    const { group } = this;
    const { clock, log, turns } = this.#around;
    if (excess === 0) this.#settle();
    this.#tellStuck();
    const measured = needsReading ? this.#measure() : undefined;
    if (this.#isBusy) return;
    if (!wantsHistory) {
      this.#policy.forget();
      return;
    }
    let take = mayTake;
    if (take > 0 && suffers) {
      group.backedOff++;
      take = 0;
      log.debug(
        `${group.name}: much of what was paged out came back, so it is left alone for an interval`,
      );
    }
    const waits = group.backoff.isWaiting(
      clock.now(),
      group.circumstances(this.#hasFreeSwap()),
    );
    this.#beside(async () => {
      await measured;
      if (waits) take = 0;
      await this.#policy.observe({ interval });
      if (!this.#policy.hasWork(take)) return;
      using _turn = await turns.take();
      await this.enforce(take, { interval, isBounded: mayTake < excess });
    });
  }

  /** Observes the members for a number of milliseconds, for one scan. */
  observeOnce(milliseconds: number): Promise<void> {
    return this.#policy.observeOnce(milliseconds);
  }

  /**
   * Scans the group, and logs the result.
   *
   * @param excess by how much it should shrink at most, in bytes.
   */
  async enforce(excess: number, options: EnforceOptions): Promise<void> {
    const { log, onScan } = this.#around;
    const outcome = await this.#policy.enforce(excess, options);
    if (!outcome) return;
    onScan?.(outcome.seconds);
    const { attempted, effective, left, seconds } = outcome;
    log.info(describeOutcome(this.group, outcome), {
      group: this.group.name,
      attempted,
      effective,
      left: Math.max(0, left),
      seconds,
    });
    if (this.group.size <= this.group.cap) this.#settle();
    if (!outcome.isPartial) await this.#backOff(outcome, options.interval);
  }

  /** Makes scans less frequent while they are ineffective, and warns once why. */
  async #backOff(
    { ineffective }: ScanOutcome,
    interval: number,
  ): Promise<void> {
    const { group } = this;
    const { clock, log } = this.#around;
    group.backoff.record(ineffective, {
      now: clock.now(),
      interval,
      circumstances: group.circumstances(this.#hasFreeSwap()),
    });
    if (!group.backoff.isHopeless || group.warning !== null) return;
    group.warning = await whyNotMet(group, {
      inUse: this.#policy.inUse(),
      granularity: this.#around.platform.granularity,
    });
    log.warn(`${group.warning}; it is tried less often until that changes`, {
      group: group.name,
    });
  }

  /** Notes that the group is under its cap. */
  #settle(): void {
    const { group } = this;
    group.backoff.reset();
    if (group.warning === null) return;
    group.warning = null;
    this.#around.log.info(`${group.name}: under its cap again`);
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

  #hasFreeSwap(): boolean {
    return this.#around.platform.memory().freeSwap > 0;
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
    return this.group.state(this.#policy.idle());
  }
}
