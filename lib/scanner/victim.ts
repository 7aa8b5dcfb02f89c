/**
 * Chooses the next process to scan for the `clock` policy: one process after
 * another in list order, in a circle.
 *
 * @module
 */

import type { ScannedProcess } from "./collection.ts";

/**
 * Returns the victim for a wanted process. The search starts at that process if it
 * is in the collection, else at the first of the list, and finds the first that can
 * be scanned.
 */
export function validVictim(
  processes: readonly ScannedProcess[],
  wanted: ScannedProcess | undefined,
): ScannedProcess | undefined {
  const index = wanted ? processes.indexOf(wanted) : -1;
  return processes.slice(Math.max(index, 0)).find((p) => !p.unscannable);
}

/** Returns the process after another in the list; `undefined` after the last. */
export function processAfter(
  processes: readonly ScannedProcess[],
  process: ScannedProcess,
): ScannedProcess | undefined {
  return processes[processes.indexOf(process) + 1];
}
