/**
 * Locks on processes: whoever resets the references of a process holds one.
 *
 * All rcaps of a machine lock bytes of one file. A byte stands for one process, by pid
 * and start time, so that neither a reused pid nor a process of another pid namespace is
 * mistaken for it. The kernel releases the locks of a process that ends, however it ends.
 * Nobody but root can open the file.
 *
 * The locks are POSIX record locks: the kernel tells who holds them, which it does not
 * of open file description locks (`l_pid` in `fcntl(2)`). A process loses its locks when
 * it closes any descriptor of the file, so each process opens it once.
 *
 * @module
 */

import { identityOf } from "../platform/directory.ts";
import { RcapError } from "../errors.ts";
import type { Entry, OpenFile } from "../platform/directory.ts";
import type {
  ObserverPlace,
  OperatingSystem,
} from "../platform/operating_system.ts";
import type { ProcessId } from "../platform/platform.ts";
import {
  assertTrusted,
  openTrustedDirectory,
} from "../platform/trusted_path.ts";
import { keyOf } from "./reset_rights.ts";

/** The part of the operating system that the locks need. */
export type ObserverSystem = Pick<OperatingSystem, "files" | "processSpace">;

const LOCKS = "locks";
const DIRECTORY_MODE = 0o700;
const FILE_MODE = 0o600;
const OTHERS = 0o077;

/** Pids are below this: `PID_MAX_LIMIT` of <linux/threads.h>. */
const PID_BITS = 22n;

/** How often to check that the file is still the one that others open, in milliseconds. */
const CHECK_INTERVAL = 1000;

/** The locks of this process. */
export class ResetLocks implements Disposable {
  readonly #system: ObserverSystem;
  readonly #place: ObserverPlace;
  #directory: Entry;
  #file: OpenFile;
  #checkedAt = performance.now();
  readonly #held = new Map<string, bigint>();

  /**
   * Opens the file, and makes it if it is missing.
   *
   * @throws SystemError if this user may not, or the file system is read-only.
   * @throws DistrustError, RcapError if others than root could change or open it.
   */
  constructor(system: ObserverSystem, place: ObserverPlace) {
    this.#system = system;
    this.#place = place;
    using cleanup = new DisposableStack();
    this.#directory = cleanup.use(openDirectory(system, place));
    this.#file = openLocks(this.#directory);
    cleanup.move();
  }

  /**
   * Opens the locks of an operating system.
   *
   * @param explain called with the error if this user cannot use them.
   * @returns `undefined` if there are none, or they cannot be used.
   */
  static open(
    system: ObserverSystem & Pick<OperatingSystem, "observers">,
    explain: (error: RcapError) => void,
  ): ResetLocks | undefined {
    if (!system.observers) return undefined;
    try {
      return new ResetLocks(system, system.observers);
    } catch (error) {
      if (!(error instanceof RcapError)) throw error;
      explain(error);
      return undefined;
    }
  }

  /**
   * The path of the socket of the rcap with a pid. Pids of different pid namespaces may
   * be the same.
   */
  socketOf(pid: number): string {
    return this.#directory.pathOf(this.#prefix + pid);
  }

  /** The pids of this pid namespace that have, or had, a socket. */
  socketPids(): number[] {
    const prefix = this.#prefix;
    return this.#directory.names().filter((name) => name.startsWith(prefix))
      .map((name) => Number(name.slice(prefix.length)))
      .filter(Number.isSafeInteger);
  }

  get #prefix(): string {
    const space = /\d+/.exec(this.#system.processSpace() ?? "")?.[0] ?? "0";
    return `socket-${space}-`;
  }

  /** Removes the socket of an rcap, if there is one. */
  removeSocket(pid: number): void {
    this.#directory.remove(this.#prefix + pid);
  }

  /**
   * Takes the lock on a process.
   *
   * @returns `undefined` if this rcap holds it now, otherwise the pid of the holder: 0 if
   * that is not visible here.
   */
  take(id: ProcessId): number | undefined {
    if (this.holds(id)) return undefined;
    this.#keepUp();
    const byte = byteOf(id);
    const { locks } = this.#place;
    for (;;) {
      if (locks.lock(this.#file.fd, byte)) {
        this.#held.set(keyOf(id), byte);
        return undefined;
      }
      const holder = locks.holderOf(this.#file.fd, byte);
      if (holder !== undefined) return Math.max(0, holder);
    }
  }

  /** Whether this rcap holds the lock on a process. */
  holds(id: ProcessId): boolean {
    if (performance.now() - this.#checkedAt > CHECK_INTERVAL) this.#keepUp();
    return this.#held.has(keyOf(id));
  }

  /** Releases the lock on a process, if this rcap holds it. */
  release(id: ProcessId): void {
    const key = keyOf(id);
    const byte = this.#held.get(key);
    if (byte === undefined) return;
    this.#held.delete(key);
    this.#place.locks.unlock(this.#file.fd, byte);
  }

  /**
   * Locks the file that others open now, if the one that was open has been removed. What
   * others have locked there is lost.
   */
  #keepUp(): void {
    this.#checkedAt = performance.now();
    try {
      this.#reopenIfReplaced();
    } catch (error) {
      // Without a free descriptor, for example, the file stays the one that it was.
      if (!(error instanceof RcapError)) throw error;
    }
  }

  #reopenIfReplaced(): void {
    using cleanup = new DisposableStack();
    const directory = cleanup.use(openDirectory(this.#system, this.#place));
    const { files } = this.#system;
    const now = directory.statusOf(LOCKS);
    const then = files.statusOf(this.#file.fd, LOCKS);
    if (now && identityOf(now) === identityOf(then)) return;
    const file = openLocks(directory);
    cleanup.move();
    this[Symbol.dispose]();
    [this.#directory, this.#file] = [directory, file];
    for (const [key, byte] of this.#held) {
      if (!this.#place.locks.lock(file.fd, byte)) this.#held.delete(key);
    }
  }

  /** Releases all locks. */
  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
    this.#directory[Symbol.dispose]();
  }
}

function openDirectory(
  { files }: ObserverSystem,
  { directory: path }: ObserverPlace,
): Entry {
  const [, parent, name] = /^(.*)\/([^/]+)$/.exec(path) ?? [];
  // Everyone may enter the directory above, where a daemon keeps its state.
  using above = openTrustedDirectory(files, parent, { make: 0o755 });
  above.makeDirectory(name, DIRECTORY_MODE);
  const directory = openTrustedDirectory(files, name, { from: above });
  if ((directory.status.mode & OTHERS) === 0) return directory;
  directory[Symbol.dispose]();
  throw new RcapError(
    `the directory ${path} is open to others than root; chmod 700 ${path}`,
  );
}

function openLocks(directory: Entry): OpenFile {
  assertTrusted(directory, LOCKS);
  return directory.openOrMakeFile(LOCKS, FILE_MODE);
}

function byteOf({ pid, startTime }: ProcessId): bigint {
  return BigInt(startTime) << PID_BITS | BigInt(pid);
}
