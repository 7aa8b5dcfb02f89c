/**
 * Estimates the proportional size of a process between two readings, which cost a walk
 * of its page tables.
 *
 * @module
 */

import type { Footprint, ProcessSample } from "../platform/platform.ts";

/** The sizes in a sample, in bytes. */
export type SampledSizes = Pick<ProcessSample, "rss" | "fileRss" | "rssError">;

/** A footprint, and a sample of the same process at that moment. */
export interface FootprintReading {
  readonly footprint: Footprint;
  readonly then: SampledSizes;
}

/**
 * Returns the proportional size of a process now, in bytes.
 *
 * What it has gained or lost of anonymous memory is its own: a page-out takes no page
 * that others map. What it maps of files and shared memory counts by the share of the
 * last reading, since a process that uses them maps more and more of the same pages as
 * others.
 */
export function estimateSize(
  { footprint, then }: FootprintReading,
  now: SampledSizes,
): number {
  const anonymous = (sizes: SampledSizes) => sizes.rss - sizes.fileRss;
  const proportional = footprint.proportional - footprint.fileProportional;
  const grown = anonymous(now) - anonymous(then);
  const share = footprint.fileRss > 0
    ? footprint.fileProportional / footprint.fileRss
    : 1;
  const size = Math.max(0, proportional + grown) +
    Math.min(1, share) * now.fileRss;
  // The page tables may hold more than an inexact counter.
  return Math.round(Math.min(size, now.rss + now.rssError));
}
