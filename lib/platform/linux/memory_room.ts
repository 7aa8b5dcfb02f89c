/**
 * How much more memory cgroups may use: `memory.max` of version 2,
 * Documentation/admin-guide/cgroup-v2.rst, and `memory.limit_in_bytes` of version 1,
 * Documentation/admin-guide/cgroup-v1/memory.rst.
 *
 * A page that is read from swap is charged to the cgroup that it was charged to before
 * (`mem_cgroup_swapin_charge_folio` of mm/memcontrol.c), most often that of its process.
 * At its limit the kernel reclaims, and may kill a process of the cgroup.
 *
 * @module
 */

import { controlAt } from "../../../ffi/cgroup_directory.ts";
import { openCgroups, reachableCgroupMounts, upFrom } from "./cgroup_mounts.ts";
import { type CgroupPlace, isOutside } from "./cgroups.ts";
import { numberIn } from "./swap_limits.ts";

/** By hierarchy: the files with the limits of a cgroup and with what it uses. */
const FILES: Readonly<Record<string, { limits: string[]; used: string }>> = {
  "": { limits: ["memory.max", "memory.high"], used: "memory.current" },
  memory: {
    limits: ["memory.limit_in_bytes"],
    used: "memory.usage_in_bytes",
  },
};

/**
 * Returns how many bytes more the cgroups of a process may use, its own and all above
 * that are visible; `Infinity` without a limit. Caches that the kernel could drop count
 * as used.
 */
export function memoryRoom(
  places: readonly CgroupPlace[],
): number {
  const mounts = reachableCgroupMounts();
  let room = Infinity;
  for (const { hierarchy, path } of places) {
    const mount = mounts.get(hierarchy);
    const files = FILES[hierarchy];
    if (!mount || !files || isOutside(path)) continue;
    using directory = openCgroups(mount);
    if (!directory) continue;
    for (const cgroup of upFrom(path, mount)) {
      const used = numberIn(controlAt(directory, cgroup, files.used));
      if (used === undefined) continue;
      for (const name of files.limits) {
        const limit = numberIn(controlAt(directory, cgroup, name));
        if (limit !== undefined) room = Math.min(room, limit - used);
      }
    }
  }
  return Math.max(0, room);
}
