/**
 * Directories that are held open, and the names in them.
 *
 * Operations on a held directory work in that directory, even if the path that led to
 * it changes. Nothing here follows a symbolic link or waits for the other end of a pipe.
 *
 * @module
 */

import type { FileCalls, Held, OpenFile, Place } from "../../ffi/file_calls.ts";
import { type FileStatus, identityOf } from "../../ffi/file_status.ts";
import { CommonErrno, RcapError, SystemError } from "../errors.ts";

export type { FileCalls, OpenFile };
export { identityOf };

/** Something is not a regular file. */
export class NotAFile extends RcapError {
  override name = "NotAFile";
}

/**
 * An entry of the file system, held without being opened. Methods that take a name work
 * on the names in it; they fail with `ENOTDIR` if it is not a directory. Disposal closes
 * it.
 */
export class Entry implements Disposable {
  /** The calls through which it was found. */
  readonly files: FileCalls;
  /** Where it was found, for messages. */
  readonly path: string;
  readonly #held: Held;

  private constructor(files: FileCalls, held: Held, path: string) {
    this.files = files;
    this.path = path;
    this.#held = held;
  }

  /** The root directory. */
  static root(files: FileCalls): Entry {
    return new Entry(files, files.holdRoot(), "/");
  }

  /** Its status when it was found. */
  get status(): FileStatus {
    return this.#held.status;
  }

  /**
   * Returns the entry with a name. Does not follow a symbolic link.
   *
   * @throws SystemError if there is no such name, or this user may not look it up.
   */
  entry(name: string): Entry {
    const place = this.#placeOf(name);
    return new Entry(this.files, this.files.hold(place), place.path);
  }

  /**
   * The target of a symbolic link. The directory in which the link was found must still
   * be held.
   */
  target(): string {
    return this.#held.target();
  }

  /** The path of a name in it, for messages. */
  pathOf(name: string): string {
    if (name === ".") return this.path;
    if (name === "..") return this.path.replace(/\/[^/]*$/, "") || "/";
    return this.path === "/" ? `/${name}` : `${this.path}/${name}`;
  }

  /** The status of the entry with a name; `undefined` if there is no such name. */
  statusOf(name: string): FileStatus | undefined {
    return this.files.statusAt(this.#placeOf(name));
  }

  /** The names in it. @throws SystemError if it cannot be read. */
  names(): string[] {
    return this.files.names(this.#placeOf(".").directory, this.path);
  }

  /**
   * Opens a regular file for reading.
   *
   * @throws NotAFile if it is a pipe, a device or a socket.
   * @throws SystemError `EISDIR` if it is a directory, `ELOOP` if it is a symbolic link,
   * and other errors if it cannot be opened.
   */
  openFile(name: string): OpenFile {
    return this.#openRegular(name, "read");
  }

  /**
   * Opens a regular file for reading and writing. Creates it if there is none.
   *
   * @param mode the permissions of a new file, less the umask.
   * @throws NotAFile, SystemError as {@linkcode Entry.openFile}.
   */
  openOrMakeFile(name: string, mode: number): OpenFile {
    return this.#openRegular(name, "update", mode);
  }

  #openRegular(
    name: string,
    purpose: "read" | "update",
    mode?: number,
  ): OpenFile {
    const place = this.#placeOf(name);
    // Opening a device can have side effects, so the type is checked first.
    const seen = this.files.statusAt(place);
    if (seen) this.#assertFile(seen, place);
    using cleanup = new DisposableStack();
    const file = cleanup.use(this.files.open(place, purpose, mode));
    this.#assertFile(this.files.statusOf(file.fd, place.path), place);
    cleanup.move();
    return file;
  }

  #assertFile({ type }: FileStatus, { path }: Place): void {
    if (type === "file") return;
    if (type === "directory") throw this.files.error(`open ${path}`, "EISDIR");
    if (type === "symbolic link") {
      throw this.files.error(`open ${path}`, "ELOOP");
    }
    throw new NotAFile(`${path} is a ${type}, not a regular file`);
  }

  /**
   * Creates a file and opens it for writing.
   *
   * @param mode its permissions, regardless of the umask.
   * @throws SystemError `EEXIST` if the name exists already.
   */
  makeFile(name: string, mode: number): OpenFile {
    using cleanup = new DisposableStack();
    const file = cleanup.use(
      this.files.open(this.#placeOf(name), "make", mode),
    );
    file.setMode(mode);
    cleanup.move();
    return file;
  }

  /**
   * Creates a directory.
   *
   * @param mode its permissions, less the umask.
   * @returns false if the name exists already.
   */
  makeDirectory(name: string, mode: number): boolean {
    return unless(
      CommonErrno.EEXIST,
      () => this.files.makeDirectory(this.#placeOf(name), mode),
    );
  }

  /** Renames a file in it; replaces any file with the new name. */
  rename(from: string, to: string): void {
    this.files.rename(this.#placeOf(from), to);
  }

  /** Whether {@linkcode exchange} works on this system. */
  get canExchange(): boolean {
    return this.files.exchange !== undefined;
  }

  /**
   * Exchanges the names of two files in it atomically.
   *
   * @throws SystemError `EINVAL` if the file system does not support that.
   */
  exchange(one: string, other: string): void {
    this.files.exchange?.(this.#placeOf(one), other);
  }

  /** Removes a file, if it exists. */
  remove(name: string): void {
    unless(
      CommonErrno.ENOENT,
      () => this.files.remove(this.#placeOf(name)),
    );
  }

  /** Removes an empty directory, if it exists. */
  removeDirectory(name: string): void {
    unless(
      CommonErrno.ENOENT,
      () => this.files.removeDirectory(this.#placeOf(name)),
    );
  }

  /** A name in this directory. @throws SystemError if this is not a directory. */
  #placeOf(name: string): Place {
    const { fd } = this.#held;
    const path = this.pathOf(name);
    if (fd === undefined) throw this.files.error(`open ${path}`, "ENOTDIR");
    return { directory: fd, name, path };
  }

  [Symbol.dispose](): void {
    const { fd } = this.#held;
    if (fd !== undefined) this.files.close(fd);
  }
}

/** Runs a step; returns false if it fails with a particular error. */
function unless(errno: number, step: () => void): boolean {
  try {
    step();
    return true;
  } catch (error) {
    if (error instanceof SystemError && error.errno === errno) return false;
    throw error;
  }
}

/** The size of the first read, in bytes, which suffices for most files. */
const FIRST_READ = 16 * 1024;

/**
 * Reads a file to its end.
 *
 * @param most the largest size allowed, in bytes.
 * @returns `undefined` if the file is larger.
 */
export function readUpTo(
  file: OpenFile,
  most: number,
): Uint8Array<ArrayBuffer> | undefined {
  let buffer = new Uint8Array(Math.min(FIRST_READ, most) + 1);
  let length = 0;
  for (;;) {
    const more = file.read(buffer.subarray(length));
    length += more;
    if (length > most) return undefined;
    if (more === 0) return buffer.subarray(0, length);
    if (length === buffer.length) {
      const larger = new Uint8Array(Math.min(2 * length + 4096, most + 1));
      larger.set(buffer);
      buffer = larger;
    }
  }
}
