/**
 * Why memory is left alone, in words.
 *
 * @module
 */

import type { SkipReason } from "../memory/process_memory.ts";

/** Every reason, with its words. */
export const SKIP_REASONS: Readonly<Record<SkipReason, string>> = {
  locked: "locked in memory",
  hugetlb: "in huge pages of hugetlb, which cannot be paged out",
  special: "device or kernel pages",
  shared: "mapped more than once, which the kernel does not page out",
  pinned: "pinned by a device or the kernel",
  "secondary-mmu":
    "in use by a virtual machine or device, whose references are not visible",
  nonresident: "not in memory",
  "no-swap": "anonymous, and no swap is free: add swap or zram",
  "swap-limit": "anonymous, and its cgroup may not swap more",
  "swap-writes": "anonymous, and max_swap_writes is used up",
  spared: "of a kind that does not go, by the key only",
  "no-main-thread":
    "in processes whose main thread has exited while others run, which the kernel does not page out (ESRCH)",
  ignored: "memory that did not go before",
};

/**
 * What a reason says of memory, for a person, with the remedy where there is one. It
 * follows a size or a number of mappings: `5.0M locked in memory`.
 *
 * @param limit for `swap-limit`, the cgroup and its limit, if they are known.
 */
export function describeSkipReason(
  reason: SkipReason,
  limit?: string,
): string {
  return limit === undefined ? SKIP_REASONS[reason] : `anonymous: ${limit}`;
}
