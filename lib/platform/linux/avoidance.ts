/**
 * Cgroups whose processes rcap leaves alone: those with the extended attribute
 * `user.rcap.avoid`, the counterpart of `user.oomd_avoid` of systemd-oomd(8).
 *
 * Anyone who may write to a directory may set its attributes of the class `user`,
 * xattr(7). So an attribute counts only if nobody but the owner may write there,
 * and the owner is root or the user of the process.
 *
 * @module
 */

import { noteAt } from "../../../ffi/cgroup_directory.ts";
import { openCgroups, reachableCgroupMounts, upFrom } from "./cgroup_mounts.ts";
import { type CgroupPlace, isOutside } from "./cgroups.ts";
import type { Mount } from "./mountinfo.ts";

/** The attribute. */
const AVOID = "user.rcap.avoid";

/** Values that systemd reads as true: `parse_boolean` in its source. */
const TRUE = /^(1|yes|y|true|t|on)$/i;

/** How long findings are cached, in milliseconds. */
const LIFETIME = 1000;

// inode(7): writable for the group, and for others.
const S_IWGRP = 0o020;
const S_IWOTH = 0o002;

/** The owner of the cgroup's directory, if the attribute is set and counts. */
type Wish = { readonly uid: number } | undefined;

/** Finds the cgroups that rcap leaves alone. */
export class Avoidance {
  readonly #wishes = new Map<string, Wish>();
  #readAt = -Infinity;

  /**
   * Returns the directory of the cgroup that makes rcap leave a process alone: the
   * process's own or one above it, in any hierarchy; `undefined` if there is none.
   *
   * @param userOf returns the user id of the process.
   * @throws SystemError if the attributes cannot be read.
   */
  directoryFor(
    places: readonly CgroupPlace[],
    userOf: () => number,
  ): string | undefined {
    this.#renew();
    const mounts = reachableCgroupMounts();
    for (const { hierarchy, path } of places) {
      const mount = mounts.get(hierarchy);
      if (!mount || isOutside(path)) continue;
      const found = this.#find(mount, path, userOf);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /**
   * Whether anyone asks for the processes of a cgroup to be left alone.
   *
   * @param mount where its hierarchy is mounted.
   * @param cgroup its path, relative to `mount`.
   * @throws SystemError if the attributes cannot be read.
   */
  isWished(mount: Mount, cgroup: string): boolean {
    this.#renew();
    return this.#wish(mount, cgroup) !== undefined;
  }

  #renew(): void {
    if (performance.now() - this.#readAt < LIFETIME) return;
    this.#wishes.clear();
    this.#readAt = performance.now();
  }

  #find(
    mount: Mount,
    path: string,
    userOf: () => number,
  ): string | undefined {
    const { directory } = mount;
    for (const cgroup of upFrom(path, mount)) {
      const wish = this.#wish(mount, cgroup);
      if (wish && (wish.uid === 0 || wish.uid === userOf())) {
        return cgroup === "" ? directory : `${directory}/${cgroup}`;
      }
    }
    return undefined;
  }

  #wish(mount: Mount, cgroup: string): Wish {
    const key = `${mount.directory}\0${cgroup}`;
    if (this.#wishes.has(key)) return this.#wishes.get(key);
    using directory = openCgroups(mount);
    const note = directory && noteAt(directory, cgroup, AVOID);
    const isWish = note !== undefined && TRUE.test(note.value.trim()) &&
      (note.mode & (S_IWGRP | S_IWOTH)) === 0;
    const wish = isWish ? { uid: note.uid } : undefined;
    this.#wishes.set(key, wish);
    return wish;
  }
}
