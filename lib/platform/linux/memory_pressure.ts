/**
 * How much processes wait for memory: pressure stall information,
 * Documentation/accounting/psi.rst, of the machine and of cgroups of version 2.
 *
 * @module
 */

import { controlAt } from "../../../ffi/cgroup_directory.ts";
import { readTextFileIfAny } from "../../../ffi/file.ts";
import { openCgroups, reachableCgroupMounts, upFrom } from "./cgroup_mounts.ts";
import type { Mount } from "./mountinfo.ts";

/** How long the place of the hierarchy is cached, in milliseconds. */
const LIFETIME = 10_000;

/**
 * Returns the share of the last ten seconds in which some process of the machine waited
 * for memory, 0 to 1; `undefined` if the kernel does not say (`psi=0`).
 */
export function machinePressure(): number | undefined {
  const text = readTextFileIfAny("/proc/pressure/memory");
  return text === undefined ? undefined : parsePressure(text);
}

/** Parses `some avg10` of a pressure file, a share from 0 to 1. */
export function parsePressure(text: string): number | undefined {
  const percent = /^some avg10=(\d{1,3}\.\d{2}) /.exec(text)?.[1];
  return percent === undefined ? undefined : Number(percent) / 100;
}

/** Reads the pressure of cgroups. */
export class CgroupPressures {
  #mount: Mount | undefined;
  #readAt = -Infinity;

  /**
   * Returns the share of the last ten seconds in which some process of a cgroup waited
   * for memory, 0 to 1; `undefined` if that cannot be read.
   *
   * @param path as in `/proc/<pid>/cgroup`.
   * @throws SystemError if no descriptor is free.
   */
  of(path: string): number | undefined {
    if (performance.now() - this.#readAt >= LIFETIME) {
      this.#mount = reachableCgroupMounts().get("");
      this.#readAt = performance.now();
    }
    if (!this.#mount) return undefined;
    const [cgroup] = upFrom(path, this.#mount);
    if (cgroup === undefined) return undefined;
    using mount = openCgroups(this.#mount);
    if (!mount) return undefined;
    const text = controlAt(mount, cgroup, "memory.pressure");
    return text === undefined ? undefined : parsePressure(text);
  }
}
