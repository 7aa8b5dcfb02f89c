/**
 * The containers of a group's members, for the labels of its metrics.
 *
 * @module
 */

import { nameOf } from "../collection/containers.ts";
import { NotKnown } from "../errors.ts";
import type {
  Container,
  Platform,
  ProcessEntry,
} from "../platform/platform.ts";

/** The most containers that are told of a group, so that its metrics stay few. */
export const MOST_CONTAINERS = 20;

/** A container of a group, as it is called; null where it has no such name. */
export interface GroupContainer {
  readonly container: string | null;
  readonly pod: string | null;
  readonly namespace: string | null;
}

/** Returns the container of a process; `undefined` if it has none, or it is not known. */
export function containerOf(
  entry: ProcessEntry,
  platform: Pick<Platform, "containerOf">,
): Container | undefined {
  try {
    return platform.containerOf?.(entry);
  } catch (error) {
    if (!(error instanceof NotKnown)) throw error;
    return undefined;
  }
}

/** Returns the different ones of some containers, in order; the first of too many. */
export function groupContainers(
  containers: Iterable<Container | undefined>,
): GroupContainer[] {
  const found = new Map<string, GroupContainer>();
  for (const one of containers) {
    if (!one) continue;
    const { pod } = one;
    const named: GroupContainer = {
      container: (pod ? pod.container : nameOf(one)) ?? null,
      pod: pod?.name ?? null,
      namespace: pod?.namespace ?? null,
    };
    found.set(keyOf(named), named);
  }
  return [...found].sort(([a], [b]) => a < b ? -1 : 1)
    .slice(0, MOST_CONTAINERS).map(([, named]) => named);
}

function keyOf({ namespace, pod, container }: GroupContainer): string {
  return [namespace, pod, container].map((one) => one ?? "").join("/");
}
