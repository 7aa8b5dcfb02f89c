/**
 * Locks that end with the process that holds them, however it ends: POSIX record
 * locks, "Advisory record locking" of `fcntl(2)`.
 *
 * Such a lock has two traps. A process never conflicts with itself, and it loses
 * the lock as soon as it closes *any* descriptor of the file. So what this
 * process holds is remembered here, by the file's identity, and files that it
 * holds are not opened again. Nothing else may open a file that is locked here.
 *
 * @module
 */

import { AT_FDCWD, File, O_CREAT, O_RDWR } from "./file.ts";
import { checked, cString, Errno, errno, libc, SystemError } from "./libc.ts";

// <fcntl.h> of Linux, the values that x86-64 and arm64 share.
const F_GETLK = 5;
const F_SETLK = 6;
const F_WRLCK = 1;
const F_UNLCK = 2;

// struct flock, 64-bit: l_type 0 and l_whence 2 (short), l_start 8 and l_len 16
// (off_t), l_pid 24 (int). Zeros mean from the start to the end of the file.
const FLOCK_SIZE = 32;
const L_PID = 24;

/** Everyone may read a lock file, and so find out who holds it. */
const LOCK_FILE_MODE = 0o644;

/** Identities of the files that this process holds. */
const held = new Set<string>();

/** A lock on a file; let go by `using`, or by the end of the process. */
export class FileLock implements Disposable {
  readonly #file: File;
  readonly #identity: string;
  #isHeld = true;

  private constructor(file: File, identity: string) {
    this.#file = file;
    this.#identity = identity;
    held.add(identity);
  }

  /**
   * Locks a file, which is made where there is none.
   *
   * @returns `undefined` when another process, or this one, holds it already.
   * @throws SystemError when the file cannot be opened, made or locked.
   */
  static tryLock(path: string): FileLock | undefined {
    const before = identityOf(path);
    if (before !== undefined && held.has(before)) return undefined;
    using cleanup = new DisposableStack();
    const file = cleanup.use(File.open(path, O_RDWR | O_CREAT));
    if (libc().fcntlLock(file.fd, F_SETLK, writeLock()) < 0) {
      const error = new SystemError(`lock ${path}`, errno());
      // POSIX allows either for a lock that somebody else holds.
      const isTaken = error.errno === Errno.EAGAIN ||
        error.errno === Errno.EACCES;
      if (isTaken) return undefined;
      throw error;
    }
    file.setMode(LOCK_FILE_MODE);
    const lock = new FileLock(file, identityOfOpen(file, path));
    cleanup.move();
    return lock;
  }

  [Symbol.dispose](): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    held.delete(this.#identity);
    this.#file[Symbol.dispose]();
  }
}

/**
 * Locks a file, which is made where there is none: {@linkcode FileLock.tryLock}.
 *
 * @example
 * ```ts
 * using lock = tryLock("/run/rcap/lock");
 * if (lock === undefined) throw new RcapError("rcap runs already");
 * ```
 */
export function tryLock(path: string): FileLock | undefined {
  return FileLock.tryLock(path);
}

/**
 * The process that holds the lock on a file. Asking takes no lock, not even for a
 * moment, and needs no more than to be allowed to read the file.
 *
 * @returns its pid, 0 for a process that this one cannot see (in another pid
 * namespace), `undefined` when nobody holds it or there is no such file.
 * @throws SystemError when the file cannot be opened.
 */
export function lockHolder(path: string): number | undefined {
  const identity = identityOf(path);
  if (identity === undefined) return undefined;
  // To open and close it would let go of it.
  if (held.has(identity)) return Deno.pid;
  using file = openIfAny(path);
  if (file === undefined) return undefined;
  const lock = writeLock();
  checked(
    libc().fcntlLock(file.fd, F_GETLK, lock),
    `look at the lock of ${path}`,
  );
  const view = new DataView(lock.buffer);
  if (view.getInt16(0, true) === F_UNLCK) return undefined;
  return Math.max(0, view.getInt32(L_PID, true));
}

/** Opens a file to read; `undefined` when there is none. */
function openIfAny(path: string): File | undefined {
  try {
    return File.open(path);
  } catch (error) {
    if (error instanceof SystemError && error.errno === Errno.ENOENT) {
      return undefined;
    }
    throw error;
  }
}

/** A `struct flock`: the whole file, for writing. */
function writeLock(): Uint8Array<ArrayBuffer> {
  const lock = new Uint8Array(FLOCK_SIZE);
  new DataView(lock.buffer).setInt16(0, F_WRLCK, true);
  return lock;
}

// <linux/fcntl.h> and <linux/stat.h>: the offsets in struct statx.
const AT_EMPTY_PATH = 0x1000;
const STATX_INO = 0x100;
const STATX_SIZE = 256;
const STX_INO = 32;
const STX_DEV_MAJOR = 136;
const STX_DEV_MINOR = 140;

/** Which file a path leads to, however it is written; `undefined` when to none. */
function identityOf(path: string): string | undefined {
  const stat = new Uint8Array(STATX_SIZE);
  if (libc().statx(AT_FDCWD, cString(path), 0, STATX_INO, stat) < 0) {
    const error = new SystemError(`stat ${path}`, errno());
    if (error.errno === Errno.ENOENT) return undefined;
    throw error;
  }
  return identityIn(stat);
}

function identityOfOpen({ fd }: File, path: string): string {
  const stat = new Uint8Array(STATX_SIZE);
  checked(
    libc().statx(fd, cString(""), AT_EMPTY_PATH, STATX_INO, stat),
    `stat ${path}`,
  );
  return identityIn(stat);
}

/** Device and inode number. */
function identityIn(stat: Uint8Array<ArrayBuffer>): string {
  const view = new DataView(stat.buffer);
  return [
    view.getUint32(STX_DEV_MAJOR, true),
    view.getUint32(STX_DEV_MINOR, true),
    view.getBigUint64(STX_INO, true),
  ].join(":");
}
