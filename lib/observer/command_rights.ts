/**
 * The rights of a command: it locks the processes that it observes, or borrows their
 * references from the daemon that has locked them.
 *
 * @module
 */

import { ProcessError } from "../errors.ts";
import { type Clock, systemClock } from "../platform/clock.ts";
import { progress } from "../platform/output.ts";
import type { ProcessId } from "../platform/platform.ts";
import { LeaseClient } from "./lease_client.ts";
import type { ResetLocks } from "./reset_locks.ts";
import {
  keyOf,
  ObservedElsewhere,
  rcapOf,
  type ResetRights,
} from "./reset_rights.ts";

/** How long a command waits for other observers in all, in milliseconds. */
const PATIENCE = 10_000;
/** How often it tries meanwhile. */
const TRY_INTERVAL = 100;
/** How long a daemon may take to read a process, and answer, in milliseconds. */
const ANSWER_TIME = 30_000;
/** Of how many processes it says that their references are lent. */
const MOST_TOLD = 6;

/** The part of {@linkcode ResetLocks} that a command needs. */
export type CommandLocks = Pick<
  ResetLocks,
  "take" | "holds" | "release" | "socketOf" | keyof Disposable
>;

export interface CommandRightsOptions {
  /** Owned by the rights afterwards. */
  readonly locks: CommandLocks;
  readonly signal: AbortSignal;
  readonly info: (message: string) => void;
  /** How long to wait for other observers in all, in milliseconds; 10 s by default. */
  readonly patience?: number;
  /** The clock of the system by default. */
  readonly clock?: Clock;
}

/** Borrowed references. */
interface Lease {
  readonly id: ProcessId;
  readonly client: LeaseClient;
}

/** The rights of a command; disposing gives them up. */
export class CommandRights implements ResetRights, Disposable {
  readonly #locks: CommandLocks;
  readonly #signal: AbortSignal;
  readonly #info: (message: string) => void;
  readonly #clock: Clock;
  /** By the pid of the daemon. */
  readonly #clients = new Map<number, LeaseClient>();
  readonly #leases = new Map<string, Lease>();
  /** Why references are borrowed no more, in words for users. */
  readonly #lost = new Map<string, string>();
  #patience: number;
  /** Of how many processes references were lent. */
  #lent = 0;
  #isDisposed = false;

  constructor(
    { locks, signal, info, patience = PATIENCE, clock = systemClock }:
      CommandRightsOptions,
  ) {
    this.#locks = locks;
    this.#signal = signal;
    this.#info = info;
    this.#patience = patience;
    this.#clock = clock;
  }

  async take(id: ProcessId): Promise<boolean> {
    if (this.owns(id)) return true;
    const { pid } = id;
    using waiting = new DisposableStack();
    for (let tries = 0;; tries++) {
      this.#signal.throwIfAborted();
      const holder = this.#locks.take(id);
      if (holder === undefined) return true;
      if (tries === 0) {
        const who = rcapOf(holder);
        waiting.use(progress(`waiting for ${who}, which observes ${pid}…`));
      }
      if (await this.#borrow(id, holder)) return false;
      if (this.#patience <= 0) throw observedBy(id, holder);
      this.#patience -= TRY_INTERVAL;
      await this.#clock.sleep(TRY_INTERVAL, this.#signal);
    }
  }

  /**
   * Has the references of a process reset and lent by a daemon.
   *
   * @returns whether it has.
   */
  async #borrow(id: ProcessId, holder: number): Promise<boolean> {
    const client = holder > 0 ? await this.#client(holder) : undefined;
    if (!client) return false;
    const signal = AbortSignal.any([
      this.#signal,
      AbortSignal.timeout(ANSWER_TIME),
    ]);
    const answer = await client.begin(id, signal);
    this.#signal.throwIfAborted();
    if (answer === "granted") {
      const key = keyOf(id);
      if (!this.#leases.has(key)) this.#tellLent(id, holder);
      this.#leases.set(key, { id, client });
      return true;
    }
    if (answer === "failed") {
      throw new ProcessError(
        id.pid,
        `${
          rcapOf(holder)
        } observes process ${id.pid}, and cannot read it at the moment; see its log`,
      );
    }
    if (signal.aborted) throw observedBy(id, holder);
    return false;
  }

  /** Says that a daemon lends references, of the first few processes. */
  #tellLent({ pid }: ProcessId, holder: number): void {
    if (++this.#lent > MOST_TOLD) return;
    this.#info(
      this.#lent < MOST_TOLD
        ? `${rcapOf(holder)} observes process ${pid}, and lends its references`
        : "the references of more processes are lent",
    );
  }

  async #client(holder: number): Promise<LeaseClient | undefined> {
    const known = this.#clients.get(holder);
    if (known) return known;
    const client = await LeaseClient.connect(this.#locks.socketOf(holder), {
      onOver: (id) =>
        this.#lose(
          id,
          `${
            rcapOf(holder)
          } has taken the references of process ${id.pid} back, since they were lent for too long; observe for less time`,
        ),
      onEnd: (ended) => {
        this.#clients.delete(holder);
        for (const { id, client } of this.#leases.values()) {
          if (client === ended) this.#ended(id, holder);
        }
        ended[Symbol.dispose]();
      },
    });
    if (client) this.#clients.set(holder, client);
    return client;
  }

  /**
   * Goes on after the daemon has ended. Nobody has reset the references meanwhile if the
   * lock is still free.
   */
  #ended(id: ProcessId, holder: number): void {
    if (this.#isDisposed) return;
    if (this.#locks.take(id) === undefined) {
      this.#leases.delete(keyOf(id));
      return;
    }
    this.#lose(
      id,
      `${
        rcapOf(holder)
      }, which lent the references of process ${id.pid}, has ended, and another rcap resets them now; run the command again`,
    );
  }

  #lose(id: ProcessId, reason: string): void {
    if (this.#leases.delete(keyOf(id))) this.#lost.set(keyOf(id), reason);
  }

  owns(id: ProcessId): boolean {
    const lost = this.#lost.get(keyOf(id));
    if (lost !== undefined) throw new ObservedElsewhere(id.pid, lost);
    return this.#locks.holds(id);
  }

  release(id: ProcessId): void {
    const lease = this.#leases.get(keyOf(id));
    lease?.client.end(id);
    this.#leases.delete(keyOf(id));
    this.#lost.delete(keyOf(id));
    this.#locks.release(id);
  }

  refusalOf(): undefined {
    return undefined;
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    for (const client of this.#clients.values()) client[Symbol.dispose]();
    this.#locks[Symbol.dispose]();
  }
}

function observedBy({ pid }: ProcessId, holder: number): ObservedElsewhere {
  const remedy = holder > 0
    ? "wait until it ends, or stop it"
    : "run this command there";
  return new ObservedElsewhere(
    pid,
    `${
      rcapOf(holder)
    } observes process ${pid}, and two observers would blind each other; ${remedy}`,
  );
}
