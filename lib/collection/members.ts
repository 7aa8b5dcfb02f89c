/**
 * Membership: the processes that selectors match.
 *
 * @module
 */

import { NoMatch, NoSuchProcess, ProcessError } from "../errors.ts";
import { ProcDir } from "../platform/linux/proc_dir.ts";
import { listProcesses } from "../platform/linux/process_list.ts";
import { isZombie, type ProcessStat } from "../platform/linux/stat.ts";
import type { Selector } from "./selectors.ts";

/** The processes that selectors match, and what was wrong with the others. */
export interface Selection {
  /** By pid. Never rcap itself, kernel threads or zombies. */
  readonly processes: readonly ProcessStat[];
  /** Selectors that match nothing, and why, for a person. */
  readonly problems: readonly string[];
}

/**
 * Finds the processes that any of the selectors matches.
 *
 * @throws NoMatch when there is none; the message says why.
 */
export function selectProcesses(selectors: readonly Selector[]): Selection {
  const all = listProcesses();
  const selected = new Set<ProcessStat>();
  const problems: string[] = [];
  for (const selector of selectors) {
    const matching = all.filter(matcher(selector, all));
    const allowed = matching.filter((process) => !whyNot(process));
    for (const process of allowed) selected.add(process);
    if (allowed.length === 0) problems.push(problemOf(selector, matching));
  }
  if (selected.size === 0) throw new NoMatch(problems.join("; "));
  const processes = [...selected].sort((a, b) => a.pid - b.pid);
  return { processes, problems };
}

/** Why a process is never selected, `undefined` when it may be. */
export function whyNot(process: ProcessStat): string | undefined {
  const { pid, comm } = process;
  if (pid === Deno.pid) return `process ${pid} is rcap itself`;
  if (process.isKernelThread) {
    return `process ${pid} (${comm}) is a kernel thread, which has no memory of its own`;
  }
  if (isZombie(process)) {
    return `process ${pid} (${comm}) is a zombie: it has exited and waits for its parent ${process.ppid} to reap it`;
  }
  return undefined;
}

/** Why a selector selects nothing, given what it matches. */
function problemOf(
  selector: Selector,
  matching: readonly ProcessStat[],
): string {
  const reason = matching.length === 1 ? whyNot(matching[0]) : undefined;
  if (reason) return reason;
  if (matching.length > 1) {
    return `selector "${selector.text}" matches only rcap itself, kernel threads or zombies`;
  }
  return selector.kind === "pid" || selector.kind === "tree"
    ? `no process has pid ${selector.pid}`
    : `no process matches selector "${selector.text}"`;
}

/** Tells for every process whether a selector matches it. */
function matcher(
  selector: Selector,
  all: readonly ProcessStat[],
): (stat: ProcessStat) => boolean {
  switch (selector.kind) {
    case "pid":
      return ({ pid }) => pid === selector.pid;
    case "tree": {
      const tree = descendants(selector.pid, all);
      return ({ pid }) => tree.has(pid);
    }
    case "comm":
      return ({ comm }) => selector.matches(comm);
    case "user":
      return lookUp((directory) =>
        realUid(directory.readText("status")) === selector.uid
      );
    case "exe":
      return lookUp((directory) =>
        selector.matches(directory.readLink("exe").replace(/ \(deleted\)$/, ""))
      );
    case "cgroup":
      return lookUp((directory) =>
        cgroupPaths(directory).some(selector.matches)
      );
    case "unit":
      return lookUp((directory) =>
        cgroupPaths(directory).some((path) =>
          path.split("/").some(selector.matches)
        )
      );
  }
}

/** A predicate that looks into a process's directory. What cannot be seen does not match. */
function lookUp(
  matches: (directory: ProcDir) => boolean,
): (stat: ProcessStat) => boolean {
  return (process) => {
    if (process.isKernelThread || isZombie(process)) return false;
    try {
      using directory = ProcDir.open(process);
      return matches(directory);
    } catch (error) {
      if (!(error instanceof ProcessError)) throw error;
      return false;
    }
  };
}

/** A process and all its descendants, by pid. */
function descendants(
  root: number,
  all: readonly ProcessStat[],
): ReadonlySet<number> {
  const children = Map.groupBy(all, ({ ppid }) => ppid);
  const found = new Set([root]);
  // A set grows while it is walked.
  for (const pid of found) {
    for (const child of children.get(pid) ?? []) found.add(child.pid);
  }
  return found;
}

/** The real uid in a `/proc/<pid>/status`. */
function realUid(status: string): number {
  return Number(/^Uid:\s+(\d+)/m.exec(status)?.[1]);
}

/** Paths of a process's cgroups: `hierarchy:controllers:path` lines, cgroups(7). */
function cgroupPaths(directory: ProcDir): string[] {
  return directory.readText("cgroup").trimEnd().split("\n").map((line) =>
    line.split(":").slice(2).join(":")
  );
}

/**
 * One process, when it may be worked on.
 *
 * @throws NoSuchProcess when there is none or it may not.
 */
export function requireProcess(pid: number): ProcessStat {
  using directory = openDirectory(pid);
  const process = directory.stat();
  const reason = whyNot(process);
  if (reason) throw new NoSuchProcess(pid, reason);
  return process;
}

function openDirectory(pid: number): ProcDir {
  try {
    return ProcDir.openPid(pid);
  } catch (error) {
    if (!(error instanceof NoSuchProcess)) throw error;
    throw new NoSuchProcess(pid, `no process has pid ${pid}`, { cause: error });
  }
}
