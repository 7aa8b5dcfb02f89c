/**
 * What a process uses, with all processes that it starts.
 *
 * @module
 */

import { statFields } from "../../lib/platform/linux/stat.ts";
import { treeOf } from "../../tests/support/prediction.ts";
import { pssOf } from "../../tests/support/workload.ts";

/** The usage of a process and of its descendants. */
export interface TreeUsage {
  /**
   * Processor time so far, in seconds: fields 14 to 17 of proc_pid_stat(5). That of
   * descendants counts once they have ended and were waited for.
   */
  readonly cpu: number;
  /** The part of it in the kernel. */
  readonly kernel: number;
  /** The proportional size of all of them now, in bytes. */
  readonly pss: number;
}

/** Reads the usage of a process and of its descendants. */
export function usageOf(pid: number): TreeUsage {
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  const [user, system, childrenUser, childrenSystem] = statFields(stat)
    .slice(14 - 3).map(Number);
  return {
    cpu: (user + system + childrenUser + childrenSystem) / 100,
    kernel: (system + childrenSystem) / 100,
    pss: treeOf(pid).reduce((sum, one) => sum + pssOf(one), 0),
  };
}
