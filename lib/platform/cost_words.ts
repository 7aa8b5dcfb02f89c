/**
 * What references and page-ins cost, in words for users.
 *
 * @module
 */

import { formatNanoseconds, formatShare } from "../report/units.ts";
import type { PageInCost } from "./platform.ts";

/** What follows the name of a device. */
const SUFFIXES: Readonly<Record<PageInCost["from"], string>> = {
  swap: "",
  file: " (files)",
  reads: " (reads of others)",
};

/** The pages of a gibibyte. */
const PAGES_OF_GIB = 2 ** 18;
/** The interval of the example, in nanoseconds: the daemon's by default. */
const INTERVAL = 5e9;

/** Describes what a reference costs, in nanoseconds. */
export function describeReference(cost: number): string {
  return `takes ${formatNanoseconds(cost)} longer after a reset`;
}

/** Describes what page-ins cost. */
export function describePageIns(pageIns: readonly PageInCost[]): string {
  const each = pageIns.map(({ from, device, nanoseconds }) =>
    `${formatNanoseconds(nanoseconds)} from ${device}${SUFFIXES[from]}`
  );
  return `takes ${each.join(", ")}`;
}

/** What the cost of a reference means for a process. */
export function meaningOfReference(cost: number): string {
  const share = PAGES_OF_GIB * cost / INTERVAL;
  return `resetting 1 GiB in use every 5 s would take ${
    share < 1 ? `about ${formatShare(share)}` : "all"
  } of its process's time`;
}

/** What the cost of page-ins means for a process. */
export function meaningOfPageIns(pageIns: readonly PageInCost[]): string {
  const each = pageIns.map(({ device, nanoseconds }) =>
    `${formatNanoseconds(PAGES_OF_GIB * nanoseconds)} from ${device}`
  );
  return `a process that needs 1 GiB again, page by page, waits about ${
    each.join(", ")
  }`;
}
