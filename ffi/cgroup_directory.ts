/**
 * Directories of cgroups: their owners, extended attributes, xattr(7), and control
 * files. The kernel itself serves them, so nothing here waits for another process.
 *
 * @module
 */

import {
  isDenied,
  isExhausted,
  isMissing,
  SystemError,
} from "../lib/errors.ts";
import { File, O_DIRECTORY, O_PATH, O_RDONLY } from "./file.ts";
import { cString, Errno, errno, libc, systemError } from "./libc.ts";
import { openat2, openat2How, WITHIN_MOUNT } from "./openat2.ts";
import { statusOf } from "./statx.ts";

/** The longest value that is read of an attribute, in bytes. */
const LONGEST_VALUE = 64;

/** The longest text that is read of a control file, in bytes: a number, or `max`. */
const LONGEST_CONTROL = 64;

/** An extended attribute of a cgroup, and the owner and mode of its directory. */
export interface CgroupNote {
  /** The attribute's value. */
  readonly value: string;
  /** The owner of the directory. */
  readonly uid: number;
  /** Its permissions: inode(7). */
  readonly mode: number;
}

/**
 * Returns the owner and the permissions of a cgroup's directory.
 *
 * @param mount and `path` as for {@linkcode noteAt}.
 * @returns `undefined` if there is no such cgroup.
 * @throws SystemError if it cannot be examined.
 */
export function directoryAt(
  mount: File,
  path: string,
): Pick<CgroupNote, "uid" | "mode"> | undefined {
  using directory = openDirectory(mount, path);
  if (!directory) return undefined;
  const { uid, mode } = statusOf(directory.fd, `cgroup ${path}`);
  return { uid, mode };
}

/**
 * Reads an extended attribute of a cgroup.
 *
 * @param mount the directory where its hierarchy is mounted.
 * @param path relative to `mount`. It is not followed out of the hierarchy.
 * @returns `undefined` if there is no such cgroup or attribute.
 * @throws SystemError if it cannot be read.
 */
export function noteAt(
  mount: File,
  path: string,
  attribute: string,
): CgroupNote | undefined {
  using directory = openDirectory(mount, path);
  if (!directory) return undefined;
  const value = attributeOf(directory, attribute);
  if (value === undefined) return undefined;
  const { uid, mode } = statusOf(directory.fd, `cgroup ${path}`);
  return { value, uid, mode };
}

/** Opens the directory of a cgroup; `undefined` if there is none. */
function openDirectory(mount: File, path: string): File | undefined {
  const fd = openat2(
    mount.fd,
    cString(path === "" ? "." : path),
    openat2How(O_DIRECTORY, WITHIN_MOUNT),
  );
  if (fd < 0) {
    const error = systemError(`open cgroup ${path}`, errno());
    // Removed meanwhile, or something else is mounted there.
    if (isMissing(error) || isDenied(error) || error.errno === Errno.EXDEV) {
      return undefined;
    }
    throw error;
  }
  return File.own(fd, path);
}

/**
 * Reads a control file of a cgroup, such as `memory.swap.max`.
 *
 * @param mount the directory where its hierarchy is mounted.
 * @param path the cgroup, relative to `mount`. It is not followed out of the hierarchy.
 * @returns its text without the line end; `undefined` if there is no such cgroup or
 * file, or it cannot be read.
 * @throws SystemError if no descriptor is free.
 */
export function controlAt(
  mount: File,
  path: string,
  name: string,
): string | undefined {
  try {
    using file = openControl(mount, path, { name, flags: O_RDONLY });
    const buffer = new Uint8Array(LONGEST_CONTROL);
    return decoder.decode(buffer.subarray(0, file.read(buffer))).trimEnd();
  } catch (error) {
    if (!(error instanceof SystemError) || isExhausted(error)) throw error;
    return undefined;
  }
}

/**
 * Opens a control file of a cgroup.
 *
 * @param mount the directory where its hierarchy is mounted.
 * @param path the cgroup, relative to `mount`. It is not followed out of the hierarchy,
 * nor through a symbolic link.
 * @throws SystemError if there is no such cgroup or file, or it cannot be opened.
 */
export function openControl(
  mount: File,
  path: string,
  { name, flags }: { readonly name: string; readonly flags: number },
): File {
  const fd = openat2(
    mount.fd,
    cString(path === "" ? name : `${path}/${name}`),
    openat2How(flags, WITHIN_MOUNT),
  );
  if (fd < 0) throw systemError(`open ${name} of cgroup /${path}`, errno());
  return File.own(fd, name);
}

/**
 * Whether a cgroup has a file or directory that can be opened.
 *
 * @param mount and `path` as for {@linkcode openControl}.
 * @param flags more flags of open(2), which it must allow.
 * @throws SystemError if no descriptor is free.
 */
export function hasEntry(
  mount: File,
  path: string,
  { name, flags = 0 }: { readonly name: string; readonly flags?: number },
): boolean {
  try {
    using _file = openControl(mount, path, { name, flags: O_PATH | flags });
    return true;
  } catch (error) {
    if (!(error instanceof SystemError) || isExhausted(error)) throw error;
    return false;
  }
}

/** Names of control files begin with that of their controller: cgroups(7). */
const CONTROL =
  /^(cgroup|cpu|cpuset|dmem|hugetlb|io|irq|memory|misc|pids|rdma)\./;

/**
 * Returns the names of the cgroups right below a cgroup.
 *
 * @param mount and `path` as for {@linkcode openControl}.
 * @param most about how many names to read at most, those of files included.
 * @throws SystemError if there is no such cgroup, or no descriptor is free.
 */
export function childrenAt(mount: File, path: string, most: number): string[] {
  const flags = O_RDONLY | O_DIRECTORY;
  const name = path === "" ? "." : path;
  using directory = openControl(mount, "", { name, flags });
  return directory.names(most).filter((name) =>
    // Only a cgroup can be opened as a directory; most files are known by their name.
    !CONTROL.test(name) &&
    hasEntry(directory, "", { name, flags: O_DIRECTORY })
  );
}

const decoder = new TextDecoder();

function attributeOf({ fd }: File, attribute: string): string | undefined {
  const buffer = new Uint8Array(LONGEST_VALUE);
  const size = BigInt(buffer.length);
  const length = Number(
    libc().fgetxattr(fd, cString(attribute), buffer, size),
  );
  if (length >= 0) return decoder.decode(buffer.subarray(0, length));
  const error = systemError(`read ${attribute}`, errno());
  // There is none, kernels before 5.7 have none, or it is too long to be one.
  const none: readonly number[] = [
    Errno.ENODATA,
    Errno.EOPNOTSUPP,
    Errno.ERANGE,
  ];
  if (none.includes(error.errno)) return undefined;
  throw error;
}
