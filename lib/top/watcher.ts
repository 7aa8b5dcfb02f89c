/**
 * Watches processes for `rcap top`: sizes at every look, and the ages of their pages
 * within the budget of observation.
 *
 * @module
 */

import { selectableProcesses, selectProcesses } from "../collection/members.ts";
import type { Selector } from "../collection/selectors.ts";
import { messageOf, NoMatch, ProcessError } from "../errors.ts";
import { exclusive } from "../observer/exclusive_memory.ts";
import {
  ObservedElsewhere,
  type ResetRights,
} from "../observer/reset_rights.ts";
import { type Clock, systemClock } from "../platform/clock.ts";
import type {
  MonitoredMemory,
  Platform,
  ProcessEntry,
} from "../platform/platform.ts";
import { idleBytes, PageAges } from "../scanner/ages.ts";
import { type AgeFigures, IDLE_TIMES, type ProcessFigures } from "./figures.ts";

/** The most that being observed may cost a process, as a share of its time: as the daemon's default. */
export const BUDGET = 0.01;
/** Between two readings of a process, in milliseconds. */
const INTERVAL = 2000;
/** The share of its time for which rcap reads, at the most: it waits longer otherwise. */
const MOST_READING = 0.1;
/** Between two selections, in milliseconds. */
const SELECTION_LIFE = 5000;
/** How long a process rests that could not be observed, in milliseconds. */
const RETRY = 30_000;

/** Where a process belongs: the names of its group and of its cap. */
export type Belonging = Pick<ProcessFigures, "group" | "cap">;

export interface WatcherOptions {
  /** Which processes; all of the machine if empty. */
  readonly selectors: readonly Selector[];
  /** Returns the group of a process, and its cap. */
  readonly groupOf: (
    entry: ProcessEntry,
    all: readonly ProcessEntry[],
  ) => Promise<Belonging>;
  readonly platform: Platform;
  readonly rights?: ResetRights;
  readonly signal: AbortSignal;
  readonly warn: (message: string) => void;
  /** The clock of the system by default. */
  readonly clock?: Clock;
}

/** Watches processes until its signal. */
export class Watcher {
  readonly #options: WatcherOptions;
  readonly #clock: Clock;
  readonly #processes = new Map<string, WatchedProcess>();
  readonly began: number;
  #selectedAt = -Infinity;
  /** The last step that reads a process; they do not overlap. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: WatcherOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.began = this.#clock.now();
  }

  /** For how long processes have been watched, in seconds. */
  get seconds(): number {
    return (this.#clock.now() - this.began) / 1000;
  }

  /** The figures of all processes, as last read. */
  get figures(): ProcessFigures[] {
    return [...this.#processes.values()].map((one) => one.figures());
  }

  /** Returns a watched process. */
  process(pid: number): WatchedProcess | undefined {
    return [...this.#processes.values()].find(({ entry }) => entry.pid === pid);
  }

  /**
   * Finds the processes anew if that is due, and samples their sizes.
   *
   * @throws NoMatch if there is none at the first call.
   */
  async sample(): Promise<void> {
    if (this.#clock.now() - this.#selectedAt >= SELECTION_LIFE) {
      await this.#select();
    }
    for (const one of this.#processes.values()) one.sample();
  }

  /** Asks for the groups of all processes again, as after another grouping was chosen. */
  regroup(): void {
    this.#selectedAt = -Infinity;
  }

  /** Reads all processes again and again, until the signal. */
  async run(): Promise<void> {
    const { signal, platform } = this.#options;
    // What a reference costs has to be known for the budget.
    await platform.costs?.({ ofPageIns: false });
    while (!signal.aborted) {
      const began = this.#clock.now();
      for (const one of [...this.#processes.values()]) {
        if (signal.aborted) return;
        await this.inTurn(() => one.step());
      }
      const took = this.#clock.now() - began;
      const pause = Math.max(INTERVAL - took, took / MOST_READING - took, 100);
      await this.#clock.sleep(pause, signal);
    }
  }

  /** Reads all processes once. */
  async readAll(): Promise<void> {
    for (const one of [...this.#processes.values()]) {
      await this.inTurn(() => one.step());
    }
  }

  /** Does something while no process is read. */
  inTurn<T>(step: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(step);
    this.#turn = done.catch(() => {});
    return done;
  }

  async #select(): Promise<void> {
    const isFirst = this.#selectedAt === -Infinity &&
      this.#processes.size === 0;
    this.#selectedAt = this.#clock.now();
    const { platform, rights, groupOf } = this.#options;
    const entries = await this.#find(isFirst);
    const shared = await platform.sharedMemory?.(entries);
    const all = platform.listProcesses();
    const found = new Set<string>();
    for (const entry of entries) {
      if (shared?.has(entry.pid)) continue;
      const key = `${entry.pid} ${entry.startTime} ${entry.layout}`;
      found.add(key);
      const belonging = await groupOf(entry, all);
      const known = this.#processes.get(key);
      if (known) {
        known.belonging = belonging;
        continue;
      }
      const memory = exclusive(
        platform.open(entry, { observationBudget: BUDGET, assumesSwap: true }),
        entry,
        rights,
      );
      this.#processes.set(
        key,
        new WatchedProcess(entry, memory, {
          platform,
          clock: this.#clock,
          belonging,
          isNew: !isFirst,
        }),
      );
    }
    for (const [key, { entry }] of this.#processes) {
      if (found.has(key)) continue;
      this.#processes.delete(key);
      rights?.release(entry);
    }
  }

  async #find(isFirst: boolean): Promise<readonly ProcessEntry[]> {
    const { selectors, platform, signal, warn } = this.#options;
    if (selectors.length === 0) return selectableProcesses(platform);
    try {
      const { processes, problems } = await selectProcesses(
        selectors,
        platform,
        signal,
      );
      if (isFirst) problems.forEach(warn);
      return processes;
    } catch (error) {
      if (isFirst || !(error instanceof NoMatch)) throw error;
      return [];
    }
  }
}

interface Surroundings {
  readonly platform: Platform;
  readonly clock: Clock;
  readonly belonging: Belonging;
  /** Whether it has just started. */
  readonly isNew: boolean;
}

/** A process that is watched. */
export class WatchedProcess {
  readonly entry: ProcessEntry;
  readonly memory: MonitoredMemory;
  belonging: Belonging;
  readonly #platform: Platform;
  readonly #clock: Clock;
  readonly #isNew: boolean;
  ages: PageAges | undefined;
  #error: string | undefined;
  #triedAt = -Infinity;
  /** When the interval began, and the first one. */
  #since = 0;
  #began = 0;
  #rss: number;
  #swap: number | null = null;
  #faults: { count: number; at: number };
  #refaults: number | null = null;

  constructor(
    entry: ProcessEntry,
    memory: MonitoredMemory,
    { platform, clock, belonging, isNew }: Surroundings,
  ) {
    this.entry = entry;
    this.memory = memory;
    this.belonging = belonging;
    this.#platform = platform;
    this.#clock = clock;
    this.#isNew = isNew;
    this.#rss = entry.rss;
    this.#faults = { count: entry.majorFaults, at: clock.now() };
  }

  /** Reads its sizes, which is cheap. */
  sample(): void {
    try {
      const sample = this.#platform.sampleProcess(this.entry.pid);
      if (sample.startTime !== this.entry.startTime) return;
      this.#rss = sample.rss;
      const now = this.#clock.now();
      const { count, at } = this.#faults;
      const seconds = (now - at) / 1000;
      if (seconds >= 1) {
        this.#refaults = Math.max(0, sample.majorFaults - count) / seconds;
        this.#faults = { count: sample.majorFaults, at: now };
      }
      this.#swap = this.memory.readSwap?.() ?? null;
    } catch (error) {
      // It has exited, or may not be read: the next selection and reading notice.
      if (!(error instanceof ProcessError)) throw error;
    }
  }

  /** Ends an interval, or begins to observe. */
  async step(): Promise<void> {
    const now = this.#clock.now();
    if (this.#error !== undefined && now - this.#triedAt < RETRY) return;
    try {
      if (this.ages === undefined) await this.#begin();
      else await this.#advance(this.ages);
      this.#error = undefined;
    } catch (error) {
      if (!(error instanceof ProcessError)) throw error;
      this.#error = messageOf(error);
      this.#triedAt = now;
      this.ages = undefined;
      // What was lent may be borrowed again.
      if (error instanceof ObservedElsewhere) this.#triedAt -= RETRY - 2000;
    }
  }

  async #begin(): Promise<void> {
    await this.memory.checkAccess();
    await this.memory.reset();
    this.ages = new PageAges();
    this.#since = this.#began = this.#clock.now();
  }

  async #advance(ages: PageAges): Promise<void> {
    if (ages.pagedata && !this.memory.hasRun()) {
      const now = this.#clock.now();
      ages.pass((now - this.#since) / 1000);
      this.#since = now;
      return;
    }
    const now = this.#clock.now();
    ages.advance(
      await this.memory.readPagedata(),
      (now - this.#since) / 1000,
    );
    this.#since = now;
    await this.memory.refresh();
  }

  /** What counts as in use only because it was not judged yet, in bytes. */
  get unjudged(): number {
    return this.memory.unjudged ?? 0;
  }

  figures(): ProcessFigures {
    const { pid, startTime, ppid, comm } = this.entry;
    return {
      pid,
      startTime,
      ppid,
      comm,
      ...this.belonging,
      rss: this.#rss,
      swap: this.#swap,
      refaults: this.#refaults,
      ages: this.#ageFigures(),
      error: this.#error,
    };
  }

  #ageFigures(): AgeFigures | undefined {
    const { ages, memory, unjudged } = this;
    if (!ages?.pagedata) return undefined;
    return {
      seconds: this.#isNew ? Infinity : (this.#since - this.#began) / 1000,
      recorded: ages.residentBytes,
      idle: idleBytes([ages], IDLE_TIMES).map(({ bytes }) => bytes),
      unjudged,
      cost: memory.observationCost ?? null,
    };
  }
}
