/**
 * Warnings about caps that are valid but hardly intended.
 *
 * @module
 */

import { describeExcessiveCap } from "./cap_size.ts";
import type { CapSettings } from "./config_schema.ts";
import type { OperatingSystem } from "../platform/operating_system.ts";
import { whyNotReclaimed } from "./reclaim.ts";

/** What the warnings depend on besides the cap. */
export interface CapSurroundings {
  /** Of the machine, in bytes. */
  readonly totalMemory: number;
  /** The device or file of the machine's swap, if it is on a disk; null if that is not known. */
  readonly swapDisk?: string | null;
  /** Whether a file sets the policy `clock`. */
  readonly writesClock: boolean;
  readonly system: Pick<OperatingSystem, "whyNotReclaimable">;
}

/** A warning, and the key that it is about. */
export interface CapDoubt {
  readonly key: keyof CapSettings;
  readonly message: string;
  readonly suggestion: string | null;
}

/** Returns the warnings about a cap. */
export function capDoubts(
  cap: CapSettings,
  { totalMemory, swapDisk, writesClock, system }: CapSurroundings,
): CapDoubt[] {
  const { name, max_rss, idle, max_swap_writes, only } = cap;
  const doubts: CapDoubt[] = [];
  const excessive = max_rss === undefined
    ? undefined
    : describeExcessiveCap(max_rss, totalMemory);
  if (excessive !== undefined) {
    doubts.push({
      key: "max_rss",
      message: `cap "${name}" of ${excessive}`,
      suggestion: "it can never be exceeded; lower it",
    });
  }
  if (idle !== undefined && writesClock) {
    doubts.push({
      key: "idle",
      message:
        `cap "${name}" has idle, so its policy is coldest, although policy is "clock": clock does not know for how long memory was idle`,
      suggestion: `remove idle, or set policy = "coldest" for all caps`,
    });
  }
  const whyNot = whyNotReclaimed(cap, system);
  if (whyNot !== undefined) {
    doubts.push({
      key: "reclaim",
      message: `reclaim of cap "${name}" has no effect: ${whyNot}`,
      suggestion: null,
    });
  }
  const canSwap = only !== "file";
  if (swapDisk !== undefined && canSwap && max_swap_writes === undefined) {
    doubts.push({
      key: "name",
      message: `cap "${name}" has no max_swap_writes, and ${
        swapDisk === null
          ? "swap may be on a disk"
          : `swap is on a disk (${swapDisk})`
      }, which writes wear out${
        swapDisk === null ? " (/proc/swaps cannot be read)" : ""
      }`,
      suggestion:
        `add max_swap_writes = "20G/day" or what the disk endures, or swap to zram`,
    });
  }
  return doubts;
}
