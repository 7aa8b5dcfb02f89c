/**
 * How much memory a collection holds.
 *
 * @module
 */

import { ProcessError } from "../errors.ts";
import type { MonitoredMemory } from "../platform/platform.ts";

/** The resident size of a collection. */
export interface ResidentSize {
  /** In bytes. */
  readonly bytes: number;
  /**
   * `rss`: the sum of resident set sizes. It is exact for one process and an upper
   * bound for several, because a shared page counts once for each process. `pss`:
   * the sum of proportional set sizes.
   */
  readonly accounting: "rss" | "pss";
}

/**
 * Returns the resident size of processes. Processes that have exited are left out.
 * Proportional sizes are read only if the system reports them, there are several
 * processes and their RSS sum exceeds the limit, because they cost a walk of the
 * page tables.
 *
 * @param limit in bytes.
 */
export async function residentSize(
  memories: readonly MonitoredMemory[],
  limit: number,
): Promise<ResidentSize> {
  const bytes = await sizeBy("rss", memories);
  const isFinal = memories.length < 2 ||
    !memories.some(({ knowsProportional }) => knowsProportional);
  if (isFinal || bytes <= limit) {
    return { bytes, accounting: "rss" };
  }
  return { bytes: await sizeBy("pss", memories), accounting: "pss" };
}

/** Returns the resident size of processes by one way of accounting, in bytes. */
export async function sizeBy(
  accounting: ResidentSize["accounting"],
  memories: readonly MonitoredMemory[],
): Promise<number> {
  let total = 0;
  for (const memory of memories) {
    try {
      total += accounting === "rss"
        ? memory.readSizes().rss
        : (await memory.readFootprint()).proportional;
    } catch (error) {
      // The process has exited and does not count.
      if (!(error instanceof ProcessError)) throw error;
    }
  }
  return total;
}
