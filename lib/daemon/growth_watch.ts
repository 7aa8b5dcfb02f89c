/**
 * Looks for members of a group that may leak.
 *
 * @module
 */

import type { CappedGroup } from "../group/capped_group.ts";
import { describeGrowth, growthOf } from "../group/growth.ts";
import type { GroupPolicy, PolicySurroundings } from "../policy/policy.ts";

/** How often it is looked, in milliseconds. */
const INTERVAL = 60_000;

/** Watches the growth of one group. */
export class GrowthWatch {
  readonly #group: CappedGroup;
  readonly #policy: Pick<GroupPolicy, "growth">;
  readonly #around: PolicySurroundings;
  #lookedAt = -Infinity;

  constructor(
    group: CappedGroup,
    policy: Pick<GroupPolicy, "growth">,
    around: PolicySurroundings,
  ) {
    this.#group = group;
    this.#policy = policy;
    this.#around = around;
  }

  /** Looks from time to time which members may leak, and logs each once. */
  async look(): Promise<void> {
    const { clock, log } = this.#around;
    const group = this.#group;
    if (clock.now() - this.#lookedAt < INTERVAL) return;
    this.#lookedAt = clock.now();
    const known = new Set(group.growth.map(({ pid }) => pid));
    group.growth = await growthOf(this.#policy.growth?.() ?? []);
    for (const growth of group.growth) {
      if (known.has(growth.pid)) continue;
      log.info(`${group.name}: ${describeGrowth(growth)}`);
    }
  }
}
