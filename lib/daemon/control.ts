/**
 * Telling a running daemon what to do: by files in its state directory and a
 * signal, and by waiting until its state shows that it has done so.
 *
 * @module
 */

import { Errno, SystemError } from "../../ffi/libc.ts";
import { SIGHUP, SIGUSR1 } from "../../ffi/pidfd.ts";
import { CapabilityError, RcapError, UsageError } from "../errors.ts";
import { requireOwnProc } from "../platform/linux/own_proc.ts";
import { readProcess } from "../platform/linux/process_list.ts";
import { openPidfd } from "../platform/linux/system_calls.ts";
import type { CollectionState, DaemonState } from "./state.ts";
import { readState, writeOverride } from "./state_directory.ts";

/** How long a daemon may take to answer, in milliseconds, and how often that is looked at. */
const PATIENCE = 5000;
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
  writeOverride(directory, name, bytes);
  signalDaemon(state, SIGUSR1);
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
  signalDaemon(state, SIGHUP);
  return await answerOf(
    directory,
    state,
    (now) =>
      now.configuration.serial > state.configuration.serial ? now : undefined,
  );
}

/**
 * Sends a signal to exactly the daemon that wrote a state. `/proc` has to be that of
 * our own pid namespace.
 */
function signalDaemon({ pid, startTime }: DaemonState, signal: number): void {
  try {
    using pidfd = openPidfd(pid);
    // The descriptor is the daemon's when that still has the pid now.
    if (readProcess(pid).startTime === startTime) {
      pidfd.signal(signal);
      return;
    }
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    if (error.errno === Errno.EPERM) {
      throw new CapabilityError(
        `this user may not tell rcap (process ${pid}) anything; run as root`,
        { cause: error },
      );
    }
    if (error.errno !== Errno.ESRCH) throw error;
  }
  throw new RcapError(`rcap (process ${pid}) has just ended`);
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
