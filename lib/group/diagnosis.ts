/**
 * Explains why a cap cannot be met.
 *
 * @module
 */

import { ProcessError } from "../errors.ts";
import type { SkipReason } from "../memory/process_memory.ts";
import { describeSkipReason } from "../report/skip_reasons.ts";
import { formatBeside, formatSize } from "../report/units.ts";
import type { CappedGroup } from "./capped_group.ts";

/**
 * Finds out why the cap of a group cannot be met. Walks the page tables of all members.
 *
 * @returns a sentence for users.
 */
export async function whyNotMet(group: CappedGroup): Promise<string> {
  const bytes = new Map<SkipReason, number>();
  for (const { memory } of group.members) {
    try {
      for (const { rss, reason } of await memory.readMappings("scan")) {
        if (reason) bytes.set(reason, (bytes.get(reason) ?? 0) + rss);
      }
    } catch (error) {
      // A process that cannot be read, or has exited, explains nothing.
      if (!(error instanceof ProcessError)) throw error;
    }
  }
  const { name, cap, size } = group;
  const found = [...bytes].sort(([, a], [, b]) => b - a)
    .flatMap(([reason, size]) =>
      size > 0 && size >= (group.size - cap) / 4
        ? [`${formatSize(size)} ${describeSkipReason(reason)}`]
        : []
    );
  const why = found.length > 0
    ? found.join("; ")
    : `its working set is larger than the cap`;
  const format = formatBeside(cap, size);
  return `${name}: ${format(size)} cannot be brought under the cap of ${
    format(cap)
  }: ${why}`;
}
