/**
 * The daemon's state directory: the lock that identifies the running daemon, the state
 * that everyone may read, and the caps and pauses that were set by hand.
 *
 * The directory is opened once, with checks of every component, and its files are
 * opened relative to it, not by path.
 *
 * @module
 */

import {
  CapabilityError,
  isDenied,
  isMissing,
  messageOf,
  RcapError,
  SystemError,
} from "../errors.ts";
import type { DaemonState } from "../group/state.ts";
import { type Entry, NotAFile, readUpTo } from "../platform/directory.ts";
import { systemClock } from "../platform/clock.ts";
import { FileLock, lockHolder } from "../platform/file_lock.ts";
import type { OperatingSystem } from "../platform/operating_system.ts";
import {
  assertTrusted,
  DistrustError,
  openFileIn,
  openTrustedDirectory,
} from "../platform/trusted_path.ts";
import {
  clearNumbers,
  DIRECTORY_MODE,
  type NumberFolder,
  OVERRIDES,
  PAUSES,
  readNumbers,
  replaceFile,
  TEMPORARY,
  writeNumber,
} from "./numbers_by_name.ts";
import {
  formatState,
  MalformedState,
  parseState,
  type StateFile,
} from "./state_file.ts";

/** The part of the operating system that state directories need. */
export type StateSystem = Pick<
  OperatingSystem,
  "boottimeSeconds" | "fateOf" | "files" | "processSpace" | "stateDirectory"
>;

/** A state is stale after this many missed reports, but not before this many seconds. */
const STALE_AFTER_REPORTS = 3;
const STALE_AFTER_SECONDS = 10;

// The names of its files.
const LOCK = "lock";
const STATE = "state.json";

/** More than the state of all caps that fit into a configuration, in bytes. */
const LARGEST_STATE = 2 ** 26;

/** The daemon's state directory, locked; disposing clears and unlocks it. */
export class StateDirectory implements Disposable {
  readonly path: string;
  readonly #system: StateSystem;
  readonly #directory: Entry;
  readonly #lock: FileLock;
  readonly #warn: (text: string) => void;
  /** The warnings given, each only once. */
  readonly #warnings = new Set<string>();
  /** The numbers set by hand, as last read. */
  readonly #numbers = new Map<NumberFolder, ReadonlyMap<string, number>>();

  private constructor(
    system: StateSystem,
    { directory, lock }: { directory: Entry; lock: FileLock },
    warn: (text: string) => void,
  ) {
    this.#system = system;
    this.path = directory.path;
    this.#directory = directory;
    this.#lock = lock;
    this.#warn = warn;
  }

  /**
   * Takes the directory, and makes it if it is missing.
   *
   * @param warn called with each problem of its contents.
   * @throws RcapError if it cannot be made, others could write to it, or another
   * daemon has it.
   */
  static take(
    system: StateSystem,
    path: string,
    warn: (text: string) => void = () => {},
  ): StateDirectory {
    return usingDirectory(path, () => {
      using cleanup = new DisposableStack();
      const directory = cleanup.use(
        openTrustedDirectory(system.files, path, { make: DIRECTORY_MODE }),
      );
      // A user who can write to the lock file can also lock it.
      assertTrusted(directory, LOCK);
      const lock = FileLock.tryLock(directory, LOCK);
      if (!lock) throw alreadyRunning(path, lockHolder(directory, LOCK));
      cleanup.use(lock);
      const taken = new StateDirectory(system, { directory, lock }, warn);
      // A killed daemon leaves files behind.
      taken.#clear();
      cleanup.move();
      return taken;
    }, "choose another with --state-dir");
  }

  /** Replaces the state atomically: readers see the old one or the new one. */
  write(state: DaemonState): void {
    const pidNamespace = this.#system.processSpace();
    const text = formatState({ ...state, pidNamespace });
    replaceFile(this.#directory, {
      name: STATE,
      temporary: STATE + TEMPORARY,
      text,
    });
  }

  /** Reads the caps that were set by hand, in bytes by name. */
  overrides(): ReadonlyMap<string, number> {
    return this.#read(OVERRIDES, "the caps set by hand");
  }

  /** Reads until when groups are paused, in seconds since the epoch by name. */
  pauses(): ReadonlyMap<string, number> {
    return this.#read(PAUSES, "the pauses");
  }

  /**
   * Reads numbers. While they cannot be read, for instance without a free descriptor,
   * returns those read before.
   */
  #read(kind: NumberFolder, what: string): ReadonlyMap<string, number> {
    try {
      const warn = (text: string) => this.#warnOnce(text);
      this.#numbers.set(kind, readNumbers(this.#directory, kind, warn));
    } catch (error) {
      if (!(error instanceof RcapError)) throw error;
      this.#warnOnce(
        `${what} cannot be read, and stay as they are (${error.message})`,
      );
    }
    return this.#numbers.get(kind) ?? new Map();
  }

  #warnOnce(text: string): void {
    const warnings = this.#warnings;
    if (warnings.has(text) || warnings.size >= MOST_WARNINGS) return;
    warnings.add(text);
    this.#warn(text);
  }

  /**
   * Removes everything that a daemon makes, except the lock and pauses that have not
   * ended: whoever paused a group does not expect that a restart ends it.
   */
  #clear(): void {
    for (const name of [STATE, STATE + TEMPORARY]) this.#directory.remove(name);
    const warn = (text: string) => this.#warnOnce(text);
    clearNumbers(this.#directory, OVERRIDES, { warn });
    const pauses = this.pauses();
    const now = systemClock.wallTime();
    const keeps = (name: string) => (pauses.get(name) ?? 0) > now;
    clearNumbers(this.#directory, PAUSES, { keeps, warn });
  }

  /** Never fails: the next daemon removes what is left. */
  [Symbol.dispose](): void {
    // The lock file stays: every daemon has to lock the same file.
    try {
      this.#clear();
    } catch (error) {
      if (!(error instanceof RcapError)) throw error;
      this.#warnOnce(
        `files are left in ${this.path} for the next daemon to remove (${error.message})`,
      );
    } finally {
      this.#lock[Symbol.dispose]();
      this.#directory[Symbol.dispose]();
    }
  }
}

/** The greatest number of different warnings about the files of a state directory. */
const MOST_WARNINGS = 100;

function alreadyRunning(path: string, pid: number | undefined): RcapError {
  const who = pid === undefined
    ? ""
    : pid === 0
    ? " in another pid namespace, such as that of a container"
    : ` as process ${pid}`;
  return new RcapError(
    `rcap is already running${who}, with the state directory ${path}; stop it, or choose another with --state-dir`,
  );
}

/** Runs a step with a state directory; turns its errors into errors with a remedy. */
function usingDirectory<T>(
  path: string,
  step: () => T,
  otherwise = "name the daemon's with --state-dir",
): T {
  try {
    return step();
  } catch (error) {
    if (error instanceof DistrustError) {
      const { type, path: culprit, problem, remedy } = error;
      throw new RcapError(
        `the state directory ${path} cannot be trusted, since the ${type} ${culprit} ${problem}; ${remedy}, or ${otherwise}`,
        { cause: error },
      );
    }
    if (error instanceof SystemError || error instanceof NotAFile) {
      throw new RcapError(
        `the state directory ${path} cannot be used (${error.message}); ${otherwise}`,
        { cause: error },
      );
    }
    throw error;
  }
}

/** How a state directory is read. */
export interface ReadOptions {
  /**
   * Called with a warning if the directory belongs neither to root nor to this user.
   * Without it, such a directory is not read.
   */
  readonly warn?: (text: string) => void;
}

/**
 * Returns the pid of the process that has locked a state directory.
 *
 * @returns 0 if the process is not visible here, `undefined` if there is none.
 * @throws CapabilityError if this user may not read the lock.
 * @throws RcapError if the directory cannot be used, or others can change it.
 */
export function holderOf(
  system: StateSystem,
  path: string,
): number | undefined {
  return usingDirectory(path, () => {
    try {
      using directory = openIfAny(system, path);
      return directory && lockHolder(directory, LOCK);
    } catch (error) {
      if (!isDenied(error)) throw error;
      throw new CapabilityError(
        `this user may not control rcap (${messageOf(error)}); run as root`,
        { cause: error },
      );
    }
  });
}

/**
 * Reads the state of the running daemon.
 *
 * The state is in a directory that only the daemon's user can write to, and the
 * process that it names runs. Only root and that user can find out whether that
 * process holds the lock.
 *
 * @throws RcapError if no daemon runs, its state is stale, or others can change the
 * directory.
 */
export function readState(
  system: StateSystem,
  path: string,
  { warn }: ReadOptions = {},
): DaemonState {
  const state = usingDirectory(path, () => {
    using directory = openIfAny(system, path, warn);
    return directory && stateIn(directory, warn !== undefined);
  });
  if (!state) throw notRunning(system, path);
  const writer = writerOf(system, state);
  const age = system.boottimeSeconds() - state.monotonic;
  // If the process is not visible, a state from before the last boot is worthless.
  const isOver = writer === "ended" || writer === "unknown" && age < 0;
  if (isOver) throw notRunning(system, path);
  const most = Math.max(
    STALE_AFTER_SECONDS,
    state.reportInterval * STALE_AFTER_REPORTS,
  );
  if (age > most) {
    throw new RcapError(
      `rcap is not running as it should: process ${state.pid}${
        writer === "unknown" ? ", which is not visible here," : ""
      } has not written its state for ${age.toFixed(0)} s`,
    );
  }
  return state;
}

function notRunning(
  { stateDirectory }: StateSystem,
  path: string,
): RcapError {
  return new RcapError(
    `rcap is not running${
      path === stateDirectory ? "" : ` with the state directory ${path}`
    }; start it with: rcap run`,
  );
}

/** Opens the state directory; `undefined` if it does not exist. */
function openIfAny(
  { files }: StateSystem,
  path: string,
  warn?: (text: string) => void,
): Entry | undefined {
  try {
    return openTrustedDirectory(files, path, {
      onDistrust: warn && (({ type, path: culprit, problem }) =>
        warn(
          `the state in ${path} may be wrong, since the ${type} ${culprit} ${problem}`,
        )),
    });
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

function stateIn(directory: Entry, ofOwner: boolean): StateFile | undefined {
  let bytes;
  try {
    using file = openFileIn(directory, STATE, { ofOwner });
    bytes = readUpTo(file, LARGEST_STATE);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  try {
    if (!bytes) throw new MalformedState("it is larger than any state");
    return parseState(new TextDecoder().decode(bytes));
  } catch (error) {
    if (!(error instanceof MalformedState)) throw error;
    throw new RcapError(
      `${
        directory.pathOf(STATE)
      } is not a state that this version of rcap reads (${error.message}); a running rcap replaces it within seconds: if this message stays, restart rcap with the version of this command`,
      { cause: error },
    );
  }
}

/** Whether the process that wrote a state still runs. */
function writerOf(
  system: StateSystem,
  state: StateFile,
): "runs" | "ended" | "unknown" {
  const { pidNamespace } = state;
  // In this namespace, a pid of another one means another process.
  return pidNamespace !== null && pidNamespace !== system.processSpace()
    ? "unknown"
    : system.fateOf(state);
}

/**
 * Sets a cap or a pause by hand, or removes it.
 *
 * @param value bytes, or seconds since the epoch; `undefined` to remove it.
 * @throws CapabilityError if this user may not do so.
 * @throws RcapError if the directory cannot be used, or others can change it.
 */
export function writeByHand(
  { files }: StateSystem,
  path: string,
  kind: NumberFolder,
  number: { name: string; value: number | undefined },
): void {
  usingDirectory(path, () => {
    try {
      using directory = openTrustedDirectory(files, path);
      writeNumber(directory, kind, number);
    } catch (error) {
      if (isMissing(error)) {
        throw new RcapError(`rcap has just ended (${messageOf(error)})`, {
          cause: error,
        });
      }
      if (!isDenied(error)) throw error;
      throw new CapabilityError(
        `this user may not control rcap (${messageOf(error)}); run as root`,
        { cause: error },
      );
    }
  });
}
