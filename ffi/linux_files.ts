/**
 * Files, directories and locks of Linux: `openat(2)`, `mkdirat(2)`, `renameat2(2)`,
 * `unlinkat(2)`, and "Advisory record locking" of `fcntl(2)`.
 *
 * @module
 */

import { isMissing, RcapError } from "../lib/errors.ts";
import type {
  ByteLocks,
  FileCalls,
  Held,
  LockConflict,
  Place,
} from "./file_calls.ts";
import {
  AT_FDCWD,
  File,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  O_WRONLY,
  readTextFile,
} from "./file.ts";
import { checked, cString, Errno, errno, libc, systemError } from "./libc.ts";
import { statusAt, statusOf } from "./statx.ts";
import { effectiveUid } from "./system.ts";

// <fcntl.h> of Linux; O_NOFOLLOW has another value on arm64.
const O_NOCTTY = 0o400;
const O_NONBLOCK = 0o4000;
const O_NOFOLLOW = Deno.build.arch === "aarch64" ? 0o100000 : 0o400000;
const AT_REMOVEDIR = 0x200;
const F_GETLK = 5;
const F_SETLK = 6;
const F_RDLCK = 0;
const F_WRLCK = 1;
const F_UNLCK = 2;

/** <linux/fs.h>: exchanges two names atomically. */
const RENAME_EXCHANGE = 2;

// struct flock, 64-bit: l_type 0 and l_whence 2 (short), l_start 8 and l_len 16
// (off_t), l_pid 24 (int). Zeros mean from the start to the end of the file.
const FLOCK_SIZE = 32;
const L_START = 8;
const L_LEN = 16;
const L_PID = 24;

const OPEN_FLAGS = {
  read: O_RDONLY,
  update: O_RDWR | O_CREAT,
  make: O_WRONLY | O_CREAT | O_EXCL,
} as const;

const ERRORS = { ...Errno, EISDIR: 21 } as const;

/** The calls of Linux. */
export const linuxFiles: FileCalls = {
  holdRoot: () => hold({ directory: AT_FDCWD, name: "/", path: "/" }),
  hold,
  open: (place, purpose, mode) => open(place, OPEN_FLAGS[purpose], mode),
  close: (fd) => libc().close(fd),
  names(directory, path) {
    const place = { directory, name: ".", path };
    using opened = open(place, O_RDONLY | O_DIRECTORY);
    return opened.names();
  },
  statusAt: ({ directory, name, path }) => statusAt(directory, name, path),
  statusOf,
  makeDirectory({ directory, name, path }, mode) {
    const result = libc().mkdirat(directory, cString(name), mode);
    checked(result, `make directory ${path}`);
  },
  rename({ directory, name, path }, to) {
    const result = libc().renameat(
      directory,
      cString(name),
      directory,
      cString(to),
    );
    checked(result, `rename ${path} to ${to}`);
  },
  exchange({ directory, name, path }, other) {
    const result = libc().renameat2(
      directory,
      cString(name),
      directory,
      cString(other),
      RENAME_EXCHANGE,
    );
    checked(result, `exchange ${path} for ${other}`);
  },
  remove: (place) => unlink(place, 0),
  removeDirectory: (place) => unlink(place, AT_REMOVEDIR),
  lock: (fd) => tryLock(fd, writeLock()),
  conflictOn: (fd, path) => conflictWith(fd, writeLock(), path),
  workingDirectory() {
    const buffer = new Uint8Array(4096);
    const result = libc().getcwd(buffer, BigInt(buffer.length));
    const path = decoder.decode(buffer.subarray(0, buffer.indexOf(0)));
    // A directory that was removed, or is outside of the root, has no path.
    if (result === null || !path.startsWith("/")) {
      throw systemError("find the working directory", Errno.ENOENT);
    }
    return path;
  },
  effectiveUid,
  serverOf,
  removeList: "setfacl -b",
  error: (call, name) => systemError(call, ERRORS[name]),
};

/** Locks on bytes of files of Linux. */
export const linuxByteLocks: ByteLocks = {
  lock: (fd, byte) => tryLock(fd, byteLock(F_WRLCK, byte)),
  unlock(fd, byte) {
    checked(libc().fcntlLock(fd, F_SETLK, byteLock(F_UNLCK, byte)), "unlock");
  },
  holderOf: (fd, byte) =>
    conflictWith(fd, byteLock(F_WRLCK, byte), "a byte")?.pid,
};

function tryLock(fd: number, lock: Uint8Array<ArrayBuffer>): boolean {
  if (libc().fcntlLock(fd, F_SETLK, lock) >= 0) return true;
  const number = errno();
  // POSIX allows either error for a lock that another process holds.
  if (number === Errno.EAGAIN || number === Errno.EACCES) return false;
  throw systemError("lock", number);
}

function conflictWith(
  fd: number,
  lock: Uint8Array<ArrayBuffer>,
  what: string,
): LockConflict | undefined {
  checked(libc().fcntlLock(fd, F_GETLK, lock), `look at the lock of ${what}`);
  const view = new DataView(lock.buffer);
  const type = view.getInt16(0, true);
  if (type !== F_RDLCK && type !== F_WRLCK) return undefined;
  return { isForWriting: type === F_WRLCK, pid: view.getInt32(L_PID, true) };
}

const decoder = new TextDecoder();

function hold({ directory, name, path }: Place): Held {
  const flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
  const fd = checked(
    libc().openat(directory, cString(name), flags, 0),
    `open ${path}`,
  );
  using cleanup = new DisposableStack();
  const file = cleanup.use(File.own(fd, path));
  const status = statusOf(fd, path);
  cleanup.move();
  // readlinkat(2) with an empty path reads the link that the descriptor refers to.
  return { fd, status, target: () => file.readLinkAt("") };
}

function open(
  { directory, name, path }: Place,
  flags: number,
  mode = 0,
): File {
  const always = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  const fd = libc().openat(directory, cString(name), flags | always, mode);
  return File.own(checked(fd, `open ${path}`), path);
}

function unlink({ directory, name, path }: Place, flags: number): void {
  checked(libc().unlinkat(directory, cString(name), flags), `remove ${path}`);
}

/** A `struct flock`: the whole file, for writing. */
function writeLock(): Uint8Array<ArrayBuffer> {
  const lock = new Uint8Array(FLOCK_SIZE);
  new DataView(lock.buffer).setInt16(0, F_WRLCK, true);
  return lock;
}

/** A `struct flock` of one byte. */
function byteLock(type: number, byte: bigint): Uint8Array<ArrayBuffer> {
  const lock = new Uint8Array(FLOCK_SIZE);
  const view = new DataView(lock.buffer);
  view.setInt16(0, type, true);
  view.setBigInt64(L_START, byte, true);
  view.setBigInt64(L_LEN, 1n, true);
  return lock;
}

/**
 * The user whose program serves a file system: `user_id=` of FUSE, see "Mount options"
 * in Documentation/filesystems/fuse.rst of the kernel.
 *
 * @param device the device of the file system, as in `FileStatus.device`.
 */
function serverOf(device: string): number | undefined {
  // proc_pid_mountinfo(5): field 3 is the device; type, source and options of the
  // file system come after " - ".
  for (const line of mounts()) {
    const [mount, fileSystem = ""] = line.split(" - ");
    if (mount.split(" ")[2] !== device) continue;
    const [type, , options = ""] = fileSystem.split(" ");
    if (!type.startsWith("fuse")) return undefined;
    return Number(/(?:^|,)user_id=(\d+)/.exec(options)?.[1] ?? 0);
  }
  return undefined;
}

/** The lines of `/proc/self/mountinfo`. */
function mounts(): string[] {
  try {
    return readTextFile("/proc/self/mountinfo").split("\n");
  } catch (error) {
    // A missing mountinfo must not look as if the file in question were missing.
    if (!isMissing(error)) throw error;
    throw new RcapError(
      `it is not known which users serve file systems, since /proc has no entry for this process; mount the /proc of this pid namespace`,
      { cause: error },
    );
  }
}
