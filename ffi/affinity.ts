/**
 * Which processor a thread of this process runs on: `sched_setaffinity(2)`.
 *
 * @module
 */

import type { CallList } from "./call_list.ts";
import { libc } from "./libc.ts";

/** Size of a `cpu_set_t` with room for every processor that Linux can have. */
const SET_BYTES = 8192 / 8;

/** Has the thread that makes some calls run on a processor meanwhile. */
export class Placement {
  readonly #only = new Uint8Array(SET_BYTES);
  readonly #home: Uint8Array<ArrayBuffer>;
  /** Which call tells the thread. */
  readonly #thread: number;
  readonly #calls: CallList;

  private constructor(
    calls: CallList,
    { cpu, home }: { cpu: number; home: Uint8Array<ArrayBuffer> },
  ) {
    this.#home = home;
    this.#only[cpu >> 3] = 1 << (cpu & 7);
    this.#calls = calls;
    this.#thread = calls.thread();
    calls.runOn(this.#only);
  }

  /** Whether rcap may run on a processor, and on others too. */
  static isPossible(cpu: number): boolean {
    const allowed = allowedProcessors();
    return (allowed[cpu >> 3] & 1 << (cpu & 7)) !== 0 && !isOne(allowed);
  }

  /**
   * Puts what moves the thread on a list of calls.
   *
   * @param cpu the number of the processor.
   */
  static on(cpu: number, calls: CallList): Placement {
    return new Placement(calls, { cpu, home: homeOf(allowedProcessors()) });
  }

  /** Lets the thread run where it may, even while a call keeps it waiting. */
  goHome(): void {
    const thread = this.#calls.result(this.#thread);
    if (thread === undefined) return;
    // It fails for a thread that has ended.
    libc().sched_setaffinity(thread, BigInt(SET_BYTES), this.#home);
  }
}

/** The processors that the main thread may run on; none where that fails. */
function allowedProcessors(): Uint8Array<ArrayBuffer> {
  const set = new Uint8Array(SET_BYTES);
  libc().sched_getaffinity(0, BigInt(SET_BYTES), set);
  return set;
}

/** What lets a thread run where it may, and which processors those are. */
let home: { set: Uint8Array<ArrayBuffer>; allowed: Uint8Array } | undefined;

/**
 * What lets threads run where they may now. That is every processor there is, if
 * nobody has told otherwise: then they go where the cpuset lets them in future, too.
 */
function homeOf(allowed: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  if (!home || !isSame(home.allowed, allowed)) {
    const everywhere = new Uint8Array(SET_BYTES).fill(0xff);
    libc().sched_setaffinity(0, BigInt(SET_BYTES), everywhere);
    const isFree = isSame(allowedProcessors(), allowed);
    if (!isFree) libc().sched_setaffinity(0, BigInt(SET_BYTES), allowed);
    home = { set: isFree ? everywhere : allowed, allowed };
  }
  return home.set;
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.every((bits, index) => bits === b[index]);
}

/** Whether a set has one member. */
function isOne(set: Uint8Array): boolean {
  const [bits, ...others] = set.filter((bits) => bits !== 0);
  return bits !== undefined && others.length === 0 && (bits & bits - 1) === 0;
}
