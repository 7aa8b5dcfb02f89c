/**
 * Locks that end with the process that holds them, however it ends: POSIX record
 * locks, "Advisory record locking" of `fcntl(2)`.
 *
 * Such a lock has two traps. A process never conflicts with itself, and it loses
 * the lock as soon as it closes *any* descriptor of the file. So what this
 * process holds is remembered here, by the file's identity, and files that it
 * holds are not opened again. Nothing else may open a file that is locked here.
 *
 * Whoever can read a file can lock it for reading, which keeps others from locking
 * it for writing. So a lock file is its owner's only, and one that was not always
 * may be locked by anybody who opened it then. No permission takes that back: such
 * a file is replaced by another. That is safe, since whoever holds a lock in
 * earnest holds it for writing, and nobody can hold one for reading beside it.
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

/** Nobody else may lock it, not even for reading. */
const LOCK_FILE_MODE = 0o600;

/** Stands before the pid in the name of a lock file that is to replace another. */
const REPLACEMENT = "~";

/** How often to begin anew when others replace the file meanwhile. */
const MOST_TRIES = 10;

/** Identities of the files that this process holds. */
const held = new Set<string>();

/** A lock on a file; let go by `using`, or by the end of the process. */
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
   * Locks a file of a directory, which is made where there is none.
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
   * Puts a locked file into the place of one that somebody has locked for reading.
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
      // Unlike a rename, this loses nothing: what was in its place can be looked at.
      directory.exchange(other, name);
      if (!isSame(directory, other, locked)) {
        // Another process was quicker, and it is its lock.
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

/** Removes what processes have left that were killed while they replaced a file. */
function removeReplacements(directory: Entry, name: string): void {
  for (const other of directory.names()) {
    const isReplacement = other.startsWith(`${name}${REPLACEMENT}`);
    if (isReplacement && lockHolder(directory, other) === undefined) {
      directory.remove(other);
    }
  }
}

/** Whether a name still leads to an open file. */
function isSame(directory: Entry, name: string, file: File): boolean {
  const status = directory.statusOf(name);
  return status !== undefined &&
    identityOf(status) === identityOf(statusOf(file.fd, name));
}

/** Locks an open file; returns false when somebody else has. */
function lockOpen(file: File): boolean {
  if (libc().fcntlLock(file.fd, F_SETLK, writeLock()) >= 0) return true;
  const error = new SystemError("lock", errno());
  // POSIX allows either for a lock that somebody else holds.
  const isTaken = error.errno === Errno.EAGAIN || error.errno === Errno.EACCES;
  if (isTaken) return false;
  throw error;
}

/** The lock of another process that keeps this one from locking a file. */
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
 * The process that holds the lock on a file of a directory. Asking takes no lock,
 * not even for a moment. Who has locked it for reading does not hold it.
 *
 * @returns its pid, 0 for a process that this one cannot see (in another pid
 * namespace), `undefined` when nobody holds it or there is no such file.
 * @throws NotAFile, SystemError when the file cannot be opened.
 */
export function lockHolder(directory: Entry, name: string): number | undefined {
  const status = directory.statusOf(name);
  if (status === undefined) return undefined;
  // To open and close it would let go of it.
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

/** A `struct flock`: the whole file, for writing. */
function writeLock(): Uint8Array<ArrayBuffer> {
  const lock = new Uint8Array(FLOCK_SIZE);
  new DataView(lock.buffer).setInt16(0, F_WRLCK, true);
  return lock;
}
