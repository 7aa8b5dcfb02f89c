/**
 * Where rcap's own cgroup namespace is in the machine's hierarchy of version 2.
 *
 * In Kubernetes, a container that is not privileged has a cgroup namespace of its own:
 * paths of other cgroups begin with `/..`, cgroup_namespaces(7), and lead out of it. Where
 * the machine's file system is mounted, the hierarchy is in it as a whole, and the
 * namespace's own cgroup is the one there with the same inode.
 *
 * @module
 */

import { isMissing } from "../../errors.ts";
import { type Entry, type FileCalls, identityOf } from "../directory.ts";
import { openTrustedDirectory } from "../trusted_path.ts";
import type { Mount } from "./mountinfo.ts";

/** How many cgroups are looked at. */
const MOST_CGROUPS = 100_000;

/**
 * Returns the path of the namespace's own cgroup, as the machine sees it. `undefined` if
 * it is the machine's own namespace, or its cgroup is not found.
 *
 * @param mounts all that this process sees.
 */
export function ownCgroup(
  files: FileCalls,
  mounts: readonly Mount[],
): string | undefined {
  const unified = mounts.filter(({ type }) => type === "cgroup2");
  const own = unified.find(({ root }) => root === "/");
  const machine = unified.find(({ root }) => /^(\/\.\.)+$/.test(root));
  if (!own || !machine) return undefined;
  const depth = machine.root.split("/").length - 1;
  using directory = openTrustedDirectory(files, machine.directory);
  using self = openTrustedDirectory(files, own.directory);
  const search = { wanted: identityOf(self.status), left: MOST_CGROUPS };
  const found = find(directory, depth, search);
  return found && `/${found.join("/")}`;
}

/** Finds a cgroup that is so many levels below another. */
function find(
  directory: Entry,
  depth: number,
  search: { readonly wanted: string; left: number },
): string[] | undefined {
  for (const name of namesIn(directory)) {
    const status = directory.statusOf(name);
    if (status?.type !== "directory") continue;
    if (--search.left < 0) return undefined;
    if (depth === 1) {
      if (identityOf(status) === search.wanted) return [name];
      continue;
    }
    try {
      using below = directory.entry(name);
      const rest = find(below, depth - 1, search);
      if (rest) return [name, ...rest];
    } catch (error) {
      // It was removed meanwhile.
      if (!isMissing(error)) throw error;
    }
  }
}

function namesIn(directory: Entry): string[] {
  try {
    return directory.names();
  } catch (error) {
    if (!isMissing(error)) throw error;
    return [];
  }
}

let own = "";

/** Takes note of where the namespace's own cgroup is; of nothing for that of the machine. */
export function setOwnCgroup(path: string | undefined): void {
  own = path ?? "";
}

/** Returns a path of version 2 as the machine sees it, as far as that is known. */
export function seenByMachine(path: string): string {
  if (own === "") return path;
  const parts: string[] = [];
  for (const part of `${own}${path}`.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "") parts.push(part);
  }
  return `/${parts.join("/")}`;
}
