/**
 * Observing: letting processes run for a while, so that reference bits mean
 * something.
 *
 * @module
 */

import type { Clock } from "../platform/clock.ts";
import { progress } from "../platform/output.ts";

/**
 * The shortest observation, in milliseconds, that can be trusted: the processor
 * keeps references of small hot loops to itself for up to this long.
 */
export const TRUSTED_OBSERVATION = 2000;

/**
 * Says that an observation is too short to be trusted.
 *
 * @param milliseconds its length.
 * @returns `undefined` if it is not.
 */
export function describeShortObservation(
  milliseconds: number,
): string | undefined {
  if (milliseconds >= TRUSTED_OBSERVATION) return undefined;
  return `observing for ${
    milliseconds / 1000
  } s only: memory that is in use, if not at this moment, looks idle; ${
    TRUSTED_OBSERVATION / 1000
  } s or more are better`;
}

/** How often what is in use is looked at during an observation. */
const GLANCES = 8;
/**
 * After which of them it has to show once more: out of step with whoever resets
 * references a whole number of times meanwhile.
 */
const REFRESH_AFTER = 5;

/**
 * How soon after references were reset or refreshed there is a look at them, in
 * milliseconds: long enough for memory in use to be used, and so short that hardly
 * anybody resets them in between.
 */
export const SOON = 50;

/** A process that is watched. Its references have just been reset. */
export interface Watched {
  /** Adds what shows to be in use now to what is known. */
  glance(): Promise<void>;
  /** Has what is in use show once more. */
  refresh(): Promise<void>;
  /**
   * Ends a part of the observation, instead of a glance; what is in use shows once
   * more in each part.
   */
  endPart?(): Promise<void>;
}

/**
 * Lets processes run for a while, and looks at what they use again and again.
 *
 * One look at the end would not do: others reset reference bits too, at any moment.
 * What they have reset looks idle until it is used again and the processor has
 * forgotten what it keeps of the page tables, which may take long. DAMON does so, and
 * the kernel when it looks for pages to reclaim; both reset all pages of a large folio
 * at once: `damon_folio_mkold` of mm/damon/ops-common.c, `folio_referenced` of
 * mm/rmap.c. A DAMON that samples twice a second comes by each folio of 2 MiB nearly
 * every time. So there is a look soon after every refresh, too.
 *
 * @param milliseconds how long. The last look is up to the caller.
 * @throws the signal's reason when it is aborted meanwhile.
 */
export async function watch(
  processes: readonly Watched[],
  { milliseconds, what, signal, clock }: {
    milliseconds: number;
    what: string;
    signal: AbortSignal;
    clock: Clock;
  },
): Promise<void> {
  using _progress = progress(`observing ${what} for ${milliseconds / 1000} s…`);
  const began = clock.now();
  const hasParts = processes.some(({ endPart }) => endPart !== undefined);
  let isFresh = true;
  for (let glance = 1; glance <= GLANCES; glance++) {
    const due = began + milliseconds * glance / GLANCES;
    if (isFresh) {
      await clock.sleep(Math.min(SOON, milliseconds / GLANCES / 2), signal);
      signal.throwIfAborted();
      for (const process of processes) await process.glance();
    }
    await clock.sleep(due - clock.now(), signal);
    signal.throwIfAborted();
    if (glance === GLANCES) return;
    for (const process of processes) {
      await (process.endPart?.() ?? process.glance());
    }
    isFresh = hasParts || glance === REFRESH_AFTER;
    if (!isFresh) continue;
    for (const process of processes) await process.refresh();
  }
}
