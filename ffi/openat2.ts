/**
 * `openat2(2)`: opens a path with limits on where it may lead.
 *
 * @module
 */

import { O_CLOEXEC } from "./file.ts";
import { libc } from "./libc.ts";

// include/uapi/asm-generic/unistd.h; the same on every architecture.
const SYS_OPENAT2 = 437n;

// <linux/openat2.h>
const RESOLVE_NO_XDEV = 0x01n;
const RESOLVE_NO_MAGICLINKS = 0x02n;
const RESOLVE_NO_SYMLINKS = 0x04n;
const RESOLVE_BENEATH = 0x08n;
const RESOLVE_IN_ROOT = 0x10n;
/** Fails with `EAGAIN` where the kernel does not remember the way. */
export const RESOLVE_CACHED = 0x20n;

/** As if the directory were the root: absolute links stay below it. */
export const BELOW = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;

/** Nothing leads out of the mount, nor anywhere but where the names say. */
export const WITHIN_MOUNT = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS |
  RESOLVE_BENEATH;

/** A `struct open_how`: flags, mode, how to resolve. */
export function openat2How(
  flags: number,
  resolve: bigint,
): BigUint64Array<ArrayBuffer> {
  return BigUint64Array.of(BigInt(flags | O_CLOEXEC), 0n, resolve);
}

/**
 * Opens a path below a directory.
 *
 * @param path ends with a zero byte.
 * @returns the descriptor; a negative number when that fails, with `errno`.
 */
export function openat2(
  directory: number,
  path: Uint8Array<ArrayBuffer>,
  how: BigUint64Array<ArrayBuffer>,
): number {
  return libc().openat2(
    SYS_OPENAT2,
    directory,
    path,
    how,
    BigInt(how.byteLength),
  );
}
