/**
 * What a group has in swap, and how much memory that saves.
 *
 * @module
 */

import { ProcessError } from "../errors.ts";
import type { MonitoredMemory, Platform } from "../platform/platform.ts";

/** How old the figures may get, in milliseconds, where memory was paged out or came back. */
const LIFE = 1000;
/** How old they may get otherwise: others than rcap page out, too. */
const QUIET_LIFE = 30_000;

/** Sizes in bytes; null if they are not known. */
export interface Savings {
  /** What is in swap by the page tables of the members. */
  readonly swap: number | null;
  /** That, less what the machine keeps of it in memory, in compressed form. */
  readonly saved: number | null;
}

/** Reads what members have in swap, from time to time. */
export class NetSavings {
  #last: Savings = { swap: null, saved: null };
  #readAt = -Infinity;
  #readActivity = 0;

  /**
   * Returns the figures: at most a second old, or half a minute if nothing is known to
   * have changed them.
   *
   * @param activity a number that changes when memory was paged out or came back, and when
   * members join or leave.
   */
  of(
    memories: readonly MonitoredMemory[],
    platform: Pick<Platform, "memoryOfSwap">,
    { now, activity }: { now: number; activity: number },
  ): Savings {
    const life = activity === this.#readActivity ? QUIET_LIFE : LIFE;
    if (now - this.#readAt < life) return this.#last;
    this.#readAt = now;
    this.#readActivity = activity;
    const swap = swapOf(memories);
    const share = platform.memoryOfSwap?.();
    const saved = swap === null || share === undefined && swap > 0
      ? null
      : Math.max(0, Math.round(swap * (1 - (share ?? 0))));
    return this.#last = { swap, saved };
  }
}

/** What processes have in swap, added up; null if the system does not say. */
function swapOf(memories: readonly MonitoredMemory[]): number | null {
  let sum = 0;
  for (const memory of memories) {
    if (!memory.readSwap) return null;
    try {
      sum += memory.readSwap();
    } catch (error) {
      // It has exited, or is not to be read at the moment.
      if (!(error instanceof ProcessError)) throw error;
    }
  }
  return sum;
}
