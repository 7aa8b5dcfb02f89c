/**
 * The cgroups of a process: `/proc/<pid>/cgroup`, cgroups(7).
 *
 * @module
 */

import { seenByMachine } from "./cgroup_namespace.ts";

/** The cgroup of a process in one hierarchy. */
export interface CgroupPlace {
  /** The controllers of the hierarchy, or `name=` and its name; empty for version 2. */
  readonly hierarchy: string;
  /**
   * The path from the root of the hierarchy; of version 1, or if that is not known, as
   * rcap's cgroup namespace shows it.
   */
  readonly path: string;
}

/** Parses `hierarchy-ID:controller-list:cgroup-path` lines. */
export function parseCgroups(text: string): CgroupPlace[] {
  return text.split("\n").filter((line) => line !== "").map((line) => {
    const [, hierarchy = "", ...parts] = line.split(":");
    const path = parts.join(":");
    return {
      hierarchy,
      path: hierarchy === "" ? seenByMachine(path) : path,
    };
  });
}

/** The hierarchy of systemd's units where version 2 is not in use. */
const SYSTEMD = "name=systemd";

/**
 * Returns the path of the cgroup in which systemd keeps a process. If both versions
 * are mounted, systemd uses both, or the process is at the root of the one that
 * systemd does not use. Controller hierarchies do not count: anyone who may create
 * cgroups there chooses their names.
 */
export function systemdPath(
  places: readonly CgroupPlace[],
): string | undefined {
  const pathIn = (name: string) =>
    places.find(({ hierarchy }) => hierarchy === name)?.path;
  const named = pathIn(SYSTEMD);
  return named === undefined || named === "/" ? pathIn("") ?? named : named;
}

/** Returns the path of a process's cgroup of version 2; `undefined` without one. */
export function unifiedPath(
  places: readonly CgroupPlace[],
): string | undefined {
  const path = places.find(({ hierarchy }) => hierarchy === "")?.path;
  return path === undefined || isOutside(path) ? undefined : path;
}

/**
 * Whether a path leads out of rcap's cgroup namespace, so that the place of the
 * cgroup is unknown: cgroup_namespaces(7).
 */
export function isOutside(path: string): boolean {
  return path === "/.." || path.startsWith("/../");
}
