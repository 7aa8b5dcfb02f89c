/**
 * Controls a running daemon: writes files into its state directory, sends a signal,
 * and waits until the state shows the result.
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
import { type NumberFolder, OVERRIDES, PAUSES } from "./numbers_by_name.ts";
import {
  holderOf,
  readState,
  type StateSystem,
  writeByHand,
} from "./state_directory.ts";

/** The part of the operating system that controls a daemon. */
export type ControlSystem =
  & StateSystem
  & Pick<OperatingSystem, "hold" | "requireOwnProcesses">;

/** A daemon, identified by its state directory. */
export interface DaemonPlace {
  readonly system: ControlSystem;
  /** The path of its state directory. */
  readonly directory: string;
}

/** How long a daemon may take to answer, and how often its state is read, in milliseconds. */
const PATIENCE = 10_000;
const LOOK_INTERVAL = 20;

/**
 * Overrides the cap of a group, or removes the override.
 *
 * @param bytes `undefined` for the cap of the configuration.
 * @returns the group before and after.
 * @throws RcapError if no daemon runs, or it does not answer.
 * @throws UsageError if it has no such group.
 * @throws CapabilityError if this user may not change caps.
 */
export function setCap(
  place: DaemonPlace,
  name: string,
  bytes: number | undefined,
): Promise<Answer> {
  return setByHand(
    place,
    OVERRIDES,
    { name, value: bytes },
    ({ cap, configuredCap }) => cap === (bytes ?? configuredCap),
  );
}

/**
 * Pauses a group until a time, or ends its pause.
 *
 * @param until whole seconds since the epoch; `undefined` to end the pause.
 * @returns the group before and after.
 * @throws RcapError, UsageError, CapabilityError as {@linkcode setCap}.
 */
export function pauseGroup(
  place: DaemonPlace,
  name: string,
  until: number | undefined,
): Promise<Answer> {
  return setByHand(
    place,
    PAUSES,
    { name, value: until },
    ({ pausedUntil }) => pausedUntil === (until ?? null),
  );
}

/** A group before and after a request. */
interface Answer {
  readonly before: GroupState;
  readonly after: GroupState;
}

/**
 * Sets a number of a group by hand, and waits until the daemon applies it.
 *
 * @param isApplied whether the state of the group shows it.
 */
async function setByHand(
  place: DaemonPlace,
  kind: NumberFolder,
  number: { name: string; value: number | undefined },
  isApplied: (group: GroupState) => boolean,
): Promise<Answer> {
  const { system, directory } = place;
  const { name } = number;
  system.requireOwnProcesses();
  const state = readState(system, directory);
  const before = groupOf(state, name);
  assertHolder(place, state);
  writeByHand(system, directory, kind, number);
  signalDaemon(place, state, "SIGUSR1");
  const after = await answerOf(place, state, (now) => {
    const group = groupOf(now, name);
    return isApplied(group) ? group : undefined;
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
 * Makes the daemon read its configuration again.
 *
 * @returns its state afterwards, with the problems that it found.
 * @throws RcapError if no daemon runs, or it does not answer.
 * @throws CapabilityError if this user may not signal it.
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
 * Asserts that the process that wrote a state holds the lock of the state directory,
 * which proves that it is a daemon.
 *
 * @throws RcapError if another process holds it, or one that is not visible.
 * @throws CapabilityError if this user may not read the lock.
 */
function assertHolder(
  { system, directory }: DaemonPlace,
  { pid }: DaemonState,
): void {
  const holder = holderOf(system, directory);
  if (holder === pid) return;
  if (holder === undefined) throw ended(pid);
  const who = holder === 0
    ? "a process that is not visible here"
    : `process ${holder}`;
  throw new RcapError(
    `${who} holds the lock of the state directory ${directory}, and its state names process ${pid}: rcap runs in another pid namespace, such as that of a container; run this command there`,
  );
}

/**
 * Sends a signal to exactly the daemon that wrote a state: the process that holds
 * the lock and has the start time in the state.
 */
function signalDaemon(
  place: DaemonPlace,
  state: DaemonState,
  signal: DaemonSignal,
): void {
  const { pid } = state;
  try {
    using daemon = place.system.hold(state);
    // The held process is the daemon if it still has the lock.
    assertHolder(place, state);
    daemon.signal(signal);
  } catch (error) {
    if (error instanceof NoSuchProcess) throw ended(pid, error);
    if (!(error instanceof ProcessAccessDenied)) throw error;
    throw new CapabilityError(
      `this user may not signal rcap (process ${pid}); run as root`,
      { cause: error },
    );
  }
}

function ended(pid: number, cause?: Error): RcapError {
  return new RcapError(`rcap (process ${pid}) has just ended`, { cause });
}

/** Waits until `look` finds something in the state of a daemon, and returns that. */
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
