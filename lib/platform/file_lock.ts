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

import type { LockConflict, OpenFile } from "../../ffi/file_calls.ts";
import { type FileStatus, identityOf } from "../../ffi/file_status.ts";
import { isMissing, RcapError } from "../errors.ts";
import type { Entry } from "./directory.ts";

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
  readonly #file: OpenFile;
  readonly #identity: string;
  #isHeld = true;

  private constructor(file: OpenFile, status: FileStatus) {
    this.#file = file;
    this.#identity = identityOf(status);
    held.add(this.#identity);
  }

  /**
   * Locks a file of a directory, which is made where there is none.
   *
   * @returns `undefined` when another process, or this one, holds it already.
   * @throws NotAFile, SystemError when the file cannot be opened, made or locked.
   * @throws RcapError when a process that should not be able to has locked it for
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
   * Puts a locked file into the place of one that somebody has locked for reading.
   *
   * @returns `undefined` when another was there by then.
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
  const conflict = file &&
    directory.files.conflictOn(file.fd, directory.pathOf(name));
  return conflict?.isForWriting ? Math.max(0, conflict.pid) : undefined;
}

/** Opens a file to read; `undefined` when there is none. */
function openIfAny(directory: Entry, name: string): OpenFile | undefined {
  try {
    return directory.openFile(name);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}
