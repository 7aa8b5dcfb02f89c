/**
 * The status of files: `statx(2)`.
 *
 * @module
 */

import { checked, cString, Errno, errno, libc, systemError } from "./libc.ts";
import { type FileStatus, partsOfMode } from "./file_status.ts";

// <linux/fcntl.h> and <linux/stat.h>.
const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_EMPTY_PATH = 0x1000;
/** Uses cached values: does not contact the server of a network or FUSE file system. */
export const AT_STATX_DONT_SYNC = 0x4000;
const STATX_BASIC_STATS = 0x7ff;
/** Since Linux 5.8. */
const STATX_MNT_ID = 0x1000;

// Offsets in struct statx.
export const STATX_SIZE = 256;
const STX_MASK = 0;
const STX_NLINK = 16;
const STX_UID = 20;
const STX_GID = 24;
const STX_MODE = 28;
const STX_INO = 32;
const STX_SIZE = 40;
const STX_DEV_MAJOR = 136;
const STX_DEV_MINOR = 140;
const STX_MTIME = 112;
const STX_MNT_ID = 144;

/** S_IWGRP of inode(7). */
const GROUP_WRITES = 0o020;

/**
 * Returns the status of a name in a directory. Does not follow a symbolic link.
 *
 * @param path the file, for messages.
 * @returns `undefined` if there is no such name.
 * @throws SystemError if the call fails otherwise.
 */
export function statusAt(
  directory: number,
  name: string,
  path: string,
): FileStatus | undefined {
  const stat = new Uint8Array(STATX_SIZE);
  const flags = AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC;
  const result = libc().statx(
    directory,
    cString(name),
    flags,
    STATX_BASIC_STATS,
    stat,
  );
  if (result >= 0) return parse(stat, undefined);
  const error = systemError(`stat ${path}`, errno());
  if (error.errno === Errno.ENOENT) return undefined;
  throw error;
}

/**
 * Returns the status of an open file.
 *
 * @param path the file, for messages.
 */
export function statusOf(fd: number, path: string): FileStatus {
  const stat = new Uint8Array(STATX_SIZE);
  const flags = AT_EMPTY_PATH | AT_STATX_DONT_SYNC;
  checked(
    libc().statx(fd, cString(""), flags, STATX_BASIC_STATS, stat),
    `stat ${path}`,
  );
  return parse(stat, fd);
}

/**
 * Returns the number of the mount that an open file is in, as in
 * proc_pid_mountinfo(5); `undefined` if the kernel does not tell, or a sandbox forbids
 * the call.
 */
export function mountNumberOf(fd: number): bigint | undefined {
  const stat = new Uint8Array(STATX_SIZE);
  const flags = AT_EMPTY_PATH | AT_STATX_DONT_SYNC;
  const result = libc().statx(fd, cString(""), flags, STATX_MNT_ID, stat);
  if (result < 0) return undefined;
  const mask = new DataView(stat.buffer).getUint32(STX_MASK, true);
  return (mask & STATX_MNT_ID) === 0 ? undefined : identityIn(stat).mount;
}

function parse(
  stat: Uint8Array<ArrayBuffer>,
  fd: number | undefined,
): FileStatus {
  const view = new DataView(stat.buffer);
  const parts = partsOfMode(view.getUint16(STX_MODE, true));
  const gid = view.getUint32(STX_GID, true);
  const { device, inode, links } = identityIn(stat);
  return {
    ...parts,
    uid: view.getUint32(STX_UID, true),
    gid,
    get isWritableByList() {
      // With a list, the group's bits of the mode are its mask, the most that any user or
      // group named in it may do: acl(5). So only if the group is root's, whose bits are
      // not checked elsewhere, can a list be overlooked.
      const mayHide = gid === 0 && (parts.mode & GROUP_WRITES) !== 0;
      return fd !== undefined && mayHide && hasAccessList(fd);
    },
    links,
    size: Number(view.getBigUint64(STX_SIZE, true)),
    device: `${device >> 32n}:${device & 0xffff_ffffn}`,
    inode,
  };
}

/** Returns the identity of the file in a `struct statx`. */
export function identityIn(stat: Uint8Array<ArrayBuffer>): {
  /** Major number in the upper half, minor in the lower. */
  device: bigint;
  inode: bigint;
  mount: bigint;
  /** How many names it has. */
  links: number;
  /** When it was last written to, in nanoseconds since the epoch. */
  modified: bigint;
} {
  const view = new DataView(stat.buffer);
  const [major, minor] = [STX_DEV_MAJOR, STX_DEV_MINOR].map((at) =>
    BigInt(view.getUint32(at, true))
  );
  return {
    device: major << 32n | minor,
    inode: view.getBigUint64(STX_INO, true),
    mount: view.getBigUint64(STX_MNT_ID, true),
    links: view.getUint32(STX_NLINK, true),
    modified: view.getBigInt64(STX_MTIME, true) * 1_000_000_000n +
      BigInt(view.getUint32(STX_MTIME + 8, true)),
  };
}

/**
 * Whether a file has an access control list, or may have one: acl(5), xattr(7).
 */
function hasAccessList(fd: number): boolean {
  // fgetxattr(2) does not accept a descriptor of a file that is not open (O_PATH).
  const path = cString(`/proc/self/fd/${fd}`);
  const name = cString("system.posix_acl_access");
  if (libc().getxattr(path, name, null, 0n) >= 0) return true;
  const none: readonly number[] = [Errno.ENODATA, Errno.EOPNOTSUPP];
  return !none.includes(errno());
}
