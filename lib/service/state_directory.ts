/**
 * The daemon's state directory: a lock that says who runs, the state that everyone
 * may read, and the caps that were set by hand.
 *
 * Nothing is done in it by path: it is walked to with care and held, and all that
 * is in it is found from there.
 *
 * @module
 */

import {
  CapabilityError,
  isDenied,
  isExhausted,
  isMissing,
  messageOf,
  RcapError,
  SystemError,
} from "../errors.ts";
import type { DaemonState } from "../group/state.ts";
import { type Entry, NotAFile, readUpTo } from "../platform/directory.ts";
import { FileLock, lockHolder } from "../platform/file_lock.ts";
import type { OperatingSystem } from "../platform/operating_system.ts";
import {
  assertTrusted,
  DistrustError,
  openFileIn,
  openTrustedDirectory,
} from "../platform/trusted_path.ts";
import { formatState, parseState, type StateFile } from "./state_file.ts";

/** What state directories need of the operating system. */
export type StateSystem = Pick<
  OperatingSystem,
  "boottimeSeconds" | "fateOf" | "files" | "processSpace" | "stateDirectory"
>;

/** A state is stale when so many have not been written, but not before some seconds. */
const STALE_AFTER_REPORTS = 3;
const STALE_AFTER_SECONDS = 10;

// The names in it.
const LOCK = "lock";
const STATE = "state.json";
const OVERRIDES = "overrides";

/** Ends the names of files in the making: names of caps have no tilde. */
const TEMPORARY = "~";

const DIRECTORY_MODE = 0o755;
const FILE_MODE = 0o644;

/** More than the state of all caps that a configuration has room for, in bytes. */
const LARGEST_STATE = 2 ** 26;
/** A number takes no more, in bytes. */
const LARGEST_OVERRIDE = 64;

/** The daemon's hold on its state directory; `using` removes what is in it. */
export class StateDirectory implements Disposable {
  readonly path: string;
  readonly #system: StateSystem;
  readonly #directory: Entry;
  readonly #lock: FileLock;
  readonly #warn: (text: string) => void;
  /** What was told of, so that it is told once. */
  readonly #told = new Set<string>();
  #overrides = new Map<string, number>();

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
   * Makes the directory where there is none, and takes it.
   *
   * @param warn is told of what is wrong with what it holds.
   * @throws RcapError when it cannot be made, others could write to it, or another
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
      // Whoever can write to it can lock it as a daemon does.
      assertTrusted(directory, LOCK);
      const lock = FileLock.tryLock(directory, LOCK);
      if (!lock) throw runsAlready(path, lockHolder(directory, LOCK));
      cleanup.use(lock);
      const taken = new StateDirectory(system, { directory, lock }, warn);
      // What a daemon has left that was killed.
      taken.#clear();
      cleanup.move();
      return taken;
    }, "choose another with --state-dir");
  }

  /** Replaces the state. Who reads it sees the old one or the new one, whole. */
  write(state: DaemonState): void {
    const pidNamespace = this.#system.processSpace();
    const text = formatState({ ...state, pidNamespace });
    replaceFile(this.#directory, {
      name: STATE,
      temporary: STATE + TEMPORARY,
      text,
    });
  }

  /**
   * The caps that were set by hand, in bytes by name. While they cannot be read, as
   * without a free descriptor, they stay what they were.
   */
  overrides(): Map<string, number> {
    try {
      this.#overrides = this.#readOverrides();
    } catch (error) {
      if (!(error instanceof RcapError)) throw error;
      this.#tell(
        `the caps set by hand cannot be read, and stay as they are (${error.message})`,
      );
    }
    return this.#overrides;
  }

  #readOverrides(): Map<string, number> {
    const overrides = new Map<string, number>();
    using folder = openOverrides(this.#directory);
    for (const file of folder?.names() ?? []) {
      const name = nameOfOverride(file);
      if (!folder || name === undefined) continue;
      try {
        const bytes = readOverride(folder, file);
        if (bytes !== undefined) overrides.set(name, bytes);
      } catch (error) {
        const isOfFile = error instanceof NotAFile ||
          error instanceof DistrustError || error instanceof NoOverride;
        // Without a descriptor or memory nothing is known of any.
        const isOfSystem = isExhausted(error);
        if (!isOfFile && !(error instanceof SystemError) || isOfSystem) {
          throw error;
        }
        this.#tell(
          `${
            folder.pathOf(file)
          } is no cap set by hand (${error.message}); remove it`,
        );
      }
    }
    return overrides;
  }

  #tell(text: string): void {
    if (this.#told.has(text) || this.#told.size >= MOST_TOLD) return;
    this.#told.add(text);
    this.#warn(text);
  }

  /** Removes all that a daemon makes, but for the lock. */
  #clear(): void {
    for (const name of [STATE, STATE + TEMPORARY]) this.#directory.remove(name);
    this.#clearOverrides();
  }

  #clearOverrides(): void {
    const folder = entryIfAny(this.#directory, OVERRIDES);
    if (!folder) return;
    using _ = folder;
    if (folder.status.type !== "directory") {
      this.#directory.remove(OVERRIDES);
      return;
    }
    for (const name of folder.names()) {
      const status = folder.statusOf(name);
      // rcap makes no directories there, so they are somebody's who is to ask.
      if (status && status.type !== "directory") folder.remove(name);
    }
    try {
      this.#directory.removeDirectory(OVERRIDES);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      this.#tell(`${folder.path} cannot be removed (${error.message})`);
    }
  }

  /** Never fails: what stays behind, the next daemon removes. */
  [Symbol.dispose](): void {
    // The lock stays: who waits for it must find the same file.
    try {
      this.#clear();
    } catch (error) {
      if (!(error instanceof RcapError)) throw error;
      this.#tell(
        `something stays behind in ${this.path}, for the next daemon to remove (${error.message})`,
      );
    } finally {
      this.#lock[Symbol.dispose]();
      this.#directory[Symbol.dispose]();
    }
  }
}

/** How many different things are told of the files of a state directory. */
const MOST_TOLD = 100;

function runsAlready(path: string, pid: number | undefined): RcapError {
  const who = pid === undefined
    ? ""
    : pid === 0
    ? " in another pid namespace, as that of a container"
    : ` as process ${pid}`;
  return new RcapError(
    `rcap runs already${who}, with the state directory ${path}; stop it, or choose another with --state-dir`,
  );
}

/** Does something with a state directory; what fails is told with its remedy. */
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
   * Told whose word it is that is read, where that is neither root's nor this
   * user's. Without this it is not read then.
   */
  readonly warn?: (text: string) => void;
}

/**
 * The process that has a state directory.
 *
 * @returns its pid, 0 when it cannot be seen from here, `undefined` when nobody has it.
 * @throws CapabilityError when this user may not know.
 * @throws RcapError when the directory cannot be used, or others have a say on it.
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
        `this user may not tell rcap anything (${
          messageOf(error)
        }); run as root`,
        { cause: error },
      );
    }
  });
}

/**
 * The state of the daemon that runs.
 *
 * It is what the daemon has written into a directory that only its user can write
 * to, and the process that it names runs. Whether that holds the lock, only root
 * and that user can find out.
 *
 * @throws RcapError when none runs, it has not written its state for long, or
 * others have a say on the directory.
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
  // Of a process that cannot be seen, one that was written before the machine was
  // started says nothing.
  const isOver = writer === "ended" || writer === "unknown" && age < 0;
  if (isOver) throw notRunning(system, path);
  const most = Math.max(
    STALE_AFTER_SECONDS,
    state.reportInterval * STALE_AFTER_REPORTS,
  );
  if (age > most) {
    throw new RcapError(
      `rcap is not running as it should: process ${state.pid}${
        writer === "unknown" ? ", which cannot be seen from here," : ""
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

/** The state directory; `undefined` where there is none. */
function openIfAny(
  { files }: StateSystem,
  path: string,
  warn?: (text: string) => void,
): Entry | undefined {
  try {
    return openTrustedDirectory(files, path, {
      onDistrust: warn && (({ type, path: culprit, problem }) =>
        warn(
          `what the state directory ${path} says may not be so, since the ${type} ${culprit} ${problem}`,
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
  const state = bytes && parseState(new TextDecoder().decode(bytes));
  if (state) return state;
  throw new RcapError(
    `${
      directory.pathOf(STATE)
    } is no state that this version of rcap has written; start rcap anew, with the version of this command`,
  );
}

/** What has become of the process that has written a state. */
function writerOf(
  system: StateSystem,
  state: StateFile,
): "runs" | "ended" | "unknown" {
  const { pidNamespace } = state;
  // Pids of another namespace are other processes' here.
  return pidNamespace !== null && pidNamespace !== system.processSpace()
    ? "unknown"
    : system.fateOf(state);
}

/**
 * Sets a cap by hand, or takes that back.
 *
 * @param bytes `undefined` for the cap of the configuration.
 * @throws CapabilityError when this user may not.
 * @throws RcapError when the directory cannot be used, or others have a say on it.
 */
export function writeOverride(
  { files }: StateSystem,
  path: string,
  { name, bytes }: { name: string; bytes: number | undefined },
): void {
  usingDirectory(path, () => {
    try {
      using directory = openTrustedDirectory(files, path);
      if (bytes !== undefined) {
        directory.makeDirectory(OVERRIDES, DIRECTORY_MODE);
      }
      using folder = openOverrides(directory);
      const file = encodeURIComponent(name);
      if (bytes === undefined) {
        folder?.remove(file);
      } else if (folder) {
        // Others may set the same cap at this moment.
        const temporary = `${file}${TEMPORARY}${Deno.pid}`;
        replaceFile(folder, { name: file, temporary, text: `${bytes}\n` });
      }
    } catch (error) {
      if (isMissing(error)) {
        throw new RcapError(`rcap has just ended (${messageOf(error)})`, {
          cause: error,
        });
      }
      if (!isDenied(error)) throw error;
      throw new CapabilityError(
        `this user may not change caps (${messageOf(error)}); run as root`,
        { cause: error },
      );
    }
  });
}

/** The directory of the caps that were set by hand; `undefined` where there is none. */
function openOverrides(directory: Entry): Entry | undefined {
  try {
    return openTrustedDirectory(directory.files, OVERRIDES, {
      from: directory,
    });
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** The file of a cap set by hand holds something else. */
class NoOverride extends RcapError {
  override name = "NoOverride";
}

/** @returns `undefined` when it was taken back meanwhile. */
function readOverride(folder: Entry, name: string): number | undefined {
  let text;
  try {
    using file = openFileIn(folder, name);
    const bytes = readUpTo(file, LARGEST_OVERRIDE);
    text = bytes && new TextDecoder().decode(bytes);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  const isNumber = text !== undefined && /^[1-9]\d*\n$/.test(text);
  const bytes = Number(text);
  if (isNumber && Number.isSafeInteger(bytes)) return bytes;
  throw new NoOverride("it holds something else than a number of bytes");
}

/** The name that the file of an override stands for; none of a file in the making. */
function nameOfOverride(file: string): string | undefined {
  try {
    return file.includes(TEMPORARY) ? undefined : decodeURIComponent(file);
  } catch (error) {
    // Not ours.
    if (error instanceof URIError) return undefined;
    throw error;
  }
}

/** Writes a file so that there is always the old one or the new one, whole. */
function replaceFile(
  directory: Entry,
  { name, temporary, text }: { name: string; temporary: string; text: string },
): void {
  directory.remove(temporary);
  try {
    using file = directory.makeFile(temporary, FILE_MODE);
    file.writeAll(text);
  } catch (error) {
    directory.remove(temporary);
    throw error;
  }
  directory.rename(temporary, name);
}

function entryIfAny(directory: Entry, name: string): Entry | undefined {
  try {
    return directory.entry(name);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}
