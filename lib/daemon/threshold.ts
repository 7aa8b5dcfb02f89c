/**
 * The enforcement threshold: caps are enforced only while physical memory use
 * exceeds it, and then only what lies above it is reclaimed.
 *
 * @module
 */

/** Physical memory, in bytes; `threshold` is a share of it, 0 to 1. */
export interface PhysicalMemory {
  readonly total: number;
  readonly used: number;
  readonly threshold: number;
}

/**
 * Returns by how much each group must shrink, in bytes: by its whole excess if there
 * is no threshold, by nothing while memory use is at or below the threshold, and
 * otherwise by a part of what lies above it: those of a higher priority give first, and
 * those of one priority in proportion to their excess.
 *
 * @param claims by how much each group exceeds its cap, in bytes, 0 or less if it does
 * not; and its priority.
 */
export function shareOut(
  claims: readonly Claim[],
  { total, used, threshold }: PhysicalMemory,
): number[] {
  const positive = claims.map(({ excess }) => Math.max(0, excess));
  if (threshold <= 0) return positive;
  let above = used - threshold * total;
  const given = positive.map(() => 0);
  const priorities = new Set(claims.map(({ priority }) => priority));
  for (const priority of [...priorities].sort((a, b) => b - a)) {
    const own = claims.map((claim, index) =>
      claim.priority === priority ? positive[index] : 0
    );
    const sum = own.reduce((sum, excess) => sum + excess, 0);
    if (above <= 0) break;
    if (sum === 0) continue;
    const share = Math.min(1, above / sum);
    for (const [index, excess] of own.entries()) {
      given[index] += Math.ceil(excess * share);
    }
    above -= sum;
  }
  return given;
}

/** What a group has to give. */
export interface Claim {
  /** In bytes; 0 or less if it has nothing to give. */
  readonly excess: number;
  /** Higher ones give first. */
  readonly priority: number;
}
