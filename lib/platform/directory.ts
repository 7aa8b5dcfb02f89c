/**
 * Directories held open, and the names in them.
 *
 * Whoever holds a directory works in that one, whatever becomes of the path that
 * led to it. Nothing here follows a symbolic link, and nothing waits for the other
 * end of a pipe.
 *
 * @module
 */

import type { FileCalls, Held, OpenFile, Place } from "../../ffi/file_calls.ts";
import type { FileStatus } from "../../ffi/file_status.ts";
import { CommonErrno, RcapError, SystemError } from "../errors.ts";

export type { FileCalls, OpenFile };

/** What should be a regular file is something else. */
export class NotAFile extends RcapError {
  override name = "NotAFile";
}

/**
 * Something in the file system, held without being opened. Where it is a directory,
 * the names in it can be worked with; else that fails with `ENOTDIR`. Closed by
 * `using`.
 */
export class Entry implements Disposable {
  /** The calls by which it was found. */
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

  /** What was true when it was found. */
  get status(): FileStatus {
    return this.#held.status;
  }

  /**
   * What a name stands for here; a symbolic link for itself.
   *
   * @throws SystemError when there is no such name, or it may not be looked at.
   */
  entry(name: string): Entry {
    const place = this.#placeOf(name);
    return new Entry(this.files, this.files.hold(place), place.path);
  }

  /**
   * Where it leads to, of a symbolic link. The directory that it was found in must
   * still be held.
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

  /** The status of what a name stands for; `undefined` when there is no such name. */
  statusOf(name: string): FileStatus | undefined {
    return this.files.statusAt(this.#placeOf(name));
  }

  /** The names in it. @throws SystemError when it cannot be read. */
  names(): string[] {
    return this.files.names(this.#placeOf(".").directory, this.path);
  }

  /**
   * Opens a regular file to read it.
   *
   * @throws NotAFile when it is a pipe, a device or a socket.
   * @throws SystemError `EISDIR` for a directory, `ELOOP` for a symbolic link, and
   * when it cannot be opened.
   */
  openFile(name: string): OpenFile {
    return this.#openRegular(name, "read");
  }

  /**
   * Opens a regular file to read and write it, which is made where there is none.
   *
   * @param mode its permissions where it is made, less the umask.
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
    // To open a device alone can have an effect, so it is looked at before.
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
    throw new NotAFile(`${path} is a ${type}, and no file`);
  }

  /**
   * Makes a file, and opens it to write.
   *
   * @param mode its permissions, whatever the umask is.
   * @throws SystemError `EEXIST` when there is one already.
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
   * Makes a directory.
   *
   * @param mode its permissions, less the umask.
   * @returns whether there was none.
   */
  makeDirectory(name: string, mode: number): boolean {
    return unless(
      CommonErrno.EEXIST,
      () => this.files.makeDirectory(this.#placeOf(name), mode),
    );
  }

  /** Gives a file in it another name, in place of any other file of that name. */
  rename(from: string, to: string): void {
    this.files.rename(this.#placeOf(from), to);
  }

  /** Whether {@linkcode exchange} works on this system. */
  get canExchange(): boolean {
    return this.files.exchange !== undefined;
  }

  /**
   * Has two files in it change their names, at once.
   *
   * @throws SystemError `EINVAL` where the file system cannot do that.
   */
  exchange(one: string, other: string): void {
    this.files.exchange?.(this.#placeOf(one), other);
  }

  /** Removes a file, if it is there. */
  remove(name: string): void {
    unless(
      CommonErrno.ENOENT,
      () => this.files.remove(this.#placeOf(name)),
    );
  }

  /** Removes an empty directory, if it is there. */
  removeDirectory(name: string): void {
    unless(
      CommonErrno.ENOENT,
      () => this.files.removeDirectory(this.#placeOf(name)),
    );
  }

  /** A name in this directory. @throws SystemError when this is none. */
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

/** Does something; returns false when that fails with one certain error. */
function unless(errno: number, step: () => void): boolean {
  try {
    step();
    return true;
  } catch (error) {
    if (error instanceof SystemError && error.errno === errno) return false;
    throw error;
  }
}

/** Most files that are read come in one read. */
const FIRST_READ = 16 * 1024;

/**
 * Reads a file to its end.
 *
 * @param most how large it may be, in bytes.
 * @returns `undefined` when it is larger.
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
