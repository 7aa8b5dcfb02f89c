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
 * otherwise by a share of what lies above it, in proportion to its excess.
 *
 * @param excesses by how much each group exceeds its cap, in bytes; 0 or less if it
 * does not.
 */
export function shareOut(
  excesses: readonly number[],
  { total, used, threshold }: PhysicalMemory,
): number[] {
  const positive = excesses.map((excess) => Math.max(0, excess));
  if (threshold <= 0) return positive;
  const above = used - threshold * total;
  const sum = positive.reduce((sum, excess) => sum + excess, 0);
  if (above <= 0 || sum === 0) return positive.map(() => 0);
  const share = Math.min(1, above / sum);
  return positive.map((excess) => Math.ceil(excess * share));
}
