/**
 * What is in the daemon's way: warned of once, and told again when it is over.
 *
 * @module
 */

import { describeAvoided, told } from "../collection/members.ts";
import { messageOf, RcapError } from "../errors.ts";
import type { CappedGroup } from "../group/capped_group.ts";
import type { Avoided, Pass } from "../group/membership.ts";
import type { Log } from "../platform/output.ts";

/** Knows what was told. */
export class Troubles {
  readonly #log: Log;
  /** What has gone wrong in steps of the loop, by step. */
  readonly #failures = new Map<string, string>();
  /** Why processes cannot be reached that have done nothing for it, where they cannot. */
  #overload: string | undefined;
  /** Why it is not known which processes belong to which cap, where it is not. */
  #exhausted: string | undefined;
  /** What is not known of processes. */
  #unknown: ReadonlySet<string> = new Set();
  /** The processes that are left alone, by pid. */
  #avoided: ReadonlySet<number> = new Set();

  constructor(log: Log) {
    this.#log = log;
  }

  /** Why the daemon is not healthy; `undefined` when it is. */
  get problem(): string | undefined {
    if (this.#overload !== undefined) return this.#overload;
    return this.#exhausted === undefined
      ? undefined
      : `it is not known which processes belong to which cap (${this.#exhausted})`;
  }

  /** Does a step of the loop. An error of it is warned of, and ends nothing. */
  step(name: string, step: () => void): void {
    try {
      step();
      this.succeeded(name);
    } catch (error) {
      this.failed(name, error);
    }
  }

  /** Warns of what has gone wrong in a step, once until something else does. */
  failed(name: string, error: unknown): void {
    const message = describeError(error);
    if (this.#failures.get(name) === message) return;
    this.#failures.set(name, message);
    this.#log.warn(`${name}: ${message}; rcap goes on`);
  }

  /** Notes that a step works. */
  succeeded(name: string): void {
    this.#failures.delete(name);
  }

  /** Takes what a pass could not find out, and which processes are left alone. */
  pass({ unknown, exhausted, avoided }: Pass): void {
    this.#tellExhausted(exhausted);
    const isNew = (message: string) => !this.#unknown.has(message);
    for (const message of told(unknown.filter(isNew))) this.#log.warn(message);
    this.#unknown = new Set(unknown);
    this.#tellAvoided(avoided.flat());
  }

  #tellExhausted(exhausted: string | undefined): void {
    if (exhausted === undefined) {
      if (this.#exhausted !== undefined) {
        this.#log.info("it is known again which process belongs to which cap");
      }
    } else if (this.#exhausted === undefined) {
      this.#log.warn(
        `it is not known which processes belong to which cap (${exhausted}); those that did still do`,
      );
    }
    this.#exhausted = exhausted;
  }

  #tellAvoided(avoided: readonly Avoided[]): void {
    for (const { entry, directory } of avoided) {
      if (this.#avoided.has(entry.pid)) continue;
      this.#log.info(describeAvoided(entry, directory));
    }
    this.#avoided = new Set(avoided.map(({ entry }) => entry.pid));
  }

  /** Takes why processes cannot be reached; `undefined` while all can. */
  overload(overload: string | undefined): void {
    if (overload !== undefined && this.#overload === undefined) {
      this.#log.warn(overload);
    } else if (overload === undefined && this.#overload !== undefined) {
      this.#log.info("all processes can be reached again");
    }
    this.#overload = overload;
  }

  /** Tells which members of a group have stopped or begun to answer. */
  silences(group: CappedGroup): void {
    const { silent, answering } = group.changedSilences();
    for (const silence of silent) {
      this.#log.warn(
        `${group.name}: ${silence}; it is set aside, and tried again less and less often`,
      );
    }
    for (const pid of answering) {
      this.#log.info(`${group.name}: process ${pid} answers again`);
    }
  }
}

/** An error in words. */
export function describeError(error: unknown): string {
  const message = messageOf(error);
  return error instanceof RcapError ? message : `internal error: ${message}`;
}
