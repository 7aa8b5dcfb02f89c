/**
 * Clocks that every process of the machine reads alike and that nobody sets:
 * `clock_gettime(2)`.
 *
 * @module
 */

import { checked, libc } from "./libc.ts";

// <linux/time.h>.
const CLOCK_MONOTONIC = 1;
const CLOCK_BOOTTIME = 7;

const timespec = new BigInt64Array(2);

/**
 * Microseconds since some moment in the past, as the notify protocol of systemd wants
 * them; stands still while the machine is suspended.
 */
export function monotonicMicroseconds(): bigint {
  readClock(CLOCK_MONOTONIC);
  return timespec[0] * 1_000_000n + timespec[1] / 1000n;
}

/** Seconds since the machine was started, those while it was suspended too. */
export function boottimeSeconds(): number {
  readClock(CLOCK_BOOTTIME);
  return Number(timespec[0]) + Number(timespec[1]) / 1e9;
}

function readClock(clock: number): void {
  checked(libc().clock_gettime(clock, timespec), "clock_gettime");
}
