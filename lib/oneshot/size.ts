/**
 * Watches processes, and finds out what a cap would cost them. Nothing is paged out.
 * `rcap size` prints the result.
 *
 * @module
 */

import { NotKnown } from "../errors.ts";
import type { MemoryCosts, ProcessEntry } from "../platform/platform.ts";
import { SizedGroup, type SizedGroupOptions } from "./sized_group.ts";
import type { SizedProcess } from "./sized_process.ts";
import {
  ProcessWatch,
  type Watcher,
  type WatchOptions,
} from "./watch_processes.ts";

/** Readings of an observation, as far as the limits of their interval allow, in milliseconds. */
const READINGS = 120;
const SHORTEST_INTERVAL = 1000;
const LONGEST_INTERVAL = 5000;
/** The steps of a curve, and the readings whose ages are kept, of each of many groups. */
export const ONE_OF_MANY = { steps: 128, samples: 32 };
/** The most groups: those of the largest processes; all others are one. */
const MOST_GROUPS = 1024;
export const OTHERS = "others";

/** Returns the name of the group that a process belongs to; `undefined` if none. */
export type GroupOf = (entry: ProcessEntry) => string | undefined;

export interface SizeOptions extends Omit<WatchOptions, "interval"> {
  /** Which of the processes belong together; all by default. */
  readonly groupOf?: GroupOf;
}

/** What was found out. */
export interface SizeFindings {
  /** The groups, in the order in which their first process was found. */
  readonly groups: readonly SizedGroup[];
  readonly costs: Pick<MemoryCosts, "pageIns"> | undefined;
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
  const { observation, platform, signal } = options;
  const interval = Math.min(
    Math.max(observation / READINGS, SHORTEST_INTERVAL),
    LONGEST_INTERVAL,
    observation / 2,
  );
  const costs = await platform.costs?.();
  const sizing = new Sizing(options, interval);
  await new ProcessWatch({ ...options, interval }, sizing).run();
  return {
    groups: [...sizing.groups.values()],
    costs,
    isInterrupted: signal.aborted,
    interval: interval / 1000,
  };
}

/** One observation. */
class Sizing implements Watcher {
  readonly groups = new Map<string, SizedGroup>();
  readonly #groupOf: GroupOf | undefined;
  readonly #ofGroup: SizedGroupOptions;

  /** @param interval the shortest time between two readings, in milliseconds. */
  constructor({ groupOf, observation }: SizeOptions, interval: number) {
    this.#groupOf = groupOf;
    this.#ofGroup = {
      interval: interval / 1000,
      observation: observation / 1000,
      ...groupOf ? ONE_OF_MANY : {},
    };
  }

  wants(entry: ProcessEntry): boolean {
    return this.#nameOf(entry) !== undefined;
  }

  join(one: SizedProcess): void {
    const name = this.#nameOf(one.entry);
    if (name === undefined) return;
    this.#groupNamed(name).processes.push(one);
  }

  begin(): void {
    for (const group of this.groups.values()) group.begin();
  }

  forgetExited(): void {
    for (const group of this.groups.values()) group.forgetExited();
  }

  take(seconds: number, endsInterval: boolean): boolean {
    for (const group of this.groups.values()) group.take(seconds, endsInterval);
    return true;
  }

  #groupNamed(wanted: string): SizedGroup {
    const isFull = this.groups.size >= MOST_GROUPS;
    const name = isFull && !this.groups.has(wanted) ? OTHERS : wanted;
    let group = this.groups.get(name);
    if (!group) {
      this.groups.set(name, group = new SizedGroup(name, this.#ofGroup));
    }
    return group;
  }

  #nameOf(entry: ProcessEntry): string | undefined {
    try {
      return this.#groupOf ? this.#groupOf(entry) : "";
    } catch (error) {
      if (!(error instanceof NotKnown)) throw error;
      return undefined;
    }
  }
}
