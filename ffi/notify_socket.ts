/**
 * Datagrams to local sockets: `unix(7)`, `socket(2)`, `send(2)`. In Deno such
 * sockets are an unstable feature.
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

/** Size of `sun_path` in struct sockaddr_un, which follows the family's two bytes. */
const SUN_PATH_SIZE = 108;

const encoder = new TextEncoder();

/** A socket that sends datagrams to one address; closed by `using`. */
export class NotifySocket implements Disposable {
  readonly #fd: number;
  readonly #address: Uint8Array<ArrayBuffer>;

  /**
   * @param address an absolute path, or `@` and the name of an abstract socket.
   * Whether anybody listens there shows only when something is sent.
   * @throws SystemError if no descriptor is free, and `EINVAL` if the address is
   * not valid.
   */
  constructor(address: string) {
    this.#address = socketAddress(address);
    this.#fd = checked(
      libc().socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0),
      "socket",
    );
  }

  /**
   * Sends a text as one datagram. Never waits.
   *
   * @returns false if the receiver's queue is full.
   * @throws SystemError if it cannot be sent.
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

/** A `struct sockaddr_un` of the shortest possible length. */
function socketAddress(address: string): Uint8Array<ArrayBuffer> {
  const path = encoder.encode(address);
  const isAbstract = address.startsWith("@");
  const isKnown = isAbstract || address.startsWith("/");
  if (!isKnown || path.length < 2 || path.length >= SUN_PATH_SIZE) {
    throw systemError(`socket address "${address}"`, Errno.EINVAL);
  }
  // The length of the address determines the length of an abstract name; a path
  // ends with a zero byte.
  const bytes = new Uint8Array(2 + path.length + (isAbstract ? 0 : 1));
  new DataView(bytes.buffer).setUint16(0, AF_UNIX, true);
  bytes.set(path, 2);
  if (isAbstract) bytes[2] = 0;
  return bytes;
}
