/**
 * How often the policy `coldest` reads and resets the references of a group: as seldom as
 * its cap and its time idle allow.
 *
 * @module
 */

import type { CappedGroup } from "../group/capped_group.ts";
import type { AgedProcess } from "../scanner/aged_collection.ts";
import { leastAgeOfOldest } from "../scanner/ages.ts";

/**
 * The shortest interval of ages, in milliseconds. After every reset the processor has
 * to mark each page in use again, at the expense of the process.
 */
const SHORTEST_INTERVAL = 5000;

/**
 * An interval is as long as this share of the age of the memory that goes next, since
 * ages need not be known more precisely than what goes by them; up to so many
 * milliseconds.
 */
const INTERVAL_OF_AGE = 1 / 8;
const LONGEST_INTERVAL = 30_000;

/** What goes next: a share of the cap, and the growth of a time in milliseconds. */
const NEXT_SHARE = 0.1;
const NEXT_TIME = 60_000;

/**
 * Idle memory suffices if there is more of it than a share of the cap and the growth of a
 * time, in milliseconds: then references are not reset to find more.
 */
const SUFFICIENT_SHARE = 0.25;
const SUFFICIENT_TIME = 300_000;

/** How long an interval is that ends without a reset, in milliseconds. */
const INTERVAL_WITHOUT_RESET = 60_000;

/**
 * Where only idle memory is paged out, an interval is this share of the time idle, but not
 * longer than {@linkcode SHORTEST_INTERVAL} while that is a larger one.
 */
const IDLE_SHARE = 1 / 16;
const LARGEST_IDLE_SHARE = 1 / 2;

/** The longest first interval, in milliseconds: memory may have to be paged out soon. */
const FIRST_INTERVAL = 2000;

/**
 * For how long a process has not run before it counts as resting, in milliseconds, where
 * the group has no time idle of its own.
 */
export const RESTS_AFTER = 600_000;

/** How a group is observed. Times are in milliseconds. */
export interface Pace {
  /** The shortest interval, and the shortest first one. */
  readonly least: number;
  readonly first: number;
  /**
   * Whether references are also read within an interval, since others may reset them.
   * What goes next was not seen in use for many intervals if they are longer than usual.
   */
  readonly looks: boolean;
  /** Whether references are reset at the end of an interval. */
  readonly isReset: boolean;
  /** For how long a process that rests has not run. */
  readonly restsAfter: number;
}

/** What the pace of a group depends on. */
export interface PaceNeeds {
  /** The time between two samples, in milliseconds. */
  readonly interval: number;
  /** By how much the group is expected to grow in that time, in bytes. */
  readonly expectedGrowth: number;
  /** Whether pages have to age with every sample, because little is idle. */
  readonly agesFaster: boolean;
  readonly processes: readonly AgedProcess[];
}

/** Returns how a group is to be observed. */
export function paceOf(group: CappedGroup, needs: PaceNeeds): Pace {
  const { interval } = needs;
  const { observedIdle: idle } = group;
  const suffices = hasEnough(group, needs);
  const servesCap = idle === undefined || group.isNearCap;
  const wanted = Math.min(
    servesCap ? intervalForCap(group, needs, suffices) : Infinity,
    idle === undefined ? Infinity : intervalForIdle(idle),
  );
  const least = Math.max(interval, wanted);
  // Timers are not exact.
  const early = 0.9;
  return {
    least: least * early,
    first: Math.min(interval * early, FIRST_INTERVAL, wanted),
    looks: servesCap && least <= SHORTEST_INTERVAL,
    // What is not used for a time is known only if references are reset.
    isReset: idle !== undefined || !suffices,
    restsAfter: restsAfter(group),
  };
}

/** For how long a process of a group that rests has not run, in milliseconds. */
export function restsAfter({ idle }: CappedGroup): number {
  return idle ?? RESTS_AFTER;
}

/** The length of an interval that a time idle needs, both in milliseconds. */
function intervalForIdle(idle: number): number {
  return Math.max(
    Math.min(SHORTEST_INTERVAL, idle * LARGEST_IDLE_SHARE),
    idle * IDLE_SHARE,
  );
}

/**
 * The length of an interval as the cap needs it, in milliseconds.
 *
 * @param suffices whether so much is idle that none has to be found.
 */
function intervalForCap(
  group: CappedGroup,
  needs: PaceNeeds,
  suffices: boolean,
): number {
  if (needs.agesFaster) return needs.interval;
  const precise = suffices
    ? INTERVAL_WITHOUT_RESET
    : preciseEnough(group, needs);
  return Math.max(SHORTEST_INTERVAL, precise);
}

/**
 * The length of an interval that tells the memory that goes next from younger memory,
 * in milliseconds.
 */
function preciseEnough(
  { cap }: CappedGroup,
  { interval, expectedGrowth, processes }: PaceNeeds,
): number {
  const next = cap * NEXT_SHARE + expectedGrowth * NEXT_TIME / interval;
  const age = leastAgeOfOldest(processes.map(({ ages }) => ages), next) * 1000;
  return Math.min(age * INTERVAL_OF_AGE, LONGEST_INTERVAL);
}

/**
 * Whether so much is known to be idle that it suffices for the next minutes: then
 * references are not reset, at the expense of the processes, to find more.
 */
function hasEnough(
  { cap }: CappedGroup,
  { interval, expectedGrowth, processes }: PaceNeeds,
): boolean {
  const growth = expectedGrowth * SUFFICIENT_TIME / interval;
  const needed = cap * SUFFICIENT_SHARE + growth;
  return processes.every(({ isAged }) => isAged) &&
    processes.reduce((sum, { unreferenced }) => sum + unreferenced, 0) > needed;
}
