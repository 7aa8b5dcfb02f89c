/**
 * Membership: the processes that selectors match.
 *
 * @module
 */

import { isExhausted, NoMatch, NoSuchProcess, NotKnown } from "../errors.ts";
import type { Platform, ProcessEntry } from "../platform/platform.ts";
import {
  partsOf,
  type PlainSelector,
  quoteSelector,
  type Selector,
} from "./selectors.ts";

/** The processes that selectors match, and what was wrong with the others. */
export interface Selection {
  /** By pid. Never rcap itself, kernel threads, zombies or those to be left alone. */
  readonly processes: readonly ProcessEntry[];
  /**
   * Selectors that match nothing, and processes of which it is not known or that
   * are to be left alone; and why, for a person.
   */
  readonly problems: readonly string[];
}

/**
 * Finds the processes that any of the selectors matches.
 *
 * @param signal ends it early.
 * @throws NoMatch when there is none; the message says why.
 * @throws NotKnown when there are no free descriptors or there is no memory to find out.
 * @throws the signal's reason when it is aborted.
 */
export async function selectProcesses(
  selectors: readonly Selector[],
  platform: Platform,
  signal?: AbortSignal,
): Promise<Selection> {
  const all = platform.listProcesses();
  const selected = new Set<ProcessEntry>();
  const avoided = new Map<ProcessEntry, string>();
  const problems: string[] = [];
  for (const selector of selectors) {
    const { matches } = matcher(selector, all, platform);
    const unknown: string[] = [];
    const matching = await untilAborted(
      filter(all, (process) => known(() => matches(process), unknown)),
      signal,
    );
    problems.push(...told(unknown));
    const allowed = matching.filter((process) => !whyNot(process));
    for (const process of allowed) {
      const directory = platform.avoidanceOf?.(process);
      if (directory === undefined) selected.add(process);
      else avoided.set(process, directory);
    }
    if (allowed.length === 0) problems.push(problemOf(selector, matching));
  }
  problems.push(
    ...[...avoided].map(([process, by]) => describeAvoided(process, by)),
  );
  if (selected.size === 0) throw new NoMatch(problems.join("; "));
  const processes = [...selected].sort((a, b) => a.pid - b.pid);
  return { processes, problems };
}

/** Why a process is left alone, for a person. */
export function describeAvoided(
  { pid, comm }: ProcessEntry,
  directory: string,
): string {
  return `process ${pid} (${comm}) is left alone, as user.rcap.avoid of ${directory} asks`;
}

/** How much that is not known is told one by one. */
const MOST_TOLD = 5;

/** What is not known, for a person, in a few lines. */
export function told(unknown: readonly string[]): string[] {
  const distinct = [...new Set(unknown)];
  const rest = distinct.length - MOST_TOLD;
  return [
    ...distinct.slice(0, MOST_TOLD),
    ...rest > 0 ? [`nor is it known of ${rest} more processes`] : [],
  ];
}

/** A verdict; `false` and noted where it is not known for a reason of the process's own. */
async function known(
  ask: () => boolean | Promise<boolean>,
  unknown: string[],
): Promise<boolean> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof NotKnown) || isExhausted(error)) throw error;
    unknown.push(error.message);
    return false;
  }
}

async function filter<T>(
  all: readonly T[],
  test: (one: T) => Promise<boolean>,
): Promise<T[]> {
  const verdicts = await Promise.all(all.map(test));
  return all.filter((_, index) => verdicts[index]);
}

/** @throws the signal's reason when it is aborted before something has ended. */
export async function untilAborted<T>(
  something: Promise<T>,
  signal: AbortSignal | undefined,
): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal?.reason);
  if (signal?.aborted) abort();
  signal?.addEventListener("abort", abort);
  try {
    return await Promise.race([something, promise]);
  } finally {
    signal?.removeEventListener("abort", abort);
    // Nobody may be waiting for it any more.
    something.catch(() => {});
  }
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
    return `selector ${
      quoteSelector(selector)
    } matches only rcap itself, kernel threads or zombies`;
  }
  return selector.kind === "pid" || selector.kind === "tree"
    ? `no process has pid ${selector.pid}`
    : `no process matches selector ${quoteSelector(selector)}`;
}

/** Tells whether a selector, or one of several, matches a process. */
export interface Matcher {
  /**
   * Whether it matches, also one that is never selected: {@linkcode whyNot}.
   *
   * @throws NotKnown, at once or later, when that is not known for the moment.
   */
  readonly matches: (entry: ProcessEntry) => boolean | Promise<boolean>;
  /** Whether it looks at nothing but the entry. */
  readonly isCheap: boolean;
}

/**
 * What tells whether a selector matches a process.
 *
 * @param all every process there is, for selectors that go by descent.
 */
export function matcher(
  selector: Selector,
  all: readonly ProcessEntry[],
  platform: Platform,
): Matcher {
  const parts = partsOf(selector)
    .toSorted((a, b) => costOf(a) - costOf(b))
    .map((part) => plainMatcher(part, all, platform));
  return parts.length === 1 ? parts[0] : {
    matches: (entry) => decided(parts, entry, false),
    isCheap: parts.every(({ isCheap }) => isCheap),
  };
}

/** What matches when any of some do; what one does not know, another may decide. */
export function anyOf(matchers: readonly Matcher[]): Matcher {
  return {
    matches: (entry) => decided(matchers, entry, true),
    isCheap: matchers.every(({ isCheap }) => isCheap),
  };
}

/**
 * What matchers say together: the first that gives a verdict decides, and what one
 * does not know, another may.
 *
 * @param verdict what decides: `false` where all have to match, `true` where any does.
 */
async function decided(
  matchers: readonly Matcher[],
  entry: ProcessEntry,
  verdict: boolean,
): Promise<boolean> {
  let unknown: NotKnown | undefined;
  for (const { matches } of matchers) {
    try {
      if (await matches(entry) === verdict) return verdict;
    } catch (error) {
      if (!(error instanceof NotKnown)) throw error;
      unknown ??= error;
    }
  }
  if (unknown) throw unknown;
  return !verdict;
}

/** What it costs to ask: nothing, a look at the process, or one at its program's file. */
function costOf({ kind }: PlainSelector): number {
  if (kind === "exe") return 2;
  return kind === "pid" || kind === "tree" || kind === "comm" ? 0 : 1;
}

function plainMatcher(
  selector: PlainSelector,
  all: readonly ProcessEntry[],
  platform: Platform,
): Matcher {
  return {
    matches: plainTest(selector, all, platform),
    isCheap: costOf(selector) === 0,
  };
}

function plainTest(
  selector: PlainSelector,
  all: readonly ProcessEntry[],
  platform: Platform,
): Matcher["matches"] {
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
      return (process) => platform.runsProgram(process, selector.matches);
    case "cgroup":
      return (process) => platform.cgroupsOf(process).some(selector.matches);
    case "unit":
      return (process) => {
        const cgroup = platform.systemdCgroupOf?.(process);
        return cgroup !== undefined && selector.matches(cgroup);
      };
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
