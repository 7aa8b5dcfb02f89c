/**
 * Files by descriptor: `/proc` and `/sys` are read through the C library, since
 * Deno's own file functions ask for every permission there is before they open
 * a file in either.
 *
 * @module
 */

import { SystemError } from "../lib/errors.ts";
import { checked, cString, libc } from "./libc.ts";

// <fcntl.h> of Linux; O_DIRECTORY is another one on arm64.
export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
/** Makes the file where there is none, for all to read and its owner to write. */
export const O_CREAT = 0o100;
/** With `O_CREAT`: fails where there is one. */
export const O_EXCL = 0o200;
export const O_CLOEXEC = 0o2000000;
export const O_PATH = 0o10000000;
// Not the same on arm64.
export const O_DIRECTORY = Deno.build.arch === "aarch64" ? 0o40000 : 0o200000;
export const AT_FDCWD = -100;
const SEEK_SET = 0;

/** Permissions of a file that `O_CREAT` makes, less the umask. */
const NEW_FILE_MODE = 0o644;

/** Large enough that directories and most files come in one read. */
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
   * @param flags `O_RDONLY`, `O_WRONLY` or `O_RDWR`, and `O_CREAT` where wanted.
   * @throws SystemError when it cannot be opened.
   */
  static open(path: string, flags = O_RDONLY): File {
    return File.#openAt(AT_FDCWD, path, flags, path);
  }

  /** Opens a directory as a place to open other files from, without reading it. */
  static openPlace(path: string): File {
    return File.#openAt(AT_FDCWD, path, O_PATH, path);
  }

  /** Takes over a descriptor that was opened otherwise. */
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

  /** Opens a file by its path from this directory. */
  openAt(path: string, flags = O_RDONLY): File {
    return File.#openAt(this.fd, path, flags, `${this.#name}/${path}`);
  }

  /** Where a symbolic link in this directory points to. */
  readLinkAt(path: string): string {
    return decoder.decode(this.readLinkBytesAt(path));
  }

  /** Where a symbolic link in this directory points to, which need not be text. */
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

  /** Reads from the file's position; returns how many bytes, 0 at the end. */
  read(buffer: Uint8Array<ArrayBuffer>): number {
    return checked(
      libc().read(this.fd, buffer, BigInt(buffer.length)),
      `read ${this.#name}`,
    );
  }

  /** Reads from a place of the file; returns how many bytes, 0 at the end. */
  readFrom(offset: bigint, buffer: Uint8Array<ArrayBuffer>): number {
    return checked(
      libc().pread(this.fd, buffer, BigInt(buffer.length), offset),
      `read ${this.#name}`,
    );
  }

  /**
   * The rest of the file.
   *
   * @param most reads no more than about this, in bytes.
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
   * The rest of a file if it is small, as most are: it takes no other buffer than
   * what it needs. Otherwise `undefined`, and the start of it is in `scratch`.
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

  /** Writes a text of any length. */
  writeAll(text: string): void {
    let rest = encoder.encode(text);
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
   * The names in it, without `.` and `..`, where it is a directory.
   *
   * @throws SystemError when it cannot be read.
   */
  names(): string[] {
    const names: string[] = [];
    const buffer = new Uint8Array(READ_SIZE);
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
    }
  }

  [Symbol.dispose](): void {
    libc().close(this.fd);
  }
}

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** What is read goes here first, and stays for the length of a call only. */
const scratch = new Uint8Array(READ_SIZE);

/** A growing buffer to read into. */
class Contents {
  #buffer: Uint8Array<ArrayBuffer>;
  #length: number;

  /** @param start what was read already. */
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
 * @throws SystemError when it cannot be read.
 */
export function readTextFile(path: string): string {
  using file = File.open(path);
  return decoder.decode(file.readAll());
}

/** The contents of a text file, `undefined` when there is no such file or it is not for us. */
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
 * @throws SystemError when it cannot be read.
 */
export function readDirectory(path: string): string[] {
  using directory = File.open(path);
  return directory.names();
}
