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
  readonly entry: ProcessEntry;
  /** In which pass it was seen first. */
  readonly since: number;
  /** Index of the cap it belongs to, or `NONE`. */
  readonly cap: number;
  /** The cgroup directory for whose sake it is left alone. */
  readonly avoidedBy: string | undefined;
}

/** A process that would be a member, and is to be left alone. */
export interface Avoided {
  readonly entry: ProcessEntry;
  /** The directory of the cgroup that asks for it. */
  readonly directory: string;
}

/** What a pass has found. */
export interface Pass {
  /** The members of each cap, by pid. */
  readonly members: readonly (readonly ProcessEntry[])[];
  /** Who would be members of each cap. */
  readonly avoided: readonly (readonly Avoided[])[];
  /**
   * What is not known of processes, for a reason of their own. They are members of
   * what they were members of. For a person, and what holds for several stands
   * there once.
   */
  readonly unknown: readonly string[];
  /**
   * Why something of some processes could not be found out at all, for want of
   * descriptors or memory; `undefined` when it could. What was known of them holds.
   */
  readonly exhausted: string | undefined;
}

/** Finds the members of caps, in one pass after another. */
export class Membership {
  readonly #platform: Platform;
  readonly #clock: Clock;
  /** The selectors of each cap. */
  readonly #rules: readonly (readonly Selector[])[];
  /** When the processes started that selectors name, by pid. */
  readonly #named = new Map<number, number>();
  /** Pids in selectors of which that could not be found out yet. */
  readonly #toBeNamed = new Set<number>();
  #known = new Map<number, Known>();
  #pass = 0;

  /**
   * A pid in a selector means the process that has it now, and no other that may
   * get it later.
   *
   * @param caps the selectors of each cap. A process that several select belongs
   * to the first.
   * @param options `previous`, whose word on pids holds on, and the clock, by default
   * that of the system.
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

  /** Finds out whom pids are for, where that is not known yet. */
  #name(): void {
    for (const pid of this.#toBeNamed) {
      try {
        this.#named.set(pid, this.#platform.readProcess(pid).startTime);
      } catch (error) {
        // It may be there, but nothing can be found out now.
        if (isExhausted(error)) continue;
        if (!(error instanceof NoSuchProcess)) throw error;
      }
      this.#toBeNamed.delete(pid);
    }
  }

  /** When the process started that selectors name by a pid; `undefined` when none do. */
  namedStartTime(pid: number): number | undefined {
    return this.#named.get(pid);
  }

  /**
   * Makes a pass.
   *
   * @param signal ends it early, with what was known before.
   */
  async refresh(signal?: AbortSignal): Promise<Pass> {
    this.#pass++;
    const troubles = new Troubles();
    this.#name();
    const entries = await this.#list(troubles, signal);
    // Without a list, everything stays as it was.
    if (!entries) return this.#found(troubles);
    const there = new Map(entries.map((entry) => [entry.pid, entry.startTime]));
    const isValid = (selector: Selector) =>
      pidsIn(selector).every((pid) =>
        this.#named.has(pid) && this.#named.get(pid) === there.get(pid)
      );
    const matchers = this.#rules.map((selectors) =>
      anyOf(
        selectors.filter(isValid).map((selector) =>
          matcher(selector, entries, this.#platform)
        ),
      )
    );
    const looks: Promise<Known>[] = [];
    const turn = new LoopTurns(this.#clock);
    for (const entry of entries) {
      if (whyNot(entry)) continue;
      const look = this.#lookAt(entry, matchers, troubles);
      // It is waited for with the others; until then, no error of it is lost.
      look.catch(() => {});
      looks.push(look);
      if (turn.isOver()) await turn.next();
      if (signal?.aborted) return this.#found(troubles);
    }
    try {
      const known = await untilAborted(Promise.all(looks), signal);
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

  /** Every process there is; `undefined` when that cannot be told for the moment. */
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
        // Exited since the list was made, or it cannot be read: it has no part.
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

  /** What is known of a process; looks at it closer where need be. */
  async #lookAt(
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
    // What is known is asked again where that costs nothing.
    const cap = await this.#capOf({
      last,
      troubles,
      verdicts: matchers.map(({ matches, isCheap }, index) => () =>
        isDue || isCheap ? matches(entry) : index === last
      ),
    });
    const avoidedBy = cap === NONE
      ? undefined
      : this.#avoidanceOf(entry, before?.avoidedBy, troubles);
    return { entry, since, cap, avoidedBy };
  }

  /** The first cap that a process belongs to. */
  async #capOf(
    { last, troubles, verdicts }: {
      /** To which it belonged. */
      last: number;
      troubles: Troubles;
      verdicts: readonly (() => boolean | Promise<boolean>)[];
    },
  ): Promise<number> {
    for (const [index, isMember] of verdicts.entries()) {
      try {
        if (await isMember()) return index;
      } catch (error) {
        if (!(error instanceof NotKnown)) throw error;
        troubles.note(error);
        // Nothing of it can be found out, so it may belong to any.
        if (isExhausted(error)) return last;
        // By being silent a process leaves no cap, and escapes none of the others.
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

/** Lets the event loop turn every so often during long work. */
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
