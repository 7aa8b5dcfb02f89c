/**
 * Telling a running daemon what to do: by files in its state directory and a
 * signal, and by waiting until its state shows that it has done so.
 *
 * @module
 */

import { Errno, SystemError } from "../../ffi/libc.ts";
import { SIGHUP, SIGUSR1 } from "../../ffi/pidfd.ts";
import {
  CapabilityError,
  NoSuchProcess,
  RcapError,
  UsageError,
} from "../errors.ts";
import type { CollectionState, DaemonState } from "../group/state.ts";
import { requireOwnProc } from "../platform/linux/own_proc.ts";
import { readProcess } from "../platform/linux/process_list.ts";
import { openPidfd } from "../platform/linux/system_calls.ts";
import { holderOf, readState, writeOverride } from "./state_directory.ts";

/** How long a daemon may take to answer, in milliseconds, and how often that is looked at. */
const PATIENCE = 10_000;
const LOOK_INTERVAL = 20;

/**
 * Sets the cap of a collection, or takes that back.
 *
 * @param bytes `undefined` for the cap of the configuration.
 * @returns the collection before and after.
 * @throws RcapError when no daemon runs, or it does not answer.
 * @throws UsageError when it has no such collection.
 * @throws CapabilityError when this user may not.
 */
export async function setCap(
  directory: string,
  name: string,
  bytes: number | undefined,
): Promise<{ before: CollectionState; after: CollectionState }> {
  requireOwnProc();
  const state = readState(directory);
  const before = collectionOf(state, name);
  assertHolder(directory, state);
  writeOverride(directory, name, bytes);
  signalDaemon(directory, state, SIGUSR1);
  const after = await answerOf(directory, state, (now) => {
    const collection = collectionOf(now, name);
    return collection.cap === (bytes ?? collection.configuredCap)
      ? collection
      : undefined;
  });
  return { before, after };
}

function collectionOf(
  { collections }: DaemonState,
  name: string,
): CollectionState {
  const collection = collections.find((one) => one.name === name);
  if (collection) return collection;
  throw new UsageError(
    `rcap has no collection "${name}"; it has ${
      collections.map(({ name }) => name).join(", ")
    }`,
  );
}

/**
 * Has the daemon read its configuration again.
 *
 * @returns its state afterwards, with the problems that it found.
 * @throws RcapError when no daemon runs, or it does not answer.
 * @throws CapabilityError when this user may not.
 */
export async function reloadConfiguration(
  directory: string,
): Promise<DaemonState> {
  requireOwnProc();
  const state = readState(directory);
  assertHolder(directory, state);
  signalDaemon(directory, state, SIGHUP);
  return await answerOf(
    directory,
    state,
    (now) =>
      now.configuration.serial > state.configuration.serial ? now : undefined,
  );
}

/**
 * Makes sure that the daemon that wrote a state holds the lock of the state
 * directory, and so is one.
 *
 * @throws RcapError when another process does, or one that cannot be seen.
 * @throws CapabilityError when this user may not know.
 */
function assertHolder(directory: string, { pid }: DaemonState): void {
  const holder = holderOf(directory);
  if (holder === pid) return;
  if (holder === undefined) throw ended(pid);
  const who = holder === 0
    ? "a process that cannot be seen from here"
    : `process ${holder}`;
  throw new RcapError(
    `${who} holds the lock of the state directory ${directory}, and its state names process ${pid}: rcap runs in another pid namespace, as that of a container; run this command there`,
  );
}

/**
 * Sends a signal to exactly the daemon that wrote a state: the process that holds
 * the lock, and started when the state says. `/proc` has to be that of our own pid
 * namespace.
 */
function signalDaemon(
  directory: string,
  state: DaemonState,
  signal: number,
): void {
  const { pid, startTime } = state;
  try {
    using pidfd = openPidfd(pid);
    // The descriptor is the daemon's when that has the pid and the lock now.
    if (readProcess(pid).startTime !== startTime) throw ended(pid);
    assertHolder(directory, state);
    pidfd.signal(signal);
  } catch (error) {
    if (error instanceof NoSuchProcess) throw ended(pid, error);
    if (!(error instanceof SystemError)) throw error;
    if (error.errno === Errno.ESRCH) throw ended(pid, error);
    if (error.errno !== Errno.EPERM) throw error;
    throw new CapabilityError(
      `this user may not tell rcap (process ${pid}) anything; run as root`,
      { cause: error },
    );
  }
}

function ended(pid: number, cause?: Error): RcapError {
  return new RcapError(`rcap (process ${pid}) has just ended`, { cause });
}

/** Waits until the state of a daemon shows something. */
async function answerOf<T>(
  directory: string,
  { pid, startTime }: DaemonState,
  look: (state: DaemonState) => T | undefined,
): Promise<T> {
  const began = performance.now();
  while (performance.now() - began < PATIENCE) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_INTERVAL));
    const state = readState(directory);
    if (state.pid !== pid || state.startTime !== startTime) break;
    const found = look(state);
    if (found !== undefined) return found;
  }
  throw new RcapError(
    `rcap (process ${pid}) has not answered within ${
      PATIENCE / 1000
    } s; see its log`,
  );
}
