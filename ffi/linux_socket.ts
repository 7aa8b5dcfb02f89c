/**
 * Ends TCP connections of Linux: `shutdown(2)`, `getpeername(2)`.
 *
 * @module
 */

import { libc } from "./libc.ts";
import { endConnectionWith, type Endpoint } from "./socket.ts";
import { openFilesLimit } from "./usage.ts";

/** <sys/socket.h> of Linux. */
const AF_INET6 = 10;

/** Ends a connection of this process: {@linkcode endConnectionWith}. */
export function endConnection(local: Endpoint, remote: Endpoint): boolean {
  const { getpeername, getsockname, shutdown } = libc();
  const calls = {
    getpeername,
    getsockname,
    shutdown,
    AF_INET6,
    openFilesLimit,
  };
  return endConnectionWith(calls, { local, remote });
}
