/**
 * Process descriptors: `pidfd_open(2)` and `process_madvise(2)`.
 *
 * The kernel can give a pid to another process at any time. A process descriptor
 * always refers to the same process, so page-outs go through one.
 *
 * @module
 */

import { CallList } from "./call_list.ts";
import { checked, libc } from "./libc.ts";

// include/uapi/asm-generic/unistd.h; the same on every architecture.
const SYS_PIDFD_SEND_SIGNAL = 424n;
const SYS_PIDFD_OPEN = 434n;

/** `MADV_WILLNEED` of include/uapi/asm-generic/mman-common.h: read these pages. */
export const MADV_WILLNEED = 3;

/** `MADV_COLD` of include/uapi/asm-generic/mman-common.h: deactivate these pages. */
export const MADV_COLD = 20;

/** `MADV_PAGEOUT` of include/uapi/asm-generic/mman-common.h: reclaim these pages. */
export const MADV_PAGEOUT = 21;

/** Signals of signal(7); the numbers are the same on x86-64 and arm64. */
export const SIGHUP = 1;
export const SIGUSR1 = 10;

/** The most ranges that one `process_madvise` takes: `UIO_MAXIOV` of <linux/uio.h>. */
export const MAX_RANGES = 1024;

/** Ranges of another process's memory, as `process_madvise` takes them. */
export class RemoteRanges {
  // struct iovec: address, length; 64 bits each.
  readonly #iovecs: BigUint64Array<ArrayBuffer>;
  #count = 0;

  /** @param capacity the most ranges that it can hold, up to `MAX_RANGES`. */
  constructor(capacity: number) {
    this.#iovecs = new BigUint64Array(capacity * 2);
  }

  /** The number of ranges. */
  get count(): number {
    return this.#count;
  }

  get isFull(): boolean {
    return this.#count * 2 === this.#iovecs.length;
  }

  /** Adds a range of `bytes` bytes at an address. */
  add(start: bigint, bytes: number): void {
    this.#iovecs[this.#count * 2] = start;
    this.#iovecs[this.#count * 2 + 1] = BigInt(bytes);
    this.#count++;
  }

  /** Length of a range, in bytes. */
  bytesOf(index: number): number {
    return Number(this.#iovecs[index * 2 + 1]);
  }

  clear(): void {
    this.#count = 0;
  }

  /** Returns the ranges from an index on, as an array of `struct iovec`. */
  from(index: number): BigUint64Array<ArrayBuffer> {
    return this.#iovecs.subarray(index * 2, this.#count * 2);
  }
}

/** A process descriptor; closed by `using`. */
export class Pidfd implements Disposable {
  readonly #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /**
   * Opens a descriptor of the process that currently has a pid.
   *
   * @throws SystemError `ESRCH` if there is no such process.
   */
  static open(pid: number): Pidfd {
    const fd = libc().pidfdOpen(SYS_PIDFD_OPEN, pid, 0);
    return new Pidfd(checked(fd, `pidfd_open ${pid}`));
  }

  /** Whether the process has not exited, or has not been reaped yet. */
  isAlive(): boolean {
    return this.#send(0) === 0;
  }

  /**
   * Sends a signal.
   *
   * @throws SystemError `ESRCH` if the process has exited, `EPERM` if rcap may not
   * signal it.
   */
  signal(number: number): void {
    checked(this.#send(number), `send signal ${number}`);
  }

  #send(signal: number): number {
    const args = [SYS_PIDFD_SEND_SIGNAL, this.#fd, signal, null, 0] as const;
    return Number(libc().pidfdSendSignal(...args));
  }

  /**
   * Adds a call to a list that gives advice on ranges of the process's memory. The
   * call processes the ranges in order, ends at the first that fails, and returns
   * how many bytes it has processed. If the very first range fails, the call fails:
   * with `EINVAL` or `ENOMEM` because of the memory, `ESRCH` or `EPERM` because of
   * the process.
   *
   * The call waits for the process's mmap lock, and not even SIGKILL ends the wait.
   *
   * @param from index of the first range.
   * @returns the index of the call.
   */
  advise(
    calls: CallList,
    ranges: RemoteRanges,
    { from, advice }: { from: number; advice: number },
  ): number {
    return calls.advise(this.#fd, {
      iovecs: ranges.from(from),
      count: ranges.count - from,
      advice,
    });
  }

  /**
   * Gives advice on ranges of the process's memory, on another thread.
   *
   * @returns how many bytes were processed: {@linkcode advise}.
   * @throws SystemError as {@linkcode advise} fails.
   */
  async madvise(
    ranges: RemoteRanges,
    options: { from: number; advice: number },
  ): Promise<number> {
    const calls = new CallList();
    const advised = this.advise(calls, ranges, options);
    await calls.make();
    return calls.checked(advised, "process_madvise");
  }

  [Symbol.dispose](): void {
    libc().close(this.#fd);
  }
}
