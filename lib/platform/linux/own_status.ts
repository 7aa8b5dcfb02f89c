/**
 * What `/proc/self/status` says of rcap: proc_pid_status(5).
 *
 * @module
 */

import { readTextFile } from "../../../ffi/file.ts";

/**
 * A field of rcap's own status, without its name; `undefined` where the kernel has
 * no such field.
 *
 * @throws SystemError when there is no status.
 */
export function ownStatus(name: string): string | undefined {
  return fieldOf(readTextFile("/proc/self/status"), name);
}

/** A field of a status. Only the name of a process is up to itself, and no line break in it. */
export function fieldOf(status: string, name: string): string | undefined {
  const start = `${name}:`;
  return status.split("\n").find((line) => line.startsWith(start))
    ?.slice(start.length).trim();
}
