/**
 * Lists of system calls that another thread makes in order.
 *
 * A call of the C library that runs on another thread leaves its `errno` there. A
 * list keeps the kernel's result of each call instead; an error is a negative
 * number. So a failed call need not be repeated to learn why it failed, and several
 * calls cost one thread switch.
 *
 * The calls are made by a few machine instructions, {@linkcode LOOPS}, that do the
 * same as the C library's `syscall(2)`, in a loop and without `errno`.
 *
 * @module
 */

import { RcapError } from "../lib/errors.ts";
import { cString, errno, errnoMessage, libc, systemError } from "./libc.ts";
import { CLOCK_MONOTONIC, CLOCK_THREAD_CPUTIME_ID } from "./clock.ts";
import { O_CLOEXEC } from "./file.ts";
import type { ThreadClock } from "./thread_clock.ts";

/** Numbers of system calls, by processor: <asm/unistd.h> of Linux. */
const NUMBERS = {
  x86_64: {
    read: 0,
    write: 1,
    close: 3,
    ioctl: 16,
    pread64: 17,
    mincore: 27,
    gettid: 186,
    sched_setaffinity: 203,
    fadvise64: 221,
    clock_gettime: 228,
    openat: 257,
    kcmp: 312,
    statx: 332,
    openat2: 437,
    process_madvise: 440,
  },
  aarch64: {
    ioctl: 29,
    openat: 56,
    close: 57,
    read: 63,
    write: 64,
    pread64: 67,
    clock_gettime: 113,
    sched_setaffinity: 122,
    gettid: 178,
    fadvise64: 223,
    mincore: 232,
    kcmp: 272,
    statx: 291,
    openat2: 437,
    process_madvise: 440,
  },
} as const;

/**
 * The loop, by processor: a function that takes the address of the first call and
 * the number of calls. A call is eight words: number and flags, six arguments,
 * result. The source is `ffi/call_list.x86_64.s` and `ffi/call_list.aarch64.s`.
 */
export const LOOPS: Readonly<Record<keyof typeof NUMBERS, string>> = {
  x86_64:
    "53415441554889fb4989fc4989f54d85ed744e488b03488b7b08480fbae020730549" +
    "8b7c2438488b7310488b53184c8b53204c8b43284c8b4b3089c00f0548894338488b" +
    "0b4883c34049ffcd480fbae12172bb4885c0780975b4480fbae12273ad415d415c5b" +
    "c3",
  aarch64:
    "f353bea9f50b00f9f30300aaf40300aaf50301aa150200b4690240a9490000b6801e" +
    "40f9610a41a9631242a9651a40f9e803092a010000d4601e00f9690644f8b50600d1" +
    "89fe0fb76000f8b740feffb529fe17b6f50b40f9f353c2a8c0035fd6",
};

/** <linux/kcmp.h>. */
const KCMP_VM = 1;

/** <linux/fadvise.h>. */
const POSIX_FADV_DONTNEED = 4;

/** Words of a call, and the index of its result. */
const CALL_WORDS = 8;
const RESULT = 7;
/** Numbers are written as two halves of a word, which needs no bigint. */
const HALVES = 2;

/** Flags of a call, in the upper half of the word that holds its number. */
const FROM_FIRST = 1;
const MAY_FAIL = 2;
const NOT_ZERO = 4;

/** The result of a call that was not made. */
const NOT_MADE = -(2n ** 63n);
const NOT_MADE_HIGH = 2 ** 31;

/** Represents the descriptor that the first call of the list opens. */
export const OPENED = Symbol("the descriptor that the first call opens");

/** A descriptor: a number, or the one that the first call of the list opens. */
export type Descriptor = number | typeof OPENED;

/** Memory that must stay in place until the calls have been made. */
type Bytes =
  | Uint8Array<ArrayBuffer>
  | BigUint64Array<ArrayBuffer>;

/**
 * System calls to be made on another thread. A call that fails ends the list,
 * unless it may fail. Descriptors must stay open until the calls have been made.
 *
 * @example
 * ```ts
 * const calls = new CallList();
 * calls.open(AT_FDCWD, "/proc/self/maps", O_RDONLY);
 * const read = calls.read(OPENED, buffer);
 * await calls.make();
 * console.log(calls.result(read), "bytes");
 * ```
 */
export class CallList {
  #words = new BigInt64Array(8 * CALL_WORDS);
  #halves = new Uint32Array(this.#words.buffer);
  #count = 0;
  /** Keeps the memory that the calls use alive. */
  readonly #memory: Bytes[] = [];

  /** Opens a file relative to a directory; it is closed on exec. */
  open(directory: number, path: string, flags: number): number {
    const name = this.#keep(cString(path));
    return this.#add("openat", [directory, name, flags | O_CLOEXEC]);
  }

  /**
   * Opens a path: `openat2(2)`.
   *
   * @param how its `struct open_how`.
   */
  openAt2(
    directory: number,
    path: Uint8Array<ArrayBuffer>,
    how: BigUint64Array<ArrayBuffer>,
  ): number {
    const [name, address] = [this.#keep(path), this.#keep(how)];
    return this.#add("openat2", [directory, name, address, how.byteLength]);
  }

  /** Reads the status of a file: `statx(2)`. May fail. */
  stat(
    directory: Descriptor,
    path: Uint8Array<ArrayBuffer>,
    { flags, mask, into }: {
      flags: number;
      mask: number;
      into: Uint8Array<ArrayBuffer>;
    },
  ): number {
    const [name, address] = [this.#keep(path), this.#keep(into)];
    return this.#add(
      "statx",
      [directory, name, flags, mask, address],
      MAY_FAIL,
    );
  }

  /** Closes a descriptor. */
  close(descriptor: Descriptor): number {
    return this.#add("close", [descriptor], MAY_FAIL);
  }

  /** Reads from a file's position. `0`, the end of the file, ends the list. */
  read(from: Descriptor, into: Uint8Array<ArrayBuffer>): number {
    const address = this.#keep(into);
    return this.#add("read", [from, address, into.length], NOT_ZERO);
  }

  /**
   * Reads from a file's position into each part of a buffer in turn, even if an
   * earlier part was not filled. `0`, the end of the file, ends the list.
   *
   * @param part the size of a part in bytes; the buffer's size is a multiple of it.
   * @param clock measures the reads up to the last part that was not empty.
   * @returns the indexes of these calls.
   */
  readParts(
    from: Descriptor,
    into: Uint8Array<ArrayBuffer>,
    { part, clock }: { part: number; clock: ThreadClock },
  ): number[] {
    const address = this.#keep(into);
    const reads: number[] = [];
    this.#startClock(clock);
    for (let at = 0; at < into.length; at += part) {
      reads.push(this.#add("read", [from, address + at, part], NOT_ZERO));
      this.#stopClock(clock);
    }
    return reads;
  }

  /** Adds calls, of which a clock measures the processor time. */
  timed<T>(clock: ThreadClock, add: () => T): T {
    this.#startClock(clock);
    const added = add();
    this.#stopClock(clock);
    return added;
  }

  #startClock({ times }: ThreadClock): void {
    times.fill(0n);
    const address = this.#keep(times);
    this.#add("clock_gettime", [CLOCK_THREAD_CPUTIME_ID, address], MAY_FAIL);
  }

  /** Stops a clock; the last of several stops counts. */
  #stopClock({ times }: ThreadClock): void {
    const address = this.#keep(times) + 16;
    this.#add("clock_gettime", [CLOCK_THREAD_CPUTIME_ID, address], MAY_FAIL);
  }

  /**
   * Stores the time in two words, seconds and nanoseconds, of a clock that cannot be
   * set: `clock_gettime(2)`. May fail.
   */
  time(into: BigUint64Array<ArrayBuffer>): number {
    const address = this.#keep(into);
    return this.#add("clock_gettime", [CLOCK_MONOTONIC, address], MAY_FAIL);
  }

  /**
   * Finds out which pages of this process's own memory can be read without a disk:
   * `mincore(2)`. The lowest bit of a byte of `into` is set for each page that can.
   */
  inCore(
    memory: Uint8Array<ArrayBuffer>,
    into: Uint8Array<ArrayBuffer>,
  ): number {
    const [start, address] = [this.#keep(memory), this.#keep(into)];
    return this.#add("mincore", [start, memory.length, address]);
  }

  /**
   * Drops a range of a file from the page cache, as far as nothing uses it:
   * `posix_fadvise(2)`. May fail.
   */
  dropCached(
    file: number,
    { offset, bytes }: { offset: number; bytes: number },
  ): number {
    const args = [file, offset, bytes, POSIX_FADV_DONTNEED];
    return this.#add("fadvise64", args, MAY_FAIL);
  }

  /** Reads at an offset of a file. `0`, the end of the file, ends the list. */
  readAt(
    from: Descriptor,
    into: Uint8Array<ArrayBuffer>,
    offset: number,
  ): number {
    const address = this.#keep(into);
    return this.#add("pread64", [from, address, into.length, offset], NOT_ZERO);
  }

  /** Writes to a file. */
  write(to: Descriptor, bytes: Uint8Array<ArrayBuffer>): number {
    return this.#add("write", [to, this.#keep(bytes), bytes.length]);
  }

  /** Makes a device-specific call: `ioctl(2)`. */
  ioctl(of: Descriptor, request: number, argument: Bytes): number {
    return this.#add("ioctl", [of, request, this.#keep(argument)]);
  }

  /** Gives advice on ranges of a process's memory: `process_madvise(2)`. */
  advise(
    pidfd: number,
    { iovecs, count, advice }: {
      iovecs: BigUint64Array<ArrayBuffer>;
      count: number;
      advice: number;
    },
  ): number {
    const address = this.#keep(iovecs);
    return this.#add("process_madvise", [pidfd, address, count, advice, 0]);
  }

  /**
   * Compares the address spaces of two processes: `kcmp(2)`, `KCMP_VM`. The result is 0
   * if they are one, otherwise 1 or 2, an order that is the same for all. May fail.
   */
  compareMemory(pid: number, other: number): number {
    return this.#add("kcmp", [pid, other, KCMP_VM, 0, 0], MAY_FAIL);
  }

  /** Returns the id of the thread that makes the calls: `gettid(2)`. */
  thread(): number {
    return this.#add("gettid", []);
  }

  /** Restricts that thread to these processors. May fail. */
  runOn(processors: Uint8Array<ArrayBuffer>): number {
    const address = this.#keep(processors);
    return this.#add(
      "sched_setaffinity",
      [0, processors.length, address],
      MAY_FAIL,
    );
  }

  /**
   * Makes the calls.
   *
   * @throws RcapError on a processor that rcap does not know.
   */
  async make(): Promise<void> {
    const { call } = loop();
    underway.add(this);
    try {
      await call(this.#words, BigInt(this.#count));
    } finally {
      underway.delete(this);
    }
  }

  /**
   * Makes the remaining calls fail while the list is being made. Calls on a
   * descriptor fail because their descriptor becomes invalid.
   */
  cancel(): void {
    for (let index = 0; index < this.#count; index++) {
      if (this.result(index) !== undefined) continue;
      const at = index * CALL_WORDS * HALVES;
      this.#halves[at + 1] &= ~FROM_FIRST;
      this.#halves.fill(0xffff_ffff, at + HALVES, at + 2 * HALVES);
    }
  }

  /** Removes all calls, so that the list can be reused. */
  clear(): void {
    this.#count = 0;
    this.#memory.length = 0;
  }

  /**
   * Returns the result of a call; an error is a negative number. `undefined` if it
   * has not been made yet, or an earlier call has ended the list.
   */
  result(index: number): number | undefined {
    const result = this.#words[index * CALL_WORDS + RESULT];
    return result === NOT_MADE ? undefined : Number(result);
  }

  /**
   * Returns the result of a call.
   *
   * @param what what the call does, for the message.
   * @throws SystemError if the call or one before it has failed.
   */
  checked(index: number, what: string): number {
    for (let at = 0; at <= index; at++) {
      const flags = this.#halves[at * CALL_WORDS * HALVES + 1];
      const result = this.result(at);
      const mayFail = (flags & MAY_FAIL) !== 0;
      if (result === undefined || result >= 0 || mayFail) continue;
      throw systemError(what, -result);
    }
    return this.result(index) ?? 0;
  }

  /**
   * Returns the address of memory that stays in place until the calls have been
   * made.
   */
  #keep(memory: Bytes): number {
    this.#memory.push(memory);
    return Number(Deno.UnsafePointer.value(Deno.UnsafePointer.of(memory)));
  }

  #add(
    name: keyof typeof NUMBERS["x86_64"],
    args: (Descriptor | number)[],
    flags = 0,
  ): number {
    const index = this.#count++;
    const at = index * CALL_WORDS * HALVES;
    if (at === this.#halves.length) this.#grow();
    const halves = this.#halves;
    halves.fill(0, at, at + CALL_WORDS * HALVES);
    halves[at] = loop().numbers[name];
    halves[at + 1] = args[0] === OPENED ? flags | FROM_FIRST : flags;
    for (let place = 0; place < args.length; place++) {
      const argument = args[place];
      if (typeof argument === "symbol") continue;
      const word = at + (1 + place) * HALVES;
      halves[word] = argument;
      halves[word + 1] = Math.floor(argument / 2 ** 32);
    }
    halves[at + RESULT * HALVES + 1] = NOT_MADE_HIGH;
    return index;
  }

  #grow(): void {
    const words = new BigInt64Array(this.#words.length * 2);
    words.set(this.#words);
    this.#words = words;
    this.#halves = new Uint32Array(words.buffer);
  }
}

/** Keeps lists alive while their calls are made. */
const underway = new Set<CallList>();

// <sys/mman.h> of Linux.
const PROT_READ = 1;
const PROT_WRITE = 2;
const PROT_EXEC = 4;
const MAP_PRIVATE = 0x02;
const MAP_ANONYMOUS = 0x20;
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

/** The loop's signature. */
const LOOP = {
  parameters: ["buffer", "usize"],
  result: "void",
  nonblocking: true,
} as const;
type Loop = Omit<typeof LOOP, "nonblocking">;

/** Room for either loop. */
const LOOP_BYTES = 4096n;

let made: ReturnType<typeof makeLoop> | undefined;

function loop() {
  return made ??= makeLoop();
}

function makeLoop() {
  const { arch } = Deno.build;
  const start = libc().mmap(
    0n,
    LOOP_BYTES,
    PROT_READ | PROT_WRITE,
    MAP_PRIVATE | MAP_ANONYMOUS,
    -1,
    0n,
  );
  const pointer = Deno.UnsafePointer.create<Loop>(start);
  if (start === MAP_FAILED || pointer === null) {
    throw systemError("mmap", errno());
  }
  const code = Uint8Array.fromHex(LOOPS[arch]);
  new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, code.length))
    .set(code);
  // The code is never changed again, and mprotect makes it visible to the
  // processor.
  if (libc().mprotect(start, LOOP_BYTES, PROT_READ | PROT_EXEC) !== 0) {
    throw new RcapError(
      `rcap is not allowed to run code that it has generated (mprotect: ${
        errnoMessage(errno())
      }); allow it, because rcap's runtime needs it too`,
    );
  }
  const run = new Deno.UnsafeFnPointer(pointer, LOOP);
  return {
    numbers: NUMBERS[arch],
    call: (words: BigInt64Array<ArrayBuffer>, count: bigint) =>
      run.call(words, count),
  };
}
