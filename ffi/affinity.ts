/**
 * Which processor this process's threads run on: `sched_setaffinity(2)`.
 *
 * @module
 */

import { readDirectory } from "./file.ts";
import { libc } from "./libc.ts";

/** Size of a `cpu_set_t` with room for every processor that Linux can have. */
const SET_BYTES = 8192 / 8;

/** Whether somebody moves the threads. */
let isTaken = false;

/**
 * Moves all threads of this process, among them those on which calls named `Away`
 * run. Disposing lets them run where they might before.
 */
export class Placement implements Disposable {
  readonly #before: Uint8Array<ArrayBuffer>;
  #cpu: number | undefined;

  private constructor(before: Uint8Array<ArrayBuffer>) {
    this.#before = before;
  }

  /** Takes the right to move them; `undefined` while somebody else has it. */
  static take(): Placement | undefined {
    const before = new Uint8Array(SET_BYTES);
    const size = BigInt(SET_BYTES);
    if (isTaken || libc().sched_getaffinity(0, size, before) < 0) {
      return undefined;
    }
    isTaken = true;
    return new Placement(before);
  }

  /**
   * Has them run on one processor.
   *
   * @returns whether they might before: else they stay where they are.
   */
  moveTo(cpu: number): boolean {
    if (cpu === this.#cpu) return true;
    const bit = 1 << (cpu & 7);
    if ((this.#before[cpu >> 3] & bit) === 0) return false;
    const only = new Uint8Array(SET_BYTES);
    only[cpu >> 3] = bit;
    setAll(only);
    this.#cpu = cpu;
    return true;
  }

  [Symbol.dispose](): void {
    if (this.#cpu !== undefined) setAll(this.#before);
    isTaken = false;
  }
}

function setAll(set: Uint8Array<ArrayBuffer>): void {
  for (const name of readDirectory("/proc/self/task")) {
    // It fails for a thread that has ended, or where rcap may not do that.
    if (name > "/") {
      libc().sched_setaffinity(Number(name), BigInt(SET_BYTES), set);
    }
  }
}
