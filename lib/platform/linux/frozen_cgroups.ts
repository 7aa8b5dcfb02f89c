/**
 * Cgroups whose processes are frozen: `cgroup.freeze` of version 2
 * (Documentation/admin-guide/cgroup-v2.rst), and the controller `freezer` of version 1
 * (Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst).
 *
 * The files that are read here show that all processes of a cgroup are frozen, also if
 * this was asked of a cgroup above it.
 *
 * @module
 */

import { controlAt } from "../../../ffi/cgroup_directory.ts";
import { openCgroups, reachableCgroupMounts, upFrom } from "./cgroup_mounts.ts";
import { type CgroupPlace, isOutside } from "./cgroups.ts";

/**
 * Whether one of the cgroups of a process is frozen.
 *
 * @throws SystemError if no descriptor is free.
 */
export function isFrozen(places: readonly CgroupPlace[]): boolean {
  const mounts = reachableCgroupMounts();
  return places.some((place) => {
    const file = stateOf(place);
    const mount = mounts.get(place.hierarchy);
    if (!file || !mount || isOutside(place.path)) return false;
    const [cgroup] = upFrom(place.path, mount);
    if (cgroup === undefined) return false;
    using directory = openCgroups(mount);
    if (!directory) return false;
    const state = controlAt(directory, cgroup, file.name);
    return state !== undefined && file.frozen.test(state);
  });
}

/** The file of a hierarchy with the state of a cgroup; `undefined` if it has none. */
function stateOf(
  { hierarchy }: CgroupPlace,
): { name: string; frozen: RegExp } | undefined {
  if (hierarchy === "") return { name: "cgroup.events", frozen: /^frozen 1$/m };
  return hierarchy.split(",").includes("freezer")
    ? { name: "freezer.state", frozen: /^FROZEN$/ }
    : undefined;
}
