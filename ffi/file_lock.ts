/**
 * Locks that end with the process that holds them, however it ends: POSIX record
 * locks, "Advisory record locking" in `fcntl(2)`.
 *
 * Such a lock has two traps. A process never conflicts with itself, and it loses
 * the lock as soon as it closes *any* descriptor of the file. So this module
 * remembers the identities of the files that this process has locked, and does not
 * open them again. Nothing else in this process may open a file that is locked
 * here.
 *
 * Anyone who can read a file can lock it for reading, which keeps others from
 * locking it for writing. So only its owner can open a lock file. If that was not
 * always so, anyone who opened the file earlier may still lock it, and no change of
 * mode revokes that: such a file is replaced. That is safe, because a real holder
 * locks the file for writing, and a read lock cannot exist beside that.
 *
 * @module
 */

import type { Entry } from "./directory.ts";
import type { File } from "./file.ts";
import { checked, Errno, errno, libc, SystemError } from "./libc.ts";
import { identityOf, statusOf } from "./statx.ts";

// <fcntl.h> of Linux, the values that x86-64 and arm64 share.
const F_GETLK = 5;
const F_SETLK = 6;
const F_RDLCK = 0;
const F_WRLCK = 1;

// struct flock, 64-bit: l_type 0 and l_whence 2 (short), l_start 8 and l_len 16
// (off_t), l_pid 24 (int). Zeros mean from the start to the end of the file.
const FLOCK_SIZE = 32;
const L_PID = 24;

/** Nobody else can lock it, not even for reading. */
const LOCK_FILE_MODE = 0o600;

/** Precedes the pid in the name of a lock file that is about to replace another. */
const REPLACEMENT = "~";

/** How often to start again if others replace the file meanwhile. */
const MOST_TRIES = 10;

/** Identities of the files that this process has locked. */
const held = new Set<string>();

/** A lock on a file; released by `using` or by the end of the process. */
export class FileLock implements Disposable {
  readonly #file: File;
  readonly #identity: string;
  #isHeld = true;

  private constructor(file: File) {
    this.#file = file;
    this.#identity = identityOf(statusOf(file.fd, "the lock"));
    held.add(this.#identity);
  }

  /**
   * Locks a file of a directory. Makes the file if there is none.
   *
   * @returns `undefined` when another process, or this one, holds it already.
   * @throws NotAFile, SystemError when the file cannot be opened, made or locked.
   */
  static tryLock(directory: Entry, name: string): FileLock | undefined {
    removeReplacements(directory, name);
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      const before = directory.statusOf(name);
      if (before && held.has(identityOf(before))) return undefined;
      using cleanup = new DisposableStack();
      const file = cleanup.use(
        directory.openOrMakeFile(name, LOCK_FILE_MODE),
      );
      if (!lockOpen(file)) {
        const conflict = conflictOn(file, name);
        if (conflict?.type === F_WRLCK) return undefined;
        const lock = conflict && FileLock.#replace(directory, name, file);
        if (lock) return lock;
      } else if (isSame(directory, name, file)) {
        file.setMode(LOCK_FILE_MODE);
        cleanup.move();
        return new FileLock(file);
      }
    }
    return undefined;
  }

  /**
   * Replaces a file that somebody has locked for reading by one that this process
   * has locked.
   *
   * @returns `undefined` when another was there by then.
   */
  static #replace(
    directory: Entry,
    name: string,
    locked: File,
  ): FileLock | undefined {
    const other = `${name}${REPLACEMENT}${Deno.pid}`;
    using cleanup = new DisposableStack();
    const file = cleanup.use(directory.makeFile(other, LOCK_FILE_MODE));
    try {
      if (!lockOpen(file)) return undefined;
      // Unlike a rename, an exchange keeps the replaced file, so it can be checked.
      directory.exchange(other, name);
      if (!isSame(directory, other, locked)) {
        // Another process was first, and holds the lock.
        directory.exchange(other, name);
        return undefined;
      }
    } finally {
      directory.remove(other);
    }
    cleanup.move();
    return new FileLock(file);
  }

  [Symbol.dispose](): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    held.delete(this.#identity);
    this.#file[Symbol.dispose]();
  }
}

/**
 * Removes files left by processes that were killed while they replaced the lock
 * file.
 */
function removeReplacements(directory: Entry, name: string): void {
  for (const other of directory.names()) {
    const isReplacement = other.startsWith(`${name}${REPLACEMENT}`);
    if (isReplacement && lockHolder(directory, other) === undefined) {
      directory.remove(other);
    }
  }
}

/** Whether a name still refers to an open file. */
function isSame(directory: Entry, name: string, file: File): boolean {
  const status = directory.statusOf(name);
  return status !== undefined &&
    identityOf(status) === identityOf(statusOf(file.fd, name));
}

/** Locks an open file. Returns false if another process has locked it. */
function lockOpen(file: File): boolean {
  if (libc().fcntlLock(file.fd, F_SETLK, writeLock()) >= 0) return true;
  const error = new SystemError("lock", errno());
  // POSIX allows either error for a lock that another process holds.
  const isTaken = error.errno === Errno.EAGAIN || error.errno === Errno.EACCES;
  if (isTaken) return false;
  throw error;
}

/** Returns the lock of another process that keeps this one from locking a file. */
function conflictOn(
  file: File,
  path: string,
): { type: number; pid: number } | undefined {
  const lock = writeLock();
  checked(
    libc().fcntlLock(file.fd, F_GETLK, lock),
    `look at the lock of ${path}`,
  );
  const view = new DataView(lock.buffer);
  const type = view.getInt16(0, true);
  if (type !== F_RDLCK && type !== F_WRLCK) return undefined;
  return { type, pid: view.getInt32(L_PID, true) };
}

/**
 * Returns the process that holds the lock on a file of a directory. Takes no lock,
 * not even briefly. A process that has locked the file for reading does not hold
 * it.
 *
 * @returns its pid, 0 for a process that this one cannot see (in another pid
 * namespace), `undefined` when nobody holds it or there is no such file.
 * @throws NotAFile, SystemError when the file cannot be opened.
 */
export function lockHolder(directory: Entry, name: string): number | undefined {
  const status = directory.statusOf(name);
  if (status === undefined) return undefined;
  // Opening and closing the file would release the lock.
  if (held.has(identityOf(status))) return Deno.pid;
  using file = openIfAny(directory, name);
  const conflict = file && conflictOn(file, directory.pathOf(name));
  return conflict?.type === F_WRLCK ? Math.max(0, conflict.pid) : undefined;
}

/** Opens a file to read; `undefined` when there is none. */
function openIfAny(directory: Entry, name: string): File | undefined {
  try {
    return directory.openFile(name);
  } catch (error) {
    if (error instanceof SystemError && error.errno === Errno.ENOENT) {
      return undefined;
    }
    throw error;
  }
}

/** A `struct flock` that locks the whole file for writing. */
function writeLock(): Uint8Array<ArrayBuffer> {
  const lock = new Uint8Array(FLOCK_SIZE);
  new DataView(lock.buffer).setInt16(0, F_WRLCK, true);
  return lock;
}
