/**
 * Access control lists of illumos: acl(2), acl(7), and `<sys/acl.h>`.
 *
 * ZFS and NFS version 4 keep lists of `ace_t`, which the mode of a file shows only in
 * part; UFS and tmpfs keep POSIX-draft lists of `aclent_t`.
 *
 * @module
 */

import { SystemError } from "../lib/errors.ts";
import { IllumosErrno } from "./illumos_libc.ts";

// Commands of acl(2), and the size of both structures.
const GETACL = 1;
const GETACLCNT = 3;
const ACE_GETACL = 4;
const ACE_GETACLCNT = 6;
const ENTRY_SIZE = 12;

// ace_t: a_who 0, a_access_mask 4 (32 bits each), a_flags 8, a_type 10 (16 bits each).
const ACE_WRITE_DATA = 0x2;
const ACE_APPEND_DATA = 0x4;
const ACE_DELETE_CHILD = 0x40;
const ACE_DELETE = 0x1_0000;
const ACE_WRITE_ACL = 0x4_0000;
const ACE_WRITE_OWNER = 0x8_0000;
const ACE_IDENTIFIER_GROUP = 0x40;
const ACE_OWNER = 0x1000;
const ACE_GROUP = 0x2000;
const ACE_EVERYONE = 0x4000;
const ACE_ACCESS_ALLOWED_ACE_TYPE = 0;

/** Rights to change a file or directory, or its permissions, that its mode does not show. */
const HIDDEN_WRITES = ACE_DELETE_CHILD | ACE_DELETE | ACE_WRITE_ACL |
  ACE_WRITE_OWNER;
const WRITES = HIDDEN_WRITES | ACE_WRITE_DATA | ACE_APPEND_DATA;

// aclent_t: a_type 0, a_id 4 (32 bits each), a_perm 8 (16 bits).
const USER = 0x02;
const GROUP = 0x08;
const MAY_WRITE = 0o2;

const ROOT = 0;

/** `facl(2)` on one file; throws `SystemError` if the call fails. */
export type Facl = (
  command: number,
  count: number,
  buffer: Uint8Array<ArrayBuffer> | null,
) => number;

/**
 * Whether a list lets a stranger write to a file or change its permissions: somebody
 * other than its owner, root and this user, whom its mode does not show. Ignores entries
 * that deny access.
 *
 * @param uid this user.
 * @throws SystemError if the list cannot be read.
 */
export function hasStrangeWriter(
  { facl, uid }: { facl: Facl; uid: number },
): boolean {
  const aces = entriesOf(facl, ACE_GETACLCNT, ACE_GETACL);
  if (aces) return aces.some((ace) => isStrangeAce(ace, uid));
  const entries = entriesOf(facl, GETACLCNT, GETACL) ?? [];
  return entries.some((entry) => isStrangeEntry(entry, uid));
}

/** The entries of a list; `undefined` if the file system has no such lists. */
function entriesOf(
  facl: Facl,
  count: number,
  get: number,
): DataView[] | undefined {
  try {
    const length = facl(count, 0, null);
    const buffer = new Uint8Array(length * ENTRY_SIZE);
    const got = facl(get, length, buffer);
    return Array.from(
      { length: Math.min(got, length) },
      (_, index) => new DataView(buffer.buffer, index * ENTRY_SIZE, ENTRY_SIZE),
    );
  } catch (error) {
    const none: readonly number[] = [
      IllumosErrno.EINVAL,
      IllumosErrno.ENOTSUP,
      IllumosErrno.ENOSYS,
      IllumosErrno.EOPNOTSUPP,
    ];
    const hasNone = error instanceof SystemError && none.includes(error.errno);
    if (hasNone) return undefined;
    throw error;
  }
}

function isStrangeAce(ace: DataView, uid: number): boolean {
  const [who, mask] = [ace.getUint32(0, true), ace.getUint32(4, true)];
  const [flags, type] = [ace.getUint16(8, true), ace.getUint16(10, true)];
  if (type !== ACE_ACCESS_ALLOWED_ACE_TYPE) return false;
  if ((flags & ACE_OWNER) !== 0) return false;
  if ((flags & (ACE_GROUP | ACE_EVERYONE)) !== 0) {
    return (mask & HIDDEN_WRITES) !== 0;
  }
  const isGroup = (flags & ACE_IDENTIFIER_GROUP) !== 0;
  return (mask & WRITES) !== 0 && isStranger(who, isGroup ? undefined : uid);
}

function isStrangeEntry(entry: DataView, uid: number): boolean {
  const [type, id] = [entry.getInt32(0, true), entry.getUint32(4, true)];
  if (type !== USER && type !== GROUP) return false;
  return (entry.getUint16(8, true) & MAY_WRITE) !== 0 &&
    isStranger(id, type === USER ? uid : undefined);
}

function isStranger(id: number, uid: number | undefined): boolean {
  return id !== ROOT && id !== uid;
}
