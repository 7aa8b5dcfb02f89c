/**
 * Where the hierarchies of cgroups are mounted: cgroups(7).
 *
 * @module
 */

import { seenByMachine } from "./cgroup_namespace.ts";
import { type Mount, parseMountinfo } from "./mountinfo.ts";

/**
 * Returns a path relative to the root of a mount; `undefined` if it is not below
 * that root.
 */
function belowRoot(path: string, root: string): string | undefined {
  if (root === "/") return path;
  if (path === root) return "";
  return path.startsWith(`${root}/`) ? path.slice(root.length) : undefined;
}

/**
 * Yields a cgroup and all above it that a mount shows, relative to the mount; nothing
 * if it is not below the mount's root. The root is the empty path.
 */
export function* upFrom(
  path: string,
  { root }: Pick<Mount, "root">,
): Generator<string> {
  const below = belowRoot(path, root);
  if (below === undefined) return;
  const parts = below.split("/").filter((part) => part !== "");
  for (let depth = parts.length; depth >= 0; depth--) {
    yield parts.slice(0, depth).join("/");
  }
}

/**
 * Finds the mounts of the cgroup hierarchies, by the name of the hierarchy in
 * `/proc/<pid>/cgroup`. Of several mounts of one hierarchy, the one that shows most
 * of it is used.
 */
export function cgroupMounts(mountinfo: string): Map<string, Mount> {
  const mounts = new Map<string, Mount>();
  for (const found of parseMountinfo(mountinfo)) {
    const hierarchy = hierarchyOf(found);
    if (hierarchy === undefined) continue;
    const mount = hierarchy === ""
      ? { ...found, root: seenByMachine(found.root) }
      : found;
    const other = mounts.get(hierarchy);
    if (!other || mount.root.length < other.root.length) {
      mounts.set(hierarchy, mount);
    }
  }
  return mounts;
}

/** Mount options of a version 1 hierarchy that are not part of its name. */
const NO_NAME =
  /^(rw|ro|xattr|noprefix|clone_children|cpuset_v2_mode|favordynmods|release_agent=.*)$/;

/** Returns the name of a mount's hierarchy; `undefined` if it is not a cgroup mount. */
function hierarchyOf({ type, options }: Mount): string | undefined {
  if (type === "cgroup2") return "";
  if (type !== "cgroup") return undefined;
  return options.filter((option) => !NO_NAME.test(option)).join(",");
}
