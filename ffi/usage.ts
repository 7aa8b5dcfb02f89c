/**
 * What this process itself uses: `getrusage(2)` and `/proc/self/statm`.
 *
 * @module
 */

import { readTextFile } from "./file.ts";
import { checked, libc } from "./libc.ts";
import { pageSize } from "./system.ts";

// <sys/resource.h>.
const RUSAGE_SELF = 0;

/** What a process uses. */
export interface Usage {
  /** Processor time of all threads so far, user and system, in seconds. */
  readonly cpu: number;
  /** Resident set size, in bytes. */
  readonly rss: number;
}

// struct rusage, 64-bit: ru_utime 0 and ru_stime 16, a struct timeval each, and
// fourteen longs.
const rusage = new BigInt64Array(18);

/** What this process uses now. */
export function ownUsage(): Usage {
  checked(libc().getrusage(RUSAGE_SELF, rusage), "getrusage");
  const [userSeconds, userMicros, systemSeconds, systemMicros] = rusage;
  return {
    cpu: Number(userSeconds + systemSeconds) +
      Number(userMicros + systemMicros) / 1e6,
    rss: Number(readTextFile("/proc/self/statm").split(" ")[1]) * pageSize(),
  };
}
