/**
 * Directories and the names in them: `mkdir(2)`, `rename(2)`, `unlink(2)`,
 * `statx(2)`.
 *
 * @module
 */

import { AT_FDCWD, isMissing } from "./file.ts";
import { checked, cString, Errno, libc, SystemError } from "./libc.ts";

/**
 * Makes a directory, and those above it.
 *
 * @returns whether it was not there before.
 * @throws SystemError when it cannot be made.
 */
export function makeDirectory(path: string, mode = 0o755): boolean {
  try {
    checked(libc().mkdir(cString(path), mode), `make directory ${path}`);
    return true;
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    if (error.errno === Errno.EEXIST) return false;
    const parent = /^(.+)\/[^/]+\/*$/.exec(path)?.[1];
    if (error.errno !== Errno.ENOENT || !parent) throw error;
    makeDirectory(parent, mode);
    return makeDirectory(path, mode);
  }
}

/** Gives a file another name, in place of any other file of that name. */
export function renameFile(from: string, to: string): void {
  checked(libc().rename(cString(from), cString(to)), `rename ${from} to ${to}`);
}

/** Removes a file, if it is there. */
export function removeFile(path: string): void {
  ifThere(() => checked(libc().unlink(cString(path)), `remove ${path}`));
}

/** Removes an empty directory, if it is there. */
export function removeDirectory(path: string): void {
  ifThere(() => checked(libc().rmdir(cString(path)), `remove ${path}`));
}

function ifThere(step: () => void): void {
  try {
    step();
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}

/** Who may do what with a file or directory. */
export interface Permissions {
  readonly uid: number;
  /** File type and permission bits: inode(7). */
  readonly mode: number;
}

// <linux/fcntl.h> and <linux/stat.h>: what to ask, and the offsets in struct statx.
const STATX_MODE_AND_UID = 0x2 | 0x8;
const STATX_SIZE = 256;
const STX_UID = 20;
const STX_MODE = 28;

/**
 * Who may do what with a file or directory.
 *
 * @throws SystemError when it is not there.
 */
export function permissionsOf(path: string): Permissions {
  const stat = new Uint8Array(STATX_SIZE);
  checked(
    libc().statx(AT_FDCWD, cString(path), 0, STATX_MODE_AND_UID, stat),
    `stat ${path}`,
  );
  const view = new DataView(stat.buffer);
  return {
    uid: view.getUint32(STX_UID, true),
    mode: view.getUint16(STX_MODE, true),
  };
}
