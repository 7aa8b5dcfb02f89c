/**
 * Whether `/proc` shows the same processes as rcap's system calls use, and which of
 * them it hides.
 *
 * A pid means another process in another pid namespace: pid_namespaces(7). The
 * mount of a `/proc` determines which namespace it shows; it need not be rcap's.
 *
 * Facts: proc(5), proc_pid_status(5), proc_pid_mountinfo(5), and fs/proc/base.c,
 * array.c and inode.c of Linux.
 *
 * @module
 */

import { File, readTextFile } from "../../../ffi/file.ts";
import {
  type FileSystem,
  fileSystemOf,
  PROC_SUPER_MAGIC,
} from "../../../ffi/file_system.ts";
import {
  CapabilityError,
  isExhausted,
  isMissing,
  SystemError,
} from "../../errors.ts";
import { isNested } from "./namespaces.ts";
import { fieldOf, ownStatus } from "./own_status.ts";
import { lacking } from "./privileges.ts";

/** A problem and its remedy. */
export interface Problem {
  readonly detail: string;
  readonly remedy: string;
}

const NOT_MOUNTED: Problem = {
  detail: "no proc file system is mounted at /proc",
  remedy: "mount -t proc proc /proc",
};

const OTHER_NAMESPACE: Problem = {
  detail:
    "/proc shows another pid namespace than the one that rcap runs in, so that a pid there is another process here",
  remedy:
    "mount the /proc of this namespace (unshare --mount-proc, or mount -t proc proc /proc), or run rcap in the namespace that /proc shows: on the host, or in a container with --pid=host",
};

const READ_ONLY: Problem = {
  detail: "/proc is read-only, so that no reference bits can be reset",
  remedy: "mount -o remount,rw,bind /proc",
};

/**
 * Checks that `/proc` is usable.
 *
 * @throws CapabilityError if it shows another pid namespace, is not a proc file
 * system, or is read-only.
 */
export function requireOwnProc(): void {
  const problem = procProblem();
  if (!problem) return;
  const { detail, remedy } = problem;
  throw new CapabilityError(detail, { remedy });
}

/** Returns the problem that makes `/proc` unusable; `undefined` if there is none. */
export function procProblem(): Problem | undefined {
  const fileSystem = fileSystemOfProc();
  if (fileSystem === "none") return NOT_MOUNTED;
  try {
    using proc = File.openPlace("/proc");
    const name = proc.readLinkAt("self");
    if (!isOwn(name, readTextFile("/proc/self/status"), Deno.pid)) {
      return OTHER_NAMESPACE;
    }
  } catch (error) {
    // Without a descriptor, nothing is known about it.
    if (!(error instanceof SystemError) || isExhausted(error)) throw error;
    // A process outside the namespace that a /proc shows has no `self` there.
    if (isMissing(error)) return OTHER_NAMESPACE;
    return { detail: error.message, remedy: NOT_MOUNTED.remedy };
  }
  return fileSystem?.isReadOnly ? READ_ONLY : undefined;
}

/**
 * Returns the file system at `/proc`, or "none" if it is not a proc file system;
 * `undefined` if that is unknown.
 */
function fileSystemOfProc(): FileSystem | "none" | undefined {
  try {
    const fileSystem = fileSystemOf("/proc");
    return fileSystem.type === PROC_SUPER_MAGIC ? fileSystem : "none";
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return isMissing(error) ? "none" : undefined;
  }
}

/**
 * Whether a `/proc` shows our own pid namespace.
 *
 * @param name target of its `self` link: our pid in the namespace that it shows.
 * @param status our `status` in it. `NSpid`, since Linux 4.1, lists our pid in that
 * namespace and in every nested one, down to our own.
 * @param pid our pid, as system calls use it.
 */
export function isOwn(name: string, status: string, pid: number): boolean {
  const pids = fieldOf(status, "NSpid") ?? fieldOf(status, "Pid");
  return name === `${pid}` && pids === `${pid}`;
}

/** The mount options that decide what `/proc` shows. */
export interface ProcOptions {
  /** Which processes are hidden, and from whom: `noaccess`, `invisible` or `ptraceable`. */
  readonly hidepid: string | undefined;
  /** The group from which `noaccess` and `invisible` hide nothing; root's by default. */
  readonly gid: number;
  /** Whether it contains only processes. */
  readonly hasPidsOnly: boolean;
}

/** Names for the numbers that `hidepid` had until Linux 5.8. */
const HIDEPID_NUMBERS: Readonly<Record<string, string>> = {
  "1": "noaccess",
  "2": "invisible",
  "4": "ptraceable",
};

/**
 * Reads how `/proc` is mounted.
 *
 * @throws SystemError if `mountinfo` cannot be read.
 */
export function procOptions(): ProcOptions {
  return parseProcOptions(readTextFile("/proc/self/mountinfo"));
}

/** Parses how `/proc` is mounted from a `mountinfo`. */
export function parseProcOptions(mountinfo: string): ProcOptions {
  const options = new Map<string, string>();
  for (const line of mountinfo.split("\n")) {
    // … mount-point options [optional-field…] - type source options-of-file-system
    const [mount, fileSystem] = line.split(" - ");
    if (fileSystem === undefined || mount.split(" ")[4] !== "/proc") continue;
    // Of several mounts, the last one is on top.
    options.clear();
    for (const option of fileSystem.split(" ").slice(2).join(" ").split(",")) {
      const [name, value = ""] = option.split("=");
      options.set(name, value);
    }
  }
  const hidepid = options.get("hidepid");
  return {
    hidepid: hidepid === "off" || hidepid === "0"
      ? undefined
      : hidepid && (HIDEPID_NUMBERS[hidepid] ?? hidepid),
    gid: Number(options.get("gid") ?? 0),
    hasPidsOnly: options.get("subset") === "pid",
  };
}

/**
 * Whether `/proc` may hide other users' processes from rcap, given its mount
 * options: `has_pid_permissions` of fs/proc/base.c.
 *
 * @throws SystemError if rcap's own status cannot be read.
 */
export function mayHide({ hidepid, gid }: ProcOptions): boolean {
  if (hidepid === undefined) return false;
  // In a nested user namespace, capabilities and group ids differ from the mount's.
  if (isNested("user")) return true;
  if (lacking(["CAP_SYS_PTRACE"]).length === 0) return false;
  return hidepid === "ptraceable" || !ownGroups().includes(gid);
}

/**
 * The groups that decide access to files: the file system group and the
 * supplementary ones.
 */
function ownGroups(): number[] {
  const fsGid = ownStatus("Gid")?.split(/\s+/)[3];
  return [fsGid, ...(ownStatus("Groups") ?? "").split(/\s+/)]
    .filter((text) => text).map(Number);
}

/** Describes the effect of `hidepid` for people. */
export function effectOfHidepid({ hidepid }: ProcOptions): string {
  return hidepid === "noaccess"
    ? "other users' processes may be unreadable"
    : "other users' processes may be hidden, and rcap treats hidden ones as absent";
}

/** Warns if processes may be hidden. */
export function warnIfHidden(warn: (message: string) => void): void {
  const options = procOptions();
  if (!mayHide(options)) return;
  const { hidepid } = options;
  warn(
    `/proc is mounted with hidepid=${hidepid}: ${effectOfHidepid(options)}`,
  );
}
