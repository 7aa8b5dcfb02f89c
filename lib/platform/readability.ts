/**
 * Whether a process can be read.
 *
 * @module
 */

import { NoSuchProcess, ProcessError } from "../errors.ts";

/** Remembers whether the last reading or reset of a process's references failed, and why. */
export class Readability {
  #failure: string | undefined;

  /** Why the last reading failed, in words for users; `undefined` if it did not. */
  get failure(): string | undefined {
    return this.#failure;
  }

  /** Runs a reading and notes its result. A process that has exited is not noted. */
  async note<T>(reading: () => Promise<T>): Promise<T> {
    try {
      const result = await reading();
      this.#failure = undefined;
      return result;
    } catch (error) {
      if (error instanceof ProcessError && !(error instanceof NoSuchProcess)) {
        this.#failure = error.message;
      }
      throw error;
    }
  }
}
