/**
 * What a path leads to below a directory, for paths that somebody else has chosen:
 * `openat2(2)` and `statx(2)`.
 *
 * A path may lead into a file system whose server does not answer. So it is
 * followed as far as the kernel remembers the way (`RESOLVE_CACHED`), which waits
 * for nobody. Where that does not suffice, a path can be followed on another thread
 * within one mount, for file systems whose server may be asked.
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

/** What tells a file from every other, of one moment. */
export interface FileIdentity {
  /** The device that it is on. */
  readonly device: bigint;
  /** `undefined` where the file system does not tell this user. */
  readonly inode: bigint | undefined;
  /** The mount by which it was found. */
  readonly mount: bigint;
}

/** Whether two files are one. */
export function isSameFile(a: FileIdentity, b: FileIdentity): boolean {
  return a.inode !== undefined && a.device === b.device && a.inode === b.inode;
}

type Bytes = Uint8Array<ArrayBuffer>;

// <fcntl.h> of Linux.
const AT_NO_AUTOMOUNT = 0x800;

// <linux/stat.h>: what to ask.
const STATX_INO = 0x100;
const STATX_MNT_ID = 0x1000;

/** Holds what is found, without opening it. */
function openHow(resolve: bigint): BigUint64Array<ArrayBuffer> {
  return openat2How(O_PATH, resolve);
}

/** How often the kernel may be disturbed while it follows what it remembers. */
const ATTEMPTS = 8;

/** The kernel does not remember the way. */
export const NOT_CACHED = Symbol("not cached");

/**
 * What a path leads to below a directory, as far as the kernel remembers the way.
 *
 * @param path ends with a zero byte.
 * @returns `undefined` when there is nothing.
 * @throws SystemError when it cannot be told.
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
 * What a path leads to from the root of a mount, within that mount, however long its
 * file system takes.
 *
 * @param path from there; ends with a zero byte.
 * @returns `undefined` when there is nothing.
 * @throws SystemError when it cannot be told.
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
 * The identity of an open file, or with a name of what that leads to in an open
 * directory.
 *
 * @throws SystemError when it cannot be told.
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
  // A FUSE file system that is another user's tells only who asks for nothing.
  calls.stat(fd, name, { ...question(name), mask: 0, into: least });
  await calls.make();
  const result = calls.result(asked) ?? 0;
  if (result !== -Errno.EACCES) return identity(stat, result);
  return { ...identityIn(least), inode: undefined };
}

/** No more than a zero byte: the open file itself. */
const EMPTY: Bytes = new Uint8Array(1);

function question(name: Bytes) {
  const itself = name.length === 1 ? AT_EMPTY_PATH : 0;
  return {
    flags: AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT | itself,
    mask: STATX_INO | STATX_MNT_ID,
  };
}

function identity(stat: Bytes, result: number): FileIdentity {
  if (result < 0) throw systemError("stat", -result);
  return identityIn(stat);
}

/** Whether an error says that a path leads nowhere. */
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
