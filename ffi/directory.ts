/**
 * Directories held open, and the names in them: `openat(2)`, `mkdirat(2)`,
 * `renameat(2)`, `unlinkat(2)`.
 *
 * Whoever holds a directory works in that one, whatever becomes of the path that
 * led to it. Nothing here follows a symbolic link, and nothing waits for the other
 * end of a pipe.
 *
 * @module
 */

import { RcapError } from "../lib/errors.ts";
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
} from "./file.ts";
import { checked, cString, Errno, libc, SystemError } from "./libc.ts";
import { type FileStatus, statusAt, statusOf } from "./statx.ts";

// <fcntl.h> of Linux; one of them is another one on arm64.
const IS_ARM = Deno.build.arch === "aarch64";
const O_NOCTTY = 0o400;
const O_NONBLOCK = 0o4000;
const O_NOFOLLOW = IS_ARM ? 0o100000 : 0o400000;
const AT_REMOVEDIR = 0x200;
/** <linux/fs.h>: the two names change places, at once. */
const RENAME_EXCHANGE = 2;

/** What should be a regular file is something else. */
export class NotAFile extends RcapError {
  override name = "NotAFile";
}

/**
 * Something in the file system, held open without being opened: `O_PATH` of
 * `openat(2)`. Where it is a directory, the names in it can be worked with; else
 * that fails with `ENOTDIR`. Closed by `using`.
 */
export class Entry implements Disposable {
  /** The descriptor. */
  readonly fd: number;
  /** Where it was found, for messages. */
  readonly path: string;
  /** What was true when it was found. */
  readonly status: FileStatus;

  private constructor(fd: number, path: string) {
    this.fd = fd;
    this.path = path;
    this.status = statusOf(fd, path);
  }

  /** The root directory. */
  static root(): Entry {
    return Entry.#at(AT_FDCWD, "/", "/");
  }

  static #at(directory: number, name: string, path: string): Entry {
    const flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
    const fd = libc().openat(directory, cString(name), flags, 0);
    return new Entry(checked(fd, `open ${path}`), path);
  }

  /**
   * What a name stands for here; a symbolic link for itself.
   *
   * @throws SystemError when there is no such name, or it may not be looked at.
   */
  entry(name: string): Entry {
    return Entry.#at(this.fd, name, this.pathOf(name));
  }

  /** Where it leads to, of a symbolic link: `readlinkat(2)` with an empty path. */
  target(): string {
    return File.own(this.fd, this.path).readLinkAt("");
  }

  /** The path of a name in it, for messages. */
  pathOf(name: string): string {
    if (name === ".") return this.path;
    if (name === "..") return this.path.replace(/\/[^/]*$/, "") || "/";
    return this.path === "/" ? `/${name}` : `${this.path}/${name}`;
  }

  /** The status of what a name stands for; `undefined` when there is no such name. */
  statusOf(name: string): FileStatus | undefined {
    return statusAt(this.fd, name, this.pathOf(name));
  }

  /** The names in it. @throws SystemError when it cannot be read. */
  names(): string[] {
    using directory = this.#open(".", O_RDONLY | O_DIRECTORY);
    return directory.names();
  }

  /**
   * Opens a regular file to read it.
   *
   * @throws NotAFile when it is a pipe, a device or a socket.
   * @throws SystemError `EISDIR` for a directory, `ELOOP` for a symbolic link, and
   * when it cannot be opened.
   */
  openFile(name: string): File {
    return this.#openRegular(name, O_RDONLY);
  }

  /**
   * Opens a regular file to read and write it, which is made where there is none.
   *
   * @param mode its permissions where it is made, less the umask.
   * @throws NotAFile, SystemError as {@linkcode Entry.openFile}.
   */
  openOrMakeFile(name: string, mode: number): File {
    return this.#openRegular(name, O_RDWR | O_CREAT, mode);
  }

  #openRegular(name: string, flags: number, mode = 0): File {
    const path = this.pathOf(name);
    // To open a device alone can have an effect, so it is looked at before.
    const seen = this.statusOf(name);
    if (seen) assertFile(seen, path);
    using cleanup = new DisposableStack();
    const file = cleanup.use(this.#open(name, flags, mode));
    assertFile(statusOf(file.fd, path), path);
    cleanup.move();
    return file;
  }

  #open(name: string, flags: number, mode = 0): File {
    const path = this.pathOf(name);
    const always = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    const fd = libc().openat(this.fd, cString(name), flags | always, mode);
    return File.own(checked(fd, `open ${path}`), path);
  }

  /**
   * Makes a file, and opens it to write.
   *
   * @param mode its permissions, whatever the umask is.
   * @throws SystemError `EEXIST` when there is one already.
   */
  makeFile(name: string, mode: number): File {
    using cleanup = new DisposableStack();
    const flags = O_WRONLY | O_CREAT | O_EXCL;
    const file = cleanup.use(this.#open(name, flags, mode));
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
    return unless(Errno.EEXIST, () =>
      checked(
        libc().mkdirat(this.fd, cString(name), mode),
        `make directory ${this.pathOf(name)}`,
      ));
  }

  /** Gives a file in it another name, in place of any other file of that name. */
  rename(from: string, to: string): void {
    checked(
      libc().renameat(this.fd, cString(from), this.fd, cString(to)),
      `rename ${this.pathOf(from)} to ${to}`,
    );
  }

  /**
   * Has two files in it change their names, at once.
   *
   * @throws SystemError `EINVAL` where the file system cannot do that.
   */
  exchange(one: string, other: string): void {
    checked(
      libc().renameat2(
        this.fd,
        cString(one),
        this.fd,
        cString(other),
        RENAME_EXCHANGE,
      ),
      `exchange ${this.pathOf(one)} for ${other}`,
    );
  }

  /** Removes a file, if it is there. */
  remove(name: string): void {
    this.#unlink(name, 0);
  }

  /** Removes an empty directory, if it is there. */
  removeDirectory(name: string): void {
    this.#unlink(name, AT_REMOVEDIR);
  }

  #unlink(name: string, flags: number): void {
    unless(Errno.ENOENT, () =>
      checked(
        libc().unlinkat(this.fd, cString(name), flags),
        `remove ${this.pathOf(name)}`,
      ));
  }

  [Symbol.dispose](): void {
    libc().close(this.fd);
  }
}

function assertFile({ type }: FileStatus, path: string): void {
  if (type === "file") return;
  if (type === "directory") throw new SystemError(`open ${path}`, Errno.EISDIR);
  if (type === "symbolic link") {
    throw new SystemError(`open ${path}`, Errno.ELOOP);
  }
  throw new NotAFile(`${path} is a ${type}, and no file`);
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

/**
 * Reads a file to its end.
 *
 * @param most how large it may be, in bytes.
 * @returns `undefined` when it is larger.
 */
export function readUpTo(
  file: File,
  most: number,
): Uint8Array<ArrayBuffer> | undefined {
  const { size } = statusOf(file.fd, "a file");
  let buffer = new Uint8Array(Math.min(size, most) + 1);
  let length = 0;
  for (;;) {
    const more = file.read(buffer.subarray(length));
    length += more;
    if (length > most) return undefined;
    if (more === 0) return buffer.subarray(0, length);
    if (length === buffer.length) {
      // It grows, or its size is not told, as in /proc.
      const larger = new Uint8Array(Math.min(2 * length + 4096, most + 1));
      larger.set(buffer);
      buffer = larger;
    }
  }
}
