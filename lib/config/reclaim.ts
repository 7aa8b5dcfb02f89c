/**
 * Which cgroup the key `reclaim` of a cap is about.
 *
 * @module
 */

import type { Selector } from "../collection/selectors.ts";
import type { OperatingSystem } from "../platform/operating_system.ts";
import type { MemoryKind } from "../platform/platform.ts";
import type { CapSettings } from "./config_schema.ts";

/**
 * Returns whether a cgroup is selected, by its path, if the selectors of a cap select by
 * nothing else; `undefined` if they do not.
 */
export function cgroupTest(
  select: readonly Selector[],
): ((path: string) => boolean) | undefined {
  const [selector, ...others] = select;
  const selectsCgroups = others.length === 0 &&
    (selector?.kind === "cgroup" || selector?.kind === "unit");
  return selectsCgroups ? selector.matches : undefined;
}

/** Why `reclaim` needs other selectors. */
export const NOT_ONE_SELECTOR =
  "the cap selects by more or by something else than one cgroup: or unit:";

/** Why `reclaim` cannot be used together with `only`. */
export function describeOnly(only: MemoryKind): string {
  return `the kernel chooses the pages, and could not keep to only = "${only}"`;
}

/**
 * Why `reclaim = "auto"` of a cap has no effect on this machine, in words for users;
 * `undefined` if it is not set, or nothing is known against it.
 */
export function whyNotReclaimed(
  { select, reclaim, max_rss, only }: Pick<
    CapSettings,
    "select" | "reclaim" | "max_rss" | "only"
  >,
  system: Pick<OperatingSystem, "whyNotReclaimable">,
): string | undefined {
  if (reclaim !== "auto") return undefined;
  if (max_rss === undefined) {
    return "the kernel is asked only while a group is over its cap, and this one has no max_rss";
  }
  if (only !== undefined) return describeOnly(only);
  const matches = cgroupTest(select);
  return matches ? system.whyNotReclaimable?.(matches) : NOT_ONE_SELECTOR;
}
