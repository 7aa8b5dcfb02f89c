/**
 * The C library, opened once, and the errors that its calls return.
 *
 * Facts: the Linux man pages, sections 2 and 3, and the kernel's
 * `include/uapi/asm-generic/errno-base.h` and `unistd.h`. System calls for which
 * older C libraries have no function go through `syscall(2)`; the numbers used here
 * are the same on every architecture.
 *
 * @module
 */

import { CommonErrno, SystemError } from "../lib/errors.ts";

const SYMBOLS = {
  __errno_location: { parameters: [], result: "pointer" },
  clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  fchmod: { parameters: ["i32", "u32"], result: "i32" },
  fcntlLock: {
    name: "fcntl",
    parameters: ["i32", "i32", "buffer"],
    result: "i32",
  },
  geteuid: { parameters: [], result: "u32" },
  fgetxattr: {
    parameters: ["i32", "buffer", "buffer", "usize"],
    result: "isize",
  },
  getauxval: { parameters: ["u64"], result: "u64" },
  getcwd: { parameters: ["buffer", "usize"], result: "pointer" },
  getdents64: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  getpeername: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  getpwnamAway: {
    name: "getpwnam_r",
    parameters: ["buffer", "buffer", "buffer", "usize", "buffer"],
    result: "i32",
    nonblocking: true,
  },
  getrlimit: { parameters: ["i32", "buffer"], result: "i32" },
  getrusage: { parameters: ["i32", "buffer"], result: "i32" },
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  getxattr: {
    parameters: ["buffer", "buffer", "buffer", "usize"],
    result: "isize",
  },
  ioctl: { parameters: ["i32", "u64", "buffer"], result: "i32" },
  lseek: { parameters: ["i32", "i64", "i32"], result: "i64" },
  madvise: { parameters: ["usize", "usize", "i32"], result: "i32" },
  // Only in the GNU C library.
  malloc_trim: { parameters: ["usize"], result: "i32", optional: true },
  memfd_create: { parameters: ["buffer", "u32"], result: "i32" },
  ftruncate: { parameters: ["i32", "i64"], result: "i32" },
  mkdirat: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  mmap: {
    parameters: ["usize", "usize", "i32", "i32", "i32", "i64"],
    result: "usize",
  },
  mprotect: { parameters: ["usize", "usize", "i32"], result: "i32" },
  munmap: { parameters: ["usize", "usize"], result: "i32" },
  openat: { parameters: ["i32", "buffer", "i32", "u32"], result: "i32" },
  pread: { parameters: ["i32", "buffer", "usize", "i64"], result: "isize" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  readlinkat: {
    parameters: ["i32", "buffer", "buffer", "usize"],
    result: "isize",
  },
  renameat: {
    parameters: ["i32", "buffer", "i32", "buffer"],
    result: "i32",
  },
  renameat2: {
    parameters: ["i32", "buffer", "i32", "buffer", "u32"],
    result: "i32",
  },
  sched_getaffinity: { parameters: ["i32", "usize", "buffer"], result: "i32" },
  sched_setaffinity: { parameters: ["i32", "usize", "buffer"], result: "i32" },
  sendto: {
    parameters: ["i32", "buffer", "usize", "i32", "buffer", "u32"],
    result: "isize",
  },
  shutdown: { parameters: ["i32", "i32"], result: "i32" },
  sigaction: { parameters: ["i32", "pointer", "buffer"], result: "i32" },
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  statfs: { parameters: ["buffer", "buffer"], result: "i32" },
  statx: {
    parameters: ["i32", "buffer", "i32", "u32", "buffer"],
    result: "i32",
  },
  strerror: { parameters: ["i32"], result: "pointer" },
  sysconf: { parameters: ["i32"], result: "i64" },
  sysinfo: { parameters: ["buffer"], result: "i32" },
  uname: { parameters: ["buffer"], result: "i32" },
  unlinkat: { parameters: ["i32", "buffer", "i32"], result: "i32" },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  bpf: {
    name: "syscall",
    parameters: ["i64", "i64", "buffer", "i64"],
    result: "i32",
  },
  openat2: {
    name: "syscall",
    parameters: ["i64", "i32", "buffer", "buffer", "usize"],
    result: "i32",
  },
  pidfdOpen: {
    name: "syscall",
    parameters: ["i64", "i32", "u32"],
    result: "i32",
  },
  pidfdSendSignal: {
    name: "syscall",
    parameters: ["i64", "i32", "i32", "pointer", "u32"],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

type Libc = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

let opened: Libc | undefined;

/** The C library's functions. Those whose names end in `Away` run on another thread. */
export function libc(): Libc {
  if (!opened) {
    opened = Deno.dlopen("libc.so.6", SYMBOLS).symbols;
    errnoOfThread = findErrno();
  }
  return opened;
}

/** Error numbers of Linux that rcap tells apart, the same on every architecture. */
export const Errno = {
  ...CommonErrno,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  ELOOP: 40,
  ENODATA: 61,
  EOPNOTSUPP: 95,
} as const;

/** The error of a call of this C library. */
export function systemError(call: string, errno: number): SystemError {
  return new SystemError(call, errno, errnoMessage(errno));
}

/** The memory that holds the main thread's `errno`: errno(3). */
let errnoOfThread: Int32Array<ArrayBuffer> | undefined;

/**
 * Returns `errno` of this thread. Valid right after a call that ran on this thread.
 *
 * It is read from memory, because a function call would let the runtime make calls
 * of its own, which set `errno` too.
 */
export function errno(): number {
  errnoOfThread ??= findErrno();
  return errnoOfThread[0];
}

function findErrno(): Int32Array<ArrayBuffer> {
  const at = libc().__errno_location();
  // The C library always has one.
  if (at === null) return new Int32Array(1);
  return new Int32Array(Deno.UnsafePointerView.getArrayBuffer(at, 4));
}

/**
 * Returns the result of a call that returns a negative number on failure.
 *
 * @throws SystemError if the call failed.
 */
export function checked(result: number | bigint, call: string): number {
  const value = Number(result);
  if (value < 0) throw systemError(call, errno());
  return value;
}

/** Returns the C library's text for an error number. */
export function errnoMessage(errno: number): string {
  const text = libc().strerror(errno);
  const words = text === null
    ? `error ${errno}`
    : Deno.UnsafePointerView.getCString(text);
  const name = Object.entries(Errno).find(([, value]) => value === errno)?.[0];
  return name ? `${words} (${name})` : words;
}

const encoder = new TextEncoder();

/** A string as C expects it, with a zero byte at its end. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(`${text}\0`);
}
