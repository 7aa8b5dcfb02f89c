/**
 * `/proc/<pid>/stat`, as proc_pid_stat(5) describes it.
 *
 * @module
 */

import { pageSize } from "../../../ffi/system.ts";
import type { ProcessEntry } from "../platform.ts";

/** `PF_KTHREAD` of include/linux/sched.h: a kernel thread. */
const PF_KTHREAD = 0x0020_0000;

/**
 * The fields of a `stat` line from the third on: field N of the man page stands at
 * N - 3. The second, the command, stands in parentheses and may hold any character,
 * these too.
 */
export function statFields(text: string): string[] {
  return text.slice(text.lastIndexOf(")") + 2).trimEnd().split(" ");
}

/**
 * Parses a `stat` line. The start time is in clock ticks since boot, the layout is
 * where code and stack lie, all zero without ptrace access.
 *
 * @throws SyntaxError when it is not one.
 */
export function parseStat(text: string): ProcessEntry {
  const open = text.indexOf("(");
  const close = text.lastIndexOf(")");
  const fields = statFields(text);
  if (open < 1 || close < open || fields.length < 49) {
    throw new SyntaxError(`not a stat line: ${text.slice(0, 80)}`);
  }
  const state = fields[0];
  return {
    pid: Number(text.slice(0, open - 1)),
    comm: text.slice(open + 1, close),
    ppid: Number(fields[1]),
    startTime: Number(fields[19]),
    layout: `${fields[23]} ${fields[24]} ${fields[25]}`,
    isSystem: (Number(fields[6]) & PF_KTHREAD) !== 0,
    isZombie: state === "Z" || state === "X",
    rss: Number(fields[21]) * pageSize(),
    image: Number(fields[20]),
    majorFaults: Number(fields[9]),
  };
}
