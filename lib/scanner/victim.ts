/**
 * Which process is scanned next: the `clock` policy, one process after another
 * in list order, for ever.
 *
 * @module
 */

import type { ScannedProcess } from "./collection.ts";

/**
 * The valid victim for a wanted process: that process if it is a member, else the
 * first of the list; then the first from there on that can be scanned.
 */
export function validVictim(
  processes: readonly ScannedProcess[],
  wanted: ScannedProcess | undefined,
): ScannedProcess | undefined {
  const index = wanted ? processes.indexOf(wanted) : -1;
  return processes.slice(Math.max(index, 0)).find((p) => !p.unscannable);
}

/** The process after another in the list; `undefined` after the last. */
export function processAfter(
  processes: readonly ScannedProcess[],
  process: ScannedProcess,
): ScannedProcess | undefined {
  return processes[processes.indexOf(process) + 1];
}
