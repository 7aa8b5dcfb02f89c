/**
 * Parses `/proc/<pid>/stat`: proc_pid_stat(5).
 *
 * @module
 */

import { pageSize } from "../../../ffi/system.ts";
import type { ProcessEntry } from "../platform.ts";

/** `PF_KTHREAD` of include/linux/sched.h: a kernel thread. */
const PF_KTHREAD = 0x0020_0000;

/**
 * The layout of a process that this user may not examine: `do_task_stat` of
 * fs/proc/array.c.
 */
export const HIDDEN_LAYOUT = "1 1 0";

/**
 * Returns the fields of a `stat` line from the third on: field N of the man page is
 * at index N - 3. The second, the command, is in parentheses and may contain any
 * character, including parentheses.
 */
export function statFields(text: string): string[] {
  return text.slice(text.lastIndexOf(")") + 2).trimEnd().split(" ");
}

/** What a `stat` line says. */
export interface ProcStat extends ProcessEntry {
  /** How many threads it has. */
  readonly threads: number;
  /** Whether a signal has stopped it, such as SIGSTOP. */
  readonly isStopped: boolean;
}

/**
 * Parses a `stat` line. The state is that of the main thread, which may exit before
 * others; then the line has no layout and no sizes. Just before, it has no address space
 * any more. The start time is in clock ticks since boot; the layout is the place of code
 * and stack, {@linkcode HIDDEN_LAYOUT} without ptrace access.
 *
 * @throws SyntaxError if the text is not a `stat` line.
 */
export function parseStat(text: string): ProcStat {
  const open = text.indexOf("(");
  const close = text.lastIndexOf(")");
  const fields = statFields(text);
  if (open < 1 || close < open || fields.length < 49) {
    throw malformed(text);
  }
  // Field N of the man page.
  const number = (n: number) => wholeNumber(fields[n - 3], text);
  const hasExited = fields[0] === "Z" || fields[0] === "X";
  const threads = number(20);
  const isSystem = (number(9) & PF_KTHREAD) !== 0;
  const image = number(23);
  return {
    pid: wholeNumber(text.slice(0, open - 1), text),
    comm: text.slice(open + 1, close),
    ppid: number(4),
    startTime: number(22),
    layout: `${fields[23]} ${fields[24]} ${fields[25]}`,
    isSystem,
    isZombie: hasExited && threads < 2,
    mainThreadExited: threads > 1 && (hasExited || image === 0) && !isSystem,
    rss: number(24) * pageSize(),
    image,
    majorFaults: number(12),
    threads,
    isStopped: fields[0] === "T",
  };
}

/** Parses an integer that is never negative. */
function wholeNumber(digits: string, text: string): number {
  const value = Number(digits);
  if (!Number.isSafeInteger(value) || value < 0) throw malformed(text);
  return value;
}

function malformed(text: string): SyntaxError {
  return new SyntaxError(`not a stat line: ${text.slice(0, 80)}`);
}
