/**
 * What `rcap size` reports of a group: what each cap would have cost, the cap to
 * recommend, and what the figures rest on.
 *
 * @module
 */

import type { SkipReason } from "../memory/process_memory.ts";
import type {
  MachineMemory,
  PagedataSourceName,
  PageInCost,
} from "../platform/platform.ts";
import type { RefaultLimit } from "../report/rates.ts";
import type { SizeFindings } from "./size.ts";
import type { SizedGroup } from "./sized_group.ts";

const PAGE = 4096;
const MIB = 2 ** 20;
/** The recommended cap exceeds the smallest that would do by this share. */
const MARGIN = 0.05;
/** The budget of refaults is never below so many a minute: one a second. */
const LEAST_BUDGET = 60;
/** Below so many seconds of observation, too little is known of memory that was not used. */
export const SHORT = 300;

/** What a cap would have cost. Sizes in bytes, times in seconds. */
export interface CapCost {
  readonly cap: number;
  /** How much smaller the group would be. */
  readonly saved: number;
  /** For how long pages are not used that the cap pages out; null if it pages out none. */
  readonly idleSeconds: number | null;
  /** Whether they were not used at all while they were watched, so that it may be longer. */
  readonly idleIsAtLeast: boolean;
  /** Pages a second, and where from. */
  readonly refaults: number;
  readonly fromSwap: number;
  readonly fromFiles: number;
  /** Pages in the worst minute; with more than 50 minutes, in the worst but 2 %. */
  readonly worstMinute: number;
  /** Pages a minute, as a share of the working set; null if there is none. */
  readonly perMinute: number | null;
  /** The share of one thread's time; null if the cost of a page-in is not known. */
  readonly stalled: number | null;
  /**
   * The share of the group that counts as in use because its references were not reset for
   * longer than `idleSeconds`.
   */
  readonly unjudged: number;
}

/** What is known of a group. Sizes in bytes, times in seconds. */
export interface GroupSizeReport {
  readonly name: string;
  readonly processes: number;
  /** The size as the daemon counts it, now and when the observation began. */
  readonly size: number;
  readonly startSize: number;
  /** What cannot go, and why. */
  readonly fixed: number;
  readonly cannotGo: readonly { reason: SkipReason; bytes: number }[];
  /** What was in swap at the start, and the pages that came back while it was watched. */
  readonly swapped: number;
  readonly returned: number;
  /** What can go to swap only, and what can go to its files. */
  readonly toSwap: number;
  readonly toFiles: number;
  /** What was used within so many seconds, of what can go: the mean over the readings. */
  readonly workingSet: number;
  readonly workingSetSeconds: number;
  /** The smallest cap that is predicted: what cannot go, and what is used within an interval. */
  readonly least: number;
  /** What was not used while it was watched, and the most refaults a second that it may cause. */
  readonly neverUsed: number;
  readonly neverUsedRefaults: number | null;
  /** The most pages that may come back in a minute. */
  readonly budget: number;
  /** What the recommended cap would have cost; null if no cap below the size is within the budget. */
  readonly recommended: CapCost | null;
  /** How much of what it saves would need swap, at the most; null without a recommendation. */
  readonly swapNeeded: number | null;
  /** Whether large pages, which count once, were among those that came back. */
  readonly hasLargePages: boolean;
  /** Every cap that is known, in ascending order. */
  readonly curve: readonly CapCost[];
}

/** What `rcap size --json` prints. */
export interface SizeReport {
  readonly version: 1;
  readonly pagedata: PagedataSourceName;
  /** For how long was watched, and how often references were read and reset. */
  readonly observedSeconds: number;
  readonly interval: number;
  readonly interrupted: boolean;
  readonly swapFree: number;
  readonly swapTotal: number;
  /** What a page-in costs, as measured on this machine. */
  readonly pageIns: readonly PageInCost[];
  readonly groups: readonly GroupSizeReport[];
}

/** Returns the report of an observation. */
export function sizeReport(
  { groups, costs, isInterrupted, interval }: SizeFindings,
  { limit, pagedata, memory }: {
    limit: RefaultLimit;
    pagedata: PagedataSourceName;
    memory: MachineMemory;
  },
): SizeReport {
  const seconds = Math.max(0, ...groups.map(({ seconds }) => seconds));
  return {
    version: 1,
    pagedata,
    observedSeconds: rounded(seconds, 1),
    interval: rounded(interval, 3),
    interrupted: isInterrupted,
    swapFree: memory.freeSwap,
    swapTotal: memory.totalSwap,
    pageIns: costs?.pageIns ?? [],
    groups: groups.filter(({ size }) => size > 0)
      .map((group) => groupReport(group, { limit, costs })),
  };
}

function groupReport(
  group: SizedGroup,
  { limit, costs }: { limit: RefaultLimit; costs: SizeFindings["costs"] },
): GroupSizeReport {
  const { size, startSize, fixed, workingSet, neverUsed, seconds } = group;
  const { toSwap, toFiles } = group.pageable;
  const budget = budgetOf(limit, workingSet);
  const least = Math.ceil(Math.min(group.least, size) / PAGE) * PAGE;
  const costOf = coster(group, costs);
  const recommended = recommendedCap(group, { budget, least });
  const largest = size + (group.returned > 0 ? group.outAtStart : 0);
  const caps = (group.curve?.caps ?? []).filter((cap) =>
    cap >= least && cap <= largest
  );
  const known = [...new Set([least, ...caps, size])].sort((a, b) => a - b);
  return {
    name: group.name,
    processes: group.processes.filter(({ hasExited }) => !hasExited).length,
    size,
    startSize,
    fixed,
    cannotGo: group.stays,
    swapped: group.outAtStart,
    returned: group.returned,
    toSwap,
    toFiles,
    workingSet: Math.round(workingSet),
    workingSetSeconds: rounded(group.workingSetTime, 1),
    least,
    neverUsed,
    neverUsedRefaults: seconds > 0
      ? rounded(neverUsed / PAGE / seconds, 3)
      : null,
    budget: Math.round(budget),
    recommended: recommended === undefined ? null : costOf(recommended),
    swapNeeded: recommended === undefined
      ? null
      : Math.min(size - recommended, toSwap),
    hasLargePages: group.hasLarge,
    curve: group.readings > 1 ? known.map(costOf) : [],
  };
}

/** How many pages may come back in a minute. */
function budgetOf(limit: RefaultLimit, workingSet: number): number {
  const pages = "sharePerMinute" in limit
    ? limit.sharePerMinute * workingSet / PAGE
    : limit.perSecond * 60;
  return Math.max(pages, LEAST_BUDGET);
}

/** Returns the cap to recommend; `undefined` if none below the size would do. */
function recommendedCap(
  group: SizedGroup,
  { budget, least }: { budget: number; least: number },
): number | undefined {
  if (!group.curve || group.readings < 2) return undefined;
  const smallest = group.curve.smallestCap(budget, least);
  const growth = Math.max(0, group.size - group.startSize);
  const cap = Math.ceil((smallest * (1 + MARGIN) + growth) / MIB) * MIB;
  return cap < group.size ? cap : undefined;
}

/** Returns a function that returns what a cap would have cost. */
function coster(
  group: SizedGroup,
  costs: SizeFindings["costs"],
): (cap: number) => CapCost {
  const { curve, size, workingSet } = group;
  const costFrom = (origin: PageInCost["from"]) =>
    costs?.pageIns.find(({ from }) => from === origin)?.nanoseconds;
  const [ofSwap, ofFile] = [costFrom("swap"), costFrom("file")];
  return (cap) => {
    const { fromSwap, fromFiles } = curve?.refaults(cap) ??
      { fromSwap: 0, fromFiles: 0 };
    const { seconds, isAtLeast } = curve?.idleTime(cap) ??
      { seconds: null, isAtLeast: false };
    const idle = cap >= size ? null : seconds;
    const refaults = fromSwap + fromFiles;
    return {
      cap,
      saved: Math.max(0, size - cap),
      idleSeconds: idle === null ? null : rounded(idle, 1),
      idleIsAtLeast: idle !== null && isAtLeast,
      refaults: rounded(refaults, 3),
      fromSwap: rounded(fromSwap, 3),
      fromFiles: rounded(fromFiles, 3),
      worstMinute: Math.round(curve?.worstMinute(cap) ?? 0),
      perMinute: workingSet === 0
        ? null
        : rounded(refaults * 60 / (workingSet / PAGE), 6),
      stalled: stalledOf([[fromSwap, ofSwap], [fromFiles, ofFile]]),
      unjudged: idle === null || size === 0
        ? 0
        : rounded(group.unresetFor(idle) / size, 4),
    };
  };
}

/** The share of a thread's time that page-ins take; `null` if their cost is not known. */
function stalledOf(
  parts: readonly (readonly [pages: number, cost: number | undefined])[],
): number | null {
  let share = 0;
  for (const [pages, cost] of parts) {
    if (pages === 0) continue;
    if (cost === undefined) return null;
    share += pages * cost / 1e9;
  }
  return rounded(share, 6);
}

function rounded(value: number, decimals: number): number {
  return Number(value.toFixed(decimals));
}

/** How many rows a table has besides those of the size and the recommendation. */
const ROWS = 5;

/** Chooses the caps that a table shows, the largest first. */
export function chosenCaps(
  { curve, size, least, recommended }: GroupSizeReport,
): CapCost[] {
  if (curve.length === 0) return [];
  const near = (cap: number) =>
    curve.reduce((best, one) =>
      Math.abs(one.cap - cap) < Math.abs(best.cap - cap) ? one : best
    );
  const largest = curve[curve.length - 1].cap;
  const above = largest > size
    ? [near((size + largest) / 2), near(largest)]
    : [];
  const between = Array.from(
    { length: ROWS },
    (_, row) => near(least + (size - least) * row / ROWS),
  );
  const rows = [...above, near(size), ...between].filter(({ cap }) =>
    !recommended ||
    Math.abs(cap - recommended.cap) > (size - least) / ROWS / 4 ||
    cap === least || cap >= size
  );
  const all = recommended ? [...rows, recommended] : rows;
  return [...new Map(all.map((row) => [row.cap, row])).values()]
    .sort((a, b) => b.cap - a.cap);
}
