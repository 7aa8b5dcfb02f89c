/**
 * The cgroup that is a group's own.
 *
 * @module
 */

import { topmost } from "../platform/topmost_cgroup.ts";

/**
 * Returns the path of the cgroup that has all members of a group: the only one that its
 * selectors match. `undefined` if they match several, or the root.
 *
 * @param matches whether a cgroup is selected, by its path: `cgroupTest`.
 * @param paths the cgroups of its members; `undefined` where one is not visible.
 */
export function ownCgroup(
  matches: (path: string) => boolean,
  paths: readonly (string | undefined)[],
): string | undefined {
  const tops = new Set(
    paths.map((path) => path === undefined ? path : topmost(path, matches)),
  );
  const [top] = tops;
  return tops.size === 1 && top !== "/" ? top : undefined;
}
