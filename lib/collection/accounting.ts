/**
 * How much memory a collection holds.
 *
 * @module
 */

import { ProcessError } from "../errors.ts";
import type { ProcessSizes } from "../memory/process_memory.ts";
import type { MonitoredMemory } from "../platform/platform.ts";

/** The resident size of a collection. */
export interface ResidentSize {
  /** In bytes. */
  readonly bytes: number;
  /**
   * `rss`: the sum of resident set sizes, an upper bound, because a page counts as often
   * as it is mapped. `pss`: the sum of proportional set sizes, in which each page counts
   * once.
   */
  readonly accounting: "rss" | "pss";
}

/**
 * Returns the resident size of processes. Processes that have exited are left out.
 * Proportional sizes, which cost a walk of the page tables and are exact, are read only
 * if the system reports them and the sum of RSS exceeds the limit, or may because it is
 * not exact.
 *
 * @param limit in bytes.
 */
export async function residentSize(
  memories: readonly MonitoredMemory[],
  limit: number,
): Promise<ResidentSize> {
  const sizes = memories.flatMap((memory) => sizesIfAny(memory) ?? []);
  const bytes = sizes.reduce((sum, { rss }) => sum + rss, 0);
  const error = sizes.reduce((sum, { rssError = 0 }) => sum + rssError, 0);
  const isFinal = !memories.some(({ knowsProportional }) => knowsProportional);
  return isFinal || bytes + error <= limit
    ? { bytes, accounting: "rss" }
    : { bytes: await proportionalSize(memories), accounting: "pss" };
}

/**
 * Returns the sum of the proportional sizes of processes, in bytes. A process that does
 * not answer counts by its RSS.
 */
async function proportionalSize(
  memories: readonly MonitoredMemory[],
): Promise<number> {
  let total = 0;
  for (const memory of memories) {
    try {
      total += (await memory.readFootprint()).proportional;
    } catch (error) {
      if (!(error instanceof ProcessError)) throw error;
      total += sizesIfAny(memory)?.rss ?? 0;
    }
  }
  return total;
}

/** Returns the sizes of a process; `undefined` if it has exited and does not count. */
function sizesIfAny(memory: MonitoredMemory): ProcessSizes | undefined {
  try {
    return memory.readSizes();
  } catch (error) {
    if (error instanceof ProcessError) return undefined;
    throw error;
  }
}
