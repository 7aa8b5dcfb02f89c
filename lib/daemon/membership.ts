/**
 * Membership: which process belongs to which cap, found out again and again at
 * little cost.
 *
 * A pass reads one file a process, which tells whether it is the process that it
 * was and runs the program that it ran. Only a process that is new, or new to its
 * program, is looked at closer: its user, program file and cgroups. A process can
 * change its user or cgroup without that, so a few others are looked at again in
 * every pass, everyone after some time.
 *
 * @module
 */

import { matcher, whyNot } from "../collection/members.ts";
import type { Selector } from "../collection/selectors.ts";
import { NoSuchProcess, ProcessError } from "../errors.ts";
import type { Platform, ProcessEntry } from "../platform/platform.ts";

/** A known process is looked at closer in one of so many passes. */
const ROTATION = 8;

/** A process may change its user or cgroup shortly after it started: so many passes. */
const SETTLING = 4;

/** How long a pass may keep the event loop from turning, in milliseconds. */
const TURN_MS = 25;

/** Belongs to no cap. */
const NONE = -1;

/** A process as of the last pass. */
interface Known {
  readonly startTime: number;
  readonly layout: string;
  readonly comm: string;
  /** In which pass it was seen first. */
  readonly since: number;
  /** Index of the cap it belongs to, or `NONE`. */
  cap: number;
}

/** Finds the members of caps, in one pass after another. */
export class Membership {
  readonly #platform: Platform;
  /** The selectors of each cap. */
  readonly #rules: readonly (readonly Selector[])[];
  /** When the processes started that selectors name, by pid. */
  readonly #named = new Map<number, number>();
  #known = new Map<number, Known>();
  #pass = 0;

  /**
   * A pid in a selector means the process that has it now, and no other that may
   * get it later.
   *
   * @param caps the selectors of each cap. A process that several select belongs
   * to the first.
   * @param previous whose word on pids holds on.
   */
  constructor(
    platform: Platform,
    caps: readonly { readonly select: readonly Selector[] }[],
    previous?: Membership,
  ) {
    this.#platform = platform;
    this.#rules = caps.map(({ select }) => select);
    for (const selector of this.#rules.flat()) {
      if (!("pid" in selector)) continue;
      const { pid } = selector;
      const startTime = previous?.namedStartTime(pid) ??
        startTimeOf(platform, pid);
      if (startTime !== undefined) this.#named.set(pid, startTime);
    }
  }

  /** When the process started that selectors name by a pid; `undefined` when none do. */
  namedStartTime(pid: number): number | undefined {
    return this.#named.get(pid);
  }

  /**
   * Makes a pass.
   *
   * @param signal ends it early, with what it has found so far.
   * @returns the members of each cap, by pid.
   */
  async refresh(signal?: AbortSignal): Promise<ProcessEntry[][]> {
    this.#pass++;
    const entries = await this.#list(signal);
    const there = new Map(entries.map((entry) => [entry.pid, entry.startTime]));
    const matchers = this.#rules.map((selectors) => {
      const valid = selectors.filter((selector) =>
        !("pid" in selector) || (this.#named.has(selector.pid) &&
          this.#named.get(selector.pid) === there.get(selector.pid))
      );
      return matcherOf(valid, entries, this.#platform);
    });
    const known = new Map<number, Known>();
    const members: ProcessEntry[][] = this.#rules.map(() => []);
    const turn = new LoopTurns();
    for (const entry of entries) {
      if (whyNot(entry)) continue;
      const now = this.#lookAt(entry, matchers);
      known.set(entry.pid, now);
      if (now.cap !== NONE) members[now.cap].push(entry);
      if (turn.isOver()) await turn.next();
      if (signal?.aborted) break;
    }
    this.#known = known;
    return members;
  }

  /** Every process there is. */
  async #list(signal?: AbortSignal): Promise<ProcessEntry[]> {
    const entries: ProcessEntry[] = [];
    const turn = new LoopTurns();
    for (const pid of this.#platform.listPids()) {
      try {
        entries.push(this.#platform.readProcess(pid));
      } catch (error) {
        // Exited since the list was made, or it cannot be read: it has no part.
        if (!(error instanceof ProcessError)) throw error;
      }
      if (turn.isOver()) await turn.next();
      if (signal?.aborted) break;
    }
    return entries;
  }

  /** What is known of a process; looks at it closer where need be. */
  #lookAt(entry: ProcessEntry, matchers: readonly Matcher[]): Known {
    const { pid, startTime, layout, comm } = entry;
    const before = this.#known.get(pid);
    const isSame = before?.startTime === startTime &&
      before.layout === layout && before.comm === comm;
    const since = isSame ? before.since : this.#pass;
    const isDue = this.#pass - since < SETTLING ||
      (pid + this.#pass) % ROTATION === 0;
    let cap = isSame ? before.cap : NONE;
    // What is known is asked again where that costs nothing.
    cap = !isSame || isDue
      ? matchers.findIndex(({ matches }) => matches(entry))
      : matchers.findIndex(({ isCheap, matches }, index) =>
        isCheap ? matches(entry) : index === before.cap
      );
    return { startTime, layout, comm, since, cap };
  }
}

/** Tells whether a process belongs to a cap. */
interface Matcher {
  readonly matches: (entry: ProcessEntry) => boolean;
  /** Whether it looks at nothing but the entry. */
  readonly isCheap: boolean;
}

function matcherOf(
  selectors: readonly Selector[],
  entries: readonly ProcessEntry[],
  platform: Platform,
): Matcher {
  const matchers = selectors.map((selector) =>
    matcher(selector, entries, platform)
  );
  return {
    matches: (entry) => matchers.some((matches) => matches(entry)),
    isCheap: selectors.every(({ kind }) =>
      kind === "pid" || kind === "tree" || kind === "comm"
    ),
  };
}

/** When a process started; `undefined` when there is none with that pid. */
function startTimeOf(platform: Platform, pid: number): number | undefined {
  try {
    return platform.readProcess(pid).startTime;
  } catch (error) {
    if (!(error instanceof NoSuchProcess)) throw error;
    return undefined;
  }
}

/** Lets the event loop turn every so often during long work. */
class LoopTurns {
  #since = performance.now();

  isOver(): boolean {
    return performance.now() - this.#since > TURN_MS;
  }

  async next(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 0));
    this.#since = performance.now();
  }
}
