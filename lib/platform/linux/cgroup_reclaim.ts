/**
 * Reclaim of the memory of a cgroup by the kernel: `memory.reclaim` of cgroup version 2,
 * since Linux 5.19, Documentation/admin-guide/cgroup-v2.rst.
 *
 * The kernel takes pages of the cgroup and of all below it, those that several processes
 * map as well as others, and the page cache. It can reclaim more or less than asked for;
 * `EAGAIN` means less. A write returns when it is done, which takes as long as the
 * swapping does, so it is made on another thread.
 *
 * The paths come from processes, whose users may have chosen them. They are opened below
 * the mount point of the hierarchy, never through a symbolic link or another mount.
 *
 * @module
 */

import { CallList } from "../../../ffi/call_list.ts";
import {
  childrenAt,
  hasEntry,
  openControl,
} from "../../../ffi/cgroup_directory.ts";
import { File, O_WRONLY } from "../../../ffi/file.ts";
import { Errno, systemError } from "../../../ffi/libc.ts";
import { memoryInfo } from "../../../ffi/system.ts";
import { CommonErrno, isMissing } from "../../errors.ts";
import { systemClock } from "../clock.ts";
import type { ReclaimableCgroup } from "../platform.ts";
import { topmost } from "../topmost_cgroup.ts";
import type { Avoidance } from "./avoidance.ts";
import {
  type CgroupMounts,
  reachableCgroupMounts,
  upFrom,
} from "./cgroup_mounts.ts";
import { type CgroupPlace, isOutside } from "./cgroups.ts";
import type { Mount } from "./mountinfo.ts";

/** Where cgroups are mounted: file-hierarchy(7). */
const CGROUPS = "/sys/fs/cgroup";

/** The name of the version 2 hierarchy in `/proc/<pid>/cgroup`. */
const VERSION_2 = "";

/** How long rcap waits for a request, in milliseconds. */
const PATIENCE = 10_000;

/**
 * How many cgroups below one are looked at, for those that ask to be left alone. Their
 * owner may make any number.
 */
const MOST_BELOW = 1000;

/** How many names are read of a directory: the files of a cgroup are some 100. */
const MOST_NAMES = MOST_BELOW + 200;

/**
 * What can be added to a request, the best first: what several processes map is mostly
 * shared memory, which goes to swap. `max`, for nothing else, is the newest; kernels
 * before 6.9 know neither (`memory_reclaim` of mm/memcontrol.c).
 */
const PREFERENCES = [" swappiness=max", " swappiness=200", ""];

/** A cgroup of version 2 whose memory can be reclaimed. */
interface Found {
  readonly mount: Mount;
  /** Its path relative to the mount. */
  readonly below: string;
  /** Its path as its processes show it. */
  readonly path: string;
}

/**
 * Finds the topmost selected cgroup that holds all of some processes.
 *
 * @param all the cgroups of each of the processes.
 * @param matches whether the path of a cgroup is selected.
 * @param mounts where the hierarchies are mounted.
 * @returns the cgroup, or why its memory cannot be reclaimed; `undefined` if no process is
 * in one, and nothing is known against it.
 */
export function findCgroup(
  all: Iterable<readonly CgroupPlace[]>,
  matches: (path: string) => boolean,
  mounts: CgroupMounts,
): Found | string | undefined {
  const mount = mounts.get(VERSION_2);
  if (!mount || !isBelowCgroups(mount.directory)) {
    return `cgroup version 2 is not mounted in ${CGROUPS}`;
  }
  for (const hierarchy of mounts.keys()) {
    if (hierarchy.split(",").includes("memory")) {
      return "the memory controller belongs to cgroup version 1 on this machine";
    }
  }
  const paths = new Set<string>();
  for (const places of all) {
    const path = places.find(({ hierarchy }) => hierarchy === VERSION_2)?.path;
    const top = path === undefined ? undefined : topmost(path, matches);
    if (top !== undefined) paths.add(top);
    else if (places.some(({ path }) => matches(path))) {
      return "it selects cgroups of version 1";
    }
  }
  const [path, ...others] = paths;
  if (path === undefined) return whyNoReclaim({ mount, below: "", path: "/" });
  if (others.length > 0) {
    return `it selects ${paths.size} cgroups, for example ${path} and ${
      others[0]
    }`;
  }
  if (path === "/") {
    return "it selects the root cgroup, which has the processes of the whole machine";
  }
  const [below] = isOutside(path) ? [] : upFrom(path, mount);
  if (below === undefined) {
    return `cgroup ${path} is outside of what ${mount.directory} shows`;
  }
  const found = { mount, below, path };
  return whyNoReclaim(found) ?? found;
}

function isBelowCgroups(directory: string): boolean {
  return directory === CGROUPS || directory.startsWith(`${CGROUPS}/`);
}

/** Why the memory of a cgroup cannot be reclaimed; `undefined` if its files allow it. */
function whyNoReclaim({ mount, below, path }: Found): string | undefined {
  using directory = File.openPlace(mount.directory);
  if (hasEntry(directory, below, { name: "memory.reclaim" })) return undefined;
  return hasEntry(directory, below, { name: "memory.stat" })
    ? "the kernel has no memory.reclaim, which Linux has since 5.19"
    : `cgroup ${path} has no memory controller`;
}

/** Reclaims the memory of cgroups, one request for each at a time. */
export class CgroupReclaim {
  readonly #avoidance: Pick<Avoidance, "isWished">;
  /** The index of the first preference that the kernel accepts, as far as is known. */
  #preference = 0;
  /** The cgroups of which a request has not returned, by path. */
  readonly #busy = new Set<string>();

  constructor(avoidance: Pick<Avoidance, "isWished">) {
    this.#avoidance = avoidance;
  }

  /**
   * Finds the cgroup of some processes.
   *
   * @param all and `matches` as for {@linkcode findCgroup}.
   * @returns the cgroup, or why its memory cannot be reclaimed, in words for users.
   */
  find(
    all: Iterable<readonly CgroupPlace[]>,
    matches: (path: string) => boolean,
  ): ReclaimableCgroup | string {
    const found = findCgroup(all, matches, reachableCgroupMounts());
    if (found === undefined) return "none of its processes is in a cgroup";
    if (typeof found === "string") return found;
    const { path } = found;
    const children = this.#childrenOf(found);
    return typeof children === "string" ? children : {
      path,
      children,
      reclaim: (bytes, signal) => this.#reclaim(found, bytes, signal),
    };
  }

  /**
   * Returns the paths of the cgroups right below one, or why its memory may not be
   * reclaimed: the kernel would take that of processes that are to be left alone.
   */
  #childrenOf({ mount, below, path }: Found): string[] | string {
    using directory = File.openPlace(mount.directory);
    const rest = [below];
    const children: string[] = [];
    for (let at = 0; at < rest.length; at++) {
      const parent = rest[at];
      if (this.#avoidance.isWished(mount, parent)) {
        return `user.rcap.avoid of ${mount.directory}/${parent} asks to leave processes alone`;
      }
      for (const name of childrenIfAny(directory, parent)) {
        rest.push(`${parent}/${name}`);
        if (at === 0) children.push(`${path}/${name}`);
      }
      if (rest.length > MOST_BELOW) {
        return `cgroup ${path} has more than ${MOST_BELOW} others below it`;
      }
    }
    return children.sort();
  }

  async #reclaim(
    { mount, below, path }: Found,
    bytes: number,
    signal: AbortSignal,
  ): Promise<"done" | "less" | "busy"> {
    if (this.#busy.has(path)) return "busy";
    using directory = File.openPlace(mount.directory);
    const flags = O_WRONLY;
    const file = openControl(directory, below, {
      name: "memory.reclaim",
      flags,
    });
    this.#busy.add(path);
    const work = this.#ask(file, bytes).finally(() => {
      this.#busy.delete(path);
      file[Symbol.dispose]();
    });
    // Nothing may wait for it any more when it fails.
    work.catch(() => {});
    const end = new AbortController();
    const over = systemClock.sleep(
      PATIENCE,
      AbortSignal.any([signal, end.signal]),
    ).then(() => "busy" as const);
    try {
      return await Promise.race([work, over]);
    } finally {
      end.abort();
    }
  }

  /** Makes a request, with the best preference that the kernel knows. */
  async #ask(file: File, bytes: number): Promise<"done" | "less"> {
    for (;;) {
      // Without swap, only files can go.
      const preference = memoryInfo().freeSwap > 0
        ? PREFERENCES[this.#preference]
        : "";
      const calls = new CallList();
      const write = calls.write(
        file.fd,
        new TextEncoder().encode(`${bytes}${preference}`),
      );
      await calls.make();
      const errno = -(calls.result(write) ?? 0);
      if (errno <= 0) return "done";
      // A signal ends a request early.
      if (errno === CommonErrno.EAGAIN || errno === CommonErrno.EINTR) {
        return "less";
      }
      if (errno !== Errno.EINVAL || preference === "") {
        throw systemError("write memory.reclaim", errno);
      }
      this.#preference++;
    }
  }
}

/** The names of the cgroups below one; none if it was removed meanwhile. */
function childrenIfAny(mount: File, path: string): string[] {
  try {
    return childrenAt(mount, path, MOST_NAMES);
  } catch (error) {
    if (!isMissing(error)) throw error;
    return [];
  }
}
