/**
 * Watches processes, and finds out what a cap would cost them. Nothing is paged out.
 * `rcap size` prints the result.
 *
 * @module
 */

import { selectProcesses, whyNot } from "../collection/members.ts";
import { SOON } from "../collection/observe.ts";
import type { Selector } from "../collection/selectors.ts";
import { NoMatch, NotKnown } from "../errors.ts";
import { exclusive } from "../observer/exclusive_memory.ts";
import type { ResetRights } from "../observer/reset_rights.ts";
import { type Clock, systemClock } from "../platform/clock.ts";
import { progress } from "../platform/output.ts";
import type {
  MemoryCosts,
  Platform,
  ProcessEntry,
} from "../platform/platform.ts";
import { countOf, exactDuration } from "../report/units.ts";
import {
  describeObservationCost,
  observationCostOf,
} from "./observation_cost.ts";
import type { Messages } from "./scan_once.ts";
import { SizedGroup, type SizedGroupOptions } from "./sized_group.ts";
import { SizedProcess } from "./sized_process.ts";

/** Readings of an observation, as far as the limits of their interval allow, in milliseconds. */
const READINGS = 120;
const SHORTEST_INTERVAL = 1000;
const LONGEST_INTERVAL = 5000;
/** The share of its time for which rcap reads, at the most: it waits longer otherwise. */
const MOST_READING = 0.2;
/** How often processes are selected anew, in milliseconds. */
const SELECTION_LIFE = 10_000;
/** The most that being observed may cost a process, as a share of its time: as the daemon's default. */
const BUDGET = 0.01;
/** The steps of a curve, and the readings whose ages are kept, of each of many groups. */
const ONE_OF_MANY = { steps: 128, samples: 32 };
/** The most groups: those of the largest processes; all others are one. */
const MOST_GROUPS = 1024;
export const OTHERS = "others";

/** Returns the name of the group that a process belongs to; `undefined` if none. */
export type GroupOf = (entry: ProcessEntry) => string | undefined;

export interface SizeOptions {
  /** Which processes; all of the machine if empty. */
  readonly selectors: readonly Selector[];
  /** Which of them belong together; all by default. */
  readonly groupOf?: GroupOf;
  /** In milliseconds. */
  readonly observation: number;
  /** Ends the observation: what is known until then is the result. */
  readonly signal: AbortSignal;
  readonly log: Messages;
  readonly platform: Platform;
  /** Decides whose references may be reset; by default all. */
  readonly rights?: ResetRights;
  /** The clock of the system by default. */
  readonly clock?: Clock;
}

/** What was found out. */
export interface SizeFindings {
  /** The groups, in the order in which their first process was found. */
  readonly groups: readonly SizedGroup[];
  readonly costs: MemoryCosts | undefined;
  /** Whether the observation was ended early. */
  readonly isInterrupted: boolean;
  /** In seconds. */
  readonly interval: number;
}

/**
 * Watches processes for a time, or until the signal.
 *
 * @throws NoMatch, NoSuchProcess if there is nothing to watch.
 * @throws ProcessError if none of the processes can be read.
 */
export async function findSizes(options: SizeOptions): Promise<SizeFindings> {
  return await new Sizing(options).run();
}

/** One observation. */
class Sizing {
  readonly #options: SizeOptions;
  readonly #clock: Clock;
  readonly #interval: number;
  readonly #groups = new Map<string, SizedGroup>();
  /** All processes that were found, by pid and start time. */
  readonly #processes = new Map<string, SizedProcess>();
  #began = 0;
  #selectedAt = -Infinity;

  constructor(options: SizeOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#interval = Math.min(
      Math.max(options.observation / READINGS, SHORTEST_INTERVAL),
      LONGEST_INTERVAL,
      options.observation / 2,
    );
  }

  async run(): Promise<SizeFindings> {
    const { platform, signal, log, observation } = this.#options;
    const costs = await platform.costs?.();
    await this.#select();
    const all = [...this.#processes.values()];
    if (all.length === 0) {
      throw new NoMatch("no process of this machine can be watched");
    }
    const watched = all.filter(({ isWatched }) => isWatched);
    this.#began = this.#clock.now();
    if (watched.length === 0 && !signal.aborted) {
      throw new NoMatch(all[0].error ?? "all processes have exited");
    }
    for (const group of this.#groups.values()) group.begin();
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
    return {
      groups: [...this.#groups.values()],
      costs,
      isInterrupted: signal.aborted,
      interval: this.#interval / 1000,
    };
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
    for (const group of this.#groups.values()) group.forgetExited();
    for (const entry of entries) {
      const key = `${entry.pid} ${entry.startTime} ${entry.layout}`;
      const isKnown = this.#processes.has(key) || shared?.has(entry.pid) ||
        entry.mainThreadExited;
      if (isKnown || signal.aborted) continue;
      const name = this.#groupOf(entry);
      if (name === undefined) continue;
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
      });
      this.#processes.set(key, process);
      const group = this.#groupNamed(name);
      group.processes.push(process);
      await process.begin();
      if (!isFirst) group.begin();
      const limit = limitOf(process);
      if (limit && isFirst) {
        log.warn(`process ${entry.pid} (${entry.comm}): ${limit}`);
      }
    }
  }

  #groupNamed(wanted: string): SizedGroup {
    const isFull = this.#groups.size >= MOST_GROUPS;
    const name = isFull && !this.#groups.has(wanted) ? OTHERS : wanted;
    let group = this.#groups.get(name);
    if (!group) {
      this.#groups.set(name, group = new SizedGroup(name, this.#ofGroup));
    }
    return group;
  }

  get #ofGroup(): SizedGroupOptions {
    return {
      interval: this.#interval / 1000,
      observation: this.#options.observation / 1000,
      ...this.#options.groupOf ? ONE_OF_MANY : {},
    };
  }

  #groupOf(entry: ProcessEntry): string | undefined {
    const { groupOf } = this.#options;
    try {
      return groupOf ? groupOf(entry) : "";
    } catch (error) {
      if (!(error instanceof NotKnown)) throw error;
      return undefined;
    }
  }

  /** Whether its cgroup asks for it to be left alone, as far as it is known. */
  #isAvoided(entry: ProcessEntry): boolean {
    try {
      return this.#options.platform.avoidanceOf?.(entry) !== undefined;
    } catch (error) {
      if (!(error instanceof NotKnown)) throw error;
      return true;
    }
  }

  async #find(isFirst: boolean): Promise<readonly ProcessEntry[]> {
    const { selectors, platform, signal, log } = this.#options;
    if (selectors.length === 0) {
      return platform.listProcesses().filter((entry) =>
        !whyNot(entry) && !this.#isAvoided(entry)
      ).sort((a, b) => b.rss - a.rss);
    }
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
      this.#take(false);
      const least = longest / MOST_READING;
      due = Math.max(due + this.#interval, started + least);
      const left = Math.min(due, this.#began + observation) - clock.now();
      await clock.sleep(left, signal);
      if (signal.aborted) return;
      const began = clock.now();
      await this.#step((one) => one.advance());
      this.#take(true);
      longest = clock.now() - began;
      if (clock.now() - this.#selectedAt >= SELECTION_LIFE && !isOver()) {
        await this.#select();
      }
      if (![...this.#processes.values()].some((one) => one.isWatched)) return;
    }
  }

  async #step(step: (one: SizedProcess) => Promise<void>): Promise<void> {
    for (const one of this.#processes.values()) {
      if (this.#options.signal.aborted) return;
      await step(one);
    }
  }

  #take(endsInterval: boolean): void {
    if (this.#options.signal.aborted) return;
    const seconds = (this.#clock.now() - this.#began) / 1000;
    for (const group of this.#groups.values()) {
      group.take(seconds, endsInterval);
    }
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
    }, ${seconds} s of ${exactDuration(observation)} left…`;
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
