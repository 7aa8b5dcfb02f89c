/**
 * Directories of cgroups: their owners and extended attributes, xattr(7). The
 * kernel itself serves them, so nothing here waits for another process.
 *
 * @module
 */

import { isDenied, isMissing } from "../lib/errors.ts";
import { File, O_DIRECTORY } from "./file.ts";
import { cString, Errno, errno, libc, systemError } from "./libc.ts";
import { openat2, openat2How, WITHIN_MOUNT } from "./openat2.ts";
import { statusOf } from "./statx.ts";

/** The longest value that is read of an attribute, in bytes. */
const LONGEST_VALUE = 64;

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
  using directory = File.own(fd, path);
  const value = attributeOf(directory, attribute);
  if (value === undefined) return undefined;
  const { uid, mode } = statusOf(fd, `cgroup ${path}`);
  return { value, uid, mode };
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
