/**
 * Why memory is left alone, in words.
 *
 * @module
 */

import type { SkipReason } from "../memory/process_memory.ts";

const WORDS: Readonly<Record<SkipReason, string>> = {
  locked: "locked in memory",
  hugetlb: "in huge pages of hugetlb, which cannot be paged out",
  special: "device or kernel pages",
  shared: "shared with other processes",
  nonresident: "not in memory",
  "no-swap": "anonymous, and no swap is free: add swap or zram",
  ignored: "memory that did not go before",
};

/**
 * What a reason says of memory, for a person, with the remedy where there is one. It
 * follows a size or a number of mappings: `5.0M locked in memory`.
 */
export function describeSkipReason(reason: SkipReason): string {
  return WORDS[reason];
}
