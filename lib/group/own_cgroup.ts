/**
 * The cgroup that is a group's own.
 *
 * @module
 */

import type { Selector } from "../collection/selectors.ts";

/** The characters that make a pattern of a name: fnmatch(3). */
const WILDCARD = /[*?[]/;

/**
 * Returns the path of the cgroup that has all members of a group, where a cap selects
 * exactly one unit or cgroup; `undefined` if it does not, or the cgroup would be the root.
 *
 * @param paths the cgroups of its members; `undefined` where one is not visible.
 */
export function ownCgroup(
  select: readonly Selector[],
  paths: readonly (string | undefined)[],
): string | undefined {
  const [selector, ...others] = select;
  const isOne = others.length === 0 &&
    (selector?.kind === "unit" || selector?.kind === "cgroup") &&
    !WILDCARD.test(selector.text);
  if (!isOne || paths.length === 0) return undefined;
  let common: string[] | undefined;
  for (const path of paths) {
    if (path === undefined) return undefined;
    const parts = path.split("/").filter((part) => part !== "");
    const before = common ?? parts;
    const differs = before.findIndex((part, at) => part !== parts[at]);
    common = differs < 0 ? before : before.slice(0, differs);
  }
  return common && common.length > 0 ? `/${common.join("/")}` : undefined;
}
