/**
 * What a scan to a size would do, by the ages that are known already. Nothing is read of
 * references for it, and nothing is paged out.
 *
 * @module
 */

import { whatStays } from "../collection/what_stays.ts";
import { ProcessError } from "../errors.ts";
import { countOf, formatSize } from "../report/units.ts";
import { idleBytes, leastAgeOfOldest, type PageAges } from "../scanner/ages.ts";
import type { WatchedProcess } from "./watcher.ts";

/** What is known of some processes. Sizes in bytes. */
export interface PlanBasis {
  readonly name: string;
  readonly rss: number;
  /** The goal. */
  readonly size: number;
  /** What can go, and of this what can go to swap only. */
  readonly pageable: number;
  readonly toSwap: number;
  readonly freeSwap: number;
  /** What stays, and why: the most first. */
  readonly stays: readonly (readonly [reason: string, bytes: number])[];
  readonly ages: readonly PageAges[];
  /** How many processes are not observed. */
  readonly unobserved: number;
}

/** Reads what can go of some processes. */
export async function planBasis(
  processes: readonly WatchedProcess[],
  { name, size, freeSwap }: Pick<PlanBasis, "name" | "size" | "freeSwap">,
): Promise<PlanBasis> {
  let [rss, pageable, toSwap, unobserved] = [0, 0, 0, 0];
  const stays = new Map<string, number>();
  const ages: PageAges[] = [];
  for (const one of processes) {
    rss += one.figures().rss;
    if (!one.ages?.pagedata) {
      unobserved++;
      continue;
    }
    try {
      const mappings = await one.memory.readMappings("scan");
      for (const mapping of mappings) {
        pageable += mapping.pageable;
        toSwap += mapping.toSwap;
      }
      for (const { reason, rss } of whatStays(one.memory, mappings)) {
        if (reason === null) continue;
        stays.set(reason, (stays.get(reason) ?? 0) + rss);
      }
      ages.push(one.ages);
    } catch (error) {
      if (!(error instanceof ProcessError)) throw error;
      unobserved++;
    }
  }
  return {
    name,
    size,
    freeSwap,
    rss,
    pageable,
    toSwap,
    unobserved,
    ages,
    stays: [...stays].sort(([, a], [, b]) => b - a),
  };
}

/** Describes what a scan would do, a line each. */
export function describePlan(basis: PlanBasis): string[] {
  const { name, rss, size, pageable, toSwap, freeSwap, stays } = basis;
  const excess = rss - size;
  const head = `${name}: a scan to ${formatSize(size)} of ${
    formatSize(rss)
  } resident`;
  if (excess <= 0) return [head, "", "It would do nothing: it is below that."];
  const noSwap = Math.max(0, toSwap - freeSwap);
  const can = Math.max(0, pageable - noSwap);
  const goes = Math.min(excess, can);
  const age = leastAgeOfOldest(basis.ages, goes);
  const [{ bytes: idle }] = idleBytes(basis.ages, [10]);
  const inUse = Math.max(0, goes - idle);
  return [
    head,
    "",
    `would page out   ${formatSize(goes)} of an excess of ${
      formatSize(excess)
    }`,
    goes === 0
      ? ""
      : age > 0
      ? `not used for     ${age} s or longer, all of that`
      : `used within 10 s ${
        formatSize(inUse)
      } of that: memory in use would go, too`,
    `would be left    ${formatSize(rss - goes)}`,
    ...(can < excess
      ? [
        `the size would not be reached: ${
          formatSize(excess - can)
        } too much stays`,
      ]
      : []),
    ...(noSwap > 0
      ? [
        `swap             ${formatSize(freeSwap)} is free, and ${
          formatSize(toSwap)
        } can go there only`,
      ]
      : []),
    ...(basis.unobserved > 0
      ? [
        `${
          countOf(basis.unobserved, "process", "processes")
        } cannot be observed, and count as what stays`,
      ]
      : []),
    ...stays.filter(([, bytes]) => bytes > 0).slice(0, 5).map(([why, bytes]) =>
      `stays            ${formatSize(bytes)} ${why}`
    ),
    "",
    "An estimate by what was observed so far. Nothing was paged out. In a shell:",
    "  rcap scan --dry-run SELECTOR --cap " + formatSize(size),
  ];
}
