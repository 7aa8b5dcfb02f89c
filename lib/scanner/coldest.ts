/**
 * The passes of the policy `coldest`, which page out the oldest pages of a collection
 * first, whichever process they belong to.
 *
 * Page-out has two phases: candidates are cooled, and paged out in the next pass if
 * they were not used until then. If the excess is large, half of it is paged out at
 * once, oldest first, without cooling.
 *
 * @module
 */

import type { AgedCollection } from "./aged_collection.ts";
import {
  type ColdestOptions,
  type ColdestResult,
  Pass,
} from "./coldest_pass.ts";
import type { ScanOptions } from "./scan.ts";

/**
 * Scans a collection once. The ages of every process (`process.ages`) must be up to
 * date.
 *
 * A process that cannot be controlled or paged out is skipped and reported by an event.
 * It never ends the scan.
 */
export async function scanColdest(
  collection: AgedCollection,
  options: ColdestOptions,
): Promise<ColdestResult> {
  const started = performance.now();
  const { statistics } = collection;
  const { attempted } = statistics;
  using pass = new Pass(collection, options);
  const result = await pass.run();
  statistics.scanTime += (performance.now() - started) / 1000;
  const { excess, complete } = result;
  if (complete) {
    collection.passes++;
    statistics.completedScanTime = statistics.scanTime;
  }
  // A pass that only cooled pages does not count as a scan.
  if (options.reserve !== undefined && statistics.attempted === attempted) {
    return result;
  }
  if (complete) statistics.scanCount++;
  options.onEvent?.({ type: "end", excess, complete });
  return result;
}

/** What {@linkcode pageOutIdle} pages out. */
export interface IdleOptions extends Pick<ScanOptions, "signal" | "onEvent"> {
  /** For how long pages have not been used, in seconds. */
  readonly seconds: number;
  /** How much may be tried at most, in bytes. */
  readonly most: number;
}

/**
 * Pages out what has been idle for a time, oldest first. The ages of every process must
 * be up to date. Processes are skipped as by {@linkcode scanColdest}.
 *
 * @returns `excess` is what is left of `most`, `idle` what was old enough, in bytes.
 */
export async function pageOutIdle(
  collection: AgedCollection,
  { most, ...options }: IdleOptions,
): Promise<ColdestResult> {
  const started = performance.now();
  const { statistics } = collection;
  using pass = new Pass(collection, {
    ...options,
    excess: most,
    most,
    reserve: 0,
  });
  const result = await pass.pageOutIdle();
  statistics.scanTime += (performance.now() - started) / 1000;
  if (result.complete) collection.passes++;
  const { excess, complete } = result;
  options.onEvent?.({ type: "end", excess, complete });
  return result;
}

/** How much of a collection {@linkcode pageOutIdle} would try, in bytes. */
export function idleFor(collection: AgedCollection, seconds: number): number {
  using pass = new Pass(collection, { excess: 0, seconds });
  return pass.idle;
}
