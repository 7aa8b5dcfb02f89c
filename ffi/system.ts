/**
 * Facts about the machine and the user: `sysconf(3)`, `sysinfo(2)`, `uname(2)`,
 * `sigaction(2)`, `geteuid(2)` and the user database, `getpwnam_r(3)`.
 *
 * @module
 */

import { checked, errnoMessage, libc } from "./libc.ts";
import { SIGHUP } from "./pidfd.ts";
import { uidByName } from "./user_name.ts";

// <bits/confname.h> of glibc.
const SC_PAGESIZE = 30;
const SC_NPROCESSORS_CONF = 83;

/** Size of a page, in bytes. */
export function pageSize(): number {
  return checked(libc().sysconf(SC_PAGESIZE), "sysconf _SC_PAGESIZE");
}

/** How many processors the machine has, including those that are offline. */
export function processors(): number {
  return checked(
    libc().sysconf(SC_NPROCESSORS_CONF),
    "sysconf _SC_NPROCESSORS_CONF",
  );
}

/** Physical memory and swap, in bytes. */
export interface MemoryInfo {
  readonly totalMemory: number;
  readonly totalSwap: number;
  readonly freeSwap: number;
}

const sysinfoBuffer = new Uint8Array(112);
const sysinfoView = new DataView(sysinfoBuffer.buffer);

/** Physical memory and swap now. Cheap enough to call before every page-out. */
export function memoryInfo(): MemoryInfo {
  checked(libc().sysinfo(sysinfoBuffer), "sysinfo");
  // struct sysinfo of sysinfo(2), 64-bit: totalram 32, totalswap 64, freeswap 72,
  // mem_unit 104.
  const unit = sysinfoView.getUint32(104, true);
  const field = (offset: number) =>
    Number(sysinfoView.getBigUint64(offset, true)) * unit;
  return {
    totalMemory: field(32),
    totalSwap: field(64),
    freeSwap: field(72),
  };
}

/** The release of the kernel, for example `6.12.48+deb13-amd64`. */
export function kernelRelease(): string {
  // struct utsname of uname(2): six fields of 65 bytes; release is the third.
  const names = new Uint8Array(6 * 65);
  checked(libc().uname(names), "uname");
  const release = names.subarray(2 * 65, 3 * 65);
  return new TextDecoder().decode(release.subarray(0, release.indexOf(0)));
}

/** `SIG_IGN` of <signal.h>. */
const SIG_IGN = 1n;

/** Whether SIGHUP is ignored. */
export function ignoresHangup(): boolean {
  // struct sigaction of glibc, 64-bit: sa_handler 0, 152 bytes in all.
  const action = new BigUint64Array(19);
  const buffer = new Uint8Array(action.buffer);
  checked(libc().sigaction(SIGHUP, null, buffer), "sigaction");
  return action[0] === SIG_IGN;
}

/** The user whose permissions rcap has. */
export function effectiveUid(): number {
  return libc().geteuid();
}

// <elf.h>: getauxval(3).
const AT_SECURE = 23n;

/**
 * Whether rcap has privileges that its caller may lack, from a set-user-id bit or
 * capabilities of its file: ld.so(8), secure-execution mode.
 */
export function isSecureExecution(): boolean {
  return libc().getauxval(AT_SECURE) !== 0n;
}

// struct passwd, 64-bit: pw_name 0, pw_passwd 8, pw_uid 16; 48 bytes.
const PASSWD_UID = 16;

/**
 * Looks up the id of a user by name in all sources of the system's name service;
 * `undefined` if there is no such user. The lookup runs on another thread and may
 * take as long as the slowest source.
 *
 * @throws SystemError if the lookup fails.
 */
export function uidOfUser(name: string): Promise<number | undefined> {
  return uidByName(name, {
    lookUp: (...buffers) => libc().getpwnamAway(...buffers),
    uidAt: PASSWD_UID,
    words: errnoMessage,
  });
}
