/**
 * The mappings of a process that has more of them than are kept: neighbours are
 * joined, those that are most alike first, until they are few enough.
 *
 * A process can have tens of thousands of mappings, some systems allow a million,
 * and rcap keeps hundreds of bytes of each. What is joined is still known page by
 * page and can be paged out; only why one of its parts cannot go is no longer told.
 *
 * Nothing is ever joined with what the kernel refuses to page out, since it ends
 * there with all that is behind. Over holes it does not, but says afterwards that
 * there were some (`madvise_walk_vmas` of mm/madvise.c).
 *
 * @module
 */

import type { LinuxMapping } from "./linux_mapping.ts";
import { isFileName, isSpecialName, kindOfName } from "./mapping_names.ts";

/** Steps of coarseness: what is joined. */
const STEPS: readonly ((a: LinuxMapping, b: LinuxMapping) => boolean)[] = [
  () => false,
  // What differs in nothing that matters, and is about next to each other.
  (a, b) => b.start - a.end <= SMALL_HOLE && isAlike(a, b),
  isAlike,
  // Whatever can be paged out at all, or not.
  () => true,
];
const COARSEST = STEPS.length - 1;

/** A hole that is joined over before larger ones: a large page, in bytes. */
const SMALL_HOLE = BigInt(2 << 20);

/** Flags of smaps by which the kernel refuses to page out: locked, hugetlb, and two of device memory. */
const REFUSED = ["lo", "ht", "io", "pf"];

/** Mappings in address order, joined as far as there are too many. */
export class JoinedMappings {
  readonly #most: number;
  #mappings: LinuxMapping[] = [];
  #step = 0;
  /** How many there were to begin with. */
  found = 0;
  /** How many were left out at the end, since not even joining all that can be joined sufficed. */
  leftOut = 0;

  /** @param most how many are kept, at least 1. */
  constructor(most = Infinity) {
    this.#most = most;
  }

  get mappings(): LinuxMapping[] {
    return this.#mappings;
  }

  /** Whether any two were joined. */
  get areJoined(): boolean {
    return this.#step > 0;
  }

  /** Adds the next one, which becomes this object's own. */
  add(mapping: LinuxMapping): void {
    this.found++;
    // Nothing may be joined with what lies behind one that was left out.
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

  /** @returns whether there was room, or a neighbour to join it with. */
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

/** Whether the kernel treats two mappings alike when it is to page them out. */
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

/** Whether two mappings differ in nothing that matters to what becomes of their pages. */
function isAlike(a: LinuxMapping, b: LinuxMapping): boolean {
  const isFile = isFileName(a.name);
  return kindOfName(a.name) === kindOfName(b.name) && a.device === b.device &&
    a.perm[3] === b.perm[3] &&
    // Pages of a file that cannot be written go first.
    (!isFile || a.perm[1] === b.perm[1]);
}

/** Adds a mapping to the one before it. */
function join(a: LinuxMapping, b: LinuxMapping): void {
  a.end = b.end;
  a.rss += b.rss;
  a.shared += b.shared;
  a.dirty += b.dirty;
  a.referenced += b.referenced;
  a.anonymous += b.anonymous;
  a.swap += b.swap;
  a.locked += b.locked;
  a.perm = joinedPerm(a.perm, b.perm);
  // What holds a file is one: some of it can go without swap.
  if (!isFileName(a.name)) {
    a.name = isFileName(b.name) ? b.name : a.name || b.name;
  }
  if (a.device !== b.device) a.device = "";
}

/** What either allows, and shared if either is. */
function joinedPerm(a: string, b: string): string {
  if (a === b) return a;
  let perm = "";
  for (let at = 0; at < 3; at++) perm += a[at] === "-" ? b[at] : a[at];
  return perm + (a[3] === "s" ? "s" : b[3]);
}
