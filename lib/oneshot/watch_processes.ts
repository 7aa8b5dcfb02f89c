/**
 * Watches processes for a time: ends an interval for each in turn, again and again. Nothing
 * is paged out.
 *
 * @module
 */

import { selectableProcesses, selectProcesses } from "../collection/members.ts";
import { SOON } from "../collection/observe.ts";
import type { Selector } from "../collection/selectors.ts";
import { NoMatch, ProcessAccessDenied } from "../errors.ts";
import { exclusive } from "../observer/exclusive_memory.ts";
import type { ResetRights } from "../observer/reset_rights.ts";
import { type Clock, systemClock } from "../platform/clock.ts";
import { progress } from "../platform/output.ts";
import type { Platform, ProcessEntry } from "../platform/platform.ts";
import { countOf, exactDuration } from "../report/units.ts";
import {
  describeObservationCost,
  observationCostOf,
} from "./observation_cost.ts";
import type { Messages } from "./scan_once.ts";
import { SizedProcess } from "./sized_process.ts";

/** The share of its time for which rcap reads, at the most: it waits longer otherwise. */
const MOST_READING = 0.2;
/** How often processes are selected anew, in milliseconds. */
const SELECTION_LIFE = 10_000;
/** The most that being observed may cost a process, as a share of its time: as the daemon's default. */
const BUDGET = 0.01;
/** What is watched, and for how long. Times are in milliseconds. */
export interface WatchOptions {
  /** Which processes; all of the machine if empty. */
  readonly selectors: readonly Selector[];
  readonly observation: number;
  /** The shortest time between two readings of a process. */
  readonly interval: number;
  /** Whether the names of mappings are of interest. Not by default. */
  readonly keepsNames?: boolean;
  /** Ends the observation: what is known until then is the result. */
  readonly signal: AbortSignal;
  readonly log: Messages;
  readonly platform: Platform;
  /** Decides whose references may be reset; by default all. */
  readonly rights?: ResetRights;
  /** The clock of the system by default. */
  readonly clock?: Clock;
}

/** What watches the processes. */
export interface Watcher {
  /** Whether a process is of interest. */
  wants(entry: ProcessEntry): boolean;
  /** Takes a process, which is watched from now on. */
  join(one: SizedProcess): void;
  /** Called when processes were joined and have been read for the first time. */
  begin(): void;
  /** Called when processes that have exited are forgotten. */
  forgetExited(): void;
  /**
   * Called when all processes have been read.
   *
   * @param seconds since the observation began.
   * @param endsInterval whether an interval was ended; otherwise it only began.
   * @returns whether to go on.
   */
  take(seconds: number, endsInterval: boolean): boolean;
  /** What is said of the observation besides the processes and its time, while it lasts. */
  progress?(): string;
}

/** One observation. */
export class ProcessWatch {
  readonly #options: WatchOptions;
  readonly #watcher: Watcher;
  readonly #clock: Clock;
  /** All processes that were found, by pid and start time. */
  readonly #processes = new Map<string, SizedProcess>();
  #began = 0;
  #selectedAt = -Infinity;

  constructor(options: WatchOptions, watcher: Watcher) {
    this.#options = options;
    this.#watcher = watcher;
    this.#clock = options.clock ?? systemClock;
  }

  /**
   * Watches, until it is over or the signal ends it.
   *
   * @throws NoMatch, NoSuchProcess if there is nothing to watch.
   * @throws ProcessError if none of the processes can be read.
   */
  async run(): Promise<void> {
    const { signal, log, observation } = this.#options;
    await this.#select();
    const all = [...this.#processes.values()];
    if (all.length === 0) {
      throw new NoMatch("no process of this machine can be watched");
    }
    const watched = all.filter(({ isWatched }) => isWatched);
    this.#began = this.#clock.now();
    if (watched.length === 0 && !signal.aborted) {
      const failures = all.flatMap(({ failure }) => failure ?? []);
      // One with a remedy says more.
      throw failures.find((one) => one instanceof ProcessAccessDenied) ??
        failures.at(0) ?? new NoMatch("all processes have exited");
    }
    this.#watcher.begin();
    // Commands end soon after a signal, with what is known by then.
    const aborted = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    const watching = this.#watch();
    await Promise.race([watching, aborted]);
    if (signal.aborted) watching.catch(() => {});
    this.#tellErrors(log);
    const seconds = Math.min(
      observation,
      this.#clock.now() - this.#began,
    ) / 1000;
    const cost = describeObservationCost(
      all.map(({ entry: { pid, comm }, memory }) => ({
        pid,
        comm,
        observationCost: observationCostOf(memory),
      })),
      Math.max(1, Math.round(seconds)),
    );
    if (cost) log.info(cost);
  }

  #tellErrors(log: Messages): void {
    const failed = [...this.#processes.values()]
      .flatMap(({ error }) => error === undefined ? [] : [error]);
    const MOST = 5;
    for (const error of failed.slice(0, MOST)) log.warn(error);
    if (failed.length > MOST) {
      log.warn(
        `${
          countOf(failed.length - MOST, "more process", "more processes")
        } could not be watched; what they hold counts as what cannot go`,
      );
    }
  }

  /** Finds the processes, and begins to watch those that are new. */
  async #select(): Promise<void> {
    const { platform, rights, signal, log } = this.#options;
    const isFirst = this.#selectedAt === -Infinity;
    this.#selectedAt = this.#clock.now();
    const entries = await this.#find(isFirst);
    const shared = await platform.sharedMemory?.(entries);
    for (const [key, { hasExited }] of this.#processes) {
      if (hasExited) this.#processes.delete(key);
    }
    this.#watcher.forgetExited();
    for (const entry of entries) {
      const key = `${entry.pid} ${entry.startTime} ${entry.layout}`;
      const isKnown = this.#processes.has(key) || shared?.has(entry.pid) ||
        entry.mainThreadExited;
      if (isKnown || signal.aborted) continue;
      if (!this.#watcher.wants(entry)) continue;
      const memory = exclusive(
        platform.open(entry, {
          observationBudget: BUDGET,
          assumesSwap: true,
        }),
        entry,
        rights,
      );
      const process = new SizedProcess(entry, memory, {
        platform,
        clock: this.#clock,
        keepsNames: this.#options.keepsNames,
      });
      this.#processes.set(key, process);
      this.#watcher.join(process);
      await process.begin();
      if (!isFirst) this.#watcher.begin();
      const limit = limitOf(process);
      if (limit && isFirst) {
        log.warn(`process ${entry.pid} (${entry.comm}): ${limit}`);
      }
    }
  }

  async #find(isFirst: boolean): Promise<readonly ProcessEntry[]> {
    const { selectors, platform, signal, log } = this.#options;
    if (selectors.length === 0) return selectableProcesses(platform);
    try {
      const { processes, problems } = await selectProcesses(
        selectors,
        platform,
        isFirst ? signal : undefined,
      );
      if (isFirst) problems.forEach((problem) => log.warn(problem));
      return processes;
    } catch (error) {
      // All have exited: what was found out until then remains.
      if (isFirst || !(error instanceof NoMatch)) throw error;
      return [];
    }
  }

  /** Takes readings until the observation is over. */
  async #watch(): Promise<void> {
    const { observation, signal } = this.#options;
    const clock = this.#clock;
    let due = this.#began;
    let longest = 0;
    const isOver = () => clock.now() - this.#began >= observation;
    while (!signal.aborted && !isOver()) {
      using _progress = progress(this.#progress());
      const started = clock.now();
      await clock.sleep(SOON, signal);
      await this.#step((one) => one.look());
      if (!this.#take(false)) return;
      const least = longest / MOST_READING;
      due = Math.max(due + this.#options.interval, started + least);
      const left = Math.min(due, this.#began + observation) - clock.now();
      await clock.sleep(left, signal);
      if (signal.aborted) return;
      const began = clock.now();
      await this.#step((one) => one.advance());
      if (!this.#take(true)) return;
      longest = clock.now() - began;
      const isDue = clock.now() - this.#selectedAt >= SELECTION_LIFE;
      // If all run another program, they are found anew at once.
      if ((isDue || !this.#isAnyWatched) && !isOver()) await this.#select();
      if (!this.#isAnyWatched) return;
    }
  }

  get #isAnyWatched(): boolean {
    return [...this.#processes.values()].some((one) => one.isWatched);
  }

  async #step(step: (one: SizedProcess) => Promise<void>): Promise<void> {
    for (const one of this.#processes.values()) {
      if (this.#options.signal.aborted) return;
      await step(one);
    }
  }

  /** @returns whether to go on. */
  #take(endsInterval: boolean): boolean {
    if (this.#options.signal.aborted) return false;
    const seconds = (this.#clock.now() - this.#began) / 1000;
    return this.#watcher.take(seconds, endsInterval);
  }

  #progress(): string {
    const { observation } = this.#options;
    const watched = [...this.#processes.values()].filter((one) =>
      one.isWatched
    );
    const left = observation - (this.#clock.now() - this.#began);
    const seconds = Math.ceil(left / 1000);
    return `watching ${
      countOf(watched.length, "process", "processes")
    }, ${seconds} s of ${exactDuration(observation)} left${
      this.#watcher.progress?.() ?? ""
    }…`;
  }
}

/** Why a process may not swap as much as it likes; `undefined` if it may, or has exited. */
function limitOf({ memory, isWatched }: SizedProcess): string | undefined {
  if (!isWatched) return undefined;
  try {
    return memory.swapLimit?.();
  } catch {
    // It has exited meanwhile, which the next reading notices.
    return undefined;
  }
}
