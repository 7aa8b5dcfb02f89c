/**
 * The part of illumos's C library that reads and writes files.
 *
 * Facts: the man pages open(2), fstat(2), read(2), pread(2), write(2), getdents(2),
 * close(2), and `<sys/errno.h>` of illumos, whose numbers up to 34 are those of Linux.
 *
 * @module
 */

import {
  CapabilityError,
  CommonErrno,
  messageOf,
  SystemError,
} from "../lib/errors.ts";
import { DIRENT_NAME, DIRENT_RECLEN, STAT } from "./illumos_structs.ts";
import { cString } from "./libc.ts";
import { MalformedData, StructReader } from "./struct.ts";

const SYMBOLS = {
  ___errno: { parameters: [], result: "pointer" },
  close: { parameters: ["i32"], result: "i32" },
  fstat: { parameters: ["i32", "buffer"], result: "i32" },
  getdents: { parameters: ["i32", "buffer", "usize"], result: "i32" },
  open: { parameters: ["buffer", "i32", "u32"], result: "i32" },
  pread: { parameters: ["i32", "buffer", "usize", "i64"], result: "isize" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  readAway: {
    name: "read",
    parameters: ["i32", "buffer", "usize"],
    result: "isize",
    nonblocking: true,
  },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
} as const satisfies Deno.ForeignLibraryInterface;

// <sys/fcntl.h> of illumos.
const O_RDONLY = 0;
export const O_WRONLY = 1;
const O_CLOEXEC = 0x80_0000;

/** Error numbers of illumos that rcap distinguishes. */
export const IllumosErrno = {
  ...CommonErrno,
  E2BIG: 7,
  EBUSY: 16,
  ENOTSUP: 48,
  ENAMETOOLONG: 78,
  ENOSYS: 89,
  ELOOP: 90,
  ENOTEMPTY: 93,
  EOPNOTSUPP: 122,
} as const;

const WORDS: ReadonlyMap<number, string> = new Map([
  [IllumosErrno.EPERM, "not permitted (EPERM)"],
  [IllumosErrno.ENOENT, "no such file or process (ENOENT)"],
  [IllumosErrno.ESRCH, "no such process (ESRCH)"],
  [IllumosErrno.EINTR, "interrupted (EINTR)"],
  [IllumosErrno.E2BIG, "too large for the space given (E2BIG)"],
  [IllumosErrno.EAGAIN, "not possible now (EAGAIN)"],
  [IllumosErrno.ENOMEM, "no memory, or none at that address (ENOMEM)"],
  [IllumosErrno.EACCES, "permission denied (EACCES)"],
  [IllumosErrno.EBUSY, "busy (EBUSY)"],
  [IllumosErrno.EINVAL, "invalid argument (EINVAL)"],
  [IllumosErrno.EIO, "input or output failed (EIO)"],
  [IllumosErrno.EEXIST, "already exists (EEXIST)"],
  [IllumosErrno.ENOTDIR, "Not a directory (ENOTDIR)"],
  [IllumosErrno.EISDIR, "Is a directory (EISDIR)"],
  [IllumosErrno.ENOSPC, "no space left (ENOSPC)"],
  [IllumosErrno.EROFS, "the file system is read-only (EROFS)"],
  [IllumosErrno.ENAMETOOLONG, "the name is too long (ENAMETOOLONG)"],
  [IllumosErrno.ELOOP, "Too many levels of symbolic links (ELOOP)"],
  [IllumosErrno.ENOTEMPTY, "the directory is not empty (ENOTEMPTY)"],
  [IllumosErrno.ENFILE, "too many open files in the system (ENFILE)"],
  [IllumosErrno.EMFILE, "too many open files (EMFILE)"],
]);

/** Describes an error number of illumos. */
export function illumosErrorWords(errno: number): string {
  return WORDS.get(errno) ?? `error ${errno}`;
}

/**
 * Opens a library.
 *
 * @throws CapabilityError if it cannot be loaded, or lacks a function.
 */
export function openLibrary<S extends Deno.ForeignLibraryInterface>(
  path: string,
  symbols: S,
): Deno.DynamicLibrary<S>["symbols"] {
  try {
    return Deno.dlopen(path, symbols).symbols;
  } catch (error) {
    const reason = messageOf(error);
    throw new CapabilityError(`${path} cannot be used: ${reason}`, {
      cause: error,
    });
  }
}

const decoder = new TextDecoder();

/** File operations on descriptors, and the error number of the last failure. */
export class IllumosLibc {
  readonly #calls: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];
  readonly #stat = new Uint8Array(STAT.size);
  readonly #statReader = new StructReader(STAT, this.#stat);

  /**
   * @param path the path of the library, usually `libc.so.1`.
   * @throws CapabilityError if it cannot be loaded, or lacks a function.
   */
  constructor(path: string) {
    this.#calls = openLibrary(path, SYMBOLS);
  }

  /** The error number of this thread, to be read right after a failed call. */
  errno(): number {
    const at = this.#calls.___errno();
    return at === null ? 0 : new Deno.UnsafePointerView(at).getInt32();
  }

  /**
   * Opens a file, by default for reading, and returns its descriptor.
   *
   * @throws SystemError if it cannot be opened.
   */
  open(path: string, flags = O_RDONLY): number {
    return this.checked(
      this.#calls.open(cString(path), flags | O_CLOEXEC, 0),
      `open ${path}`,
    );
  }

  /** The size of an open file, in bytes. */
  size(fd: number): number {
    this.checked(this.#calls.fstat(fd, this.#stat), `fstat ${fd}`);
    return this.#statReader.number("st_size");
  }

  /** Reads from the file's position; returns the number of bytes read. */
  read(fd: number, buffer: Uint8Array<ArrayBuffer>): number {
    return this.checked(
      this.#calls.read(fd, buffer, BigInt(buffer.length)),
      `read ${fd}`,
    );
  }

  /** {@linkcode read} on another thread, for data that the system takes long to produce. */
  async readAway(
    fd: number,
    buffer: Uint8Array<ArrayBuffer>,
  ): Promise<number> {
    const size = BigInt(buffer.length);
    const length = await this.#calls.readAway(fd, buffer, size);
    // errno is that of the other thread: the same call here fails in the same way.
    return length < 0 ? this.read(fd, buffer) : Number(length);
  }

  /** Reads from an offset in the file; returns the number of bytes read. */
  readFrom(
    fd: number,
    offset: bigint,
    buffer: Uint8Array<ArrayBuffer>,
  ): number {
    return this.checked(
      this.#calls.pread(fd, buffer, BigInt(buffer.length), offset),
      `pread ${fd}`,
    );
  }

  /** Writes bytes; returns how many were written. */
  write(fd: number, bytes: Uint8Array<ArrayBuffer>): number {
    return this.checked(
      this.#calls.write(fd, bytes, BigInt(bytes.length)),
      `write ${fd}`,
    );
  }

  /**
   * Reads the names in an open directory from its position on, without `.` and `..`.
   *
   * @param path the directory, for messages.
   */
  names(fd: number, path: string): string[] {
    const names: string[] = [];
    const buffer = new Uint8Array(64 * 1024);
    const view = new DataView(buffer.buffer);
    for (;;) {
      const length = this.checked(
        this.#calls.getdents(fd, buffer, BigInt(buffer.length)),
        `getdents ${path}`,
      );
      if (length === 0) return names;
      for (let at = 0; at < length;) {
        const size = view.getUint16(at + DIRENT_RECLEN, true);
        if (size <= DIRENT_NAME || at + size > length) {
          throw new MalformedData(
            `getdents ${path}: an entry of ${size} bytes`,
          );
        }
        const bytes = buffer.subarray(at + DIRENT_NAME, at + size);
        const end = bytes.indexOf(0);
        const name = decoder.decode(end < 0 ? bytes : bytes.subarray(0, end));
        if (name !== "." && name !== "..") names.push(name);
        at += size;
      }
    }
  }

  close(fd: number): void {
    this.#calls.close(fd);
  }

  /**
   * Checks the result of a call that returns a negative number on failure.
   *
   * @throws SystemError if it failed.
   */
  checked(result: number | bigint, call: string): number {
    const value = Number(result);
    if (value >= 0) return value;
    const errno = this.errno();
    throw new SystemError(call, errno, illumosErrorWords(errno));
  }
}
