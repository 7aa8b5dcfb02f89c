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

/** Something in the file system, held without being opened where the system can. */
export interface Held {
  /** `undefined` where the system holds nothing but directories. */
  readonly fd: number | undefined;
  /** What was true when it was found. */
  readonly status: FileStatus;
  /**
   * Reads where it leads to, of a symbolic link. The directory must still be open.
   *
   * @throws SystemError when it is no link, or another by now.
   */
  target(): string;
}

/** An open file; closed by `using`. */
export interface OpenFile extends Disposable {
  readonly fd: number;
  /** Reads from the file's position; returns how many bytes, 0 at the end. */
  read(buffer: Uint8Array<ArrayBuffer>): number;
  /** Writes a text of any length. */
  writeAll(text: string): void;
  /** Sets the permissions, whatever the umask is. */
  setMode(mode: number): void;
}

/**
 * How a file is opened: to read it, to read and write it and make it where there is
 * none, or to write it and fail with `EEXIST` where there is one.
 */
export type OpenPurpose = "read" | "update" | "make";

/** A lock of another process. */
export interface LockConflict {
  /** Whether it is a lock for writing, which excludes all others. */
  readonly isForWriting: boolean;
  /** 0 or less for a process that cannot be seen. */
  readonly pid: number;
}

/** A name in a directory, and its path for messages. */
export interface Place {
  readonly directory: number;
  readonly name: string;
  readonly path: string;
}

/** All calls throw `SystemError` when they fail. */
export interface FileCalls {
  /** Holds the root directory. */
  holdRoot(): Held;
  /** Holds what a name stands for; a symbolic link itself. */
  hold(place: Place): Held;
  /** Opens a file. `mode` is that of a file it makes, less the umask. */
  open(place: Place, purpose: OpenPurpose, mode?: number): OpenFile;
  close(fd: number): void;
  /** The names in a directory, without `.` and `..`. */
  names(directory: number, path: string): string[];
  /** The status of what a name stands for; `undefined` when there is no such name. */
  statusAt(place: Place): FileStatus | undefined;
  /** The status of an open file. */
  statusOf(fd: number, path: string): FileStatus;
  /** Makes a directory, with permissions less the umask. */
  makeDirectory(place: Place, mode: number): void;
  /** Gives a file another name in its directory, in place of any other of that name. */
  rename(place: Place, to: string): void;
  /** Has two files of a directory change their names, at once, where the system can. */
  exchange?(place: Place, other: string): void;
  /** Removes a file. */
  remove(place: Place): void;
  /** Removes an empty directory. */
  removeDirectory(place: Place): void;
  /**
   * Locks a whole file for writing, for this process: a POSIX record lock.
   *
   * @returns whether nobody else has locked it.
   */
  lock(fd: number): boolean;
  /** The lock of another process that keeps this one from locking a file. */
  conflictOn(fd: number, path: string): LockConflict | undefined;
  /** The path of the working directory. */
  workingDirectory(): string;
  /** The user whose permissions rcap has. */
  effectiveUid(): number;
  /**
   * The user whose program answers for a file system; `undefined` where the kernel
   * does.
   *
   * @param device as of {@linkcode FileStatus}.
   */
  serverOf(device: string): number | undefined;
  /** The command that takes the access control list from a file, without its path. */
  readonly removeList: string;
  /** The error of this system by its name, for what was found out without a call. */
  error(
    call: string,
    name: "EISDIR" | "ELOOP" | "ENOENT" | "ENOTDIR",
  ): SystemError;
}
