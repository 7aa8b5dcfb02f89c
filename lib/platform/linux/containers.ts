/**
 * Containers and pods of processes, by their cgroups and by what the engines say.
 *
 * @module
 */

import { directoryAt } from "../../../ffi/cgroup_directory.ts";
import type { Container } from "../platform.ts";
import { type ContainerNames, NameFiles } from "./container_names.ts";
import { containerIn, type ContainerPlace } from "./container_path.ts";
import {
  type CgroupMounts,
  openCgroups,
  reachableCgroupMounts,
  upFrom,
} from "./cgroup_mounts.ts";
import { type CgroupPlace, isOutside } from "./cgroups.ts";

/** How long findings are cached, in milliseconds: containers can be renamed. */
const LIFETIME = 10_000;

/** How many findings are kept; when there are more, they start anew. */
const MOST_KEPT = 10_000;

// inode(7): writable for the group, and for others.
const S_IWGRP = 0o020;
const S_IWOTH = 0o002;

/** Finds the containers of processes. */
export class Containers {
  readonly #files: Pick<NameFiles, "namesOf">;
  readonly #now: () => number;
  #mounts: CgroupMounts = new Map();
  readonly #areRoots = new Map<string, boolean>();
  readonly #names = new Map<string, ContainerNames>();
  #since = -Infinity;

  /** @param now a clock in milliseconds. */
  constructor(
    files: Pick<NameFiles, "namesOf"> = new NameFiles(),
    now: () => number = () => performance.now(),
  ) {
    this.#files = files;
    this.#now = now;
  }

  /**
   * Returns the container or pod of a process; `undefined` if it is in none.
   *
   * A cgroup counts only if nobody but root can have made it, so that no user can put a
   * process into the container of another.
   *
   * @throws SystemError if no descriptor is free.
   */
  of(places: readonly CgroupPlace[]): Container | undefined {
    this.#renew();
    for (const place of places) {
      if (isOutside(place.path)) continue;
      const found = containerIn(place.path);
      if (!found || !this.#isOnlyRoots(place.hierarchy, found.above)) continue;
      return { id: found.id, uid: found.uid, ...this.#namesOf(found) };
    }
    return undefined;
  }

  #renew(): void {
    const isFull = this.#names.size + this.#areRoots.size >= MOST_KEPT;
    if (this.#now() - this.#since < LIFETIME && !isFull) return;
    this.#mounts = reachableCgroupMounts();
    this.#areRoots.clear();
    this.#names.clear();
    this.#since = this.#now();
  }

  #namesOf(place: ContainerPlace): ContainerNames {
    const key = `${place.uid ?? ""} ${place.podUid ?? ""} ${place.id ?? ""}`;
    let names = this.#names.get(key);
    if (!names) this.#names.set(key, names = this.#files.namesOf(place));
    return names;
  }

  /** Whether only root can make cgroups in one and in all above it. */
  #isOnlyRoots(hierarchy: string, path: string): boolean {
    const key = `${hierarchy}\0${path}`;
    const known = this.#areRoots.get(key);
    if (known !== undefined) return known;
    const mount = this.#mounts.get(hierarchy);
    using directory = mount && openCgroups(mount);
    let isRoots = false;
    if (mount && directory) {
      const all = [...upFrom(path, mount)];
      isRoots = all.length > 0 && all.every((cgroup) => {
        const status = directoryAt(directory, cgroup);
        return status?.uid === 0 && (status.mode & (S_IWGRP | S_IWOTH)) === 0;
      });
    }
    this.#areRoots.set(key, isRoots);
    return isRoots;
  }
}
