/**
 * Standard output and standard error, written on another thread: a full pipe, a
 * stopped terminal or a file system that does not answer makes a write wait for as
 * long as somebody else likes.
 *
 * Facts: write(2) and poll(2), which take the same values on Linux and illumos.
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

/** How long one wait for room may take, in milliseconds; another follows it. */
const WAIT_MS = 1000;

/** How often a write may fail although there is room, before it is asked why. */
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

  /** Whether it is a terminal. */
  isTerminal(): boolean {
    return this.#own().isTerminal();
  }

  /**
   * Writes all of some bytes, however long that takes. One write at a time, please.
   *
   * @returns `false` when nobody reads them any more.
   * @throws Error in the system's words when they cannot be written, to a full disk say.
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
      // errno stayed on the other thread, so it is found out what is the matter.
      const events = await this.#poll(0);
      if ((events & (POLLERR | POLLHUP)) !== 0) return false;
      if ((events & (POLLOUT | POLLNVAL)) === 0) {
        // Somebody made it non-blocking, and it is full.
        await this.#poll(WAIT_MS);
      } else if (++failures < MOST_FAILURES) {
        // It may have been full just now.
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      } else {
        // Deno fails in the same way, and says why.
        at += await this.#own().write(rest);
      }
    }
    return true;
  }

  /** What poll(2) says of it, after so many milliseconds at most; 0 for nothing. */
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
