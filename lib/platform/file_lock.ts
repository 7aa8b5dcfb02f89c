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

import type { LockConflict, OpenFile } from "../../ffi/file_calls.ts";
import { type FileStatus, identityOf } from "../../ffi/file_status.ts";
import { isMissing, RcapError } from "../errors.ts";
import type { Entry } from "./directory.ts";

/** Nobody else can lock it, not even for reading. */
const LOCK_FILE_MODE = 0o600;

/** Precedes the pid in the name of a lock file that is about to replace another. */
const REPLACEMENT = "~";

/** How often to start again if others replace the file meanwhile. */
const MOST_TRIES = 10;

/** Identities of the files that this process has locked. */
const held = new Set<string>();

/** A lock on a file; released by disposal or by the end of the process. */
export class FileLock implements Disposable {
  readonly #file: OpenFile;
  readonly #identity: string;
  #isHeld = true;

  private constructor(file: OpenFile, status: FileStatus) {
    this.#file = file;
    this.#identity = identityOf(status);
    held.add(this.#identity);
  }

  /**
   * Locks a file of a directory. Creates the file if there is none.
   *
   * @returns `undefined` if another process, or this one, already holds the lock.
   * @throws NotAFile, SystemError if the file cannot be opened, created or locked.
   * @throws RcapError if a process that should not be able to has locked it for
   * reading, and this system cannot replace the file.
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
      if (!directory.files.lock(file.fd)) {
        const conflict = directory.files.conflictOn(file.fd, name);
        if (conflict?.isForWriting) return undefined;
        if (conflict && !directory.canExchange) {
          throw lockedForReading(directory.pathOf(name), conflict);
        }
        const lock = conflict && FileLock.#replace(directory, name, file);
        if (lock) return lock;
      } else if (isSame(directory, name, file)) {
        file.setMode(LOCK_FILE_MODE);
        cleanup.move();
        return FileLock.#of(directory, file);
      }
    }
    return undefined;
  }

  /**
   * Replaces a file that another process has locked for reading by one that this
   * process has locked.
   *
   * @returns `undefined` if another process replaced the file first.
   */
  static #replace(
    directory: Entry,
    name: string,
    locked: OpenFile,
  ): FileLock | undefined {
    const other = `${name}${REPLACEMENT}${Deno.pid}`;
    using cleanup = new DisposableStack();
    const file = cleanup.use(directory.makeFile(other, LOCK_FILE_MODE));
    try {
      if (!directory.files.lock(file.fd)) return undefined;
      // Unlike a rename, an exchange keeps the file that was replaced, to check it.
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
    return FileLock.#of(directory, file);
  }

  /** The lock that was taken on an open file. */
  static #of({ files }: Entry, file: OpenFile): FileLock {
    return new FileLock(file, files.statusOf(file.fd, "the lock"));
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

/** Whether a name still leads to an open file. */
function isSame(directory: Entry, name: string, file: OpenFile): boolean {
  const status = directory.statusOf(name);
  return status !== undefined &&
    identityOf(status) ===
      identityOf(directory.files.statusOf(file.fd, name));
}

function lockedForReading(path: string, { pid }: LockConflict): RcapError {
  return new RcapError(
    `process ${pid} has locked ${path} for reading, which only root should be able to; end that process, or remove the file`,
  );
}

/**
 * Returns the process that holds the lock on a file of a directory. Takes no lock,
 * not even briefly. A process that has locked the file for reading does not hold
 * it.
 *
 * @returns the pid; 0 for a process in another pid namespace, which this one cannot
 * see; `undefined` if no process holds the lock or there is no such file.
 * @throws NotAFile, SystemError if the file cannot be opened.
 */
export function lockHolder(directory: Entry, name: string): number | undefined {
  const status = directory.statusOf(name);
  if (status === undefined) return undefined;
  // Opening and closing the file would release the lock.
  if (held.has(identityOf(status))) return Deno.pid;
  using file = openIfAny(directory, name);
  const conflict = file &&
    directory.files.conflictOn(file.fd, directory.pathOf(name));
  return conflict?.isForWriting ? Math.max(0, conflict.pid) : undefined;
}

/** Opens a file for reading; `undefined` if there is none. */
function openIfAny(directory: Entry, name: string): OpenFile | undefined {
  try {
    return directory.openFile(name);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}
