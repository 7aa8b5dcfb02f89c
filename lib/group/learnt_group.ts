/**
 * What is learnt of a group and outlasts the daemon, and of which programs it was learnt.
 *
 * @module
 */

import { type Selector, writtenAs } from "../collection/selectors.ts";
import type { LearntIdleTime } from "./idle_time.ts";

/** A program: where it is for its process, and which file that is. */
export interface Program {
  readonly path: string;
  /** Its device, inode and time of modification, as one word. */
  readonly file: string;
}

/** What was learnt of a group. */
export interface LearntGroup {
  readonly name: string;
  /** Its selectors, as written. */
  readonly select: string;
  readonly programs: readonly Program[];
  readonly idleTime: LearntIdleTime;
}

/** The selectors of a group as one text, by which it is known again. */
export function selectionOf(
  { select }: { readonly select: readonly Selector[] },
): string {
  return JSON.stringify(select.map(writtenAs));
}

/** Keeps what was learnt of groups. */
export interface LearntPlace {
  /** What an earlier daemon has learnt of a group with these selectors. */
  of(name: string, select: string): LearntGroup | undefined;
  /** Keeps what is known of all groups now, instead of what was kept before. */
  keep(groups: readonly LearntGroup[]): void;
}

/** How many programs of a group are remembered: the last that were found. */
export const MOST_PROGRAMS = 16;

/** The longest path of a program that is remembered. */
export const LONGEST_PATH = 1024;

/** The programs of a group of which something was learnt. */
export class KnownPrograms {
  /** By path; the one found first is first. */
  readonly #files = new Map<string, string>();
  /** Whether they are those of an earlier daemon, of which none was found yet. */
  #isAwaited: boolean;

  /** @param programs those of which an earlier daemon has learnt something. */
  constructor(programs: readonly Program[] | undefined) {
    this.#isAwaited = programs !== undefined;
    for (const program of programs ?? []) this.#add(program);
  }

  get all(): Program[] {
    return Array.from(this.#files, ([path, file]) => ({ path, file }));
  }

  /**
   * Notes programs that were found.
   *
   * @returns the path of one that is not the program that it was, or of one of which
   * nothing was learnt although there was something; `undefined` if there is none.
   */
  note(programs: readonly Program[]): string | undefined {
    const able = programs.filter(({ path }) => path.length <= LONGEST_PATH);
    const changed = able.find(({ path, file }) =>
      (this.#files.get(path) ?? file) !== file
    );
    const isOther = this.#isAwaited && able.length > 0 &&
      !able.some(({ path }) => this.#files.has(path));
    const other = changed ?? (isOther ? able[0] : undefined);
    if (able.length > 0) this.#isAwaited = false;
    if (other) this.#files.clear();
    able.forEach((program) => this.#add(program));
    return other?.path;
  }

  #add({ path, file }: Program): void {
    this.#files.set(path, file);
    for (const first of this.#files.keys()) {
      if (this.#files.size <= MOST_PROGRAMS) break;
      this.#files.delete(first);
    }
  }
}
