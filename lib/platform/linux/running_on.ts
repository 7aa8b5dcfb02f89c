/**
 * Finds the processor that a process runs on.
 *
 * @module
 */

import { SystemError } from "../../errors.ts";
import { readDirectory } from "../../../ffi/file.ts";
import { readStat } from "./process_list.ts";
import { statFields } from "./stat.ts";

/** The most threads that are looked at; more would cost more than they gain. */
const MOST_THREADS = 16;

/**
 * Scheduling policies of <sched.h> that share the processor: SCHED_OTHER,
 * SCHED_BATCH and SCHED_IDLE.
 */
const SHARING = ["0", "3", "5"];

/**
 * Whether rcap gets a fair share beside a thread: the thread has neither a deadline
 * nor a higher priority.
 */
function isFair(fields: readonly string[]): boolean {
  return SHARING.includes(fields[41 - 3]) && Number(fields[19 - 3]) >= 0;
}

/**
 * Returns the processor that a process runs on, if exactly one of its threads runs.
 * It may be another one a moment later.
 */
export function runningOn(pid: number): number | undefined {
  const main = threadOf(`/proc/${pid}/stat`);
  if (!main || main.threads > MOST_THREADS) return undefined;
  if (main.threads === 1) return main.cpu;
  let found: number | undefined;
  for (const name of threadsOf(pid)) {
    const cpu = threadOf(`/proc/${pid}/task/${name}/stat`)?.cpu;
    if (cpu === undefined) continue;
    if (found !== undefined) return undefined;
    found = cpu;
  }
  return found;
}

/**
 * Reads the number of threads of a process, and the processor that the thread of
 * this `stat` file runs on, if it runs. See proc_pid_stat(5).
 */
function threadOf(path: string) {
  try {
    const fields = statFields(readStat(path));
    const runs = fields[0] === "R" && isFair(fields);
    return {
      threads: Number(fields[20 - 3]),
      cpu: runs ? Number(fields[39 - 3]) : undefined,
    };
  } catch (error) {
    // The thread has ended; other code handles that.
    if (!(error instanceof SystemError)) throw error;
    return undefined;
  }
}

function threadsOf(pid: number): string[] {
  try {
    return readDirectory(`/proc/${pid}/task`);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return [];
  }
}
