/**
 * How much memory rcap may take as a daemon, beside processes that it does not
 * trust.
 *
 * @module
 */

const MIB = 2 ** 20;

/**
 * More than the daemon ever takes, in bytes: `MemoryMax=` of its unit. It is what the
 * daemon takes by itself, some 80 MiB, with plenty of room, and one percent of the
 * memory it looks after: of every page of 4 KiB a daemon keeps two to four bytes, and
 * up to sixteen where the pages that are in memory lie alone.
 *
 * What is kept of other processes is limited to three eighths of it, by
 * `./linux/precision.ts`. The rest is for what the garbage collector has not yet
 * taken away, and for what is read at the moment.
 *
 * @param physical memory of the machine, in bytes.
 */
export function mostMemory(physical: number): number {
  return 512 * MIB + Math.floor(physical / 100);
}
