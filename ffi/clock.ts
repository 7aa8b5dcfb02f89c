/**
 * Clocks that cannot be set: those that are the same for every process of the machine,
 * and the processor time of a thread. `clock_gettime(2)`.
 *
 * @module
 */

import { checked, libc } from "./libc.ts";

// <linux/time.h>.
export const CLOCK_MONOTONIC = 1;
export const CLOCK_THREAD_CPUTIME_ID = 3;
const CLOCK_BOOTTIME = 7;

const timespec = new BigInt64Array(2);

/**
 * Microseconds since an unspecified moment, as systemd's notify protocol requires.
 * The clock stops while the machine is suspended.
 */
export function monotonicMicroseconds(): bigint {
  readClock(CLOCK_MONOTONIC);
  return timespec[0] * 1_000_000n + timespec[1] / 1000n;
}

/** Seconds since the machine was started, including the time that it was suspended. */
export function boottimeSeconds(): number {
  readClock(CLOCK_BOOTTIME);
  return Number(timespec[0]) + Number(timespec[1]) / 1e9;
}

/** Seconds of processor time that this thread has used. */
export function threadSeconds(): number {
  readClock(CLOCK_THREAD_CPUTIME_ID);
  return Number(timespec[0]) + Number(timespec[1]) / 1e9;
}

function readClock(clock: number): void {
  checked(libc().clock_gettime(clock, timespec), "clock_gettime");
}
