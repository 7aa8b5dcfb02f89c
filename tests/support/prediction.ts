/**
 * Compares what a dry run predicts with what the scan does, while the processes are
 * stopped, so that nothing runs in between.
 *
 * @module
 */

import { statFields } from "../../lib/platform/linux/stat.ts";
import { scanJson } from "./live.ts";

/** A dry run and the scan after it. Sizes are in bytes. */
export interface Prediction {
  readonly before: number;
  /** What the dry run said would be left. */
  readonly predicted: number;
  /** What was left. */
  readonly after: number;
  readonly promised: boolean;
  readonly met: boolean;
}

/** The share of the size before the scan by which a prediction was wrong. */
export function errorOf({ before, predicted, after }: Prediction): number {
  return Math.abs(predicted - after) / before;
}

/**
 * Scans a process and its descendants, first in a dry run.
 *
 * @param pid the process.
 * @param goal `--cap` or `--excess` with its value, and other options.
 */
export async function predict(
  pid: number,
  goal: readonly string[],
): Promise<Prediction> {
  using _stopped = stopTree(pid);
  const args = [`tree:${pid}`, ...goal, "--observe", "300ms"];
  const plan = (await scanJson([...args, "--dry-run"])).report;
  const scan = (await scanJson(args)).report;
  return {
    before: plan.rss,
    predicted: plan.rssAfter,
    after: scan.rssAfter,
    promised: plan.capMet,
    met: scan.capMet,
  };
}

/** Stops a process and its descendants until disposed. */
export function stopTree(pid: number): Disposable {
  const stopped = new Set<number>();
  for (let found = -1; found !== stopped.size;) {
    found = stopped.size;
    for (const one of treeOf(pid)) {
      if (stopped.has(one)) continue;
      if (signal(one, "SIGSTOP")) stopped.add(one);
    }
  }
  return {
    [Symbol.dispose]() {
      for (const one of stopped) signal(one, "SIGCONT");
    },
  };
}

/** @returns Whether the process still exists. */
function signal(pid: number, name: Deno.Signal): boolean {
  try {
    Deno.kill(pid, name);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** The pids of a process and its descendants, parents first. */
export function treeOf(pid: number): number[] {
  const parents = new Map<number, number>();
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = Deno.readTextFileSync(`/proc/${name}/stat`);
      // Field 4 of proc_pid_stat(5); the list begins with field 3.
      parents.set(Number(name), Number(statFields(stat)[4 - 3]));
    } catch {
      // It has exited since the directory was read.
    }
  }
  const tree = [pid];
  for (const parent of tree) {
    for (const [child, itsParent] of parents) {
      if (itsParent === parent) tree.push(child);
    }
  }
  return tree;
}
