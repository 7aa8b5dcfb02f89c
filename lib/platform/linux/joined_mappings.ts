/**
 * Limits the number of mappings that are kept of a process: neighbours are joined,
 * the most similar first, until they are few enough.
 *
 * A process can have tens of thousands of mappings, and some systems allow a
 * million; rcap keeps hundreds of bytes for each. Joined mappings are still known
 * page by page and can be paged out; only the reason why one part stays is lost.
 *
 * A mapping that the kernel refuses to page out is never joined with one that it
 * accepts, since the kernel stops at the first refusal. It continues over holes,
 * and returns an error for them at the end (`madvise_walk_vmas` of mm/madvise.c).
 *
 * @module
 */

import type { LinuxMapping } from "./linux_mapping.ts";
import { isFileName, isSpecialName, kindOfName } from "./mapping_names.ts";

/** Which neighbours are joined, by step of coarseness. */
const STEPS: readonly ((a: LinuxMapping, b: LinuxMapping) => boolean)[] = [
  () => false,
  // Similar mappings with a small hole between them at most.
  (a, b) => b.start - a.end <= SMALL_HOLE && isAlike(a, b),
  isAlike,
  // All mappings that may be joined.
  () => true,
];
const COARSEST = STEPS.length - 1;

/** The largest hole that the first step joins over: a large page, in bytes. */
const SMALL_HOLE = BigInt(2 << 20);

/**
 * smaps flags of mappings that the kernel refuses to page out: locked, hugetlb, and
 * two kinds of device memory.
 */
const REFUSED = ["lo", "ht", "io", "pf"];

/** Mappings in address order, joined as far as necessary. */
export class JoinedMappings {
  readonly #most: number;
  #mappings: LinuxMapping[] = [];
  #step = 0;
  /** The number of mappings added. */
  found = 0;
  /** The number of mappings left out at the end, because joining did not suffice. */
  leftOut = 0;

  /** @param most the most mappings to keep, at least 1. */
  constructor(most = Infinity) {
    this.#most = most;
  }

  get mappings(): LinuxMapping[] {
    return this.#mappings;
  }

  /** Whether joining has begun. */
  get areJoined(): boolean {
    return this.#step > 0;
  }

  /** Adds the next mapping and takes ownership of it. */
  add(mapping: LinuxMapping): void {
    this.found++;
    // Mappings after one that was left out must not be joined with those before it.
    while (this.leftOut > 0 || !this.#take(mapping)) {
      if (this.#step === COARSEST) {
        this.leftOut++;
        return;
      }
      this.#step++;
      const finer = this.#mappings;
      this.#mappings = [];
      for (const one of finer) this.#take(one);
    }
  }

  /** @returns Whether there was room, or a neighbour to join it with. */
  #take(mapping: LinuxMapping): boolean {
    const before = this.#mappings.at(-1);
    if (
      before && this.#step > 0 && mayJoin(before, mapping) &&
      STEPS[this.#step](before, mapping)
    ) {
      join(before, mapping);
      return true;
    }
    if (this.#mappings.length >= this.#most) return false;
    this.#mappings.push(mapping);
    return true;
  }
}

/** Whether page-outs treat two mappings alike. */
function mayJoin(a: LinuxMapping, b: LinuxMapping): boolean {
  return a.pageSize === b.pageSize && !isOfKernel(b) &&
    isSpecialName(a.name) === isSpecialName(b.name) &&
    (a.flags === b.flags ||
      REFUSED.every((flag) => a.flags.has(flag) === b.flags.has(flag)));
}

/** Whether a mapping lies in the kernel's half of the address space: [vsyscall]. */
function isOfKernel({ start }: LinuxMapping): boolean {
  return start >> 63n !== 0n;
}

/** Whether two mappings are alike in everything that matters to paging. */
function isAlike(a: LinuxMapping, b: LinuxMapping): boolean {
  const isFile = isFileName(a.name);
  return kindOfName(a.name) === kindOfName(b.name) && a.device === b.device &&
    a.perm[3] === b.perm[3] &&
    // Pages of read-only file mappings are paged out first.
    (!isFile || a.perm[1] === b.perm[1]);
}

/** Joins a mapping to the one before it. */
function join(a: LinuxMapping, b: LinuxMapping): void {
  a.end = b.end;
  a.rss += b.rss;
  a.own += b.own;
  a.proportional += b.proportional;
  a.dirty += b.dirty;
  a.referenced += b.referenced;
  a.anonymous += b.anonymous;
  a.swap += b.swap;
  a.locked += b.locked;
  a.perm = joinedPerm(a.perm, b.perm);
  // A mapping that contains a file counts as a file: part of it can go without
  // swap.
  if (!isFileName(a.name)) {
    a.name = isFileName(b.name) ? b.name : a.name || b.name;
  }
  if (a.device !== b.device) a.device = "";
}

/** The union of the permissions, and shared if either is. */
function joinedPerm(a: string, b: string): string {
  if (a === b) return a;
  let perm = "";
  for (let at = 0; at < 3; at++) perm += a[at] === "-" ? b[at] : a[at];
  return perm + (a[3] === "s" ? "s" : b[3]);
}
