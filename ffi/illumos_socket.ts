/**
 * Ends TCP connections of illumos: shutdown(3SOCKET), getpeername(3SOCKET).
 *
 * @module
 */

import { openLibrary } from "./illumos_libc.ts";
import { endConnectionWith, type Endpoint } from "./socket.ts";

const SYMBOLS = {
  getpeername: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  shutdown: { parameters: ["i32", "i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** <sys/socket.h> of illumos. */
const AF_INET6 = 26;

/** The sockets of this process. */
export class IllumosSockets {
  readonly #calls: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];
  readonly #openFilesLimit: () => number;

  /**
   * @param path the path of the library, usually `libsocket.so.1`.
   * @throws CapabilityError if it cannot be loaded, or lacks a function.
   */
  constructor(path: string, openFilesLimit: () => number) {
    this.#calls = openLibrary(path, SYMBOLS);
    this.#openFilesLimit = openFilesLimit;
  }

  /** Ends a connection of this process: {@linkcode endConnectionWith}. */
  endConnection(local: Endpoint, remote: Endpoint): boolean {
    const openFilesLimit = this.#openFilesLimit;
    const calls = { ...this.#calls, AF_INET6, openFilesLimit };
    return endConnectionWith(calls, { local, remote });
  }
}
