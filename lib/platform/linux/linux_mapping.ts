/**
 * A mapping of a Linux process.
 *
 * @module
 */

import {
  MA_ANON,
  MA_EXEC,
  MA_READ,
  MA_SHARED,
  MA_WRITE,
} from "../../memory/mapping_flags.ts";

/** A mapping, as the kernel tells of it. Sizes in bytes; 0 where only maps was read. */
export interface LinuxMapping {
  readonly start: bigint;
  end: bigint;
  /** As in maps: `rw-p`. */
  perm: string;
  /** Major and minor number of the file's device, as in maps: `fe:01`. */
  device: string;
  /**
   * Path of the file, or a name like `[heap]`; empty for anonymous memory. Where
   * names are not kept, one that stands for all of its kind.
   */
  name: string;
  /** Page size of the mapping's page table entries. */
  pageSize: number;
  rss: number;
  /** Of `rss`, what is mapped by others too. */
  shared: number;
  /** Of `rss`, what is modified as against its file or swap. */
  dirty: number;
  /** Of `rss`, what was accessed since references were last cleared. */
  referenced: number;
  /** Of `rss`, what belongs to no file. */
  anonymous: number;
  /** What of it is in swap. */
  swap: number;
  /** Of `rss`, what is locked in memory; counted proportionally. */
  locked: number;
  /** `VmFlags`, two letters each. */
  flags: ReadonlySet<string>;
}

/** The mapping's flags as the scanner knows them. */
export function flagsOf({ perm, name }: LinuxMapping): number {
  return (perm[0] === "r" ? MA_READ : 0) | (perm[1] === "w" ? MA_WRITE : 0) |
    (perm[2] === "x" ? MA_EXEC : 0) | (perm[3] === "s" ? MA_SHARED : 0) |
    (name === "" ? MA_ANON : 0);
}
