/**
 * One group that the daemon watches, with the policy in charge of it: what is done
 * about a sample, and what there is to say of that.
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
  /** What goes on beside the loop. */
  readonly work: Set<Promise<void>>;
  /** Told how long each scan took, in seconds. */
  readonly onScan?: (seconds: number) => void;
}

/** A sample, and what it means. */
export type JudgedSample = Sample & Judgement;

/** A group and its policy. */
export class WatchedGroup {
  readonly group: CappedGroup;
  /** Whether its members were looked for. */
  isRefreshed = false;
  readonly #policy: GroupPolicy;
  readonly #around: GroupSurroundings;
  /** Something is done with the group beside the loop. */
  #isBusy = false;

  constructor(group: CappedGroup, policy: Policy, around: GroupSurroundings) {
    this.group = group;
    this.#policy = policy.forGroup(group, around);
    this.#around = around;
  }

  /** Reads the sizes of all members, at little cost. */
  sample(): JudgedSample {
    const { platform, clock } = this.#around;
    const sample = this.group.sample(platform, clock.now());
    return { ...sample, ...this.#policy.judge(sample) };
  }

  /**
   * Decides what to do about a sample, and has it done beside the loop.
   *
   * @param mayTake how much of its excess the group has to give, in bytes.
   * @param interval between two samples, in milliseconds.
   */
  act(
    { wantsHistory, suffers, excess, isOld }: JudgedSample,
    mayTake: number,
    interval: number,
  ): void {
    const { group } = this;
    const { clock, log, turns } = this.#around;
    if (excess === 0) this.#settle();
    if (this.#isBusy) return;
    if (!wantsHistory) {
      this.#policy.forget();
      if (isOld) this.#beside(() => this.#measureAnew());
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
      if (isOld) await this.#measureAnew();
      if (waits) take = 0;
      await this.#policy.observe({ interval });
      if (!this.#policy.hasWork(take)) return;
      using _turn = await turns.take();
      await this.enforce(take, { interval, isBounded: mayTake < excess });
    });
  }

  /** Observes the members for so many milliseconds, for one scan. */
  observeOnce(milliseconds: number): Promise<void> {
    return this.#policy.observeOnce(milliseconds);
  }

  /**
   * Scans the group, and tells what that came to.
   *
   * @param excess by how much it should shrink at the most, in bytes.
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
    if (left <= 0) this.#settle();
    if (!outcome.isPartial) await this.#backOff(outcome, options.interval);
  }

  /** Has the group tried less often where scans bring nothing, and warns once why. */
  async #backOff(
    { ineffective, effective }: ScanOutcome,
    interval: number,
  ): Promise<void> {
    const { group } = this;
    const { clock, log } = this.#around;
    group.backoff.record(ineffective, {
      now: clock.now(),
      interval,
      circumstances: {
        ...group.circumstances(this.#hasFreeSwap()),
        size: group.size - effective,
      },
    });
    if (!group.backoff.isHopeless || group.warning !== null) return;
    group.warning = await whyNotMet(group);
    log.warn(`${group.warning}; it is tried less often until that changes`, {
      group: group.name,
    });
  }

  /** Notes that the group is under its cap, or has been brought there. */
  #settle(): void {
    const { group } = this;
    group.backoff.reset();
    if (group.warning === null) return;
    group.warning = null;
    this.#around.log.info(`${group.name}: under its cap again`);
  }

  async #measureAnew(): Promise<void> {
    await this.group.measureAnew(this.#around.clock.now());
  }

  #hasFreeSwap(): boolean {
    return this.#around.platform.memory().freeSwap > 0;
  }

  /** Does something beside the loop; no error of it ends the daemon. */
  #beside(step: () => Promise<void>): void {
    const { log, signal, work } = this.#around;
    this.#isBusy = true;
    const done = step().catch((error) => {
      // To end is what it was told.
      if (signal.aborted && error === signal.reason) return;
      log.warn(`${this.group.name}: ${describeError(error)}`);
    }).finally(() => {
      this.#isBusy = false;
      work.delete(done);
    });
    work.add(done);
  }

  /** What there is to tell. */
  state(): GroupState {
    return this.group.state(this.#policy.idle());
  }
}
