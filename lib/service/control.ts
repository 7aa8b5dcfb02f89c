/**
 * Telling a running daemon what to do: by files in its state directory and a
 * signal, and by waiting until its state shows that it has done so.
 *
 * @module
 */

import {
  CapabilityError,
  NoSuchProcess,
  ProcessAccessDenied,
  RcapError,
  UsageError,
} from "../errors.ts";
import type { DaemonState, GroupState } from "../group/state.ts";
import { systemClock } from "../platform/clock.ts";
import type {
  DaemonSignal,
  OperatingSystem,
} from "../platform/operating_system.ts";
import {
  holderOf,
  readState,
  type StateSystem,
  writeOverride,
} from "./state_directory.ts";

/** What control of a daemon needs of the operating system. */
export type ControlSystem =
  & StateSystem
  & Pick<OperatingSystem, "hold" | "requireOwnProcesses">;

/** A daemon by its state directory. */
export interface DaemonPlace {
  readonly system: ControlSystem;
  /** The path of its state directory. */
  readonly directory: string;
}

/** How long a daemon may take to answer, in milliseconds, and how often that is looked at. */
const PATIENCE = 10_000;
const LOOK_INTERVAL = 20;

/**
 * Sets the cap of a group, or takes that back.
 *
 * @param bytes `undefined` for the cap of the configuration.
 * @returns the group before and after.
 * @throws RcapError when no daemon runs, or it does not answer.
 * @throws UsageError when it has no such group.
 * @throws CapabilityError when this user may not.
 */
export async function setCap(
  place: DaemonPlace,
  name: string,
  bytes: number | undefined,
): Promise<{ before: GroupState; after: GroupState }> {
  const { system, directory } = place;
  system.requireOwnProcesses();
  const state = readState(system, directory);
  const before = groupOf(state, name);
  assertHolder(place, state);
  writeOverride(system, directory, { name, bytes });
  signalDaemon(place, state, "SIGUSR1");
  const after = await answerOf(place, state, (now) => {
    const group = groupOf(now, name);
    return group.cap === (bytes ?? group.configuredCap) ? group : undefined;
  });
  return { before, after };
}

function groupOf(
  { groups }: DaemonState,
  name: string,
): GroupState {
  const group = groups.find((one) => one.name === name);
  if (group) return group;
  throw new UsageError(
    `rcap has no group "${name}"; it has ${
      groups.map(({ name }) => name).join(", ")
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
  place: DaemonPlace,
): Promise<DaemonState> {
  const { system, directory } = place;
  system.requireOwnProcesses();
  const state = readState(system, directory);
  assertHolder(place, state);
  signalDaemon(place, state, "SIGHUP");
  return await answerOf(
    place,
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
function assertHolder(
  { system, directory }: DaemonPlace,
  { pid }: DaemonState,
): void {
  const holder = holderOf(system, directory);
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
 * the lock, and started when the state says.
 */
function signalDaemon(
  place: DaemonPlace,
  state: DaemonState,
  signal: DaemonSignal,
): void {
  const { pid } = state;
  try {
    using daemon = place.system.hold(state);
    // It is the daemon when it has the lock now.
    assertHolder(place, state);
    daemon.signal(signal);
  } catch (error) {
    if (error instanceof NoSuchProcess) throw ended(pid, error);
    if (!(error instanceof ProcessAccessDenied)) throw error;
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
  { system, directory }: DaemonPlace,
  { pid, startTime }: DaemonState,
  look: (state: DaemonState) => T | undefined,
): Promise<T> {
  const began = performance.now();
  while (performance.now() - began < PATIENCE) {
    await systemClock.sleep(LOOK_INTERVAL);
    const state = readState(system, directory);
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
