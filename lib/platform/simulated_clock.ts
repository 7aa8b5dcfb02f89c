/**
 * A clock that moves when it is told to, for replays and tests.
 *
 * @module
 */

import type { Clock } from "./clock.ts";

/** When the clock starts, in seconds since the epoch. */
const EPOCH = 1_700_000_000;

/** Something that is done again and again. */
interface Repeated {
  every: number;
  next: number;
  readonly step: () => void;
}

/** Time that passes when its owner lets it. */
export class SimulatedClock implements Clock {
  #now = 0;
  readonly #sleepers = new Set<{ at: number; wake: () => void }>();
  readonly #repeated: Repeated[] = [];

  now(): number {
    return this.#now;
  }

  wallTime(): number {
    return EPOCH + this.#now / 1000;
  }

  async sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const sleeper = {
      at: this.#now + Math.max(0, milliseconds),
      wake: resolve,
    };
    const stop = () => resolve();
    this.#sleepers.add(sleeper);
    signal?.addEventListener("abort", stop, { once: true });
    await promise;
    this.#sleepers.delete(sleeper);
    signal?.removeEventListener("abort", stop);
  }

  /**
   * Does something every so many milliseconds, before anyone wakes then.
   *
   * @returns what changes how often, from now on.
   */
  repeat(every: number, step: () => void): (every: number) => void {
    const repeated = { every, next: this.#now + every, step };
    this.#repeated.push(repeated);
    return (every) => {
      repeated.every = every;
      repeated.next = this.#now + every;
    };
  }

  /** Lets time pass in which nobody wakes, as when the machine is suspended. */
  stall(milliseconds: number): void {
    this.#now += milliseconds;
  }

  /**
   * Lets time pass until some work is done.
   *
   * @param tick how often that is looked at, in milliseconds.
   * @returns the result of the work.
   */
  async finish<T>(work: Promise<T>, tick: number): Promise<T> {
    let isOver = false;
    // The caller gets the error below.
    work.catch(() => {}).finally(() => isOver = true);
    while (!isOver) await this.advance(tick);
    return await work;
  }

  /** Lets time pass, with all that is due meanwhile, in order. */
  async advance(milliseconds: number): Promise<void> {
    const end = this.#now + milliseconds;
    await settled();
    for (;;) {
      const sleepers = [...this.#sleepers].map(({ at }) => at);
      const steps = this.#repeated.map(({ next }) => next);
      const next = Math.min(...sleepers, ...steps);
      if (next > end) break;
      this.#now = Math.max(this.#now, next);
      for (const one of this.#repeated) {
        if (one.next > this.#now) continue;
        one.next += one.every;
        one.step();
      }
      const due = [...this.#sleepers].filter(({ at }) => at <= this.#now)
        .sort((a, b) => a.at - b.at);
      for (const sleeper of due) {
        this.#sleepers.delete(sleeper);
        sleeper.wake();
      }
      if (due.length > 0) await settled();
    }
    this.#now = end;
  }
}

/** Waits until everyone who can go on without time passing has done so. */
async function settled(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 0));
}
