/**
 * Cgroups that may not swap, or no more: `memory.swap.max` of cgroup version 2,
 * Documentation/admin-guide/cgroup-v2.rst.
 *
 * The kernel charges the swap of a page to the cgroup that the page is charged to,
 * and to all above it (`__mem_cgroup_try_charge_swap` of mm/memcontrol.c). If one of
 * them is at its limit, the page stays, and `MADV_PAGEOUT` reports success all the
 * same. A page is charged to the cgroup in which its process was when it first used
 * the page, so of a process that has moved since, this module shows the limits of
 * another cgroup.
 *
 * Limits of version 1 (`memory.memsw.limit_in_bytes`, `memory.swappiness`) do not
 * stop `MADV_PAGEOUT`: swapping out does not change the sum of memory and swap, and
 * advice does not ask for the swappiness. `memory.zswap.max` decides only whether a
 * page goes to zswap or to the device.
 *
 * @module
 */

import { controlAt } from "../../../ffi/cgroup_directory.ts";
import type { File } from "../../../ffi/file.ts";
import { pageSize } from "../../../ffi/system.ts";
import { formatSize } from "../../report/units.ts";
import {
  type CgroupMounts,
  openCgroups,
  reachableCgroupMounts,
  upFrom,
} from "./cgroup_mounts.ts";
import { type CgroupPlace, isOutside } from "./cgroups.ts";
import type { Mount } from "./mountinfo.ts";

/** The name of the version 2 hierarchy in `/proc/<pid>/cgroup`. */
const VERSION_2 = "";

/** How long limits are cached, in milliseconds. How much is used is always read. */
const LIFETIME = 1000;

/** The longest path of a cgroup in words, in characters. */
const LONGEST_PATH = 100;

/** A cgroup that has used up its swap. Sizes are in bytes. */
export interface SwapLimit {
  /** Its path, as `/proc/<pid>/cgroup` shows it. */
  readonly cgroup: string;
  /** The most swap that it may use. */
  readonly max: number;
}

/** Finds the cgroups that keep processes from swapping. */
export class SwapLimits {
  readonly #readMounts: () => CgroupMounts;
  #mount: Mount | undefined;
  /** `memory.swap.max` by path below the mount, in bytes; `undefined` if there is no limit. */
  readonly #limits = new Map<string, number | undefined>();
  #readAt = -Infinity;

  /** @param readMounts returns where hierarchies are mounted. */
  constructor(readMounts: () => CgroupMounts = reachableCgroupMounts) {
    this.#readMounts = readMounts;
  }

  /**
   * Returns the cgroup that lets a process swap no more: its own, or the nearest one
   * above that is visible; `undefined` if there is none.
   *
   * @throws SystemError if no descriptor is free.
   */
  reachedBy(places: readonly CgroupPlace[]): SwapLimit | undefined {
    const path = places.find(({ hierarchy }) => hierarchy === VERSION_2)?.path;
    if (path === undefined || isOutside(path)) return undefined;
    this.#renew();
    if (!this.#mount) return undefined;
    const { root } = this.#mount;
    using mount = openCgroups(this.#mount);
    if (!mount) return undefined;
    for (const cgroup of upFrom(path, this.#mount)) {
      const max = this.#limit(mount, cgroup);
      if (max !== undefined && max - used(mount, cgroup) < pageSize()) {
        const top = root === "/" ? "" : root;
        return { cgroup: `${top}/${cgroup}`.replace(/(?<=.)\/$/, ""), max };
      }
    }
    return undefined;
  }

  #renew(): void {
    if (performance.now() - this.#readAt < LIFETIME) return;
    this.#mount = this.#readMounts().get(VERSION_2);
    this.#limits.clear();
    this.#readAt = performance.now();
  }

  #limit(mount: File, cgroup: string): number | undefined {
    if (this.#limits.has(cgroup)) return this.#limits.get(cgroup);
    // There is no such file in the root, in a threaded cgroup, and where the memory
    // controller is not enabled.
    const max = numberIn(controlAt(mount, cgroup, "memory.swap.max"));
    this.#limits.set(cgroup, max);
    return max;
  }
}

/** How much swap a cgroup uses, in bytes; 0 if that cannot be read. */
function used(mount: File, cgroup: string): number {
  return numberIn(controlAt(mount, cgroup, "memory.swap.current")) ?? 0;
}

/** The number in a control file; `undefined` if it contains none, but `max`. */
export function numberIn(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,20}$/.test(text)
    ? Number(text)
    : undefined;
}

/** Describes a limit in words: `cgroup /a may not swap (memory.swap.max is 0)`. */
export function describeSwapLimit({ cgroup, max }: SwapLimit): string {
  const name = cgroup.length > LONGEST_PATH
    ? `…${cgroup.slice(-LONGEST_PATH)}`
    : cgroup;
  return max === 0
    ? `cgroup ${name} may not swap (memory.swap.max is 0)`
    : `cgroup ${name} may not swap more (memory.swap.max is ${
      formatSize(max)
    })`;
}
