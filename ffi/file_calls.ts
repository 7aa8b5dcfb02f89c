/**
 * The calls on files, directories and locks that every system has, each in its own
 * C library.
 *
 * Directories are descriptors, and names are names in them. No call follows a
 * symbolic link, and no call waits for the other end of a pipe.
 *
 * @module
 */

import type { SystemError } from "../lib/errors.ts";
import type { FileStatus } from "./file_status.ts";

/** An entry of the file system, held without being opened if the system can do that. */
export interface Held {
  /** `undefined` if the system can hold only directories, and this is not one. */
  readonly fd: number | undefined;
  /** Its status when it was found. */
  readonly status: FileStatus;
  /**
   * Reads the target of a symbolic link. The directory must still be open.
   *
   * @throws SystemError if the entry is not a link, or has been replaced.
   */
  target(): string;
}

/** An open file; closed by `using`. */
export interface OpenFile extends Disposable {
  readonly fd: number;
  /** Reads from the file position. Returns the number of bytes; 0 at the end. */
  read(buffer: Uint8Array<ArrayBuffer>): number;
  /** Writes a text or bytes of any length. */
  writeAll(contents: string | Uint8Array<ArrayBuffer>): void;
  /** Sets the permissions, regardless of the umask. */
  setMode(mode: number): void;
}

/**
 * How a file is opened: to read it; to read and write it, and create it if there is
 * none; or to create and write it, which fails with `EEXIST` if there is one.
 */
export type OpenPurpose = "read" | "update" | "make";

/** A lock of another process. */
export interface LockConflict {
  /** Whether it is a lock for writing, which excludes all others. */
  readonly isForWriting: boolean;
  /** 0 or less for a process that is not visible here. */
  readonly pid: number;
}

/** Locks on single bytes of a file: POSIX record locks, which belong to a process. */
export interface ByteLocks {
  /**
   * Locks a byte for writing. A process never conflicts with itself.
   *
   * @returns false if another process holds a lock on it.
   */
  lock(fd: number, byte: bigint): boolean;
  unlock(fd: number, byte: bigint): void;
  /**
   * Returns the process that holds a lock on a byte; 0 or less for one that is not
   * visible here, `undefined` if no other process does.
   */
  holderOf(fd: number, byte: bigint): number | undefined;
}

/** A name in a directory, and its path for messages. */
export interface Place {
  readonly directory: number;
  readonly name: string;
  readonly path: string;
}

/** The calls. All of them throw `SystemError` if they fail. */
export interface FileCalls {
  /** Holds the root directory. */
  holdRoot(): Held;
  /** Holds the entry with a name; does not follow a symbolic link. */
  hold(place: Place): Held;
  /** Opens a file. `mode` is the mode of a file that this creates, less the umask. */
  open(place: Place, purpose: OpenPurpose, mode?: number): OpenFile;
  close(fd: number): void;
  /** Returns the names in a directory, without `.` and `..`. */
  names(directory: number, path: string): string[];
  /** Returns the status of the entry with a name; `undefined` if there is none. */
  statusAt(place: Place): FileStatus | undefined;
  /** Returns the status of an open file. */
  statusOf(fd: number, path: string): FileStatus;
  /** Creates a directory with these permissions, less the umask. */
  makeDirectory(place: Place, mode: number): void;
  /** Renames a file within its directory; replaces any file with the new name. */
  rename(place: Place, to: string): void;
  /** Exchanges the names of two files of a directory atomically, if the system can. */
  exchange?(place: Place, other: string): void;
  /** Removes a file. */
  remove(place: Place): void;
  /** Removes an empty directory. */
  removeDirectory(place: Place): void;
  /**
   * Locks a whole file for writing, for this process: a POSIX record lock.
   *
   * @returns false if another process holds a lock on it.
   */
  lock(fd: number): boolean;
  /** Returns the lock of another process that conflicts with a lock of this one. */
  conflictOn(fd: number, path: string): LockConflict | undefined;
  /** Returns the path of the working directory. */
  workingDirectory(): string;
  /** Returns the effective user id of rcap. */
  effectiveUid(): number;
  /**
   * Returns the user whose program serves a file system; `undefined` if the kernel
   * serves it.
   *
   * @param device as of {@linkcode FileStatus}.
   */
  serverOf(device: string): number | undefined;
  /** The command that removes the access control list of a file, without the path. */
  readonly removeList: string;
  /** Returns an error of this system by name, for a failure found without a call. */
  error(
    call: string,
    name: "EISDIR" | "ELOOP" | "ENOENT" | "ENOTDIR",
  ): SystemError;
}
