/**
 * Which cgroup the key `reclaim` of a cap is about.
 *
 * @module
 */

import type { Selector } from "../collection/selectors.ts";
import type { OperatingSystem } from "../platform/operating_system.ts";
import type { ReclaimChoice } from "../platform/platform.ts";

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

/**
 * Why `reclaim = "auto"` of a cap has no effect on this machine, in words for users;
 * `undefined` if it is not set, or nothing is known against it.
 */
export function whyNotReclaimed(
  { select, reclaim }: {
    readonly select: readonly Selector[];
    readonly reclaim?: ReclaimChoice;
  },
  system: Pick<OperatingSystem, "whyNotReclaimable">,
): string | undefined {
  if (reclaim !== "auto") return undefined;
  const matches = cgroupTest(select);
  return matches ? system.whyNotReclaimable?.(matches) : NOT_ONE_SELECTOR;
}
