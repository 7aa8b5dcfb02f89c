/**
 * Resource usage and limits of this process: `getrusage(2)`, `getrlimit(2)` and
 * `/proc/self/statm`.
 *
 * @module
 */

import { readTextFile } from "./file.ts";
import { checked, libc } from "./libc.ts";
import { pageSize } from "./system.ts";

// <sys/resource.h>.
const RUSAGE_SELF = 0;
const RLIMIT_NOFILE = 7;

/** Resource usage of a process. */
export interface Usage {
  /** User and system time of all threads so far, in seconds. */
  readonly cpu: number;
  /** Resident set size, in bytes. */
  readonly rss: number;
}

// struct rusage, 64-bit: ru_utime 0 and ru_stime 16, a struct timeval each, and
// fourteen longs.
const rusage = new BigInt64Array(18);

/** Returns the current usage of this process. */
export function ownUsage(): Usage {
  checked(libc().getrusage(RUSAGE_SELF, rusage), "getrusage");
  const [userSeconds, userMicros, systemSeconds, systemMicros] = rusage;
  return {
    cpu: Number(userSeconds + systemSeconds) +
      Number(userMicros + systemMicros) / 1e6,
    rss: Number(readTextFile("/proc/self/statm").split(" ")[1]) * pageSize(),
  };
}

/** The soft limit of open descriptors of this process. */
export function openFilesLimit(): number {
  // struct rlimit, 64-bit: rlim_cur and rlim_max.
  const limits = new BigUint64Array(2);
  checked(libc().getrlimit(RLIMIT_NOFILE, limits), "getrlimit");
  return Number(limits[0]);
}
