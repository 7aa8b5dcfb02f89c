/**
 * The daemon's state directory: a lock that says who runs, the state that everyone
 * may read, and the caps that were set by hand.
 *
 * @module
 */

import {
  makeDirectory,
  permissionsOf,
  removeDirectory,
  removeFile,
  renameFile,
} from "../../ffi/directory.ts";
import { boottimeSeconds } from "../../ffi/clock.ts";
import {
  File,
  isMissing,
  O_CREAT,
  O_EXCL,
  O_WRONLY,
  readDirectory,
  readTextFile,
} from "../../ffi/file.ts";
import { FileLock, lockHolder } from "../../ffi/file_lock.ts";
import { Errno, SystemError } from "../../ffi/libc.ts";
import { effectiveUid } from "../../ffi/system.ts";
import { CapabilityError, RcapError } from "../errors.ts";
import { json } from "../report/escape.ts";
import type { DaemonState } from "./state.ts";

/** Where the daemon's state is unless told otherwise. */
export const STATE_DIRECTORY = "/run/rcap";

/** A state is stale when so many have not been written, but not before some seconds. */
const STALE_AFTER_REPORTS = 3;
const STALE_AFTER_SECONDS = 10;

const paths = (directory: string) => ({
  lock: `${directory}/lock`,
  state: `${directory}/state.json`,
  overrides: `${directory}/overrides`,
});

/** The daemon's hold on its state directory; `using` removes what is in it. */
export class StateDirectory implements Disposable {
  readonly path: string;
  readonly #lock: FileLock;

  private constructor(path: string, lock: FileLock) {
    this.path = path;
    this.#lock = lock;
  }

  /**
   * Makes the directory where there is none, and takes it.
   *
   * @throws RcapError when it cannot be made, others could write to it, or another
   * daemon has it.
   */
  static take(path: string): StateDirectory {
    const lock = makeAndLock(path);
    if (!lock) {
      const pid = holderOf(path);
      throw new RcapError(
        `rcap runs already${
          pid ? ` as process ${pid}` : ""
        }, with the state directory ${path}; stop it, or choose another with --state-dir`,
      );
    }
    const directory = new StateDirectory(path, lock);
    // What a daemon has left that was killed.
    directory.#clear();
    return directory;
  }

  /** Replaces the state. Who reads it sees the old one or the new one, whole. */
  write(state: DaemonState): void {
    replaceFile(paths(this.path).state, json(state));
  }

  /** The caps that were set by hand, in bytes by name. */
  overrides(): Map<string, number> {
    const overrides = new Map<string, number>();
    const folder = paths(this.path).overrides;
    for (const file of namesIn(folder)) {
      const name = nameOfOverride(file);
      const bytes = name && Number(readTextFile(`${folder}/${file}`));
      if (name && bytes && Number.isSafeInteger(bytes)) {
        overrides.set(name, bytes);
      }
    }
    return overrides;
  }

  #clear(): void {
    const { state, overrides } = paths(this.path);
    removeFile(state);
    for (const file of namesIn(overrides)) removeFile(`${overrides}/${file}`);
    removeDirectory(overrides);
  }

  [Symbol.dispose](): void {
    // The lock stays: who waits for it must find the same file.
    this.#clear();
    this.#lock[Symbol.dispose]();
  }
}

function makeAndLock(path: string): FileLock | undefined {
  try {
    makeDirectory(path);
    const { uid, mode } = permissionsOf(path);
    if (uid !== effectiveUid() || (mode & 0o022) !== 0) {
      throw new RcapError(
        `the state directory ${path} belongs to uid ${uid} and has mode ${
          (mode & 0o7777).toString(8)
        }, so that others can write to it; chown and chmod 755 it, or choose another with --state-dir`,
      );
    }
    return FileLock.tryLock(paths(path).lock);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    throw new RcapError(
      `the state directory ${path} cannot be used (${error.message}); choose another with --state-dir`,
      { cause: error },
    );
  }
}

/**
 * The process that has a state directory.
 *
 * @returns its pid, 0 when it cannot be seen from here, `undefined` when nobody has it.
 */
export function holderOf(path: string): number | undefined {
  try {
    return lockHolder(paths(path).lock);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    if (isMissing(error)) return undefined;
    throw new RcapError(`the state directory ${path}: ${error.message}`, {
      cause: error,
    });
  }
}

/**
 * The state of the daemon that runs.
 *
 * @throws RcapError when none runs, or it has not written its state for long.
 */
export function readState(path: string): DaemonState {
  const isRunning = holderOf(path) !== undefined;
  const state = isRunning ? stateIn(path) : undefined;
  if (!state) {
    throw new RcapError(
      `rcap is not running${
        path === STATE_DIRECTORY ? "" : ` with the state directory ${path}`
      }; start it with: rcap run`,
    );
  }
  const age = boottimeSeconds() - state.monotonic;
  const most = Math.max(
    STALE_AFTER_SECONDS,
    state.reportInterval * STALE_AFTER_REPORTS,
  );
  if (age > most) {
    throw new RcapError(
      `rcap is not running as it should: process ${state.pid} has not written its state for ${
        age.toFixed(0)
      } s`,
    );
  }
  return state;
}

function stateIn(path: string): DaemonState | undefined {
  try {
    const state = JSON.parse(readTextFile(paths(path).state));
    // Only the daemon can write this file; another version may have.
    return state?.version === 1 ? state as DaemonState : undefined;
  } catch (error) {
    if (isMissing(error) || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/**
 * Sets a cap by hand, or takes that back.
 *
 * @param bytes `undefined` for the cap of the configuration.
 * @throws CapabilityError when this user may not.
 */
export function writeOverride(
  path: string,
  name: string,
  bytes: number | undefined,
): void {
  const folder = paths(path).overrides;
  const file = `${folder}/${encodeURIComponent(name)}`;
  try {
    if (bytes === undefined) {
      removeFile(file);
    } else {
      makeDirectory(folder);
      replaceFile(file, `${bytes}\n`);
    }
  } catch (error) {
    if (
      error instanceof SystemError &&
      (error.errno === Errno.EACCES || error.errno === Errno.EPERM)
    ) {
      throw new CapabilityError(
        `this user may not change caps (${error.message}); run as root`,
        { cause: error },
      );
    }
    throw error;
  }
}

/** The name that the file of an override stands for; none of a file in the making. */
function nameOfOverride(file: string): string | undefined {
  try {
    return file.endsWith(TEMPORARY) ? undefined : decodeURIComponent(file);
  } catch (error) {
    // Not ours.
    if (error instanceof URIError) return undefined;
    throw error;
  }
}

/** Ends the names of files in the making: names of caps have no tilde. */
const TEMPORARY = "~";

/** Writes a file so that there is always the old one or the new one, whole. */
function replaceFile(path: string, text: string): void {
  const temporary = `${path}${TEMPORARY}`;
  removeFile(temporary);
  try {
    using file = File.open(temporary, O_WRONLY | O_CREAT | O_EXCL);
    file.setMode(0o644);
    file.writeAll(text);
  } catch (error) {
    removeFile(temporary);
    throw error;
  }
  renameFile(temporary, path);
}

function namesIn(folder: string): string[] {
  try {
    return readDirectory(folder);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}
