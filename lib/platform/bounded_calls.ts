/**
 * Calls on other threads that may never come back: to a file system or a name
 * service that somebody else runs.
 *
 * @module
 */

import { RcapError } from "../errors.ts";

/** A call has not come back in time, or could not be made because others have not. */
export class NoAnswer extends RcapError {
  override name = "NoAnswer";
}

interface Call {
  /** Nobody waits for it any longer. */
  isStuck: boolean;
  readonly answer: Promise<unknown>;
}

/**
 * Makes calls that may never come back, and waits for each only so long. A call
 * that is stuck keeps its place until it comes back, so that no more threads than
 * there are places ever wait.
 */
export class BoundedCalls {
  readonly #places: number;
  readonly #milliseconds: number;
  readonly #calls = new Map<string, Call>();
  #changed = Promise.withResolvers<void>();

  /**
   * @param places how many calls may be under way at a time, stuck ones too.
   * @param milliseconds how long anybody waits, for a place and for the answer.
   */
  constructor(
    { places, milliseconds }: { places: number; milliseconds: number },
  ) {
    this.#places = places;
    this.#milliseconds = milliseconds;
  }

  /**
   * Makes a call, unless the same one is under way.
   *
   * @param key what is the same call.
   * @throws NoAnswer when it does not come back in time, or a call by that key or
   * in every place is stuck.
   */
  async make<T>(key: string, call: () => Promise<T>): Promise<T> {
    const late = Promise.withResolvers<never>();
    // Nobody may be waiting for it any more when it comes.
    late.promise.catch(() => {});
    const timer = setTimeout(
      () => late.reject(new NoAnswer(`no answer within ${this.#patience()}`)),
      this.#milliseconds,
    );
    try {
      const under = await this.#place(key, call, late.promise);
      // By one key, every call gives the same.
      return await this.#answer(key, under, late.promise) as T;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Waits for a place, and makes the call unless it is under way. */
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
          `it was not asked, since ${this.#places} others have not answered`,
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
      throw new NoAnswer("it still has not answered an earlier question");
    }
    try {
      return await Promise.race([under.answer, late]);
    } catch (error) {
      if (error instanceof NoAnswer && this.#calls.get(key) === under) {
        under.isStuck = true;
        this.#tell();
      }
      throw error;
    }
  }

  #begin(key: string, call: () => Promise<unknown>): Call {
    const answer = call().finally(() => {
      this.#calls.delete(key);
      this.#tell();
    });
    // It may come when nobody waits for it any more.
    answer.catch(() => {});
    const begun = { isStuck: false, answer };
    this.#calls.set(key, begun);
    return begun;
  }

  #tell(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }

  #patience(): string {
    return `${this.#milliseconds / 1000} s`;
  }
}
