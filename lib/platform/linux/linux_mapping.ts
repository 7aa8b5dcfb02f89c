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

/** A mapping, as the kernel reports it. Sizes in bytes; 0 if only maps was read. */
export interface LinuxMapping {
  readonly start: bigint;
  end: bigint;
  /** As in maps: `rw-p`. */
  perm: string;
  /** Major and minor number of the file's device, as in maps: `fe:01`. */
  device: string;
  /**
   * Path of the file, or a name like `[heap]`; empty for anonymous memory. If names
   * are not kept, the name of its kind.
   */
  name: string;
  /** Page size of the mapping's page table entries. */
  pageSize: number;
  rss: number;
  /** The part of `rss` that is mapped exactly once. */
  own: number;
  /** The part of `own` that is pinned; `undefined` where map counts cannot be read. */
  pinned?: number;
  /** `rss`, with each page divided by how often it is mapped. */
  proportional: number;
  /** The part of `rss` that differs from its file or swap. */
  dirty: number;
  /** The part of `rss` accessed since references were last cleared. */
  referenced: number;
  /** The part of `rss` that belongs to no file. */
  anonymous: number;
  /** The part of the mapping that is in swap. */
  swap: number;
  /** The part of `rss` that is locked in memory; counted proportionally. */
  locked: number;
  /** `VmFlags`, two letters each. */
  flags: ReadonlySet<string>;
}

/** Returns the mapping's flags in the scanner's form. */
export function flagsOf({ perm, name }: LinuxMapping): number {
  return (perm[0] === "r" ? MA_READ : 0) | (perm[1] === "w" ? MA_WRITE : 0) |
    (perm[2] === "x" ? MA_EXEC : 0) | (perm[3] === "s" ? MA_SHARED : 0) |
    (name === "" ? MA_ANON : 0);
}
