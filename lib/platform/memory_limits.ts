/**
 * The memory limit of the daemon, which runs beside processes that it does not
 * trust.
 *
 * @module
 */

const MIB = 2 ** 20;

/**
 * Returns a limit that the daemon never reaches, in bytes: `MemoryMax=` of its
 * unit. It consists of the daemon's own needs, some 80 MiB, with ample room, and
 * one percent of the memory that it manages: for every page of 4 KiB the daemon
 * keeps two to eight bytes, and up to thirty if resident pages are isolated.
 *
 * `./linux/precision.ts` limits what is kept of other processes to three eighths of
 * it. The rest is for garbage that is not collected yet, and for what is being
 * read.
 *
 * @param physical the machine's memory, in bytes.
 */
export function mostMemory(physical: number): number {
  return 512 * MIB + Math.floor(physical / 100);
}
