/**
 * Calls that take the mmap lock of another process, and what becomes of a process
 * that does not let go of it.
 *
 * A process can hold its own mmap lock for as long as it likes: by a page fault on
 * a file whose server does not answer, say. Whoever else wants the lock then waits:
 * to read `maps`, `smaps` or `pagemap`, to write `clear_refs`, and for
 * `process_madvise(2)`, whose wait not even SIGKILL ends. So these calls are made on
 * other threads, nobody waits for them without end, and a process that keeps rcap
 * waiting is set aside and tried again less and less often.
 *
 * Where BPF shows the lock, rcap looks at it before every call, and makes none while
 * the lock is held and nothing about it changes.
 *
 * @module
 */

import type { CallList } from "../../../ffi/call_list.ts";
import { ProcessError } from "../../errors.ts";
import type { ProcessId } from "../platform.ts";

/** The mmap lock of a process, as it is at one moment. */
export interface LockLook {
  /** Whether somebody who wants to read has to wait. */
  readonly blocksReaders: boolean;
  /** Whether somebody who wants to write has to wait. */
  readonly blocksWriters: boolean;
  /** Who holds it: a text that changes with the holders. */
  readonly holders: string;
}

/** What a call does with the lock. */
export type LockUse = "read" | "write";

/** A process that has kept rcap waiting and is set aside. */
export class NotAnswering extends ProcessError {
  override name = "NotAnswering";
}

/** How often a held lock is looked at before its process is set aside, and how soon again, in milliseconds. */
const LOOKS = 6;
const LOOK_INTERVAL = 20;

/** How long calls may take, and how much longer for each GiB in memory, in milliseconds. */
const PATIENCE = 2000;
const PATIENCE_PER_GIB = 1000;
/** How long they may take in any case: a process says itself how much it has in memory. */
const MOST_PATIENCE = 10_000;
/** How long an attempt may take while calls come back, or the lock is seen to change hands. */
const LONGEST_ATTEMPT = 60_000;

/** How long calls may go on once rcap has been told to end, in milliseconds. */
const PATIENCE_AT_THE_END = 60;

/** How long a process is set aside at first, and at the most, in milliseconds. */
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 5 * 60_000;

/** How many calls are made at a time: the runtime has 32 threads for all that waits. */
const PLACES = 16;
/** How many of them may be stuck for one group of processes, while few are and while many are. */
const MOST_STUCK_OF_A_GROUP = 4;
const MANY_STUCK = PLACES / 2;
/** How many may be stuck before no group gets a second one. */
const MOST_STUCK = PLACES - 4;

const GIB = 2 ** 30;

/** What is known of a process that is set aside. Times as of `performance.now()`. */
interface Silence {
  readonly pid: number;
  readonly since: number;
  readonly attempts: number;
  readonly retryAt: number;
  readonly why: string;
}

/** Attempts whose call not even SIGKILL ends. */
const unstoppable = new Set<Attempt>();

/** The processes that keep rcap from ending while they do not answer, by pid. */
export function unstoppableProcesses(): number[] {
  return [...new Set([...unstoppable].map(({ pid }) => pid))];
}

/** Makes the calls of one attempt to reach a process. */
export class Attempt {
  readonly #id: ProcessId;
  readonly #lookAtLock: MemoryCalls["lookAtLock"];
  readonly #places: Places;
  /** What is being made. */
  #calls: CallList | undefined;
  /** Nobody waits for it any more. */
  #isAbandoned = false;
  /** Whether it waits for a place, so that nothing is known of the process. */
  isQueued = false;
  /** How long a call of it may take, in milliseconds. */
  patience = PATIENCE;
  /** When a call last came back, as of `performance.now()`. */
  answeredAt = -Infinity;

  constructor(
    id: ProcessId,
    lookAtLock?: MemoryCalls["lookAtLock"],
    places = new Places(PLACES),
  ) {
    this.#id = id;
    this.#lookAtLock = lookAtLock;
    this.#places = places;
  }

  /** The process id. */
  get pid(): number {
    return this.#id.pid;
  }

  /** Allows as much time as a process takes that has so many bytes in memory. */
  allowFor(bytes: number): void {
    this.patience = Math.min(
      PATIENCE + bytes / GIB * PATIENCE_PER_GIB,
      MOST_PATIENCE,
    );
  }

  /** Whether the lock can be looked at before a call takes it. */
  get canLook(): boolean {
    return this.#lookAtLock?.(this.#id.pid, false) !== undefined;
  }

  get isAbandoned(): boolean {
    return this.#isAbandoned;
  }

  /** Leaves it to itself; what of its calls is not made yet will not be made. */
  abandon(): void {
    this.#isAbandoned = true;
    this.#calls?.cancel();
  }

  /**
   * Makes calls, once the lock is free or has been seen to change.
   *
   * @throws NotAnswering while it is not.
   */
  async make(
    calls: CallList,
    { use = "read", isUnstoppable = false }: {
      use?: LockUse;
      isUnstoppable?: boolean;
    } = {},
  ): Promise<void> {
    // Where nothing is to be waited for, the calls are under way when this returns.
    using _place = this.#places.takeFree() ?? await this.#queue();
    const held = this.#heldLock(use, false);
    if (held) await this.#waitForLock(use, held);
    if (this.#isAbandoned) throw this.#silent("nobody waits for it any more");
    if (isUnstoppable) unstoppable.add(this);
    this.#calls = calls;
    try {
      await calls.make();
      this.answeredAt = performance.now();
    } finally {
      this.#calls = undefined;
      unstoppable.delete(this);
    }
  }

  async #queue(): Promise<Disposable> {
    this.isQueued = true;
    const place = await this.#places.take();
    this.isQueued = false;
    return place;
  }

  /** The lock, while somebody who wants to use it so has to wait, as far as can be seen. */
  #heldLock(use: LockUse, anew: boolean): LockLook | undefined {
    const look = this.#lookAtLock?.(this.#id.pid, anew);
    const isHeld = use === "read" ? look?.blocksReaders : look?.blocksWriters;
    return isHeld ? look : undefined;
  }

  async #waitForLock(use: LockUse, { holders }: LockLook): Promise<void> {
    for (let looks = 1; looks < LOOKS; looks++) {
      await pause(LOOK_INTERVAL);
      if (this.#heldLock(use, true)?.holders !== holders) return;
    }
    throw this.#silent(LOCKED);
  }

  #silent(why: string): NotAnswering {
    return new NotAnswering(this.#id.pid, why);
  }
}

/** Hands out places, first come, first served. */
class Places {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  /** A place, when one is free; `using` gives it back. */
  takeFree(): Disposable | undefined {
    if (this.#free === 0) return undefined;
    this.#free--;
    return this.#taken();
  }

  /** Waits for a place; `using` gives it back. */
  async take(): Promise<Disposable> {
    const free = this.takeFree();
    if (free) return free;
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.#taken();
  }

  #taken(): Disposable {
    return {
      [Symbol.dispose]: () => {
        const next = this.#waiting.shift();
        if (next) next();
        else this.#free++;
      },
    };
  }
}

const LOCKED =
  "its memory map is locked, by itself or by somebody who reads it";
const UNKNOWN =
  "a look at its memory does not come back; why is not known: its memory map may be locked, or the machine very busy";

/** Reaches for the memory of processes with patience, and not with too much of it. */
export class MemoryCalls {
  /**
   * Looks at the lock of a process; nothing where that cannot be done.
   *
   * @param anew whether what was learnt of the process before may be outdated.
   */
  readonly lookAtLock:
    | ((pid: number, anew: boolean) => LockLook | undefined)
    | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #silent = new Map<string, Silence>();
  /** Attempts that nobody waits for and that have not ended, by process. */
  readonly #stuck = new Map<string, { pid: number; group: string }>();
  readonly #places = new Places(PLACES);
  /** Shortens every wait there is. */
  readonly #waits = new Set<() => void>();

  /** @param signal has nobody wait any longer. */
  constructor(
    { lookAtLock, signal }: {
      lookAtLock?: MemoryCalls["lookAtLock"];
      signal?: AbortSignal;
    } = {},
  ) {
    this.lookAtLock = lookAtLock;
    this.#signal = signal;
    signal?.addEventListener("abort", () => {
      for (const hurry of this.#waits) hurry();
    });
  }

  /** Why a process is set aside; `undefined` when it is not, or was only just. */
  silenceOf(id: ProcessId): string | undefined {
    const key = keyOf(id);
    const silence = this.#silent.get(key);
    if (!silence) return undefined;
    // Once, and not for long, may be bad luck.
    const isLasting = silence.attempts > 1 || this.#stuck.has(key) &&
        performance.now() - silence.since > FIRST_PAUSE;
    return isLasting ? describe(silence) : undefined;
  }

  /**
   * Why processes cannot be reached that have done nothing for it; `undefined` while
   * all can.
   */
  get overload(): string | undefined {
    if (this.#stuck.size < MOST_STUCK) return undefined;
    const pids = [...this.#stuck.values()].map(({ pid }) => pid);
    return `${pids.length} calls do not come back, so that others have to wait: of processes ${
      pids.join(", ")
    }`;
  }

  /**
   * Does something with the memory of a process, and waits for that as long as is
   * reasonable.
   *
   * @param step makes its calls by the attempt that it gets, and goes on, unheard,
   * when nobody waits any more: what it opens, it has to close itself.
   * @param group shares a limit on calls that are stuck.
   * @throws NotAnswering when the process does not answer, or has not before and it
   * is not yet time to try again.
   * @throws the signal's reason when that is aborted.
   */
  async patiently<T>(
    id: ProcessId,
    step: (attempt: Attempt) => Promise<T>,
    group = "",
  ): Promise<T> {
    const key = keyOf(id);
    this.#refuseSilent(id, group);
    const attempt = new Attempt(id, this.lookAtLock, this.#places);
    let hasEnded = false;
    const work = step(attempt).finally(() => {
      hasEnded = true;
      this.#stuck.delete(key);
    });
    // Whatever becomes of it when nobody waits: what it holds is let go.
    work.then((result) => {
      if (attempt.isAbandoned && isDisposable(result)) result[Symbol.dispose]();
    }, () => {});
    try {
      const result = await this.#waitFor(work, id, attempt);
      this.#silent.delete(key);
      return result;
    } catch (error) {
      const wasQueued = attempt.isQueued;
      attempt.abandon();
      if (!hasEnded && !wasQueued) {
        this.#stuck.set(key, { pid: id.pid, group });
      }
      if (!(error instanceof NotAnswering)) throw error;
      if (wasQueued) throw this.#passedOver(id);
      throw this.#setAside(id, error.message);
    }
  }

  async #waitFor<T>(
    work: Promise<T>,
    { pid }: ProcessId,
    attempt: Attempt,
  ): Promise<T> {
    const began = performance.now();
    for (;;) {
      const quiet = () =>
        performance.now() - Math.max(began, attempt.answeredAt);
      const left = attempt.patience - quiet() % attempt.patience;
      const outcome = await this.#within(left, work);
      if (outcome) return outcome.result;
      this.#signal?.throwIfAborted();
      const elapsed = performance.now() - began;
      const longest = Math.max(LONGEST_ATTEMPT, attempt.patience);
      // Who answers call by call may have much to say.
      if (quiet() < attempt.patience && elapsed < longest) continue;
      const isMoving = await this.#isMoving(pid);
      if (isMoving && elapsed < longest) continue;
      throw new NotAnswering(pid, isMoving === false ? LOCKED : UNKNOWN);
    }
  }

  /** Waits for work, but not longer than some milliseconds, and hardly once the signal is aborted. */
  async #within<T>(
    milliseconds: number,
    work: Promise<T>,
  ): Promise<{ result: T } | undefined> {
    const signal = this.#signal;
    const { promise: over, resolve } = Promise.withResolvers<undefined>();
    const end = () => resolve(undefined);
    let timer = setTimeout(
      end,
      signal?.aborted ? PATIENCE_AT_THE_END : milliseconds,
    );
    const hurry = () => {
      clearTimeout(timer);
      timer = setTimeout(end, PATIENCE_AT_THE_END);
    };
    this.#waits.add(hurry);
    try {
      return await Promise.race([work.then((result) => ({ result })), over]);
    } finally {
      clearTimeout(timer);
      this.#waits.delete(hurry);
    }
  }

  /** Whether the lock of a process is free or changes hands; `undefined` where that cannot be seen. */
  async #isMoving(pid: number): Promise<boolean | undefined> {
    const first = this.lookAtLock?.(pid, true);
    if (!first) return undefined;
    for (let looks = 1; looks < LOOKS; looks++) {
      await pause(LOOK_INTERVAL);
      const now = this.lookAtLock?.(pid, true);
      // One of which nothing is seen has gone.
      if (!now?.blocksReaders || now.holders !== first.holders) return true;
    }
    return false;
  }

  #refuseSilent(id: ProcessId, group: string): void {
    const key = keyOf(id);
    const silence = this.#silent.get(key);
    const isEarly = silence && performance.now() < silence.retryAt;
    if (silence && (isEarly || this.#stuck.has(key))) throw errorOf(silence);
    const stuck = this.#stuck.size;
    const ofGroup =
      [...this.#stuck.values()].filter((one) => one.group === group).length;
    const most = group === "" || stuck < MANY_STUCK ? MOST_STUCK_OF_A_GROUP : 1;
    const mayStick = group === "" ? stuck < MOST_STUCK : ofGroup < most;
    if (ofGroup > 0 && !mayStick) throw this.#passedOver(id);
  }

  /** The error of a process that has done nothing, and cannot be tried for others. */
  #passedOver({ pid }: ProcessId): NotAnswering {
    return new NotAnswering(
      pid,
      `process ${pid} is passed over: ${this.#stuck.size} other processes do not answer, and no more are tried at a time`,
    );
  }

  #setAside({ pid, ...id }: ProcessId, why: string): NotAnswering {
    const key = keyOf({ pid, ...id });
    const now = performance.now();
    const before = this.#silent.get(key);
    const attempts = (before?.attempts ?? 0) + 1;
    const pauseFor = Math.min(
      FIRST_PAUSE * 2 ** (attempts - 1),
      LONGEST_PAUSE,
    );
    const silence: Silence = {
      pid,
      since: before?.since ?? now,
      attempts,
      retryAt: now + pauseFor,
      why,
    };
    this.#forgetOld(now);
    this.#silent.set(key, silence);
    return errorOf(silence);
  }

  /** Forgets processes that nobody has tried again for long: they have gone. */
  #forgetOld(now: number): void {
    for (const [key, { retryAt }] of this.#silent) {
      if (now - retryAt > LONGEST_PAUSE && !this.#stuck.has(key)) {
        this.#silent.delete(key);
      }
    }
  }
}

function isDisposable(value: unknown): value is Disposable {
  return typeof value === "object" && value !== null &&
    Symbol.dispose in value;
}

function keyOf({ pid, startTime }: ProcessId): string {
  return `${pid}:${startTime}`;
}

function describe({ pid, since, why }: Silence): string {
  const seconds = Math.round((performance.now() - since) / 1000);
  const time = seconds > 0 ? `, and has not for ${seconds} s` : "";
  return `process ${pid} does not answer${time}: ${why}`;
}

function errorOf(silence: Silence): NotAnswering {
  return new NotAnswering(silence.pid, describe(silence));
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
