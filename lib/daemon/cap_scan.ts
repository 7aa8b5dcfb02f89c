/**
 * A scan for a cap: page-outs, and what the kernel is asked to reclaim beside them.
 *
 * @module
 */

import type { CappedGroup } from "../group/capped_group.ts";
import type { Clock } from "../platform/clock.ts";
import type { Platform } from "../platform/platform.ts";
import type {
  EnforceOptions,
  GroupPolicy,
  PolicySurroundings,
  ScanOutcome,
} from "../policy/policy.ts";
import { type Reclaimed, SharedReclaim } from "./shared_reclaim.ts";

/** Scans one group for its cap. */
export class CapScan {
  readonly #group: CappedGroup;
  readonly #policy: GroupPolicy;
  readonly #clock: Clock;
  readonly #reclaim: SharedReclaim;

  constructor(
    group: CappedGroup,
    policy: GroupPolicy,
    around: PolicySurroundings & { readonly platform: Platform },
  ) {
    this.#group = group;
    this.#policy = policy;
    this.#clock = around.clock;
    this.#reclaim = new SharedReclaim(group, around);
  }

  /** Whether memory in use stays, because the kernel is expected to take shared memory. */
  get sparesInUse(): boolean {
    return this.#reclaim.isPromising;
  }

  /**
   * Pages out, and has the kernel reclaim what several processes map, where it may; both
   * within `options.most`.
   */
  async run(
    excess: number,
    options: EnforceOptions,
    signal: AbortSignal,
  ): Promise<ScanOutcome | undefined> {
    const group = this.#group;
    const { most = Infinity, interval } = options;
    const began = this.#clock.now();
    const goal = Math.max(group.cap, group.size - excess);
    const outcome = await this.#policy.enforce(excess, {
      ...options,
      sparesInUse: this.sparesInUse,
    }, signal);
    if (excess <= 0) return outcome;
    const missing = Math.min(
      this.#policy.shortfall,
      group.size - goal,
      most - (outcome?.attempted ?? 0),
    );
    const reclaimed = await this.#reclaim.take(missing, interval, signal);
    if (!reclaimed) return outcome;
    const { statistics } = group;
    statistics.attempted += reclaimed.asked;
    statistics.effective += reclaimed.fell;
    if (!outcome) group.scans++;
    return withReclaimed(outcome, reclaimed, {
      left: group.size - goal,
      seconds: (this.#clock.now() - began) / 1000,
    });
  }
}

/**
 * Adds what the kernel has reclaimed to the outcome of a scan. It may have been in use:
 * whether it comes back at once is to be seen.
 */
function withReclaimed(
  outcome: ScanOutcome | undefined,
  { asked, fell }: Reclaimed,
  end: Pick<ScanOutcome, "left" | "seconds">,
): ScanOutcome {
  return {
    attempted: (outcome?.attempted ?? 0) + asked,
    effective: (outcome?.effective ?? 0) + fell,
    // Which pages went is not known.
    taken: {
      bytes: (outcome?.taken.bytes ?? 0) + asked,
      toSwap: (outcome?.taken.toSwap ?? 0) + asked,
    },
    ineffective: fell === 0 && (outcome?.ineffective ?? true),
    tookInUse: fell > 0 || (outcome?.tookInUse ?? false),
    inUse: outcome?.inUse ?? 0,
    isPartial: false,
    ...end,
  };
}
