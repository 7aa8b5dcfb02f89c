/**
 * Ends connections that Deno cannot: `shutdown(2)`, `getpeername(2)`.
 *
 * @module
 */

import { libc } from "./libc.ts";
import { openFilesLimit } from "./usage.ts";

// <sys/socket.h>.
const AF_INET = 2;
const AF_INET6 = 10;
const SHUT_RDWR = 2;

/** Descriptors are given out from the lowest on; rcap has nowhere near as many. */
const MOST_DESCRIPTORS = 65_536;

/** One end of a TCP connection. */
export interface Endpoint {
  readonly hostname: string;
  readonly port: number;
}

// struct sockaddr_storage, and its length.
const address = new Uint8Array(128);
const addressView = new DataView(address.buffer);
const length = new Uint32Array(1);

/**
 * Ends a connection of this process in both directions, so that whatever waits on it
 * fails. Deno's `close()` leaves the descriptor open for as long as a write waits
 * for the other side.
 *
 * @param local this side of it, and `remote` the other: no two connections have both.
 * @returns whether there was such a connection.
 */
export function endConnection(local: Endpoint, remote: Endpoint): boolean {
  const { getpeername, getsockname, shutdown } = libc();
  const most = Math.min(openFilesLimit(), MOST_DESCRIPTORS);
  for (let fd = 0; fd < most; fd++) {
    length[0] = address.length;
    if (getpeername(fd, address, length) !== 0 || !isAddress(remote)) continue;
    length[0] = address.length;
    if (getsockname(fd, address, length) !== 0 || !isAddress(local)) continue;
    shutdown(fd, SHUT_RDWR);
    return true;
  }
  return false;
}

/** Whether that is what the kernel has written: ip(7), ipv6(7). */
function isAddress({ hostname, port }: Endpoint): boolean {
  const family = addressView.getUint16(0, true);
  if (family !== AF_INET && family !== AF_INET6) return false;
  // sin_port 2, sin_addr 4; sin6_port 2, sin6_addr 8.
  if (addressView.getUint16(2) !== port) return false;
  if (family === AF_INET) return address.subarray(4, 8).join(".") === hostname;
  const words = Array.from(
    { length: 8 },
    (_, i) => addressView.getUint16(8 + 2 * i).toString(16),
  );
  return shortest(words.join(":")) === shortest(hostname);
}

/** An IPv6 address in its one shortest form. */
function shortest(address: string): string | undefined {
  return URL.parse(`http://[${address}]`)?.hostname;
}
