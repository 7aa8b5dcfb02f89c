/**
 * Membership: the processes that selectors match.
 *
 * @module
 */

import { NoMatch, NoSuchProcess } from "../errors.ts";
import type { Platform, ProcessEntry } from "../platform/platform.ts";
import type { Selector } from "./selectors.ts";

/** The processes that selectors match, and what was wrong with the others. */
export interface Selection {
  /** By pid. Never rcap itself, kernel threads or zombies. */
  readonly processes: readonly ProcessEntry[];
  /** Selectors that match nothing, and why, for a person. */
  readonly problems: readonly string[];
}

/**
 * Finds the processes that any of the selectors matches.
 *
 * @throws NoMatch when there is none; the message says why.
 */
export function selectProcesses(
  selectors: readonly Selector[],
  platform: Platform,
): Selection {
  const all = platform.listProcesses();
  const selected = new Set<ProcessEntry>();
  const problems: string[] = [];
  for (const selector of selectors) {
    const matching = all.filter(matcher(selector, all, platform));
    const allowed = matching.filter((process) => !whyNot(process));
    for (const process of allowed) selected.add(process);
    if (allowed.length === 0) problems.push(problemOf(selector, matching));
  }
  if (selected.size === 0) throw new NoMatch(problems.join("; "));
  const processes = [...selected].sort((a, b) => a.pid - b.pid);
  return { processes, problems };
}

/** Why a process is never selected, `undefined` when it may be. */
export function whyNot(process: ProcessEntry): string | undefined {
  const { pid, comm } = process;
  if (pid === Deno.pid) return `process ${pid} is rcap itself`;
  if (process.isSystem) {
    return `process ${pid} (${comm}) is a kernel thread, which has no memory of its own`;
  }
  if (process.isZombie) {
    return `process ${pid} (${comm}) is a zombie: it has exited and waits for its parent ${process.ppid} to reap it`;
  }
  return undefined;
}

/** Why a selector selects nothing, given what it matches. */
function problemOf(
  selector: Selector,
  matching: readonly ProcessEntry[],
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

/**
 * Tells for every process whether a selector matches it, also of those that are
 * never selected: {@linkcode whyNot}.
 *
 * @param all every process there is, for selectors that go by descent.
 */
export function matcher(
  selector: Selector,
  all: readonly ProcessEntry[],
  platform: Platform,
): (entry: ProcessEntry) => boolean {
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
      return (process) => platform.userOf(process) === selector.uid;
    case "project":
      return (process) => platform.projectOf?.(process) === selector.id;
    case "zone":
      return (process) => platform.zoneOf?.(process) === selector.id;
    case "exe":
      return (process) => {
        const path = platform.executableOf(process);
        return path !== undefined && selector.matches(path);
      };
    case "cgroup":
      return (process) => platform.cgroupsOf(process).some(selector.matches);
    case "unit":
      return (process) =>
        platform.cgroupsOf(process).some((path) =>
          path.split("/").some(selector.matches)
        );
  }
}

/** A process and all its descendants, by pid. */
function descendants(
  root: number,
  all: readonly ProcessEntry[],
): ReadonlySet<number> {
  const children = Map.groupBy(all, ({ ppid }) => ppid);
  const found = new Set([root]);
  // A set grows while it is walked.
  for (const pid of found) {
    for (const child of children.get(pid) ?? []) found.add(child.pid);
  }
  return found;
}

/**
 * One process, when it may be worked on.
 *
 * @throws NoSuchProcess when there is none or it may not.
 */
export function requireProcess(pid: number, platform: Platform): ProcessEntry {
  const process = readProcess(pid, platform);
  const reason = whyNot(process);
  if (reason) throw new NoSuchProcess(pid, reason);
  return process;
}

function readProcess(pid: number, platform: Platform): ProcessEntry {
  try {
    return platform.readProcess(pid);
  } catch (error) {
    if (!(error instanceof NoSuchProcess)) throw error;
    throw new NoSuchProcess(pid, `no process has pid ${pid}`, { cause: error });
  }
}
