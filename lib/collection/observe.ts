/**
 * Observation: letting processes run for a while, so that reference bits are
 * meaningful.
 *
 * @module
 */

import type { Clock } from "../platform/clock.ts";
import { progress } from "../platform/output.ts";

/**
 * The shortest observation that can be trusted, in milliseconds: references by
 * small hot loops can stay in the processor's caches for up to this long.
 */
export const TRUSTED_OBSERVATION = 2000;

/**
 * Returns a warning if an observation is too short to be trusted.
 *
 * @param milliseconds the length of the observation.
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

/** Number of glances during an observation. */
const GLANCES = 8;
/**
 * The glance after which references are refreshed: out of step with anything else
 * that resets references a whole number of times during the observation.
 */
const REFRESH_AFTER = 5;

/**
 * Time from a reset or refresh of references to the next glance, in milliseconds:
 * long enough for memory in use to be referenced, and short enough that a reset by
 * others in between is unlikely.
 */
export const SOON = 50;

/** A process under observation. Its references have just been reset. */
export interface Watched {
  /** Records what is referenced now. */
  glance(): Promise<void>;
  /** Makes memory in use show references again. */
  refresh(): Promise<void>;
  /**
   * Ends a part of the observation and replaces a glance. Memory in use shows
   * references again in each part.
   */
  endPart?(): Promise<void>;
}

/**
 * Lets processes run for a while and glances at their references repeatedly.
 *
 * One look at the end does not suffice, because others reset reference bits too, at
 * any time. Pages that they have reset look idle until they are used again and the
 * processor has dropped its cached page table entries, which may take long. DAMON
 * does this, and so does the kernel when it looks for pages to reclaim. Both reset
 * all pages of a large folio at once: `damon_folio_mkold` of mm/damon/ops-common.c,
 * `folio_referenced` of mm/rmap.c. A DAMON that samples twice a second resets each
 * folio of 2 MiB nearly every time. So there is also a glance soon after every
 * refresh.
 *
 * @param milliseconds how long. The caller reads the references at the end.
 * @throws the signal's reason if it is aborted.
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
