/**
 * Cgroups whose processes are to be left alone: the extended attribute
 * `user.rcap.avoid`, as systemd-oomd(8) has `user.oomd_avoid`.
 *
 * Attributes of the class `user` are set by whoever may write to the directory,
 * xattr(7). So one counts only where nobody may but its owner, and where the owner
 * is root or the process's own user.
 *
 * @module
 */

import { noteAt } from "../../../ffi/cgroup_directory.ts";
import { File, readTextFile } from "../../../ffi/file.ts";
import { type CgroupPlace, isOutside } from "./cgroups.ts";
import { type Mount, parseMountinfo } from "./mountinfo.ts";

/** The attribute. */
const AVOID = "user.rcap.avoid";

/** What systemd takes for true in an attribute: `parse_boolean` in its source. */
const TRUE = /^(1|yes|y|true|t|on)$/i;

/** For how long what was found is taken to be so, in milliseconds. */
const LIFETIME = 1000;

// inode(7): writable for the group, and for others.
const S_IWGRP = 0o020;
const S_IWOTH = 0o002;

/** Who wants a cgroup's processes to be left alone: the owner of its directory. */
type Wish = { readonly uid: number } | undefined;

/** Finds out which cgroups are to be left alone. */
export class Avoidance {
  #mounts: ReadonlyMap<string, Mount> = new Map();
  readonly #wishes = new Map<string, Wish>();
  #readAt = -Infinity;

  /**
   * The cgroup for whose sake a process is left alone: its own, or one above it, in
   * any hierarchy.
   *
   * @param userOf gives the process's user.
   * @returns its directory; `undefined` when there is none.
   * @throws SystemError when it cannot be told.
   */
  directoryFor(
    places: readonly CgroupPlace[],
    userOf: () => number,
  ): string | undefined {
    this.#renew();
    for (const { hierarchy, path } of places) {
      const mount = this.#mounts.get(hierarchy);
      if (!mount || isOutside(path)) continue;
      const found = this.#find(mount, path, userOf);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #renew(): void {
    if (performance.now() - this.#readAt < LIFETIME) return;
    this.#mounts = cgroupMounts(readTextFile("/proc/self/mountinfo"));
    this.#wishes.clear();
    this.#readAt = performance.now();
  }

  #find(
    { directory, root }: Mount,
    path: string,
    userOf: () => number,
  ): string | undefined {
    const below = belowRoot(path, root);
    if (below === undefined) return undefined;
    const parts = below.split("/").filter((part) => part !== "");
    for (let depth = parts.length; depth >= 0; depth--) {
      const cgroup = parts.slice(0, depth).join("/");
      const wish = this.#wish(directory, cgroup);
      if (wish && (wish.uid === 0 || wish.uid === userOf())) {
        return cgroup === "" ? directory : `${directory}/${cgroup}`;
      }
    }
    return undefined;
  }

  #wish(mount: string, cgroup: string): Wish {
    const key = `${mount}\0${cgroup}`;
    if (this.#wishes.has(key)) return this.#wishes.get(key);
    using directory = File.openPlace(mount);
    const note = noteAt(directory, cgroup, AVOID);
    const isWish = note !== undefined && TRUE.test(note.value.trim()) &&
      (note.mode & (S_IWGRP | S_IWOTH)) === 0;
    const wish = isWish ? { uid: note.uid } : undefined;
    this.#wishes.set(key, wish);
    return wish;
  }
}

/** A path without that of the cgroup a mount shows; `undefined` when it is not below that. */
function belowRoot(path: string, root: string): string | undefined {
  if (root === "/") return path;
  if (path === root) return "";
  return path.startsWith(`${root}/`) ? path.slice(root.length) : undefined;
}

/**
 * Where hierarchies of cgroups are mounted, by what `/proc/<pid>/cgroup` calls them.
 * Of several mounts of one, that which shows most of it.
 */
export function cgroupMounts(mountinfo: string): Map<string, Mount> {
  const mounts = new Map<string, Mount>();
  for (const mount of parseMountinfo(mountinfo)) {
    const hierarchy = hierarchyOf(mount);
    if (hierarchy === undefined) continue;
    const other = mounts.get(hierarchy);
    if (!other || mount.root.length < other.root.length) {
      mounts.set(hierarchy, mount);
    }
  }
  return mounts;
}

/** Options of a hierarchy of version 1 that are no part of what it is called. */
const NO_NAME =
  /^(rw|ro|xattr|noprefix|clone_children|cpuset_v2_mode|favordynmods|release_agent=.*)$/;

/** What a mount's hierarchy is called; `undefined` where it is not of cgroups. */
function hierarchyOf({ type, options }: Mount): string | undefined {
  if (type === "cgroup2") return "";
  if (type !== "cgroup") return undefined;
  return options.filter((option) => !NO_NAME.test(option)).join(",");
}
