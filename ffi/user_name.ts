/**
 * Users by name: `getpwnam_r(3)` of any system, on another thread.
 *
 * POSIX has it return 0 and find no entry for a user that there is not, and an
 * error number when it could not find out. GNU libc does so whenever a source of
 * its name service has said that there is no such user, whatever other sources
 * say. illumos returns `errno`, which its name service leaves at 0 then. So no
 * error number is taken for "no such user", although getpwnam(3) lists some that
 * other systems use for that: a source that cannot be reached ends with `ENOENT`
 * too.
 *
 * @module
 */

import { SystemError } from "../lib/errors.ts";
import { cString, Errno } from "./libc.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** How a C library looks a user up. */
export interface UserLookup {
  /** `getpwnam_r`: name, entry, buffer and its size, and where the pointer to the entry goes. */
  readonly lookUp: (
    name: Bytes,
    entry: Bytes,
    buffer: Bytes,
    size: bigint,
    found: BigUint64Array<ArrayBuffer>,
  ) => Promise<number>;
  /** Where the uid stands in a `struct passwd`. */
  readonly uidAt: number;
  /** What an error number means. */
  readonly words: (errno: number) => string;
}

/** Larger than a `struct passwd` of any system. */
const ENTRY_SIZE = 256;

/** Room for the strings of an entry, at first and at the most. */
const FIRST_SIZE = 4096;
const LARGEST_SIZE = 1024 * 1024;

/** What calls under way use: the runtime does not keep it alive for them. */
const inUse = new Set<readonly unknown[]>();

/**
 * The id of a user by name; `undefined` for none.
 *
 * @throws SystemError when it cannot be found out.
 */
export async function uidByName(
  name: string,
  { lookUp, uidAt, words }: UserLookup,
): Promise<number | undefined> {
  // C would take what stands before it for the name.
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
