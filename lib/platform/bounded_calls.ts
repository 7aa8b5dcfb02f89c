/**
 * Calls on other threads that may never return: to a file system or a name service
 * that another user runs.
 *
 * @module
 */

import { RcapError } from "../errors.ts";

/** A call did not return in time, or was not made because others did not. */
export class NoAnswer extends RcapError {
  override name = "NoAnswer";
}

interface Call {
  /** Whether nothing waits for it any more. */
  isStuck: boolean;
  readonly answer: Promise<unknown>;
}

/**
 * Makes calls that may never return, and waits for each for a limited time. A stuck
 * call keeps its place until it returns, so blocked threads are never more than
 * there are places.
 */
export class BoundedCalls {
  readonly #places: number;
  readonly #milliseconds: number;
  readonly #calls = new Map<string, Call>();
  #changed = Promise.withResolvers<void>();

  /**
   * @param places the most calls in progress, including stuck ones.
   * @param milliseconds how long a caller waits for a place and the answer.
   */
  constructor(
    { places, milliseconds }: { places: number; milliseconds: number },
  ) {
    this.#places = places;
    this.#milliseconds = milliseconds;
  }

  /**
   * Makes a call, or waits for the same call if it is in progress.
   *
   * @param key identifies the call.
   * @throws NoAnswer if it does not return in time, if an earlier call with that
   * key is stuck, or if the calls in all places are.
   */
  async make<T>(key: string, call: () => Promise<T>): Promise<T> {
    const late = Promise.withResolvers<never>();
    // The rejection may come when nothing waits for it any more.
    late.promise.catch(() => {});
    const timer = setTimeout(
      () => late.reject(new NoAnswer(`no answer within ${this.#patience()}`)),
      this.#milliseconds,
    );
    try {
      const under = await this.#place(key, call, late.promise);
      // All calls with one key return the same type.
      return await this.#answer(key, under, late.promise) as T;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Waits for a place, and makes the call unless it is in progress. */
  async #place(
    key: string,
    call: () => Promise<unknown>,
    late: Promise<never>,
  ): Promise<Call> {
    for (;;) {
      const under = this.#calls.get(key);
      if (under) return under;
      if (this.#calls.size < this.#places) return this.#begin(key, call);
      if ([...this.#calls.values()].every(({ isStuck }) => isStuck)) {
        throw new NoAnswer(
          `it was not asked, since ${this.#places} other calls have not been answered`,
        );
      }
      await Promise.race([this.#changed.promise, late]);
    }
  }

  async #answer(
    key: string,
    under: Call,
    late: Promise<never>,
  ): Promise<unknown> {
    if (under.isStuck) {
      throw new NoAnswer("it has not yet answered an earlier call");
    }
    try {
      return await Promise.race([under.answer, late]);
    } catch (error) {
      if (error instanceof NoAnswer && this.#calls.get(key) === under) {
        under.isStuck = true;
        this.#signalChange();
      }
      throw error;
    }
  }

  #begin(key: string, call: () => Promise<unknown>): Call {
    const answer = call().finally(() => {
      this.#calls.delete(key);
      this.#signalChange();
    });
    // The answer may come when nothing waits for it any more.
    answer.catch(() => {});
    const begun = { isStuck: false, answer };
    this.#calls.set(key, begun);
    return begun;
  }

  #signalChange(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }

  #patience(): string {
    return `${this.#milliseconds / 1000} s`;
  }
}
