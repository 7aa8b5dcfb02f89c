/**
 * Which processes share one address space: `clone(2)` with `CLONE_VM`, and `vfork(2)`.
 *
 * The list of all tasks tells by their top page tables. Where BPF is not available,
 * `kcmp(2)` compares two processes at a time, by an order that is the same for all. A
 * process gets its address space when it is cloned or executes a program, so each is
 * placed in that order once, and only among processes with the same code and stack
 * addresses, which are forked from one another. Most have none beside them and cost
 * nothing.
 *
 * @module
 */

import { CallList } from "../../../ffi/call_list.ts";
import { Errno } from "../../../ffi/libc.ts";
import { ProcessError } from "../../errors.ts";
import type { ProcessEntry } from "../platform.ts";
import type { MemoryCalls } from "./memory_calls.ts";
import { readProcess } from "./process_list.ts";
import { HIDDEN_LAYOUT } from "./stat.ts";

/** The most comparisons of one search; processes beyond that are compared in the next. */
const MOST_COMPARISONS = 1000;

/** Comparisons share a limit on calls that do not return, under this name of a group. */
const CALLS = "kcmp";
/** Comparisons that do not return say nothing of one process, so none is set aside. */
const NOBODY = -1;

/**
 * Returns for each process that shares its address space with one before it in the
 * list the pid of the first such process.
 *
 * @param spaceOf returns one object for each address space; `undefined` if not known.
 */
export function firstOfSpaces(
  entries: readonly ProcessEntry[],
  spaceOf: (entry: ProcessEntry) => object | undefined,
): Map<number, number> {
  const firsts = new Map<object, number>();
  const shared = new Map<number, number>();
  for (const entry of entries) {
    const space = spaceOf(entry);
    if (!space) continue;
    const first = firsts.get(space);
    if (first === undefined) firsts.set(space, entry.pid);
    else if (first !== entry.pid) shared.set(entry.pid, first);
  }
  return shared;
}

/** An address space and the processes that are known to have it, by key. */
interface Space {
  readonly processes: Map<string, ProcessEntry>;
}

/**
 * Compares the address spaces of two processes: 0 if they are one, otherwise 1 or 2;
 * `undefined` if that is not known now, "never" if it will not be known.
 */
export type Compare = (
  one: ProcessEntry,
  other: ProcessEntry,
) => Promise<number | undefined | "never">;

/** Finds shared address spaces by comparison, and remembers them from search to search. */
export class SpaceOrder {
  readonly #compare: Compare;
  /** The spaces in their order, by the layout of their processes. */
  readonly #orders = new Map<string, Space[]>();
  /** The space of each process that has its place. */
  readonly #known = new Map<string, Space>();
  #left = 0;

  constructor(compare: Compare) {
    this.#compare = compare;
  }

  /** Searches among some processes: {@linkcode firstOfSpaces}. */
  async search(
    entries: readonly ProcessEntry[],
  ): Promise<Map<number, number>> {
    this.#left = MOST_COMPARISONS;
    const present = new Set(entries.map(keyOf));
    for (const key of this.#known.keys()) {
      if (!present.has(key)) this.#known.delete(key);
    }
    for (const layout of this.#orders.keys()) this.#forget(layout, present);
    const candidates = entries.filter((entry) =>
      !this.#known.has(keyOf(entry)) && entry.layout !== HIDDEN_LAYOUT &&
      entry.image > 0
    );
    // Small families first: a large one of one user costs the others nothing.
    const families = [...Map.groupBy(candidates, ({ layout }) => layout)]
      .sort(([, a], [, b]) => a.length - b.length);
    for (const [layout, family] of families) {
      for (const entry of family) await this.#place(entry, layout);
    }
    await this.#recheck();
    return firstOfSpaces(entries, (entry) => this.#known.get(keyOf(entry)));
  }

  /** Forgets processes that are not there any more, and spaces without processes. */
  #forget(layout: string, present: ReadonlySet<string>): void {
    const order = (this.#orders.get(layout) ?? []).filter(({ processes }) => {
      for (const key of processes.keys()) {
        if (!present.has(key)) processes.delete(key);
      }
      return processes.size > 0;
    });
    if (order.length > 0) this.#orders.set(layout, order);
    else this.#orders.delete(layout);
  }

  /** Finds the place of a process, by binary search. */
  async #place(entry: ProcessEntry, layout: string): Promise<void> {
    const order = this.#orders.get(layout) ?? [];
    let [from, to] = [0, order.length];
    while (from < to) {
      if (this.#left-- <= 0) return;
      const middle = (from + to) >> 1;
      const space = order[middle];
      const result = await this.#compare(entry, first(space));
      if (result === undefined) return;
      if (result === "never") {
        this.#known.set(keyOf(entry), { processes: new Map() });
        return;
      }
      if (result === 0) return this.#join(entry, space);
      if (result === 1) to = middle;
      else from = middle + 1;
    }
    const space: Space = { processes: new Map() };
    order.splice(from, 0, space);
    this.#orders.set(layout, order);
    this.#join(entry, space);
  }

  #join(entry: ProcessEntry, space: Space): void {
    space.processes.set(keyOf(entry), entry);
    this.#known.set(keyOf(entry), space);
  }

  /**
   * Compares those that share again: without address space layout randomization, a
   * process that executes the same program keeps its addresses.
   */
  async #recheck(): Promise<void> {
    for (const order of this.#orders.values()) {
      for (const space of order) {
        const [one, ...others] = [...space.processes.values()];
        for (const other of others) {
          if (this.#left-- <= 0) return;
          const result = await this.#compare(other, one);
          if (result === 0 || result === undefined) continue;
          space.processes.delete(keyOf(other));
          this.#known.delete(keyOf(other));
        }
      }
    }
  }
}

function first({ processes }: Space): ProcessEntry {
  const [entry] = processes.values();
  return entry;
}

function keyOf({ pid, startTime, layout }: ProcessEntry): string {
  return `${pid} ${startTime} ${layout}`;
}

/**
 * Returns a comparison by `kcmp(2)`: since Linux 3.5, with `CONFIG_KCMP`, of processes
 * that this user may read. It takes locks that a process holds while it executes a
 * program (kernel/kcmp.c), so it runs on another thread.
 */
export function kcmp(calls: MemoryCalls): Compare {
  return async (one, other) => {
    const list = new CallList();
    const compared = list.compareMemory(one.pid, other.pid);
    try {
      await calls.patiently(
        { pid: one.pid, startTime: NOBODY },
        (attempt) => attempt.make(list),
        CALLS,
      );
      const result = list.result(compared);
      if (result === undefined || result === -Errno.ESRCH) return undefined;
      if (result < 0 || result > 2) return "never";
      // Meanwhile, another process may have got the pid of one of them.
      return isStill(one) && isStill(other) ? result : undefined;
    } catch (error) {
      if (error instanceof ProcessError) return undefined;
      throw error;
    }
  };
}

function isStill(entry: ProcessEntry): boolean {
  return keyOf(readProcess(entry.pid)) === keyOf(entry);
}
