/**
 * `/proc/<pid>/stat`, as proc_pid_stat(5) describes it.
 *
 * @module
 */

/** `PF_KTHREAD` of include/linux/sched.h: a kernel thread. */
const PF_KTHREAD = 0x0020_0000;

/** What rcap needs of a process's `stat`. */
export interface ProcessStat {
  readonly pid: number;
  readonly comm: string;
  /** One letter; `Z` is a zombie, `X` is dead. */
  readonly state: string;
  readonly ppid: number;
  readonly isKernelThread: boolean;
  /** Clock ticks since boot. */
  readonly startTime: number;
  /**
   * Tells address spaces of one process apart: where its code and stack lie, which
   * an exec lays out anew. All zero without ptrace access.
   */
  readonly layout: string;
}

/**
 * Parses a `stat` line.
 *
 * @throws SyntaxError when it is not one.
 */
export function parseStat(text: string): ProcessStat {
  // The command stands in parentheses and may hold any character, these too.
  const open = text.indexOf("(");
  const close = text.lastIndexOf(")");
  const fields = text.slice(close + 2).trimEnd().split(" ");
  if (open < 1 || close < open || fields.length < 49) {
    throw new SyntaxError(`not a stat line: ${text.slice(0, 80)}`);
  }
  // Field N of the man page is fields[N - 3].
  return {
    pid: Number(text.slice(0, open - 1)),
    comm: text.slice(open + 1, close),
    state: fields[0],
    ppid: Number(fields[1]),
    isKernelThread: (Number(fields[6]) & PF_KTHREAD) !== 0,
    startTime: Number(fields[19]),
    layout: fields.slice(23, 26).join(" "),
  };
}

/** Whether a process has exited and only waits to be reaped. */
export function isZombie({ state }: ProcessStat): boolean {
  return state === "Z" || state === "X";
}
