/**
 * Logs what holds rcap back from paging a group out: each guard rail once, until it has
 * not done so for a time.
 *
 * @module
 */

import type { GuardRail, HeldBack } from "../group/state.ts";
import type { Clock } from "../platform/clock.ts";
import type { Log } from "../platform/output.ts";

/** A guard rail that did not hold back for this long is news, in milliseconds. */
const MEMORY = 10 * 60_000;

/** Logs the guard rails of a group. */
export class GuardLog {
  readonly #name: string;
  readonly #log: Log;
  readonly #clock: Clock;
  /** When each of them last held back, in milliseconds. */
  readonly #seen = new Map<GuardRail, number>();

  constructor(
    name: string,
    { log, clock }: { readonly log: Log; readonly clock: Clock },
  ) {
    this.#name = name;
    this.#log = log;
    this.#clock = clock;
  }

  /** Logs what holds back now. */
  heldBack(all: readonly HeldBack[]): void {
    const now = this.#clock.now();
    for (const { by, why } of all) {
      const isNew = now - (this.#seen.get(by) ?? -Infinity) >= MEMORY;
      this.#seen.set(by, now);
      const fields = { group: this.#name, by };
      if (isNew) this.#log.warn(`${this.#name}: ${why}`, fields);
      else this.#log.debug(`${this.#name}: ${why}`, fields);
    }
  }
}
