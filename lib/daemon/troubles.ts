/**
 * What hinders the daemon: logged once as a warning, and again when it is over.
 *
 * @module
 */

import { describeAvoided, told } from "../collection/members.ts";
import { messageOf, RcapError } from "../errors.ts";
import type { CappedGroup } from "../group/capped_group.ts";
import type { Avoided, Pass } from "../group/membership.ts";
import type { Log } from "../platform/output.ts";

/** Logs troubles, each of them once. */
export class Troubles {
  readonly #log: Log;
  /** The last error of each failing step of the loop, by step. */
  readonly #failures = new Map<string, string>();
  /** Why processes cannot be reached through no fault of theirs, if so. */
  #overload: string | undefined;
  /** Why it is not known which processes belong to which cap, if so. */
  #exhausted: string | undefined;
  /** What could not be found out about processes. */
  #unknown: ReadonlySet<string> = new Set();
  /** The pids of processes that are left alone. */
  #avoided: ReadonlySet<number> = new Set();

  constructor(log: Log) {
    this.#log = log;
  }

  /** Why the daemon is not healthy; `undefined` if it is. */
  get problem(): string | undefined {
    if (this.#overload !== undefined) return this.#overload;
    return this.#exhausted === undefined
      ? undefined
      : `it is not known which processes belong to which cap (${this.#exhausted})`;
  }

  /** Runs a step of the loop. Logs an error as a warning instead of throwing it. */
  step(name: string, step: () => void): void {
    try {
      step();
      this.succeeded(name);
    } catch (error) {
      this.failed(name, error);
    }
  }

  /** Warns of an error in a step, once until the error changes. */
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

  /** Reports what a pass could not find out, and which processes are left alone. */
  pass({ unknown, exhausted, avoided }: Pass): void {
    this.#logExhausted(exhausted);
    const isNew = (message: string) => !this.#unknown.has(message);
    for (const message of told(unknown.filter(isNew))) this.#log.warn(message);
    this.#unknown = new Set(unknown);
    this.#logAvoided(avoided.flat());
  }

  #logExhausted(exhausted: string | undefined): void {
    if (exhausted === undefined) {
      if (this.#exhausted !== undefined) {
        this.#log.info("it is known again which process belongs to which cap");
      }
    } else if (this.#exhausted === undefined) {
      this.#log.warn(
        `it is not known which processes belong to which cap (${exhausted}); every process stays in its group`,
      );
    }
    this.#exhausted = exhausted;
  }

  #logAvoided(avoided: readonly Avoided[]): void {
    for (const { entry, directory } of avoided) {
      if (this.#avoided.has(entry.pid)) continue;
      this.#log.info(describeAvoided(entry, directory));
    }
    this.#avoided = new Set(avoided.map(({ entry }) => entry.pid));
  }

  /** Reports why processes cannot be reached; `undefined` if all can. */
  overload(overload: string | undefined): void {
    if (overload !== undefined && this.#overload === undefined) {
      this.#log.warn(overload);
    } else if (overload === undefined && this.#overload !== undefined) {
      this.#log.info("all processes can be reached again");
    }
    this.#overload = overload;
  }

  /**
   * Reports which members of a group have stopped or begun to answer, and which can no
   * longer be read.
   */
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
    for (const reason of group.newlyUnreadable()) {
      this.#log.warn(
        `${group.name}: ${reason}; it keeps its memory while it cannot be read`,
      );
    }
  }
}

/** Describes an error in words. */
export function describeError(error: unknown): string {
  const message = messageOf(error);
  return error instanceof RcapError ? message : `internal error: ${message}`;
}
