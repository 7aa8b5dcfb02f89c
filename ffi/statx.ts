/**
 * What the file system says of a file: `statx(2)`.
 *
 * @module
 */

import { checked, cString, Errno, errno, libc, systemError } from "./libc.ts";
import { type FileStatus, partsOfMode } from "./file_status.ts";

// <linux/fcntl.h> and <linux/stat.h>.
const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_EMPTY_PATH = 0x1000;
/** Takes what is known: the server of a network or FUSE file system is not asked. */
export const AT_STATX_DONT_SYNC = 0x4000;
const STATX_BASIC_STATS = 0x7ff;

// Offsets in struct statx.
export const STATX_SIZE = 256;
const STX_NLINK = 16;
const STX_UID = 20;
const STX_GID = 24;
const STX_MODE = 28;
const STX_INO = 32;
const STX_SIZE = 40;
const STX_DEV_MAJOR = 136;
const STX_DEV_MINOR = 140;
const STX_MNT_ID = 144;

/**
 * The status of what a name in a directory stands for; of a symbolic link, its own.
 *
 * @param path the file for messages.
 * @returns `undefined` when there is no such name.
 * @throws SystemError when it cannot be had.
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
  if (result >= 0) return parse(stat);
  const error = systemError(`stat ${path}`, errno());
  if (error.errno === Errno.ENOENT) return undefined;
  throw error;
}

/**
 * The status of an open file.
 *
 * @param path the file for messages.
 */
export function statusOf(fd: number, path: string): FileStatus {
  const stat = new Uint8Array(STATX_SIZE);
  const flags = AT_EMPTY_PATH | AT_STATX_DONT_SYNC;
  checked(
    libc().statx(fd, cString(""), flags, STATX_BASIC_STATS, stat),
    `stat ${path}`,
  );
  return parse(stat);
}

function parse(stat: Uint8Array<ArrayBuffer>): FileStatus {
  const view = new DataView(stat.buffer);
  const { device, inode } = identityIn(stat);
  return {
    ...partsOfMode(view.getUint16(STX_MODE, true)),
    uid: view.getUint32(STX_UID, true),
    gid: view.getUint32(STX_GID, true),
    // The group's bits of the mode are the mask of a list: acl(5).
    isWritableByList: false,
    links: view.getUint32(STX_NLINK, true),
    size: Number(view.getBigUint64(STX_SIZE, true)),
    device: `${device >> 32n}:${device & 0xffff_ffffn}`,
    inode,
  };
}

/** What a `struct statx` says of which file it is. */
export function identityIn(stat: Uint8Array<ArrayBuffer>): {
  /** Major number in the upper half, minor in the lower. */
  device: bigint;
  inode: bigint;
  mount: bigint;
} {
  const view = new DataView(stat.buffer);
  const [major, minor] = [STX_DEV_MAJOR, STX_DEV_MINOR].map((at) =>
    BigInt(view.getUint32(at, true))
  );
  return {
    device: major << 32n | minor,
    inode: view.getBigUint64(STX_INO, true),
    mount: view.getBigUint64(STX_MNT_ID, true),
  };
}
