/**
 * Looks up users by name: `getpwnam_r(3)` of any system, on another thread.
 *
 * According to POSIX it returns 0 and no entry if there is no such user, and an
 * error number if the lookup failed. GNU libc returns 0 as soon as one source of
 * its name service reports that there is no such user, whatever other sources
 * report. illumos returns `errno`, which its name service leaves at 0 in this case.
 * So no error number is taken to mean "no such user", although getpwnam(3) lists
 * some that other systems use for it: a source that cannot be reached results in
 * `ENOENT` too.
 *
 * @module
 */

import { SystemError } from "../lib/errors.ts";
import { cString, Errno } from "./libc.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** How to look up a user in a C library. */
export interface UserLookup {
  /**
   * `getpwnam_r`: name, entry, buffer and its size, and the place for the pointer
   * to the entry.
   */
  readonly lookUp: (
    name: Bytes,
    entry: Bytes,
    buffer: Bytes,
    size: bigint,
    found: BigUint64Array<ArrayBuffer>,
  ) => Promise<number>;
  /** Offset of the uid in a `struct passwd`. */
  readonly uidAt: number;
  /** Returns the text for an error number. */
  readonly words: (errno: number) => string;
}

/** Larger than a `struct passwd` of any system. */
const ENTRY_SIZE = 256;

/** Initial and largest size of the buffer for the strings of an entry. */
const FIRST_SIZE = 4096;
const LARGEST_SIZE = 1024 * 1024;

/** Memory that calls in progress use. The runtime does not keep it alive. */
const inUse = new Set<readonly unknown[]>();

/**
 * Returns the id of a user by name; `undefined` if there is no such user.
 *
 * @throws SystemError if the lookup fails.
 */
export async function uidByName(
  name: string,
  { lookUp, uidAt, words }: UserLookup,
): Promise<number | undefined> {
  // In C the name would end at the zero byte.
  if (name.includes("\0")) return undefined;
  for (let size = FIRST_SIZE;;) {
    const entry = new Uint8Array(ENTRY_SIZE);
    const found = new BigUint64Array(1);
    const buffers = [cString(name), entry, new Uint8Array(size)] as const;
    const kept = [...buffers, found];
    inUse.add(kept);
    const error = await lookUp(...buffers, BigInt(size), found)
      .finally(() => inUse.delete(kept));
    if (error === 0) {
      return found[0] === 0n
        ? undefined
        : new DataView(entry.buffer).getUint32(uidAt, true);
    }
    if (error === Errno.ERANGE && size < LARGEST_SIZE) size *= 4;
    else if (error !== Errno.EINTR) {
      throw new SystemError(`look up user ${name}`, error, words(error));
    }
  }
}
