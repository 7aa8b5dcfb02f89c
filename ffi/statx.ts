/**
 * What the file system says of a file: `statx(2)`.
 *
 * @module
 */

import { checked, cString, Errno, errno, libc, SystemError } from "./libc.ts";

// <linux/fcntl.h> and <linux/stat.h>.
const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_EMPTY_PATH = 0x1000;
/** Takes what is known: the server of a network or FUSE file system is not asked. */
const AT_STATX_DONT_SYNC = 0x4000;
const STATX_BASIC_STATS = 0x7ff;

// Offsets in struct statx.
const STATX_SIZE = 256;
const STX_NLINK = 16;
const STX_UID = 20;
const STX_GID = 24;
const STX_MODE = 28;
const STX_INO = 32;
const STX_SIZE = 40;
const STX_DEV_MAJOR = 136;
const STX_DEV_MINOR = 140;

// Types of files in a mode: inode(7).
const S_IFMT = 0o170000;
const TYPES: ReadonlyMap<number, FileType> = new Map([
  [0o010000, "pipe"],
  [0o020000, "device"],
  [0o040000, "directory"],
  [0o060000, "device"],
  [0o100000, "file"],
  [0o120000, "symbolic link"],
  [0o140000, "socket"],
]);

/** What a name in a directory leads to; a `file` is a regular one. */
export type FileType =
  | "device"
  | "directory"
  | "file"
  | "pipe"
  | "socket"
  | "symbolic link";

/** What the file system says of a file. */
export interface FileStatus {
  readonly type: FileType;
  /**
   * Permission bits, with set-id and sticky bits: inode(7). Where there is an access
   * control list, the group's bits are its mask, the most that any user or group
   * named in it may do: acl(5). So a list that lets anybody write shows here.
   */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** How many names it has. */
  readonly links: number;
  /** In bytes. */
  readonly size: number;
  /** The device of its file system, as `major:minor` in decimal. */
  readonly device: string;
  readonly inode: bigint;
}

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
  const error = new SystemError(`stat ${path}`, errno());
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
  const mode = view.getUint16(STX_MODE, true);
  return {
    // There are no other types.
    type: TYPES.get(mode & S_IFMT) ?? "device",
    mode: mode & ~S_IFMT,
    uid: view.getUint32(STX_UID, true),
    gid: view.getUint32(STX_GID, true),
    links: view.getUint32(STX_NLINK, true),
    size: Number(view.getBigUint64(STX_SIZE, true)),
    device: `${view.getUint32(STX_DEV_MAJOR, true)}:${
      view.getUint32(STX_DEV_MINOR, true)
    }`,
    inode: view.getBigUint64(STX_INO, true),
  };
}

/** Tells files apart, whatever their names. */
export function identityOf({ device, inode }: FileStatus): string {
  return `${device}:${inode}`;
}
