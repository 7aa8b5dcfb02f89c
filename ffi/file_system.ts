/**
 * The file system that contains a path: `statfs(2)`.
 *
 * @module
 */

import { checked, cString, libc } from "./libc.ts";

/** Types: `PROC_SUPER_MAGIC` and `SYSFS_MAGIC` of include/uapi/linux/magic.h. */
export const PROC_SUPER_MAGIC = 0x9fa0n;
export const SYSFS_MAGIC = 0x62656572n;

/** `ST_RDONLY` of include/linux/statfs.h. */
const ST_RDONLY = 1n;

/** The file system that contains a path. */
export interface FileSystem {
  /** Its type: `*_MAGIC` of include/uapi/linux/magic.h. */
  readonly type: bigint;
  /** Whether the file system or its mount is read-only. */
  readonly isReadOnly: boolean;
}

/**
 * The file system that contains a path.
 *
 * @throws SystemError if there is no such path.
 */
export function fileSystemOf(path: string): FileSystem {
  // struct statfs, 64-bit: f_type 0, f_flags 80, 120 bytes in all.
  const result = new BigInt64Array(15);
  const buffer = new Uint8Array(result.buffer);
  checked(libc().statfs(cString(path), buffer), `statfs ${path}`);
  return {
    type: result[0],
    isReadOnly: (result[10] & ST_RDONLY) !== 0n,
  };
}
