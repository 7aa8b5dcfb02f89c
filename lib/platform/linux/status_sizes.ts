/**
 * Sizes in files of `/proc` that have a line for each: `meminfo` and `status`,
 * proc_meminfo(5) and proc_pid_status(5).
 *
 * @module
 */

/** Returns a size, in bytes; `undefined` if the text has none of that name. */
export function sizeIn(text: string, name: string): number | undefined {
  const kilobytes = new RegExp(`^${name}:\\s+(\\d{1,15}) kB$`, "m")
    .exec(text)?.[1];
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
}
