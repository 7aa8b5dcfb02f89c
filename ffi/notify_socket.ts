/**
 * Datagrams to a local socket by its address: `unix(7)`, `socket(2)`, `send(2)`.
 * Deno has such sockets only as an unstable feature.
 *
 * @module
 */

import { checked, Errno, errno, libc, systemError } from "./libc.ts";

// <sys/socket.h> of Linux, the values that x86-64 and arm64 share.
const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;

/** Size of `sun_path` in struct sockaddr_un, behind the family's two bytes. */
const SUN_PATH_SIZE = 108;

const encoder = new TextEncoder();

/** A socket to send datagrams to one address; closed by `using`. */
export class NotifySocket implements Disposable {
  readonly #fd: number;
  readonly #address: Uint8Array<ArrayBuffer>;

  /**
   * @param address an absolute path, or the name of an abstract socket behind `@`.
   * Whether somebody listens there shows when something is sent.
   * @throws SystemError when there is no descriptor to be had, and `EINVAL` for
   * what is no address.
   */
  constructor(address: string) {
    this.#address = socketAddress(address);
    this.#fd = checked(
      libc().socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0),
      "socket",
    );
  }

  /**
   * Sends a text as one datagram, without ever waiting.
   *
   * @returns false when the receiver has no room for it now.
   * @throws SystemError when it cannot be sent.
   */
  send(text: string): boolean {
    const bytes = encoder.encode(text);
    const sent = libc().sendto(
      this.#fd,
      bytes,
      BigInt(bytes.length),
      MSG_DONTWAIT | MSG_NOSIGNAL,
      this.#address,
      this.#address.length,
    );
    if (sent >= 0) return true;
    const error = systemError("send", errno());
    if (error.errno === Errno.EAGAIN) return false;
    throw error;
  }

  [Symbol.dispose](): void {
    libc().close(this.#fd);
  }
}

/** A `struct sockaddr_un`, no longer than it has to be. */
function socketAddress(address: string): Uint8Array<ArrayBuffer> {
  const path = encoder.encode(address);
  const isAbstract = address.startsWith("@");
  const isKnown = isAbstract || address.startsWith("/");
  if (!isKnown || path.length < 2 || path.length >= SUN_PATH_SIZE) {
    throw systemError(`socket address "${address}"`, Errno.EINVAL);
  }
  // The name of an abstract socket is as long as the address says; a path ends
  // with a zero byte.
  const bytes = new Uint8Array(2 + path.length + (isAbstract ? 0 : 1));
  new DataView(bytes.buffer).setUint16(0, AF_UNIX, true);
  bytes.set(path, 2);
  if (isAbstract) bytes[2] = 0;
  return bytes;
}
