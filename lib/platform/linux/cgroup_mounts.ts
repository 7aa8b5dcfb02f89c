/**
 * Where the hierarchies of cgroups are mounted: cgroups(7).
 *
 * @module
 */

import { File, readTextFile } from "../../../ffi/file.ts";
import { mountNumberOf } from "../../../ffi/statx.ts";
import { isExhausted, SystemError } from "../../errors.ts";
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

/** The mounts of cgroup hierarchies, by the name of the hierarchy in `/proc/<pid>/cgroup`. */
export type CgroupMounts = ReadonlyMap<string, Mount>;

/** How long mounts are cached, in milliseconds. */
const LIFETIME = 1000;

/**
 * Finds the mounts of the cgroup hierarchies. Of several mounts of one hierarchy, the one
 * that shows most of it is used.
 *
 * @param isUsable leaves mounts out.
 */
export function cgroupMounts(
  mountinfo: string,
  isUsable: (mount: Mount) => boolean = () => true,
): CgroupMounts {
  const mounts = new Map<string, Mount>();
  // A node of Kubernetes has thousands of other mounts.
  const lines = mountinfo.split("\n").filter((line) =>
    line.includes(" - cgroup")
  );
  for (const found of parseMountinfo(lines.join("\n"))) {
    const hierarchy = hierarchyOf(found);
    if (hierarchy === undefined) continue;
    const mount = hierarchy === ""
      ? { ...found, root: seenByMachine(found.root) }
      : found;
    const other = mounts.get(hierarchy);
    const showsMore = !other || mount.root.length < other.root.length;
    if (showsMore && isUsable(mount)) mounts.set(hierarchy, mount);
  }
  return mounts;
}

let reachable: CgroupMounts = new Map();
let readAt = -Infinity;

/**
 * Returns the mounts of the cgroup hierarchies that rcap can reach: others may be mounted
 * over them, as over those of a machine in a sandbox. All who ask share what is cached.
 *
 * @throws SystemError if no descriptor is free.
 */
export function reachableCgroupMounts(): CgroupMounts {
  if (performance.now() - readAt >= LIFETIME) {
    reachable = cgroupMounts(
      readTextFile("/proc/self/mountinfo"),
      isReachable,
    );
    readAt = performance.now();
  }
  return reachable;
}

function isReachable(mount: Mount): boolean {
  using directory = openCgroups(mount);
  if (!directory) return false;
  const number = mountNumberOf(directory.fd);
  return number === undefined || number === mount.id;
}

/**
 * Opens the directory where a hierarchy is mounted; `undefined` if it cannot be opened, as
 * when it was unmounted meanwhile.
 *
 * @throws SystemError if no descriptor is free.
 */
export function openCgroups({ directory }: Mount): File | undefined {
  try {
    return File.openPlace(directory);
  } catch (error) {
    if (!(error instanceof SystemError) || isExhausted(error)) throw error;
    return undefined;
  }
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
