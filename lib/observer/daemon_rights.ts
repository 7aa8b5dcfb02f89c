/**
 * The rights of a daemon: it locks the processes that it observes, and lends their
 * references to commands.
 *
 * @module
 */

import type { ProcessId } from "../platform/platform.ts";
import type { ResetLocks } from "./reset_locks.ts";
import {
  keyOf,
  ObservedElsewhere,
  rcapOf,
  type ResetRights,
} from "./reset_rights.ts";

/** The part of {@linkcode ResetLocks} that a daemon needs. */
export type DaemonLocks = Pick<ResetLocks, "take" | "holds" | "release">;

/** The rights of a daemon. */
export class DaemonRights implements ResetRights {
  readonly #locks: DaemonLocks;
  /** The processes whose locks it holds, by key. */
  readonly #taken = new Map<string, ProcessId>();
  readonly #lent = new Set<string>();
  readonly #refusals = new Map<string, string>();

  /** @param locks closed by the caller. */
  constructor(locks: DaemonLocks) {
    this.#locks = locks;
  }

  // deno-lint-ignore require-await -- What it throws is a rejection.
  async take(id: ProcessId): Promise<boolean> {
    const key = keyOf(id);
    const holder = this.#locks.take(id);
    if (holder === undefined) {
      this.#taken.set(key, id);
      this.#refusals.delete(key);
      return !this.#lent.has(key);
    }
    const refusal = `${
      rcapOf(holder)
    } observes process ${id.pid}, which is not judged until that ends`;
    this.#refusals.set(key, refusal);
    throw new ObservedElsewhere(id.pid, refusal);
  }

  owns(id: ProcessId): boolean {
    return this.holds(id) && !this.#lent.has(keyOf(id));
  }

  /** Whether it holds the lock on a process, even if its references are lent. */
  holds(id: ProcessId): boolean {
    return this.#locks.holds(id);
  }

  refusalOf(id: ProcessId): string | undefined {
    return this.#refusals.get(keyOf(id));
  }

  /** Lends the references of a process that it holds, so that it does not reset them. */
  lend(id: ProcessId): void {
    this.#lent.add(keyOf(id));
  }

  /** Ends what {@linkcode lend} began. */
  takeBack(id: ProcessId): void {
    this.#lent.delete(keyOf(id));
  }

  release(id: ProcessId): void {
    const key = keyOf(id);
    this.#refusals.delete(key);
    if (this.#lent.has(key)) return;
    this.#taken.delete(key);
    this.#locks.release(id);
  }

  /** Releases the processes that are not members of any group any more. */
  retain(members: Iterable<ProcessId>): void {
    const kept = new Set(Array.from(members, keyOf));
    for (const [key, id] of this.#taken) if (!kept.has(key)) this.release(id);
    for (const key of this.#refusals.keys()) {
      if (!kept.has(key)) this.#refusals.delete(key);
    }
  }
}
