/**
 * Ends connections that Deno cannot end: `shutdown(2)`, `getpeername(2)`.
 *
 * @module
 */

// <sys/socket.h>; AF_INET6 is another one on every system.
const AF_INET = 2;
const SHUT_RDWR = 2;

/** The kernel assigns the lowest free descriptor, and rcap never has nearly as many. */
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

type Bytes = Uint8Array<ArrayBuffer>;
type Words = Uint32Array<ArrayBuffer>;

/** What it takes of a system. */
export interface SocketCalls {
  getpeername(fd: number, address: Bytes, length: Words): number;
  getsockname(fd: number, address: Bytes, length: Words): number;
  shutdown(fd: number, how: number): number;
  readonly AF_INET6: number;
  /** How many descriptors this process may have open. */
  openFilesLimit(): number;
}

/**
 * Ends a connection of this process in both directions, so that pending reads and
 * writes fail. Deno's `close()` keeps the descriptor open while a write waits for
 * the other side.
 *
 * @param local this side of the connection; `remote` is the other. The pair is
 * unique.
 * @returns whether there was such a connection.
 */
export function endConnectionWith(
  calls: SocketCalls,
  { local, remote }: { local: Endpoint; remote: Endpoint },
): boolean {
  const isSide = (endpoint: Endpoint) => isAddress(endpoint, calls.AF_INET6);
  const most = Math.min(calls.openFilesLimit(), MOST_DESCRIPTORS);
  for (let fd = 0; fd < most; fd++) {
    length[0] = address.length;
    if (calls.getpeername(fd, address, length) !== 0 || !isSide(remote)) {
      continue;
    }
    length[0] = address.length;
    if (calls.getsockname(fd, address, length) !== 0 || !isSide(local)) {
      continue;
    }
    calls.shutdown(fd, SHUT_RDWR);
    return true;
  }
  return false;
}

/** Whether that is what the kernel has written: ip(7), ipv6(7), `<netinet/in.h>`. */
function isAddress({ hostname, port }: Endpoint, AF_INET6: number): boolean {
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

/** Returns an IPv6 address in its unique shortest form. */
function shortest(address: string): string | undefined {
  return URL.parse(`http://[${address}]`)?.hostname;
}
