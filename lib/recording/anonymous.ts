/**
 * Leaves out of a recording what tells about its machine: names, paths, and addresses.
 *
 * @module
 */

import type { RecordedIdentity, RecordedMapping } from "./records.ts";

/** A part of an address space: whatever is so near to where its first mapping began, in units. */
const NEAR = 2 ** 24;
/** How far apart parts are in a recording, in units. */
const DISTANCE = 2 ** 35;
/** The most parts; what is in more of them is left out. */
const MOST_PARTS = 2 ** 15;

/** Gives the same number to the same text. */
class Numbers {
  readonly #numbers = new Map<string, number>();

  of(text: string): number {
    let number = this.#numbers.get(text);
    if (number === undefined) {
      this.#numbers.set(text, number = this.#numbers.size + 1);
    }
    return number;
  }
}

/** Gives names and paths numbers, for all processes of a recording. */
export class Anonymizer {
  readonly #files = new Numbers();
  readonly #anonymous = new Numbers();
  readonly #comms = new Numbers();
  readonly #pids = new Numbers();

  identity({ pid, comm }: RecordedIdentity): RecordedIdentity {
    return {
      pid: this.#pids.of(`${pid}`),
      startTime: 0,
      comm: `process-${this.#comms.of(comm)}`,
      uid: undefined,
    };
  }

  /** The name of a mapping: only that of the kernel stays. */
  name(name: string): string {
    if (name === "" || /^\[(heap|stack|vdso|vvar|vsyscall)\]$/.test(name)) {
      return name;
    }
    return name.startsWith("[")
      ? `anon-${this.#anonymous.of(name)}`
      : `file-${this.#files.of(name)}`;
  }
}

/** Moves the mappings of one process to addresses that tell nothing. */
export class AnonymousSpace {
  /** Where the first mapping of each part began, in units. */
  readonly #parts: number[] = [];

  /** By how much a mapping moves, in units; `undefined` if it is left out. */
  moveOf({ start }: Pick<RecordedMapping, "start">): number | undefined {
    let part = this.#parts.findIndex((first) => Math.abs(start - first) < NEAR);
    if (part < 0) {
      if (this.#parts.length >= MOST_PARTS) return undefined;
      part = this.#parts.push(start) - 1;
    }
    return DISTANCE * part + NEAR - this.#parts[part];
  }
}
