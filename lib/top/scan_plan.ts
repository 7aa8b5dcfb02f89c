/**
 * A dry run of a scan to a size, by the ages that are known already: the passes of the
 * policy `coldest` choose pages, and page-outs are only planned. No references are read
 * or reset for it.
 *
 * @module
 */

import { residentSize } from "../collection/accounting.ts";
import { ProcessError } from "../errors.ts";
import { type Stay, stayed } from "../oneshot/stayed.ts";
import { DryRunMemory } from "../platform/dry_run.ts";
import type {
  MonitoredMemory,
  Platform,
  ProcessEntry,
} from "../platform/platform.ts";
import { describeSkipReason } from "../report/skip_reasons.ts";
import { countOf, formatSeconds, formatSize } from "../report/units.ts";
import { AgedCollection, AgedProcess } from "../scanner/aged_collection.ts";
import type { PageAges } from "../scanner/ages.ts";
import { TRIED } from "../scanner/carry_ages.ts";
import { scanColdest } from "../scanner/coldest.ts";
import type { ScanEvent } from "../scanner/scan.ts";

/** A process, as far as it is observed. */
export interface PlannedProcess {
  readonly entry: ProcessEntry;
  /** `undefined` while it is not observed. */
  readonly ages: PageAges | undefined;
  /** What counts as in use only because it was not judged yet, in bytes. */
  readonly unjudged: number;
}

export interface PlanOptions {
  readonly name: string;
  /** The size to reach, in bytes. */
  readonly size: number;
  readonly platform: Platform;
  readonly signal: AbortSignal;
}

/** What a scan would do. Sizes in bytes. */
export interface ScanPlan {
  readonly name: string;
  readonly size: number;
  /** The size now, and how it is counted. */
  readonly resident: number;
  readonly accounting: "rss" | "pss";
  /** What would be paged out, and what of it was in use in the last interval. */
  readonly goes: number;
  readonly inUse: number;
  /** For how long none of it was used, in seconds; null if nothing goes. */
  readonly leastAge: number | null;
  /** What would stay, and why: the most first. */
  readonly stays: readonly Stay[];
  /** How many processes are not observed. */
  readonly unobserved: number;
  readonly unjudged: number;
}

/** A process that takes part. */
interface Part {
  readonly memory: MonitoredMemory;
  readonly plan: DryRunMemory;
  readonly aged: AgedProcess;
}

/**
 * Plans a scan of some processes. Their ages must not be advanced meanwhile, and are as
 * they were afterwards.
 */
export async function planScan(
  processes: readonly PlannedProcess[],
  { name, size, platform, signal }: PlanOptions,
): Promise<ScanPlan> {
  const swap = { free: platform.memory().freeSwap };
  const memories: MonitoredMemory[] = [];
  const parts: Part[] = [];
  let unjudged = 0;
  for (const { entry, ages, unjudged: some } of processes) {
    // As a scan opens it: with the swap and the limits that there are.
    const memory = platform.open(entry);
    memories.push(memory);
    if (!ages?.pagedata) continue;
    const plan = new DryRunMemory(memory, swap);
    const aged = new AgedProcess(plan);
    aged.ages = ages;
    try {
      aged.residency = await plan.readResidency();
    } catch (error) {
      // It has exited, or does not answer: nothing of it would go.
      if (!(error instanceof ProcessError)) throw error;
      continue;
    }
    parts.push({ memory, plan, aged });
    unjudged += some;
  }
  const { bytes: resident, accounting } = await residentSize(memories, size);
  const excess = resident - size;
  const found = { goes: 0, unused: Infinity };
  let leastAge: number | null = null;
  if (excess > 0) {
    using _kept = keepBits(parts);
    await scanColdest(new AgedCollection(parts.map(({ aged }) => aged)), {
      excess,
      signal,
      onEvent: (event) => note(event, found),
    });
    if (found.goes > 0) leastAge = leastAgeOfTried(parts);
  }
  return {
    name,
    size,
    resident,
    accounting,
    goes: found.goes,
    inUse: Math.max(0, found.goes - found.unused),
    leastAge,
    stays: excess > 0
      ? await stayed(
        parts.map(({ memory, plan }) => ({
          memory,
          read: () => plan.readMappingsAfter(),
        })),
        { accounting, capMet: resident - found.goes <= size },
      )
      : [],
    unobserved: processes.length - parts.length,
    unjudged,
  };
}

function note(
  event: ScanEvent,
  found: { goes: number; unused: number },
): void {
  // Memory in use goes only once all that is idle was tried.
  if (event.type === "insufficient") {
    found.unused = found.goes + event.unreferenced;
  }
  if (event.type === "pageout") found.goes += event.fell;
}

/** Takes back what passes note at the pages, since nothing has gone. */
function keepBits(parts: readonly Part[]): Disposable {
  const kept = parts.map(({ aged: { ages } }) => ({
    ages,
    isStale: ages.isStale,
    bits: ages.pagedata?.bits.slice(),
  }));
  return {
    [Symbol.dispose]() {
      for (const { ages, isStale, bits } of kept) {
        ages.isStale = isStale;
        if (bits) ages.pagedata?.bits.set(bits);
      }
    },
  };
}

/** For how long none of the pages that would go was used, in seconds. */
function leastAgeOfTried(parts: readonly Part[]): number {
  let least = Infinity;
  for (const { aged: { ages } } of parts) {
    const { pagedata, used } = ages;
    if (!pagedata) continue;
    const { bits } = pagedata;
    let last = -1;
    for (let at = 0; at < bits.length; at++) {
      if (bits[at] & TRIED && used[at] > last) last = used[at];
    }
    if (last >= 0) least = Math.min(least, ages.ageOf(last));
  }
  return least < Infinity ? least : 0;
}

/** Describes what a scan would do, a line each. */
export function describePlan(plan: ScanPlan): string[] {
  const { name, resident, size, goes, inUse, leastAge, stays } = plan;
  const excess = resident - size;
  const head = `${name}: a scan to ${formatSize(size)} of ${
    formatSize(resident)
  } ${plan.accounting === "pss" ? "resident, in proportion" : "resident"}`;
  if (excess <= 0) return [head, "", "It would do nothing: it is below that."];
  const left = resident - goes;
  return [
    head,
    "",
    `would page out   ${formatSize(goes)} of an excess of ${
      formatSize(excess)
    }`,
    ...leastAge === null
      ? []
      : inUse > 0
      ? [`in use           ${formatSize(inUse)} of that, which would go, too`]
      : [`not used for     ${formatSeconds(leastAge)} or longer, all of that`],
    `would be left    ${formatSize(left)}`,
    ...left > size
      ? [
        `the size would not be reached: ${
          formatSize(left - size)
        } too much stays`,
      ]
      : [],
    ...plan.unjudged > 0
      ? [
        `not judged yet   ${
          formatSize(plan.unjudged)
        }, which counts as in use, within the budget`,
      ]
      : [],
    ...plan.unobserved > 0
      ? [
        `${
          countOf(plan.unobserved, "process", "processes")
        } cannot be observed, and count as what stays`,
      ]
      : [],
    ...stays.slice(0, 5).map(({ reason, bytes, limit }) =>
      `stays            ${formatSize(bytes)} ${
        reason === null
          ? "for a reason that is not known"
          : describeSkipReason(reason, limit)
      }`
    ),
    "",
    "A dry run, by what was observed so far: nothing was paged out. In a shell:",
    "  rcap scan --dry-run SELECTOR --cap " + formatSize(size),
  ];
}
