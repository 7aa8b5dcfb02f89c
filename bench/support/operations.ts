/**
 * The operations of workloads, as the generators of the contest record them.
 *
 * @module
 */

/** Classes of durations: 16 for every power of 2 of nanoseconds, as in operations.h. */
export const BUCKETS = 1024;
/** Classes of idle times, as in operations.h. */
export const IDLE_BANDS = 9;

/** Operations counted so far. */
export interface Operations {
  readonly count: number;
  /** Operations by duration: buckets of operations.h. */
  readonly buckets: Float64Array;
  /** Page faults by how long the page had not been used, if counted: bands of operations.h. */
  readonly refaults: Float64Array;
  /** The jobs that are done. */
  readonly jobs: number;
}

/**
 * Returns the time within which a share of operations ended, in microseconds.
 *
 * @param share from 0 to 1.
 */
export function quantile(buckets: Float64Array, share: number): number {
  const wanted = buckets.reduce((sum, n) => sum + n, 0) * share;
  let sum = 0;
  const index = buckets.findIndex((n) => (sum += n) >= wanted);
  const [exponent, part] = [Math.floor(index / 16), index % 16];
  return (part + 17) * 2 ** exponent / 1000;
}

/** The class of a duration in nanoseconds. */
export function bucketOf(nanoseconds: number): number {
  const exponent = Math.floor(Math.log2(Math.max(16, nanoseconds)));
  const part = Math.floor(nanoseconds / 2 ** (exponent - 4)) % 16;
  return (exponent - 4) * 16 + part;
}
