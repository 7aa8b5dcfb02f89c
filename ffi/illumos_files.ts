/**
 * Files, directories and locks of illumos: openat(2), fstatat(2), mkdirat(2),
 * renameat(2), unlinkat(2), readlinkat(2), facl(2), and record locks of fcntl(2).
 *
 * illumos has no descriptors of files that are not open (`O_PATH` of Linux). So only
 * directories are held, opened with `O_SEARCH` just to look up names in them. Everything
 * else is examined with fstatat(2).
 *
 * Facts: those man pages, and `<sys/fcntl.h>`, `<sys/acl.h>` and `<sys/stat.h>` of
 * illumos.
 *
 * @module
 */

import { SystemError } from "../lib/errors.ts";
import type {
  FileCalls,
  Held,
  LockConflict,
  OpenFile,
  OpenPurpose,
  Place,
} from "./file_calls.ts";
import { type FileStatus, identityOf, partsOfMode } from "./file_status.ts";
import { hasStrangeWriter } from "./illumos_acl.ts";
import {
  IllumosErrno,
  illumosErrorWords,
  type IllumosLibc,
  openLibrary,
} from "./illumos_libc.ts";
import { FLOCK, STAT } from "./illumos_structs.ts";
import { cString } from "./libc.ts";
import { StructReader } from "./struct.ts";

const SYMBOLS = {
  facl: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  fchmod: { parameters: ["i32", "u32"], result: "i32" },
  fcntl: { parameters: ["i32", "i32", "buffer"], result: "i32" },
  fstat: { parameters: ["i32", "buffer"], result: "i32" },
  fstatat: { parameters: ["i32", "buffer", "buffer", "i32"], result: "i32" },
  getcwd: { parameters: ["buffer", "usize"], result: "pointer" },
  geteuid: { parameters: [], result: "u32" },
  mkdirat: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  openat: { parameters: ["i32", "buffer", "i32", "u32"], result: "i32" },
  readlinkat: {
    parameters: ["i32", "buffer", "buffer", "usize"],
    result: "isize",
  },
  renameat: { parameters: ["i32", "buffer", "i32", "buffer"], result: "i32" },
  unlinkat: { parameters: ["i32", "buffer", "i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

// <sys/fcntl.h> of illumos.
const O_RDONLY = 0;
const O_WRONLY = 1;
const O_RDWR = 2;
const O_NONBLOCK = 0x80;
const O_CREAT = 0x100;
const O_EXCL = 0x400;
const O_NOCTTY = 0x800;
const O_NOFOLLOW = 0x2_0000;
const O_SEARCH = 0x20_0000;
const O_CLOEXEC = 0x80_0000;
const AT_FDCWD = 0xffd1_9553 | 0;
const AT_SYMLINK_NOFOLLOW = 0x1000;
const AT_REMOVEDIR = 0x1;
const F_SETLK = 6;
const F_GETLK = 14;
const F_RDLCK = 1;
const F_WRLCK = 2;

const OPEN_FLAGS: Readonly<Record<OpenPurpose, number>> = {
  read: O_RDONLY,
  update: O_RDWR | O_CREAT,
  make: O_WRONLY | O_CREAT | O_EXCL,
};
/** Never wait, and never follow a symbolic link. */
const ALWAYS = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;

/** Longest path: `MAXPATHLEN` of <sys/param.h>. */
const PATH_MAX = 1024;

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** The calls of illumos. */
export class IllumosFiles implements FileCalls {
  readonly removeList = "chmod A-";
  readonly #libc: IllumosLibc;
  readonly #calls: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

  /**
   * @param path the C library of `libc`.
   * @throws CapabilityError if it lacks a function.
   */
  constructor(path: string, libc: IllumosLibc) {
    this.#libc = libc;
    this.#calls = openLibrary(path, SYMBOLS);
  }

  holdRoot(): Held {
    return this.#holdDirectory({ directory: AT_FDCWD, name: "/", path: "/" });
  }

  hold(place: Place): Held {
    const seen = this.#look(place);
    if (seen.type === "directory") return this.#holdDirectory(place);
    return {
      fd: undefined,
      status: seen,
      target: () => this.#targetOf(place, seen),
    };
  }

  /** Fails with `ENOTDIR` if it is not a directory any more, and with `ELOOP` if it is a link. */
  #holdDirectory(place: Place): Held {
    const { path } = place;
    const fd = this.#openAt(place, O_SEARCH);
    try {
      const status = this.statusOf(fd, path);
      const target = () => {
        throw this.#error(`readlink ${path}`, IllumosErrno.EINVAL);
      };
      return { fd, status, target };
    } catch (error) {
      this.close(fd);
      throw error;
    }
  }

  /** A link cannot be held, so it is examined again after it was read. */
  #targetOf(place: Place, seen: FileStatus): string {
    const { directory, name, path } = place;
    const buffer = new Uint8Array(PATH_MAX);
    const length = this.#libc.checked(
      this.#calls.readlinkat(
        directory,
        cString(name),
        buffer,
        BigInt(buffer.length),
      ),
      `readlink ${path}`,
    );
    const now = this.#look(place);
    if (identityOf(now) !== identityOf(seen) || now.uid !== seen.uid) {
      throw this.#error(`readlink ${path}`, IllumosErrno.EAGAIN);
    }
    return decoder.decode(buffer.subarray(0, length));
  }

  open(place: Place, purpose: OpenPurpose, mode = 0): OpenFile {
    const fd = this.#openAt(place, OPEN_FLAGS[purpose], mode);
    return this.#fileOf(fd, place.path);
  }

  #openAt({ directory, name, path }: Place, flags: number, mode = 0): number {
    return this.#libc.checked(
      this.#calls.openat(directory, cString(name), flags | ALWAYS, mode),
      `open ${path}`,
    );
  }

  #fileOf(fd: number, path: string): OpenFile {
    const libc = this.#libc;
    return {
      fd,
      read: (buffer) => libc.read(fd, buffer),
      writeAll(contents) {
        let rest = typeof contents === "string"
          ? encoder.encode(contents)
          : contents;
        while (rest.length > 0) rest = rest.subarray(libc.write(fd, rest));
      },
      setMode: (mode) => {
        libc.checked(this.#calls.fchmod(fd, mode), `chmod ${path}`);
      },
      [Symbol.dispose]: () => libc.close(fd),
    };
  }

  close(fd: number): void {
    this.#libc.close(fd);
  }

  names(directory: number, path: string): string[] {
    const fd = this.#openAt({ directory, name: ".", path }, O_RDONLY);
    try {
      return this.#libc.names(fd, path);
    } finally {
      this.close(fd);
    }
  }

  statusAt(place: Place): FileStatus | undefined {
    try {
      return this.#look(place);
    } catch (error) {
      const isMissing = error instanceof SystemError &&
        error.errno === IllumosErrno.ENOENT;
      if (isMissing) return undefined;
      throw error;
    }
  }

  /** The status of a name. Its access control list can be read only once it is open. */
  #look({ directory, name, path }: Place): FileStatus {
    const stat = new Uint8Array(STAT.size);
    this.#libc.checked(
      this.#calls.fstatat(directory, cString(name), stat, AT_SYMLINK_NOFOLLOW),
      `stat ${path}`,
    );
    return parse(stat, () => false);
  }

  statusOf(fd: number, path: string): FileStatus {
    const stat = new Uint8Array(STAT.size);
    this.#libc.checked(this.#calls.fstat(fd, stat), `stat ${path}`);
    return parse(stat, () => this.#isWritableByList(fd, path));
  }

  #isWritableByList(fd: number, path: string): boolean {
    return hasStrangeWriter({
      facl: (command, count, buffer) =>
        this.#libc.checked(
          this.#calls.facl(fd, command, count, buffer),
          `facl ${path}`,
        ),
      uid: this.effectiveUid(),
    });
  }

  makeDirectory({ directory, name, path }: Place, mode: number): void {
    this.#libc.checked(
      this.#calls.mkdirat(directory, cString(name), mode),
      `make directory ${path}`,
    );
  }

  rename({ directory, name, path }: Place, to: string): void {
    this.#libc.checked(
      this.#calls.renameat(directory, cString(name), directory, cString(to)),
      `rename ${path} to ${to}`,
    );
  }

  remove(place: Place): void {
    this.#unlink(place, 0);
  }

  removeDirectory(place: Place): void {
    this.#unlink(place, AT_REMOVEDIR);
  }

  #unlink({ directory, name, path }: Place, flags: number): void {
    this.#libc.checked(
      this.#calls.unlinkat(directory, cString(name), flags),
      `remove ${path}`,
    );
  }

  lock(fd: number): boolean {
    if (this.#calls.fcntl(fd, F_SETLK, writeLock()) >= 0) return true;
    const errno = this.#libc.errno();
    // POSIX allows either error for a lock that another process holds.
    if (errno === IllumosErrno.EAGAIN || errno === IllumosErrno.EACCES) {
      return false;
    }
    throw this.#error("lock", errno);
  }

  conflictOn(fd: number, path: string): LockConflict | undefined {
    const lock = writeLock();
    this.#libc.checked(
      this.#calls.fcntl(fd, F_GETLK, lock),
      `look at the lock of ${path}`,
    );
    const type = new DataView(lock.buffer).getInt16(0, true);
    if (type !== F_RDLCK && type !== F_WRLCK) return undefined;
    const pid = new StructReader(FLOCK, lock).number("l_pid");
    return { isForWriting: type === F_WRLCK, pid };
  }

  workingDirectory(): string {
    const buffer = new Uint8Array(PATH_MAX);
    const result = this.#calls.getcwd(buffer, BigInt(buffer.length));
    const path = decoder.decode(buffer.subarray(0, buffer.indexOf(0)));
    if (result === null || !path.startsWith("/")) {
      throw this.error("find the working directory", "ENOENT");
    }
    return path;
  }

  effectiveUid(): number {
    return this.#calls.geteuid();
  }

  /** illumos itself has no file systems that users' programs serve. */
  serverOf(): undefined {}

  error(
    call: string,
    name: "EISDIR" | "ELOOP" | "ENOENT" | "ENOTDIR",
  ): SystemError {
    return this.#error(call, IllumosErrno[name]);
  }

  #error(call: string, errno: number): SystemError {
    return new SystemError(call, errno, illumosErrorWords(errno));
  }
}

function parse(
  stat: Uint8Array<ArrayBuffer>,
  looksAtList: () => boolean,
): FileStatus {
  const reader = new StructReader(STAT, stat);
  return {
    ...partsOfMode(reader.number("st_mode")),
    uid: reader.number("st_uid"),
    gid: reader.number("st_gid"),
    get isWritableByList() {
      return looksAtList();
    },
    links: reader.number("st_nlink"),
    size: reader.number("st_size"),
    device: reader.bigint("st_dev").toString(16),
    inode: reader.bigint("st_ino"),
  };
}

/** A `struct flock`: the whole file, for writing. `l_type` is a short at 0. */
function writeLock(): Uint8Array<ArrayBuffer> {
  const lock = new Uint8Array(FLOCK.size);
  new DataView(lock.buffer).setInt16(0, F_WRLCK, true);
  return lock;
}
