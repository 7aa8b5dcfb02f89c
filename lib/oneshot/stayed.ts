/**
 * How much memory stays, and why.
 *
 * @module
 */

import { type Staying, whatStays } from "../collection/what_stays.ts";
import { ProcessError } from "../errors.ts";
import type { SkipReason } from "../memory/process_memory.ts";
import type { MappingFigures, MonitoredMemory } from "../platform/platform.ts";

/** Memory that stayed for one reason. */
export interface Stay {
  /**
   * `null` if no reason is known: it came back, or the system left it. Only reported if
   * the cap is not met.
   */
  readonly reason: SkipReason | null;
  /** In bytes, counted as the size of the collection is. */
  readonly bytes: number;
  /** Which cgroup lets processes swap no more, in words; only for `swap-limit`. */
  readonly limit?: string;
}

/** A process, and what reads its mappings as they are after the scan. */
export interface Scanned {
  readonly memory: MonitoredMemory;
  readonly read: () => Promise<MappingFigures[]>;
}

/**
 * Adds up by reason what stays of processes, the most first. Processes that cannot be
 * read are left out.
 *
 * @param options whether shared pages count in proportion, and whether the cap is met.
 */
export async function stayed(
  processes: readonly Scanned[],
  { accounting, capMet }: { accounting: "rss" | "pss"; capMet: boolean },
): Promise<Stay[]> {
  const all: Staying[] = [];
  for (const { memory, read } of processes) {
    try {
      all.push(...whatStays(memory, await read()));
    } catch (error) {
      if (!(error instanceof ProcessError)) throw error;
    }
  }
  const size = ({ rss, proportional }: Staying) =>
    accounting === "rss" ? rss : proportional;
  const alike = Map.groupBy(
    all,
    ({ reason, limit }) => `${reason} ${limit ?? ""}`,
  );
  return Array.from(alike.values(), (some): Stay => {
    const [{ reason, limit }] = some;
    const bytes = some.reduce((sum, one) => sum + size(one), 0);
    return limit === undefined ? { reason, bytes } : { reason, bytes, limit };
  }).filter(({ reason, bytes }) => bytes > 0 && !(capMet && reason === null))
    .sort((a, b) => b.bytes - a.bytes);
}
