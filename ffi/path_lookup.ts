/**
 * Resolves untrusted paths below a directory: `openat2(2)` and `statx(2)`.
 *
 * A path may lead into a file system whose server does not answer. So it is resolved
 * from the kernel's cache only (`RESOLVE_CACHED`), which never waits. If the cache does
 * not suffice, a path can be resolved on another thread within one mount, for file
 * systems whose server may be contacted.
 *
 * @module
 */

import { SystemError } from "../lib/errors.ts";
import { CallList, OPENED } from "./call_list.ts";
import { File, O_PATH } from "./file.ts";
import { Errno, errno, systemError } from "./libc.ts";
import {
  BELOW,
  openat2,
  openat2How,
  RESOLVE_CACHED,
  WITHIN_MOUNT,
} from "./openat2.ts";
import {
  AT_EMPTY_PATH,
  AT_STATX_DONT_SYNC,
  identityIn,
  STATX_SIZE,
} from "./statx.ts";

/** Identifies a file among all files of one moment. */
export interface FileIdentity {
  /** The device that it is on. */
  readonly device: bigint;
  /** `undefined` if the file system does not reveal it to this user. */
  readonly inode: bigint | undefined;
  /** The mount through which it was found. */
  readonly mount: bigint;
  /** How many names it has; `undefined` as with `inode`. */
  readonly links: number | undefined;
  /** When it was last written to, in nanoseconds since the epoch; likewise. */
  readonly modified: bigint | undefined;
}

/** Whether two identities are of the same file. */
export function isSameFile(a: FileIdentity, b: FileIdentity): boolean {
  return a.inode !== undefined && a.device === b.device && a.inode === b.inode;
}

type Bytes = Uint8Array<ArrayBuffer>;

// <fcntl.h> of Linux.
const AT_NO_AUTOMOUNT = 0x800;

// <linux/stat.h>: which fields to fill in.
const STATX_NLINK = 0x4;
const STATX_MTIME = 0x40;
const STATX_INO = 0x100;
const STATX_MNT_ID = 0x1000;

/** Holds the result without opening it. */
function openHow(resolve: bigint): BigUint64Array<ArrayBuffer> {
  return openat2How(O_PATH, resolve);
}

/** How often to try a lookup in the cache that concurrent changes disturb. */
const ATTEMPTS = 8;

/** The path cannot be resolved from the cache. */
export const NOT_CACHED = Symbol("not cached");

/**
 * Resolves a path below a directory from the kernel's cache only.
 *
 * @param path ends with a zero byte.
 * @returns `undefined` if there is no such file.
 * @throws SystemError if the lookup fails.
 */
export function openCached(
  root: File,
  path: Bytes,
): File | typeof NOT_CACHED | undefined {
  const how = openHow(BELOW | RESOLVE_CACHED);
  for (let attempt = 1;; attempt++) {
    const fd = openat2(root.fd, path, how);
    if (fd >= 0) return File.own(fd, "a path");
    const error = systemError("look up a path", errno());
    // Kernels before 5.12 do not know the flag.
    if (error.errno === Errno.EINVAL) return NOT_CACHED;
    if (error.errno === Errno.EAGAIN) {
      if (attempt === ATTEMPTS) return NOT_CACHED;
      continue;
    }
    if (isNowhere(error)) return undefined;
    throw error;
  }
}

/**
 * Resolves a path from the root of a mount, within that mount, however long its file
 * system takes.
 *
 * @param path relative to the mount; ends with a zero byte.
 * @returns `undefined` if there is no such file.
 * @throws SystemError if the lookup fails.
 */
export async function identityWithin(
  mount: File,
  path: Bytes,
): Promise<FileIdentity | undefined> {
  const calls = new CallList();
  const opened = calls.openAt2(mount.fd, path, openHow(WITHIN_MOUNT));
  const stat = new Uint8Array(STATX_SIZE);
  const asked = calls.stat(OPENED, EMPTY, { ...question(EMPTY), into: stat });
  calls.close(OPENED);
  await calls.make();
  try {
    calls.checked(opened, "look up a path");
  } catch (error) {
    if (isNowhere(error)) return undefined;
    throw error;
  }
  return identity(stat, calls.result(asked) ?? 0);
}

/**
 * Returns the identity of an open file, or of a name in an open directory.
 *
 * @throws SystemError if the lookup fails.
 */
export async function identityOf(
  { fd }: { readonly fd: number },
  name = EMPTY,
): Promise<FileIdentity> {
  const calls = new CallList();
  const [stat, least] = [
    new Uint8Array(STATX_SIZE),
    new Uint8Array(STATX_SIZE),
  ];
  const asked = calls.stat(fd, name, { ...question(name), into: stat });
  // Another user's FUSE file system only answers a query for no fields.
  calls.stat(fd, name, { ...question(name), mask: 0, into: least });
  await calls.make();
  const result = calls.result(asked) ?? 0;
  if (result !== -Errno.EACCES) return identity(stat, result);
  return {
    ...identityIn(least),
    inode: undefined,
    links: undefined,
    modified: undefined,
  };
}

/** An empty name, which means the open file itself. */
const EMPTY: Bytes = new Uint8Array(1);

function question(name: Bytes) {
  const itself = name.length === 1 ? AT_EMPTY_PATH : 0;
  return {
    flags: AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT | itself,
    mask: STATX_NLINK | STATX_MTIME | STATX_INO | STATX_MNT_ID,
  };
}

function identity(stat: Bytes, result: number): FileIdentity {
  if (result < 0) throw systemError("stat", -result);
  return identityIn(stat);
}

/** Whether an error means that a path leads nowhere. */
function isNowhere(error: unknown): boolean {
  const nowhere: readonly number[] = [
    Errno.ENOENT,
    Errno.EACCES,
    Errno.ENOTDIR,
    Errno.ENAMETOOLONG,
    Errno.ELOOP,
    Errno.EXDEV,
  ];
  return error instanceof SystemError && nowhere.includes(error.errno);
}
