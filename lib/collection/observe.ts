/**
 * Observing: letting processes run for a while, so that reference bits mean
 * something.
 *
 * @module
 */

import { progress } from "../report/output.ts";

/**
 * The shortest observation, in milliseconds, that can be trusted: the processor
 * keeps references of small hot loops to itself for up to this long.
 */
export const TRUSTED_OBSERVATION = 2000;

/** How often what is in use is looked at during an observation. */
const GLANCES = 8;
/** After which of them it has to show once more. */
const REFRESH_AFTER = 6;

/** A process that is watched. */
export interface Watched {
  /** Adds what shows to be in use now to what is known. */
  glance(): Promise<void>;
  /** Has what is in use show once more. */
  refresh(): Promise<void>;
}

/**
 * Lets processes run for a while, and looks at what they use again and again.
 *
 * One look at the end would not do: others reset reference bits too, a page here
 * and there at any moment, which then look idle until they are used again and the
 * processor has forgotten what it keeps of the page tables. DAMON does so, and the
 * kernel when it looks for pages to reclaim.
 *
 * @param milliseconds how long. The last look is up to the caller.
 * @throws the signal's reason when it is aborted meanwhile.
 */
export async function watch(
  processes: readonly Watched[],
  { milliseconds, what, signal }: {
    milliseconds: number;
    what: string;
    signal: AbortSignal;
  },
): Promise<void> {
  using _progress = progress(`observing ${what} for ${milliseconds / 1000} s…`);
  const began = performance.now();
  for (let glance = 1; glance <= GLANCES; glance++) {
    const due = began + milliseconds * glance / GLANCES;
    await sleep(due - performance.now(), signal);
    signal.throwIfAborted();
    if (glance === GLANCES) return;
    for (const process of processes) await process.glance();
    if (glance !== REFRESH_AFTER) continue;
    for (const process of processes) await process.refresh();
  }
}

/** Waits; an abort of the signal ends it at once. */
export async function sleep(
  milliseconds: number,
  signal: AbortSignal,
): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, milliseconds);
  const stop = () => resolve();
  signal.addEventListener("abort", stop, { once: true });
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
  }
}
