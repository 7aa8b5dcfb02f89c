/**
 * The processor on which a thread of this process runs: `sched_setaffinity(2)`.
 *
 * @module
 */

import type { CallList } from "./call_list.ts";
import { libc } from "./libc.ts";

/** Size of a `cpu_set_t` with a bit for every processor that Linux supports. */
const SET_BYTES = 8192 / 8;

/** Runs the thread that makes some calls on one processor meanwhile. */
export class Placement {
  readonly #only = new Uint8Array(SET_BYTES);
  readonly #home: Uint8Array<ArrayBuffer>;
  /** The index of the call that returns the thread. */
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

  /** Whether rcap may run on a processor and on others too. */
  static isPossible(cpu: number): boolean {
    const allowed = allowedProcessors();
    return (allowed[cpu >> 3] & 1 << (cpu & 7)) !== 0 && !isOne(allowed);
  }

  /**
   * Adds the calls that move the thread to a list.
   *
   * @param cpu the number of the processor.
   */
  static on(cpu: number, calls: CallList): Placement {
    return new Placement(calls, { cpu, home: homeOf(allowedProcessors()) });
  }

  /**
   * Lets the thread run on all its processors again, even while it is blocked in a
   * call.
   */
  goHome(): void {
    const thread = this.#calls.result(this.#thread);
    if (thread === undefined) return;
    // It fails for a thread that has ended.
    libc().sched_setaffinity(thread, BigInt(SET_BYTES), this.#home);
  }
}

/** The processors that the main thread may run on; empty if the call fails. */
function allowedProcessors(): Uint8Array<ArrayBuffer> {
  const set = new Uint8Array(SET_BYTES);
  libc().sched_getaffinity(0, BigInt(SET_BYTES), set);
  return set;
}

/**
 * The set that gives a thread all its processors, and the processors that it may
 * use.
 */
let home: { set: Uint8Array<ArrayBuffer>; allowed: Uint8Array } | undefined;

/**
 * Returns the set that gives threads all their processors. Unless the affinity has
 * been restricted, this contains every processor, so that the threads also follow
 * later changes of the cpuset.
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
