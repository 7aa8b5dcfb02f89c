/**
 * Membership: determines which process belongs to which cap, repeatedly and cheaply.
 *
 * A pass reads one file per process, which shows whether it is still the same process
 * and executes the same program. Only a new process, or one with a new program, is
 * examined closely: its user, program file and cgroups. Since a process can change its
 * user or cgroup without starting a program, each pass also examines a few of the
 * others again, so that every process gets its turn.
 *
 * @module
 */

import { type Clock, systemClock } from "../platform/clock.ts";
import {
  anyOf,
  type Matcher,
  matcher,
  untilAborted,
  whyNot,
} from "../collection/members.ts";
import { partsOf, type Selector } from "../collection/selectors.ts";
import {
  isExhausted,
  messageOf,
  NoSuchProcess,
  NotKnown,
  ProcessError,
} from "../errors.ts";
import type { Platform, ProcessEntry } from "../platform/platform.ts";

/** A known process is examined closely in one of this many passes. */
const ROTATION = 8;

/** A new process, which may soon change its user or cgroup, is examined closely for this many passes. */
const SETTLING = 4;

/** How long a pass may block the event loop, in milliseconds. */
const TURN_MS = 25;

/** The index for no cap. */
const NONE = -1;

/** A process as of the last pass. */
interface Known {
  readonly entry: ProcessEntry;
  /** The pass in which it was first seen. */
  readonly since: number;
  /** Index of the cap it belongs to, or `NONE`. */
  readonly cap: number;
  /** The cgroup directory that asks for it to be left alone. */
  readonly avoidedBy: string | undefined;
}

/** A process that matches a cap's selectors but is to be left alone. */
export interface Avoided {
  readonly entry: ProcessEntry;
  /** The directory of the cgroup that asks for this. */
  readonly directory: string;
}

/** The result of a pass. */
export interface Pass {
  /** The members of each cap, ordered by pid. */
  readonly members: readonly (readonly ProcessEntry[])[];
  /** The processes of each cap that are left alone. */
  readonly avoided: readonly (readonly Avoided[])[];
  /**
   * What could not be found out about single processes, in words for users, each
   * message once. These processes stay members of the group they belonged to.
   */
  readonly unknown: readonly string[];
  /**
   * Why nothing could be found out about some processes, through a lack of descriptors
   * or memory; `undefined` if there was none. Their membership stays unchanged.
   */
  readonly exhausted: string | undefined;
}

/** Finds the members of caps, pass by pass. */
export class Membership {
  readonly #platform: Platform;
  readonly #clock: Clock;
  /** The selectors of each cap. */
  readonly #rules: readonly (readonly Selector[])[];
  /** The start times of the processes that selectors name, by pid. */
  readonly #named = new Map<number, number>();
  /** Pids in selectors whose start time is not known yet. */
  readonly #toBeNamed = new Set<number>();
  #known = new Map<number, Known>();
  #pass = 0;

  /**
   * A pid in a selector means the process that has it now, not one that gets it later.
   *
   * @param caps the selectors of each cap. A process that several caps select belongs
   * to the first of them.
   * @param options `previous`, from which the meaning of pids is taken over, and the
   * clock, by default the system's.
   */
  constructor(
    platform: Platform,
    caps: readonly { readonly select: readonly Selector[] }[],
    { previous, clock = systemClock }: {
      readonly previous?: Membership;
      readonly clock?: Clock;
    } = {},
  ) {
    this.#platform = platform;
    this.#clock = clock;
    this.#rules = caps.map(({ select }) => select);
    for (const pid of this.#rules.flat().flatMap(pidsIn)) {
      const startTime = previous?.namedStartTime(pid);
      if (startTime === undefined) this.#toBeNamed.add(pid);
      else this.#named.set(pid, startTime);
    }
    this.#name();
  }

  /** Finds out which processes the pids in selectors mean, if not known yet. */
  #name(): void {
    for (const pid of this.#toBeNamed) {
      try {
        this.#named.set(pid, this.#platform.readProcess(pid).startTime);
      } catch (error) {
        // It may exist, but cannot be read at the moment.
        if (isExhausted(error)) continue;
        if (!(error instanceof NoSuchProcess)) throw error;
      }
      this.#toBeNamed.delete(pid);
    }
  }

  /** The start time of the process that selectors name by a pid; `undefined` if none does. */
  namedStartTime(pid: number): number | undefined {
    return this.#named.get(pid);
  }

  /**
   * Runs a pass.
   *
   * @param signal ends it early; then the result is what was known before.
   */
  async refresh(signal?: AbortSignal): Promise<Pass> {
    this.#pass++;
    const troubles = new Troubles();
    this.#name();
    const entries = await this.#list(troubles, signal);
    // Without a list of processes, everything stays as it was.
    if (!entries) return this.#found(troubles);
    const there = new Map(entries.map((entry) => [entry.pid, entry.startTime]));
    const isValid = (selector: Selector) =>
      pidsIn(selector).every((pid) =>
        this.#named.has(pid) && this.#named.get(pid) === there.get(pid)
      );
    const containerOf = once((entry: ProcessEntry) =>
      this.#platform.containerOf?.(entry)
    );
    const matchers = this.#rules.map((selectors) =>
      anyOf(
        selectors.filter(isValid).map((selector) =>
          matcher(selector, entries, this.#platform, { containerOf })
        ),
      )
    );
    const checks: Promise<Known>[] = [];
    const turn = new LoopTurns(this.#clock);
    for (const entry of entries) {
      if (whyNot(entry)) continue;
      const check = this.#check(entry, matchers, troubles);
      // Awaited below with the others; an earlier rejection must not count as unhandled.
      check.catch(() => {});
      checks.push(check);
      if (turn.isOver()) await turn.next();
      if (signal?.aborted) return this.#found(troubles);
    }
    try {
      const known = await untilAborted(Promise.all(checks), signal);
      this.#known = new Map(known.map((one) => [one.entry.pid, one]));
    } catch (error) {
      if (!signal?.aborted) throw error;
    }
    return this.#found(troubles);
  }

  #found({ unknown, exhausted }: Troubles): Pass {
    const members: ProcessEntry[][] = this.#rules.map(() => []);
    const avoided: Avoided[][] = this.#rules.map(() => []);
    for (const { entry, cap, avoidedBy: directory } of this.#known.values()) {
      if (cap === NONE) continue;
      if (directory === undefined) members[cap].push(entry);
      else avoided[cap].push({ entry, directory });
    }
    return { members, avoided, unknown, exhausted };
  }

  /** All processes; `undefined` if they cannot be listed at the moment. */
  async #list(
    troubles: Troubles,
    signal?: AbortSignal,
  ): Promise<ProcessEntry[] | undefined> {
    const entries: ProcessEntry[] = [];
    const turn = new LoopTurns(this.#clock);
    for (const pid of this.#listPids(troubles)) {
      try {
        entries.push(this.#platform.readProcess(pid));
      } catch (error) {
        if (isExhausted(error)) {
          troubles.note(error);
          const before = this.#known.get(pid)?.entry;
          if (before) entries.push(before);
        } else if (!(error instanceof ProcessError)) {
          throw error;
        }
        // It has exited since it was listed, or cannot be read: it is left out.
      }
      if (turn.isOver()) await turn.next();
      if (signal?.aborted) return undefined;
    }
    return entries.length > 0 ? entries : undefined;
  }

  #listPids(troubles: Troubles): number[] {
    try {
      return this.#platform.listPids();
    } catch (error) {
      if (!isExhausted(error)) throw error;
      troubles.note(error);
      return [];
    }
  }

  /** Determines the cap of a process; examines it closely if that is due. */
  async #check(
    entry: ProcessEntry,
    matchers: readonly Matcher[],
    troubles: Troubles,
  ): Promise<Known> {
    const { pid, startTime, layout, comm } = entry;
    const known = this.#known.get(pid);
    const before = known?.entry.startTime === startTime ? known : undefined;
    const isSame = before?.entry.layout === layout &&
      before.entry.comm === comm;
    const since = isSame ? before.since : this.#pass;
    const isDue = !isSame || this.#pass - since < SETTLING ||
      (pid + this.#pass) % ROTATION === 0;
    const last = before?.cap ?? NONE;
    const cap = await this.#capOf(entry, { matchers, isDue, last, troubles });
    const avoidedBy = cap === NONE
      ? undefined
      : this.#avoidanceOf(entry, before?.avoidedBy, troubles);
    return { entry, since, cap, avoidedBy };
  }

  /**
   * The index of the first cap that a process belongs to, or `NONE`.
   *
   * @param options `last` is the cap it belonged to before. Unless it `isDue`, only cheap
   * selectors are evaluated.
   */
  async #capOf(
    entry: ProcessEntry,
    { matchers, isDue, last, troubles }: {
      matchers: readonly Matcher[];
      isDue: boolean;
      last: number;
      troubles: Troubles;
    },
  ): Promise<number> {
    for (const [index, { matches, isCheap }] of matchers.entries()) {
      try {
        const verdict = isDue || isCheap ? matches(entry) : index === last;
        // There may be a thousand caps of pods: to wait for each would take long.
        if (typeof verdict === "boolean" ? verdict : await verdict) {
          return index;
        }
      } catch (error) {
        if (!(error instanceof NotKnown)) throw error;
        troubles.note(error);
        // Nothing can be found out about it, so it may still belong to any cap.
        if (isExhausted(error)) return last;
        // A process that does not answer stays in its cap, and can still join others.
        if (index === last) return last;
      }
    }
    return NONE;
  }

  #avoidanceOf(
    entry: ProcessEntry,
    before: string | undefined,
    troubles: Troubles,
  ): string | undefined {
    try {
      return this.#platform.avoidanceOf?.(entry);
    } catch (error) {
      if (!(error instanceof NotKnown)) throw error;
      troubles.note(error);
      return before;
    }
  }
}

/**
 * Returns a function that asks another one only once about each thing: users decide how
 * many pods have caps, and each cap asks for the container of each process.
 */
function once<T extends object, R>(ask: (thing: T) => R): (thing: T) => R {
  const answers = new WeakMap<T, () => R>();
  return (thing) => {
    let answer = answers.get(thing);
    if (!answer) answers.set(thing, answer = outcomeOf(() => ask(thing)));
    return answer();
  };
}

/** Does something, and returns what returns or throws the same again. */
function outcomeOf<R>(step: () => R): () => R {
  try {
    const result = step();
    return () => result;
  } catch (error) {
    return () => {
      throw error;
    };
  }
}

/** What could not be found out in a pass. */
class Troubles {
  readonly #unknown = new Set<string>();
  #exhausted: string | undefined;

  note(error: unknown): void {
    const message = messageOf(error);
    if (isExhausted(error)) this.#exhausted ??= message;
    else this.#unknown.add(message);
  }

  get unknown(): string[] {
    return [...this.#unknown];
  }

  get exhausted(): string | undefined {
    return this.#exhausted;
  }
}

/** The pids in a selector. */
function pidsIn(selector: Selector): number[] {
  return partsOf(selector).flatMap((part) => "pid" in part ? [part.pid] : []);
}

/** Lets the event loop turn from time to time during long work. */
class LoopTurns {
  readonly #clock: Clock;
  #since: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#since = clock.now();
  }

  isOver(): boolean {
    return this.#clock.now() - this.#since > TURN_MS;
  }

  async next(): Promise<void> {
    await this.#clock.sleep(0, NEVER);
    this.#since = this.#clock.now();
  }
}

const NEVER = new AbortController().signal;
