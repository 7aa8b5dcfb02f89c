/**
 * Memory that is to stay in memory, as the system accounts for it.
 *
 * @module
 */

import type { MappingFigures, MonitoredMemory } from "./platform.ts";

/**
 * Returns how much of a process is pinned according to the system's accounts, in bytes:
 * an upper bound. 0 where its mappings themselves tell what is pinned.
 */
export function accountedPins(
  memory: Pick<MonitoredMemory, "readHeld">,
  mappings: readonly MappingFigures[],
): number {
  if (mappings.some(({ pinned }) => pinned !== undefined)) return 0;
  const held = memory.readHeld?.();
  if (!held) return 0;
  const locked = mappings.filter(({ reason }) => reason === "locked")
    .reduce((sum, { start, end }) => sum + Number(end - start), 0);
  return held.pinned + Math.max(0, held.locked - locked);
}
