/**
 * By what `rcap size` groups processes: the group's name is a selector that selects it.
 *
 * @module
 */

import { containerSelector, podSelector } from "../collection/containers.ts";
import { unitOf } from "../collection/systemd_unit.ts";
import type { Platform, ProcessEntry } from "../platform/platform.ts";
import type { GroupOf } from "./size.ts";

/** What processes of a group have in common. */
export const GROUPINGS = [
  "user",
  "unit",
  "cgroup",
  "comm",
  "container",
  "pod",
] as const;
export type Grouping = typeof GROUPINGS[number];

/** The group of the processes that are in none: no selector. */
export const NO_GROUP = "-";

/** Returns what names the group of a process. */
export function groupsBy(grouping: Grouping, platform: Platform): GroupOf {
  switch (grouping) {
    case "user":
      return (entry) => {
        const uid = platform.userOf(entry);
        return uid === undefined ? NO_GROUP : `user:+${uid}`;
      };
    case "unit":
      return (entry) => {
        const cgroup = platform.systemdCgroupOf?.(entry);
        const unit = cgroup === undefined ? undefined : unitOf(cgroup);
        return unit === undefined ? NO_GROUP : `unit:${literal(unit)}`;
      };
    case "cgroup":
      return (entry) => {
        const cgroup = cgroupOf(entry, platform);
        return cgroup === undefined ? NO_GROUP : `cgroup:${literal(cgroup)}`;
      };
    case "comm":
      return ({ comm }) => `comm:${literal(comm)}`;
    case "container":
    case "pod": {
      const selectorOf = grouping === "pod" ? podSelector : containerSelector;
      return (entry) => {
        const container = platform.containerOf?.(entry);
        return container && selectorOf(container) || NO_GROUP;
      };
    }
  }
}

/** Every process is a group of its own. */
export const eachProcess: GroupOf = ({ pid }) => `pid:${pid}`;

/** The cgroup into which systemd has put a process, or its last one. */
function cgroupOf(
  entry: ProcessEntry,
  platform: Platform,
): string | undefined {
  return platform.systemdCgroupOf?.(entry) ?? platform.cgroupsOf(entry).at(-1);
}

/** Returns a glob that matches a text only. */
function literal(text: string): string {
  return text.replace(/[*?[\]\\]/g, "\\$&");
}
