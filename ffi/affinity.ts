/**
 * Which processor this process's threads run on: `sched_setaffinity(2)`.
 *
 * @module
 */

import { File } from "./file.ts";
import { libc, SystemError } from "./libc.ts";

/** Size of a `cpu_set_t` with room for every processor that Linux can have. */
const SET_BYTES = 8192 / 8;

/** How many placements there are. */
let placements = 0;

/**
 * Moves all threads of this process, among them those on which calls named `Away`
 * run, while there is no other placement. Disposing lets them run where they might
 * before.
 */
export class Placement implements Disposable {
  readonly #threads: File | undefined;
  /** Where they might run before. */
  readonly #allowed = allowed();
  /** What lets them run there again. */
  #home: Uint8Array<ArrayBuffer> | undefined;
  #cpu: number | undefined;

  private constructor(threads: File | undefined) {
    this.#threads = threads;
  }

  /** Takes the right to move them, if nobody else has or takes it. */
  static take(): Placement {
    placements++;
    try {
      // Opened here, so that going home needs no descriptor.
      return new Placement(File.open("/proc/self/task"));
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      return new Placement(undefined);
    }
  }

  /**
   * Has them run on one processor.
   *
   * @param cpu its number; `undefined` for where they might run before.
   * @returns whether they have moved there. They do not where rcap may not, where
   * there is no other processor, and while there is another placement.
   */
  moveTo(cpu: number | undefined): boolean {
    if (cpu === undefined || placements > 1 || !this.#mayMoveTo(cpu)) {
      this.#goHome();
      return false;
    }
    if (cpu === this.#cpu) return true;
    this.#home ??= findHome(this.#allowed);
    this.#cpu = cpu;
    const only = new Uint8Array(SET_BYTES);
    only[cpu >> 3] = 1 << (cpu & 7);
    if (setAll(this.#threads!, only)) return true;
    this.#goHome();
    return false;
  }

  #mayMoveTo(cpu: number): boolean {
    const isAllowed = (this.#allowed[cpu >> 3] & 1 << (cpu & 7)) !== 0;
    return this.#threads !== undefined && isAllowed && !isOne(this.#allowed);
  }

  #goHome(): void {
    if (this.#cpu === undefined) return;
    this.#cpu = undefined;
    setAll(this.#threads!, this.#home!);
  }

  [Symbol.dispose](): void {
    placements--;
    this.#goHome();
    this.#threads?.[Symbol.dispose]();
  }
}

/** The processors that the main thread may run on; none where that fails. */
function allowed(): Uint8Array<ArrayBuffer> {
  const set = new Uint8Array(SET_BYTES);
  libc().sched_getaffinity(0, BigInt(SET_BYTES), set);
  return set;
}

function setOwn(set: Uint8Array<ArrayBuffer>): boolean {
  return libc().sched_setaffinity(0, BigInt(SET_BYTES), set) === 0;
}

/**
 * What lets threads run where they may now. That is every processor there is, if
 * nobody has told otherwise: then they go where the cpuset lets them in future, too.
 */
function findHome(now: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const everywhere = new Uint8Array(SET_BYTES).fill(0xff);
  setOwn(everywhere);
  if (allowed().every((bits, index) => bits === now[index])) return everywhere;
  setOwn(now);
  return now;
}

/** Whether a set has one member. */
function isOne(set: Uint8Array): boolean {
  const [bits, ...others] = set.filter((bits) => bits !== 0);
  return bits !== undefined && others.length === 0 && (bits & bits - 1) === 0;
}

/** @returns whether the first thread could be moved: the main one. */
function setAll(threads: File, set: Uint8Array<ArrayBuffer>): boolean {
  if (!setOwn(set)) return false;
  for (const name of threads.names()) {
    // It fails for a thread that has ended.
    libc().sched_setaffinity(Number(name), BigInt(SET_BYTES), set);
  }
  return true;
}
