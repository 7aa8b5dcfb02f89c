/**
 * Standard output and standard error, written on another thread. A full pipe, a
 * stopped terminal or an unresponsive file system can block a write indefinitely.
 *
 * Facts: write(2) and poll(2), whose constants are the same on Linux and illumos.
 *
 * @module
 */

const SYMBOLS = {
  poll: {
    parameters: ["buffer", "usize", "i32"],
    result: "i32",
    nonblocking: true,
  },
  write: {
    parameters: ["i32", "buffer", "usize"],
    result: "isize",
    nonblocking: true,
  },
} as const satisfies Deno.ForeignLibraryInterface;

// <poll.h>
const POLLOUT = 0x4;
const POLLERR = 0x8;
const POLLHUP = 0x10;
const POLLNVAL = 0x20;

/** Timeout of one wait for room, in milliseconds; the wait is repeated. */
const WAIT_MS = 1000;

/**
 * How often a write may fail although there is room, before the error is
 * determined.
 */
const MOST_FAILURES = 3;

/** How long to wait before another try, in milliseconds. */
const RETRY_MS = 10;

let opened: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] | undefined;

function calls() {
  const name = Deno.build.os === "linux" ? "libc.so.6" : "libc.so.1";
  return opened ??= Deno.dlopen(name, SYMBOLS).symbols;
}

/** Standard output, 1, or standard error, 2. */
export class Stream {
  readonly #fd: 1 | 2;

  constructor(fd: 1 | 2) {
    this.#fd = fd;
  }

  /** Whether the stream is a terminal. */
  isTerminal(): boolean {
    return this.#own().isTerminal();
  }

  /**
   * Writes all bytes, however long that takes. Writes must not overlap.
   *
   * @returns `false` if the reader has closed its end.
   * @throws Error with the system's text if they cannot be written, for example
   * because the disk is full.
   */
  async write(bytes: Uint8Array<ArrayBuffer>): Promise<boolean> {
    let failures = 0;
    for (let at = 0; at < bytes.length;) {
      const rest = bytes.subarray(at);
      const size = BigInt(rest.length);
      const length = Number(await calls().write(this.#fd, rest, size));
      if (length > 0) {
        at += length;
        failures = 0;
        continue;
      }
      // errno stayed on the other thread, so poll(2) finds out why.
      const events = await this.#poll(0);
      if ((events & (POLLERR | POLLHUP)) !== 0) return false;
      if ((events & (POLLOUT | POLLNVAL)) === 0) {
        // The stream is non-blocking and full.
        await this.#poll(WAIT_MS);
      } else if (++failures < MOST_FAILURES) {
        // It may have been full at that moment.
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      } else {
        // Deno's write fails in the same way and reports why.
        at += await this.#own().write(rest);
      }
    }
    return true;
  }

  /** Returns poll(2)'s events within so many milliseconds; 0 for none. */
  async #poll(milliseconds: number): Promise<number> {
    // struct pollfd: int fd, short events, short revents.
    const view = new DataView(new ArrayBuffer(8));
    view.setInt32(0, this.#fd, true);
    view.setInt16(4, POLLOUT, true);
    await calls().poll(new Uint8Array(view.buffer), 1n, milliseconds);
    return view.getInt16(6, true);
  }

  #own(): typeof Deno.stdout | typeof Deno.stderr {
    return this.#fd === 1 ? Deno.stdout : Deno.stderr;
  }
}
