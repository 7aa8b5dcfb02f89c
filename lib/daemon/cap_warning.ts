/**
 * The warning that the cap of a group cannot be met, and why.
 *
 * @module
 */

import type { Change } from "../group/backoff.ts";
import type { CappedGroup } from "../group/capped_group.ts";
import { whyNotMet } from "../group/diagnosis.ts";
import type { Platform } from "../platform/platform.ts";
import type { GroupPolicy, PolicySurroundings } from "../policy/policy.ts";

/** Gives one group its warning, and withdraws it. */
export class CapWarning {
  readonly #group: CappedGroup;
  readonly #policy: Pick<GroupPolicy, "inUse">;
  readonly #around: PolicySurroundings & { readonly platform: Platform };
  /** Whether it has to be found out why the cap cannot be met. */
  #isUnexplained = false;

  constructor(
    group: CappedGroup,
    policy: Pick<GroupPolicy, "inUse">,
    around: PolicySurroundings & { readonly platform: Platform },
  ) {
    this.#group = group;
    this.#policy = policy;
    this.#around = around;
  }

  /** Notes that a scan has failed. */
  noteFailure(why: string): void {
    const group = this.#group;
    this.#around.log.debug(
      `${group.name}: ${why}; left alone for ${this.#secondsLeft()} s`,
    );
    this.#isUnexplained = group.backoff.isHopeless;
  }

  /** Finds out why the cap cannot be met, if need be, and warns of it, once. */
  async explain(): Promise<void> {
    if (!this.#isUnexplained) return;
    this.#isUnexplained = false;
    const group = this.#group;
    const warning = await this.#why();
    // Circumstances may have changed meanwhile.
    if (!group.backoff.isHopeless) return;
    if (group.warning === null) {
      this.#around.log.warn(
        `${warning}; it may exceed it, and is left alone for ${this.#secondsLeft()} s, then for longer each time until that changes`,
        { group: group.name },
      );
    }
    group.warning = warning;
  }

  /** Finds out why the cap was not met, after the only scan. */
  async explainOnlyScan(): Promise<void> {
    this.#group.warning ??= await this.#why();
  }

  #why(): Promise<string> {
    return whyNotMet(this.#group, {
      inUse: this.#policy.inUse(),
      granularity: this.#around.platform.granularity,
    });
  }

  /** Withdraws the warning that the cap cannot be met, if there is one. */
  withdraw(change: Change): void {
    const group = this.#group;
    this.#isUnexplained = false;
    if (group.warning === null) return;
    group.warning = null;
    this.#around.log.info(
      `${group.name}: the warning no longer holds: ${change}`,
    );
  }

  #secondsLeft(): number {
    const left = this.#group.backoff.until - this.#around.clock.now();
    return Math.max(0, Math.round(left / 1000));
  }
}
