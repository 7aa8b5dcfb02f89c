/**
 * Why a cap cannot be met.
 *
 * @module
 */

import { ProcessError } from "../errors.ts";
import type { SkipReason } from "../memory/process_memory.ts";
import { formatSize } from "../report/units.ts";
import type { CappedGroup } from "./capped_group.ts";

/** What each reason means for a collection, and what can be done about it. */
const REASONS: Readonly<Partial<Record<SkipReason, string>>> = {
  "no-swap": "could only go to swap, and none is free: add swap or zram",
  locked: "is locked in memory",
  hugetlb: "is in hugetlb pages, which cannot be paged out",
  special: "is device memory",
  shared:
    "is shared with processes outside of the collection or between its own",
};

/**
 * Finds out why the cap of a collection cannot be met, at the cost of a walk of its
 * members' page tables.
 *
 * @returns a sentence for a person.
 */
export async function whyNotMet(collection: CappedGroup): Promise<string> {
  const bytes = new Map<SkipReason, number>();
  for (const { memory } of collection.members) {
    try {
      for (const { rss, reason } of await memory.readMappings("scan")) {
        if (reason) bytes.set(reason, (bytes.get(reason) ?? 0) + rss);
      }
    } catch (error) {
      // What cannot be read, or has gone, explains nothing.
      if (!(error instanceof ProcessError)) throw error;
    }
  }
  const { name, cap, size } = collection;
  const found = [...bytes].sort(([, a], [, b]) => b - a)
    .flatMap(([reason, size]) =>
      REASONS[reason] && size >= (collection.size - cap) / 4
        ? [`${formatSize(size)} ${REASONS[reason]}`]
        : []
    );
  const why = found.length > 0
    ? found.join("; ")
    : `its working set is larger than the cap`;
  return `${name}: ${formatSize(size)} cannot be brought under the cap of ${
    formatSize(cap)
  }: ${why}`;
}
