/**
 * Reads `/proc/self/status`: proc_pid_status(5).
 *
 * @module
 */

import { readTextFile } from "../../../ffi/file.ts";

/**
 * Reads a field of rcap's own status, without its name; `undefined` if the kernel
 * does not have the field.
 *
 * @throws SystemError if the status cannot be read.
 */
export function ownStatus(name: string): string | undefined {
  return fieldOf(readTextFile("/proc/self/status"), name);
}

/**
 * Returns a field of a status. Its lines are reliable: a process controls only its
 * name, in which line breaks are escaped.
 */
export function fieldOf(status: string, name: string): string | undefined {
  const start = `${name}:`;
  return status.split("\n").find((line) => line.startsWith(start))
    ?.slice(start.length).trim();
}
