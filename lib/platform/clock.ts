/**
 * Time, as those who wait and those who decide by it are given it.
 *
 * @module
 */

/** The longest time that a timer takes, in milliseconds. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** A clock, and what waits by it. */
export interface Clock {
  /** Milliseconds since some moment in the past, on a clock that nobody sets. */
  now(): number;
  /** Seconds since the epoch. */
  wallTime(): number;
  /**
   * Waits. An abort of the signal ends the wait at once.
   *
   * @param milliseconds more than 24 days count as that, and less than 0 as 0, such
   * as the time left until a moment that has passed.
   */
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>;
}

/**
 * A clock that runs faster than another one, so that all that waits by it or decides by
 * it is done sooner. The time of day stays.
 *
 * @param factor how many times as fast it is.
 */
export function fasterClock(clock: Clock, factor: number): Clock {
  return {
    now: () => clock.now() * factor,
    wallTime: () => clock.wallTime(),
    sleep: (milliseconds, signal) => clock.sleep(milliseconds / factor, signal),
  };
}

/** The clocks of the system. */
export const systemClock: Clock = {
  now: () => performance.now(),
  wallTime: () => Date.now() / 1000,
  async sleep(milliseconds, signal) {
    if (signal?.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(
      resolve,
      Math.min(Math.max(milliseconds, 0), LONGEST_TIMER),
    );
    const stop = () => resolve();
    signal?.addEventListener("abort", stop, { once: true });
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", stop);
    }
  },
};
