/**
 * Tells the guard rails of groups the memory pressure: that of a group's own cgroup, or
 * else of the machine.
 *
 * @module
 */

import { cgroupTest } from "../config/reclaim.ts";
import { NotKnown } from "../errors.ts";
import type { CappedGroup } from "../group/capped_group.ts";
import { ownCgroup } from "../group/own_cgroup.ts";
import type { Platform } from "../platform/platform.ts";

/** What of the platform shows cgroups and pressure. */
export type PressurePlatform = Pick<
  Platform,
  "memoryPressure" | "unifiedCgroupOf"
>;

/** Finds the group's own cgroup, after its members were searched for. */
export function findCgroup(
  group: CappedGroup,
  platform: PressurePlatform,
): void {
  const matches = cgroupTest(group.definition.select);
  if (!matches) return;
  try {
    group.cgroup = ownCgroup(
      matches,
      group.processes.map(({ entry }) => platform.unifiedCgroupOf?.(entry)),
    );
  } catch (error) {
    // It stays the one that it was.
    if (!(error instanceof NotKnown)) throw error;
  }
}

/**
 * Reads the pressure for every group that has a limit on it, or finds its idle time.
 *
 * @param now in milliseconds of the monotonic clock.
 */
export function watchPressure(
  groups: readonly CappedGroup[],
  platform: PressurePlatform,
  now: number,
): void {
  for (const group of groups) {
    const { guard, cgroup, idleTime, definition: { maxPressure } } = group;
    const own = cgroup === undefined
      ? undefined
      : platform.memoryPressure?.(cgroup);
    if (maxPressure === undefined) {
      group.guardTrouble = null;
      // Others may have caused that of the machine.
      if (idleTime) guard.notePressure({ share: own, cgroup });
      continue;
    }
    const share = own ?? platform.memoryPressure?.();
    guard.notePressure(
      own === undefined
        ? { share, most: mostRefaults(groups, now) }
        : { share, cgroup },
    );
    group.guardTrouble = share === undefined
      ? "max_pressure has no effect: the kernel does not tell memory pressure (/proc/pressure/memory)"
      : null;
  }
}

/** Which group has the most refaults, and how many a second; `undefined` if none has. */
function mostRefaults(
  groups: readonly CappedGroup[],
  now: number,
): { name: string; perSecond: number } | undefined {
  let most: { name: string; perSecond: number } | undefined;
  for (const { name, guard } of groups) {
    const perSecond = guard.refaults.inLastMinute(now) / 60;
    if (perSecond > (most?.perSecond ?? 0)) most = { name, perSecond };
  }
  return most;
}
