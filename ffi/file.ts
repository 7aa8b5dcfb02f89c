/**
 * Files by descriptor. `/proc` and `/sys` are read through the C library, because
 * Deno's own file functions demand all permissions before they open a file there.
 *
 * @module
 */

import { SystemError } from "../lib/errors.ts";
import { checked, cString, libc } from "./libc.ts";

// <fcntl.h> of Linux; O_DIRECTORY is another one on arm64.
export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
/** Makes the file if there is none: readable by all, writable by its owner. */
export const O_CREAT = 0o100;
/** With `O_CREAT`: fails if the file exists. */
export const O_EXCL = 0o200;
export const O_CLOEXEC = 0o2000000;
export const O_PATH = 0o10000000;
// Not the same on arm64.
export const O_DIRECTORY = Deno.build.arch === "aarch64" ? 0o40000 : 0o200000;
export const AT_FDCWD = -100;
const SEEK_SET = 0;

/** Permissions of a file that `O_CREAT` makes, less the umask. */
const NEW_FILE_MODE = 0o644;

/** Size of an entry of a directory with a name as long as a number, in bytes. */
const NAME_SIZE = 32;

/** Large enough to read a directory and most files at once. */
const READ_SIZE = 64 * 1024;

/** An open file; closed by `using`. */
export class File implements Disposable {
  /** The descriptor. */
  readonly fd: number;
  readonly #name: string;

  private constructor(fd: number, name: string) {
    this.fd = fd;
    this.#name = name;
  }

  /**
   * Opens a file.
   *
   * @param flags `O_RDONLY`, `O_WRONLY` or `O_RDWR`, optionally with `O_CREAT`.
   * @throws SystemError if it cannot be opened.
   */
  static open(path: string, flags = O_RDONLY): File {
    return File.#openAt(AT_FDCWD, path, flags, path);
  }

  /**
   * Opens a directory from which other files can be opened, but which cannot be
   * read.
   */
  static openPlace(path: string): File {
    return File.#openAt(AT_FDCWD, path, O_PATH, path);
  }

  /** Takes ownership of a descriptor that was opened elsewhere. */
  static own(fd: number, name: string): File {
    return new File(fd, name);
  }

  static #openAt(dir: number, path: string, flags: number, name: string): File {
    const fd = libc().openat(
      dir,
      cString(path),
      flags | O_CLOEXEC,
      NEW_FILE_MODE,
    );
    return new File(checked(fd, `open ${name}`), name);
  }

  /** Opens a file by its path relative to this directory. */
  openAt(path: string, flags = O_RDONLY): File {
    return File.#openAt(this.fd, path, flags, `${this.#name}/${path}`);
  }

  /** Returns the target of a symbolic link in this directory. */
  readLinkAt(path: string): string {
    return decoder.decode(this.readLinkBytesAt(path));
  }

  /**
   * Returns the target of a symbolic link in this directory, which need not be
   * text.
   */
  readLinkBytesAt(path: string): Uint8Array<ArrayBuffer> {
    const buffer = new Uint8Array(4096);
    const length = checked(
      libc().readlinkat(
        this.fd,
        cString(path),
        buffer,
        BigInt(buffer.length),
      ),
      `readlink ${this.#name}/${path}`,
    );
    return buffer.slice(0, length);
  }

  /** Reads from the file's position. Returns the number of bytes, 0 at the end. */
  read(buffer: Uint8Array<ArrayBuffer>): number {
    return checked(
      libc().read(this.fd, buffer, BigInt(buffer.length)),
      `read ${this.#name}`,
    );
  }

  /** Reads from an offset of the file. Returns the number of bytes, 0 at the end. */
  readFrom(offset: bigint, buffer: Uint8Array<ArrayBuffer>): number {
    return checked(
      libc().pread(this.fd, buffer, BigInt(buffer.length), offset),
      `read ${this.#name}`,
    );
  }

  /**
   * Reads the rest of the file.
   *
   * @param most about how many bytes to read at most.
   */
  readAll(most = Infinity): Uint8Array<ArrayBuffer> {
    const small = this.#readSmall();
    if (small) return small;
    const contents = new Contents(scratch);
    let length = 0;
    do {
      length = this.read(contents.room());
      contents.filled(length);
    } while (length > 0 && contents.length < most);
    return contents.bytes();
  }

  /**
   * Reads the rest of a small file, as most are, without a large buffer. Returns
   * `undefined` if the file is larger; its start is then in `scratch`.
   */
  #readSmall(): Uint8Array<ArrayBuffer> | undefined {
    let length = 0;
    for (let end = 0; end < scratch.length; end += length) {
      length = this.read(end === 0 ? scratch : scratch.subarray(end));
      if (length === 0) return scratch.slice(0, end);
    }
    return undefined;
  }

  /** Writes a short text. */
  write(text: string): void {
    const bytes = encoder.encode(text);
    checked(
      libc().write(this.fd, bytes, BigInt(bytes.length)),
      `write ${this.#name}`,
    );
  }

  /** Writes a text or bytes of any length. */
  writeAll(contents: string | Uint8Array<ArrayBuffer>): void {
    let rest = typeof contents === "string"
      ? encoder.encode(contents)
      : contents;
    while (rest.length > 0) {
      const length = checked(
        libc().write(this.fd, rest, BigInt(rest.length)),
        `write ${this.#name}`,
      );
      rest = rest.subarray(length);
    }
  }

  /** Sets the permissions, whatever the umask is. */
  setMode(mode: number): void {
    checked(libc().fchmod(this.fd, mode), `chmod ${this.#name}`);
  }

  /**
   * The names in this directory, without `.` and `..`.
   *
   * @param most about how many to read at most.
   * @throws SystemError if it cannot be read.
   */
  names(most = Infinity): string[] {
    const names: string[] = [];
    const buffer = new Uint8Array(Math.min(READ_SIZE, most * NAME_SIZE));
    const view = new DataView(buffer.buffer);
    checked(libc().lseek(this.fd, 0n, SEEK_SET), `rewind ${this.#name}`);
    for (;;) {
      const length = checked(
        libc().getdents64(this.fd, buffer, BigInt(buffer.length)),
        `read ${this.#name}`,
      );
      if (length === 0) return names;
      // struct linux_dirent64, getdents64(2): d_reclen at 16, d_name at 19.
      for (let at = 0; at < length; at += view.getUint16(at + 16, true)) {
        const end = buffer.indexOf(0, at + 19);
        const name = decoder.decode(buffer.subarray(at + 19, end));
        if (name !== "." && name !== "..") names.push(name);
      }
      if (names.length >= most) return names;
    }
  }

  [Symbol.dispose](): void {
    libc().close(this.fd);
  }
}

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** Data is read into this first. Its contents are valid only during one call. */
const scratch = new Uint8Array(READ_SIZE);

/** A growing buffer to read into. */
class Contents {
  #buffer: Uint8Array<ArrayBuffer>;
  #length: number;

  /** @param start the data that has been read already. */
  constructor(start: Uint8Array) {
    this.#buffer = new Uint8Array(start.length + READ_SIZE);
    this.#buffer.set(start);
    this.#length = start.length;
  }

  /** Room for the next read. */
  room(): Uint8Array<ArrayBuffer> {
    if (this.#buffer.length - this.#length < READ_SIZE / 2) {
      const larger = new Uint8Array(this.#buffer.length * 2);
      larger.set(this.#buffer.subarray(0, this.#length));
      this.#buffer = larger;
    }
    return this.#buffer.subarray(this.#length);
  }

  filled(length: number): void {
    this.#length += length;
  }

  get length(): number {
    return this.#length;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    return this.#buffer.subarray(0, this.#length);
  }
}

/**
 * The contents of a text file.
 *
 * @throws SystemError if it cannot be read.
 */
export function readTextFile(path: string): string {
  using file = File.open(path);
  return decoder.decode(file.readAll());
}

/**
 * The contents of a text file, `undefined` if it does not exist or cannot be read.
 */
export function readTextFileIfAny(path: string): string | undefined {
  try {
    return readTextFile(path);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return undefined;
  }
}

/**
 * The names in a directory, without `.` and `..`.
 *
 * @throws SystemError if it cannot be read.
 */
export function readDirectory(path: string): string[] {
  using directory = File.open(path);
  return directory.names();
}
