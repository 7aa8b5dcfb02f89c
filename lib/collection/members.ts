/**
 * Selection: the processes that selectors match at one moment.
 *
 * @module
 */

import { isExhausted, NoMatch, NoSuchProcess, NotKnown } from "../errors.ts";
import type { Platform, ProcessEntry } from "../platform/platform.ts";
import { countOf } from "../report/units.ts";
import {
  jointHint,
  partsOf,
  type PlainSelector,
  quoteSelector,
  type Selector,
} from "./selectors.ts";

/** The processes that selectors match, and problems with the others. */
export interface Selection {
  /**
   * In order of pid. Never includes rcap itself, kernel threads, zombies or
   * processes to be left alone.
   */
  readonly processes: readonly ProcessEntry[];
  /**
   * Messages about selectors that match nothing, and about processes that are to be
   * left alone or of which it is not known whether they match.
   */
  readonly problems: readonly string[];
}

/**
 * Finds the processes that any of the selectors matches.
 *
 * @param signal ends the search early.
 * @throws NoMatch if there is no such process; the message says why.
 * @throws NotKnown if descriptors or memory have run out.
 * @throws the signal's reason if it is aborted.
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

/**
 * Returns all processes that may be selected, the largest first: without those whose
 * cgroups ask for them to be left alone, or of which that is not known.
 */
export function selectableProcesses(platform: Platform): ProcessEntry[] {
  return platform.listProcesses()
    .filter((entry) => !whyNot(entry) && !mayBeAvoided(entry, platform))
    .sort((a, b) => b.rss - a.rss);
}

function mayBeAvoided(entry: ProcessEntry, platform: Platform): boolean {
  try {
    return platform.avoidanceOf?.(entry) !== undefined;
  } catch (error) {
    if (!(error instanceof NotKnown)) throw error;
    return true;
  }
}

/** Returns the message that a process is left alone, and why. */
export function describeAvoided(
  { pid, comm }: ProcessEntry,
  directory: string,
): string {
  return `process ${pid} (${comm}) is left alone, as user.rcap.avoid of ${directory} asks`;
}

/** How many unknown processes are reported individually. */
const MOST_TOLD = 5;

/** Shortens a list of messages about what is not known. */
export function told(unknown: readonly string[]): string[] {
  const distinct = [...new Set(unknown)];
  const rest = distinct.length - MOST_TOLD;
  return [
    ...distinct.slice(0, MOST_TOLD),
    ...rest > 0
      ? [
        `the same is not known of ${
          countOf(rest, "more process", "more processes")
        }`,
      ]
      : [],
  ];
}

/**
 * Returns a verdict, or `false` with a note if it is not known for a reason that
 * concerns the process.
 */
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

/**
 * Waits for a promise.
 *
 * @throws the signal's reason if it is aborted first.
 */
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
    // The caller may no longer be waiting for it.
    something.catch(() => {});
  }
}

/** Returns why a process is never selected; `undefined` if it may be. */
export function whyNot(process: ProcessEntry): string | undefined {
  const { pid, comm } = process;
  if (pid === Deno.pid) return `process ${pid} is rcap itself`;
  if (process.isSystem) {
    return `process ${pid} (${comm}) is a kernel thread, which has no memory of its own`;
  }
  if (process.isZombie) {
    return `process ${pid} (${comm}) is a zombie: it has exited and waits for its parent ${process.ppid} to reap it`;
  }
  if (process.image === 0) {
    return `process ${pid} (${comm}) is exiting: it has released its memory`;
  }
  return undefined;
}

/** Returns why a selector selects nothing, given what it matches. */
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
  if (selector.kind === "pid" || selector.kind === "tree") {
    return `no process has pid ${selector.pid}`;
  }
  const hint = partsOf(selector).map(({ text }) => jointHint(text))
    .find((hint) => hint !== undefined);
  return `no process matches selector ${quoteSelector(selector)}${
    hint === undefined ? "" : `; ${hint}`
  }`;
}

/** Decides whether a selector, or one of several, matches a process. */
export interface Matcher {
  /**
   * Whether it matches a process, even one that is never selected:
   * {@linkcode whyNot}.
   *
   * @throws NotKnown, directly or by rejection, if that is not known at the moment.
   */
  readonly matches: (entry: ProcessEntry) => boolean | Promise<boolean>;
  /** Whether it needs only the entry. */
  readonly isCheap: boolean;
}

/**
 * Returns the matcher of a selector.
 *
 * @param all all processes, for selectors by descent.
 * @param options `containerOf` is asked instead of the platform.
 */
export function matcher(
  selector: Selector,
  all: readonly ProcessEntry[],
  platform: Platform,
  { containerOf = (entry) => platform.containerOf?.(entry) }: {
    containerOf?: Platform["containerOf"];
  } = {},
): Matcher {
  const parts = partsOf(selector)
    .toSorted((a, b) => costOf(a) - costOf(b))
    .map((part) => plainMatcher(part, { all, platform, containerOf }));
  return parts.length === 1 ? parts[0] : {
    matches: (entry) => decided(parts, entry, false),
    isCheap: parts.every(({ isCheap }) => isCheap),
  };
}

/**
 * Returns a matcher that matches if any of several does. If one does not know,
 * another may decide.
 */
export function anyOf(matchers: readonly Matcher[]): Matcher {
  if (matchers.length === 1) return matchers[0];
  return {
    matches: (entry) => decided(matchers, entry, true),
    isCheap: matchers.every(({ isCheap }) => isCheap),
  };
}

/**
 * Combines matchers: the first with the deciding verdict decides, even if another
 * does not know.
 *
 * @param verdict the deciding verdict: `false` if all must match, `true` if any
 * suffices.
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

/**
 * The cost of asking: nothing, a look at the process, or a look at its program's
 * file.
 */
function costOf({ kind }: PlainSelector): number {
  if (kind === "exe") return 2;
  return kind === "pid" || kind === "tree" || kind === "comm" ? 0 : 1;
}

/** What matchers ask. */
interface Asked {
  readonly all: readonly ProcessEntry[];
  readonly platform: Platform;
  readonly containerOf: NonNullable<Platform["containerOf"]>;
}

function plainMatcher(selector: PlainSelector, asked: Asked): Matcher {
  return {
    matches: plainTest(selector, asked),
    isCheap: costOf(selector) === 0,
  };
}

function plainTest(
  selector: PlainSelector,
  { all, platform, containerOf }: Asked,
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
    case "container":
    case "pod":
      return (process) => {
        const container = containerOf(process);
        return container !== undefined && selector.selects(container);
      };
  }
}

/** The pids of a process and all its descendants. */
function descendants(
  root: number,
  all: readonly ProcessEntry[],
): ReadonlySet<number> {
  const children = Map.groupBy(all, ({ ppid }) => ppid);
  const found = new Set([root]);
  // The set grows during the loop.
  for (const pid of found) {
    for (const child of children.get(pid) ?? []) found.add(child.pid);
  }
  return found;
}

/**
 * Returns one process if it may be paged out.
 *
 * @throws NoSuchProcess if there is no such process or it may not be paged out.
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
