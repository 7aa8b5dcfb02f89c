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

/**
 * Waits.
 *
 * @param milliseconds how long.
 * @throws the signal's reason when it is aborted meanwhile.
 */
export async function observe(
  milliseconds: number,
  { what, signal }: { what: string; signal: AbortSignal },
): Promise<void> {
  signal.throwIfAborted();
  using _progress = progress(`observing ${what} for ${milliseconds / 1000} s…`);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const stop = () => reject(signal.reason);
  const timer = setTimeout(resolve, milliseconds);
  signal.addEventListener("abort", stop, { once: true });
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
  }
}
