/**
 * What of a process's memory stays whatever a scan does, and why.
 *
 * @module
 */

import type { SkipReason } from "../memory/process_memory.ts";
import { accountedPins } from "../platform/held_memory.ts";
import type { MappingFigures, MonitoredMemory } from "../platform/platform.ts";

/** Memory that stays for one reason. Sizes are in bytes. */
export interface Staying {
  /** `null` if it can go. */
  readonly reason: SkipReason | null;
  /** Which cgroup lets the process swap no more, in words; only for `swap-limit`. */
  readonly limit?: string;
  /** How much is resident. */
  readonly rss: number;
  /** The same with every page divided by how often it is mapped. */
  readonly proportional: number;
}

/** Sizes in bytes. */
type Sum = Pick<Staying, "rss" | "proportional">;

/**
 * Splits the resident memory of a process by the reason why it stays.
 *
 * Where the mappings do not tell which pages are pinned, as much counts as pinned as the
 * system accounts for, but no more than could go otherwise.
 *
 * @param mappings as read for a scan.
 * @throws ProcessError if the process cannot be read.
 */
export function whatStays(
  memory: MonitoredMemory,
  mappings: readonly MappingFigures[],
): Staying[] {
  const sums = new Map<SkipReason | null, Sum>();
  const add = (reason: SkipReason | null, rss: number, proportional = rss) => {
    const sum = sums.get(reason);
    sums.set(reason, {
      rss: (sum?.rss ?? 0) + rss,
      proportional: (sum?.proportional ?? 0) + proportional,
    });
  };
  for (const mapping of mappings) {
    const { rss, proportional, own, pageable, reason } = mapping;
    if (reason && !OF_OWN.has(reason)) {
      add(reason, rss, proportional);
      continue;
    }
    const pinned = reason === "pinned" ? 0 : mapping.pinned ?? 0;
    add("shared", rss - own, proportional - own);
    add("pinned", pinned);
    // Of such pages, only those that need swap can stay without the others.
    const rest = Math.max(0, own - pageable - pinned);
    if (rest > 0) add(reason ?? whyNoSwap(memory), rest);
    add(null, pageable);
  }
  const pinned = Math.min(
    accountedPins(memory, mappings),
    sums.get(null)?.rss ?? 0,
  );
  add("pinned", pinned);
  add(null, -pinned);
  return [...sums].filter(([, { rss }]) => rss > 0).map(([reason, sum]) => ({
    reason,
    // It may have gone since.
    ...reason === "swap-limit" ? { limit: memory.swapLimit?.() } : {},
    ...sum,
  }));
}

/** Why memory of which a part can go needs swap and stays. */
function whyNoSwap(memory: MonitoredMemory): SkipReason {
  return memory.swapLimit?.() ? "swap-limit" : "no-swap";
}

/** Reasons that keep memory that is mapped once, while the rest is mapped more often. */
const OF_OWN: ReadonlySet<SkipReason> = new Set([
  "shared",
  "no-swap",
  "swap-limit",
  "swap-writes",
  "spared",
  "pinned",
]);
