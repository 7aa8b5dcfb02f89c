/**
 * How much memory stays, and why.
 *
 * @module
 */

import { ProcessError } from "../errors.ts";
import type { SkipReason } from "../memory/process_memory.ts";
import type { MappingFigures } from "../platform/platform.ts";

/** Memory that stayed for one reason. */
export interface Stay {
  /**
   * `null` if no reason is known: it came back, or the system left it. Only reported if
   * the cap is not met.
   */
  readonly reason: SkipReason | null;
  /** In bytes, counted as the size of the collection is. */
  readonly bytes: number;
}

/**
 * Adds up by reason what stays of processes, the most first. Processes that cannot be
 * read are left out.
 *
 * @param readings each reads the mappings of a process.
 * @param options whether shared pages count in proportion, and whether the cap is met.
 */
export async function stayed(
  readings: readonly (() => Promise<MappingFigures[]>)[],
  { accounting, capMet }: { accounting: "rss" | "pss"; capMet: boolean },
): Promise<Stay[]> {
  const sums = new Map<SkipReason | null, number>();
  for (const read of readings) {
    try {
      for (const mapping of await read()) {
        for (const { reason, bytes } of staysOf(mapping, accounting)) {
          sums.set(reason, (sums.get(reason) ?? 0) + bytes);
        }
      }
    } catch (error) {
      if (!(error instanceof ProcessError)) throw error;
    }
  }
  return [...sums].map(([reason, bytes]) => ({ reason, bytes }))
    .filter(({ reason, bytes }) => bytes > 0 && !(capMet && reason === null))
    .sort((a, b) => b.bytes - a.bytes);
}

/** Splits the resident memory of a mapping by the reason why it stays. */
function staysOf(
  { rss, own, proportional, pageable, reason }: MappingFigures,
  accounting: "rss" | "pss",
): Stay[] {
  const all = accounting === "rss" ? rss : proportional;
  if (reason && !OF_OWN.has(reason)) return [{ reason, bytes: all }];
  return [
    // A page that is mapped once has the same size either way.
    { reason: "shared", bytes: all - own },
    // Of such pages, only those that need swap can stay without the others.
    { reason: reason ?? "no-swap", bytes: own - pageable },
    { reason: null, bytes: pageable },
  ];
}

/** Reasons that keep memory that is mapped once, while the rest is mapped more often. */
const OF_OWN: ReadonlySet<SkipReason> = new Set([
  "shared",
  "no-swap",
  "swap-limit",
  "pinned",
]);
