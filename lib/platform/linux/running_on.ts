/**
 * Where a process runs.
 *
 * @module
 */

import { SystemError } from "../../errors.ts";
import { readDirectory } from "../../../ffi/file.ts";
import { readStat } from "./process_list.ts";
import { statFields } from "./stat.ts";

/** Looking at more threads than this would cost more than it is good for. */
const MOST_THREADS = 16;

/** Scheduling policies of <sched.h> that share the processor: other, batch and idle. */
const SHARING = ["0", "3", "5"];

/** Whether rcap gets its share beside a thread: it has neither deadlines nor precedence. */
function isFair(fields: readonly string[]): boolean {
  return SHARING.includes(fields[41 - 3]) && Number(fields[19 - 3]) >= 0;
}

/**
 * The processor that a process runs on, when one thread of it runs and no more.
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
 * How many threads a process has, and the processor that the thread of a `stat` file
 * runs on, if it does. See proc_pid_stat(5).
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
    // It has ended, which others find out.
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
