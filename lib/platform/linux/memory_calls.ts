/**
 * Calls that take the mmap lock of another process, and the treatment of processes
 * that do not release it.
 *
 * A process can hold its own mmap lock for as long as it likes, for example by a
 * page fault on a file whose server does not answer. Everything else that needs the
 * lock then waits: reading `maps`, `smaps` or `pagemap`, writing `clear_refs`, and
 * `process_madvise(2)`, whose wait not even SIGKILL ends. So these calls run on
 * other threads, every wait for them is limited, and a process that keeps rcap
 * waiting is set aside and tried again less and less often.
 *
 * Where BPF shows the lock, rcap looks at it before every call, and makes none while
 * the lock is held and nothing about it changes.
 *
 * @module
 */

import type { CallList } from "../../../ffi/call_list.ts";
import { ProcessError } from "../../errors.ts";
import { systemClock } from "../clock.ts";
import type { ProcessId } from "../platform.ts";

/** The state of a process's mmap lock at one moment. */
export interface LockLook {
  /** Whether a reader has to wait. */
  readonly blocksReaders: boolean;
  /** Whether a writer has to wait. */
  readonly blocksWriters: boolean;
  /** Identifies the holders: a text that changes when they do. */
  readonly holders: string;
}

/** How a call takes the lock. */
export type LockUse = "read" | "write";

/** A process does not answer and is set aside. */
export class NotAnswering extends ProcessError {
  override name = "NotAnswering";
}

/**
 * How often a held lock is looked at before its process is set aside, and the
 * milliseconds between two looks. A reader that comes back, such as a monitor, looks like
 * one that stays, so that looks are many, and close enough to see it pause.
 */
const LOOKS = 80;
const LOOK_INTERVAL = 4;

/** How long calls may take, and how much longer for each resident GiB, in milliseconds. */
const PATIENCE = 2000;
const PATIENCE_PER_GIB = 1000;
/** The upper limit of both together, since a process chooses its own resident size. */
const MOST_PATIENCE = 10_000;
/** How long an attempt may take while calls return or the lock is seen to change hands. */
const LONGEST_ATTEMPT = 60_000;

/** How long calls may continue after rcap is told to end, in milliseconds. */
const PATIENCE_AT_THE_END = 60;

/** How long a process is set aside, at first and at most, in milliseconds. */
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 5 * 60_000;

/** How many calls run at a time: the runtime has 32 threads for all blocking work. */
const PLACES = 16;
/**
 * How many calls of one group may be stuck, as long as fewer than `MANY_STUCK` are
 * stuck in all; from then on, one.
 */
const MOST_STUCK_OF_A_GROUP = 4;
const MANY_STUCK = PLACES / 2;
/** The most calls that may be stuck in all; beyond that, no group gets a second one. */
const MOST_STUCK = PLACES - 4;

const GIB = 2 ** 30;

/** A process that is set aside. Times are those of `performance.now()`. */
interface Silence {
  readonly pid: number;
  readonly since: number;
  readonly attempts: number;
  readonly retryAt: number;
  readonly why: string;
}

/** Attempts with a call that not even SIGKILL ends. */
const unstoppable = new Set<Attempt>();

/**
 * Returns the pids of the processes that keep rcap from ending while they do not
 * answer.
 */
export function unstoppableProcesses(): number[] {
  return [...new Set([...unstoppable].map(({ pid }) => pid))];
}

/** One attempt to reach the memory of a process; makes its calls. */
export class Attempt {
  readonly #id: ProcessId;
  readonly #lookAtLock: MemoryCalls["lookAtLock"];
  readonly #places: Places;
  /** The calls in progress. */
  #calls: CallList | undefined;
  /** Whether nothing waits for the attempt any more. */
  #isAbandoned = false;
  /** Whether it still waits for a place, so that it says nothing about the process. */
  isQueued = false;
  /** How long one of its calls may take, in milliseconds. */
  patience = PATIENCE;
  /** When a call last returned, by `performance.now()`. */
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

  /** Allows as much time as a process with this many resident bytes needs. */
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

  /** Stops waiting for the attempt and cancels the calls that it has not made yet. */
  abandon(): void {
    this.#isAbandoned = true;
    this.#calls?.cancel();
  }

  /**
   * Makes calls, as soon as the lock is free or was seen to change hands.
   *
   * @throws NotAnswering if the lock stays held.
   */
  async make(
    calls: CallList,
    { use = "read", isUnstoppable = false }: {
      use?: LockUse;
      isUnstoppable?: boolean;
    } = {},
  ): Promise<void> {
    // If there is nothing to wait for, the calls are started before this function
    // first returns.
    using _place = this.#places.takeFree() ?? await this.#queue();
    const held = this.#heldLock(use, false);
    if (held) await this.#waitForLock(use, held);
    if (this.#isAbandoned) throw this.#silent("nothing waits for it any more");
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

  /** Returns the lock if this use of it would have to wait, as far as rcap can see. */
  #heldLock(use: LockUse, anew: boolean): LockLook | undefined {
    const look = this.#lookAtLock?.(this.#id.pid, anew);
    const isHeld = use === "read" ? look?.blocksReaders : look?.blocksWriters;
    return isHeld ? look : undefined;
  }

  async #waitForLock(use: LockUse, { holders }: LockLook): Promise<void> {
    for (let looks = 1; looks < LOOKS; looks++) {
      await systemClock.sleep(LOOK_INTERVAL);
      if (this.#heldLock(use, true)?.holders !== holders) return;
    }
    throw this.#silent(LOCKED);
  }

  #silent(why: string): NotAnswering {
    return new NotAnswering(this.#id.pid, why);
  }
}

/** A limited number of places, first come, first served. */
class Places {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  /** Takes a place if one is free; `using` gives it back. */
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

const LOCKED = "its memory map is locked, by the process itself or by a reader";
const UNKNOWN =
  "a call that reads or changes its memory does not return, for an unknown reason: its memory map may be locked, or the machine very busy";

/** Makes calls on the memory of processes with limited patience. */
export class MemoryCalls {
  /**
   * Looks at the mmap lock of a process; `undefined` where that is not possible.
   *
   * @param anew whether earlier information about the process may be outdated.
   */
  readonly lookAtLock:
    | ((pid: number, anew: boolean) => LockLook | undefined)
    | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #silent = new Map<string, Silence>();
  /** Abandoned attempts that have not ended, by process. */
  readonly #stuck = new Map<string, { pid: number; group: string }>();
  readonly #places = new Places(PLACES);
  /** Shorten the waits in progress. */
  readonly #waits = new Set<() => void>();

  /** @param signal ends all waits. */
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

  /** Why a process is set aside; `undefined` if it is not, or has been only briefly. */
  silenceOf(id: ProcessId): string | undefined {
    const key = keyOf(id);
    const silence = this.#silent.get(key);
    if (!silence) return undefined;
    // A single short silence may be bad luck.
    const isLasting = silence.attempts > 1 || this.#stuck.has(key) &&
        performance.now() - silence.since > FIRST_PAUSE;
    return isLasting ? describe(silence) : undefined;
  }

  /** Why processes that did nothing wrong cannot be reached; `undefined` while all can. */
  get overload(): string | undefined {
    if (this.#stuck.size < MOST_STUCK) return undefined;
    const pids = [...this.#stuck.values()].map(({ pid }) => pid);
    return `${pids.length} calls do not return, so others have to wait; they are calls on processes ${
      pids.join(", ")
    }`;
  }

  /**
   * Runs a step on the memory of a process and waits for it as long as is
   * reasonable.
   *
   * @param step makes its calls through the attempt that it is given. It continues
   * after nothing waits for it any more, so it must close what it opens.
   * @param group the group whose limit on stuck calls applies.
   * @throws NotAnswering if the process does not answer, or did not before and is
   * not yet due for another attempt.
   * @throws the signal's reason if it is aborted.
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
    // If nothing waits for the result any more, release it.
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
      // A process that answers call by call may have a lot of memory.
      if (quiet() < attempt.patience && elapsed < longest) continue;
      const isMoving = await this.#isMoving(pid);
      if (isMoving && elapsed < longest) continue;
      throw new NotAnswering(pid, isMoving === false ? LOCKED : UNKNOWN);
    }
  }

  /**
   * Waits for work for some milliseconds at most, and only briefly once the signal
   * is aborted.
   */
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

  /**
   * Whether the lock of a process is free or changes hands; `undefined` if rcap
   * cannot see it.
   */
  async #isMoving(pid: number): Promise<boolean | undefined> {
    const first = this.lookAtLock?.(pid, true);
    if (!first) return undefined;
    for (let looks = 1; looks < LOOKS; looks++) {
      await systemClock.sleep(LOOK_INTERVAL);
      const now = this.lookAtLock?.(pid, true);
      // A process that cannot be seen any more has exited.
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

  /** The error of a process that cannot be tried because too many others do not answer. */
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

  /** Forgets processes that were not tried again for a long time: they have exited. */
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
