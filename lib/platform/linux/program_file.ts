/**
 * Checks whether the path of a process's program is the path of that program on
 * this machine.
 *
 * Every mount namespace has paths of its own, and every user can create one:
 * `/proc/<pid>/exe` shows the path by which the process itself reached its program.
 * So rcap looks the path up on the machine, below the root of process 1, and
 * requires that it leads to the same file.
 *
 * While a program runs, most file systems keep the path to its file in the kernel's
 * cache. So rcap resolves it from the cache alone, without asking any file system:
 * a FUSE server is another user's program, and a process that waits for its answer
 * cannot even be killed. If the cache does not contain the path:
 *
 * - a file that is on a mount of process 1 itself is at its path, if that does not
 *   end as those of deleted files do;
 * - a file without a name left is not at any path;
 * - a path on another file system than the file's leads elsewhere;
 * - otherwise rcap asks the file system, on another thread, unless it is FUSE.
 *
 * @module
 */

import { File, readTextFile } from "../../../ffi/file.ts";
import {
  type FileIdentity,
  identityOf,
  identityWithin,
  isSameFile,
  NOT_CACHED,
  openCached,
} from "../../../ffi/path_lookup.ts";
import {
  isDenied,
  isExhausted,
  isMissing,
  NotKnown,
  ProcessAccessDenied,
  SystemError,
} from "../../errors.ts";
import { BoundedCalls, NoAnswer } from "../bounded_calls.ts";
import type { ProcessEntry } from "../platform.ts";
import { type Mount, mountOf, parseMountinfo } from "./mountinfo.ts";
import { ProcDir } from "./proc_dir.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** The suffix of the path of a program that was deleted or replaced: proc_pid_exe(5). */
const DELETED = " (deleted)";

/**
 * Limits of questions to the kernel alone, and to file systems, whose server may
 * not answer: how many at a time, and how long rcap waits, in milliseconds.
 */
const KERNEL = { places: 2, milliseconds: 10_000 };
const FILE_SYSTEM = { places: 2, milliseconds: 1000 };

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** Looks up the files of programs. */
export class ProgramFiles {
  readonly #kernel = new BoundedCalls(KERNEL);
  readonly #fileSystem = new BoundedCalls(FILE_SYSTEM);

  /**
   * Whether the path of a process's program matches and leads to that program on
   * this machine. A deleted program, for example after an upgrade, matches by its
   * path if its file is on the device of the directory in the path.
   *
   * @param matches is called before anything is looked up.
   * @throws ProcessError if the path cannot be read.
   * @throws NotKnown if the file cannot be looked up at the moment.
   */
  async matches(
    process: ProcessEntry,
    matches: (path: string) => boolean,
  ): Promise<boolean> {
    using directory = ProcDir.open(process);
    const shown = directory.readLinkBytes("exe");
    const text = decoder.decode(shown);
    const mayBe = matches(text);
    const mayHaveBeen = text.endsWith(DELETED) &&
      matches(text.slice(0, -DELETED.length));
    if (!mayBe && !mayHaveBeen) return false;
    try {
      return await this.#isFound(directory, { shown, mayBe, mayHaveBeen });
    } catch (error) {
      if (!(error instanceof NoAnswer || error instanceof SystemError)) {
        throw error;
      }
      // The process has exited, and its directory is empty.
      if (isMissing(error)) return false;
      const { pid, comm } = process;
      throw new NotKnown(
        pid,
        isExhausted(error)
          ? error.message
          : `it is not known whether process ${pid} (${comm}) runs the program at ${text} (${error.message})`,
        { cause: error },
      );
    }
  }

  /**
   * The program of a process: the path by which it reached it, and which file it is;
   * `undefined` if its file system does not tell.
   *
   * @throws ProcessError if it cannot be read.
   * @throws NotKnown if the file cannot be looked up at the moment.
   */
  async identify(
    process: ProcessEntry,
  ): Promise<{ path: string; file: string } | undefined> {
    using directory = ProcDir.open(process);
    const { pid, startTime } = directory.opened;
    try {
      const { device, inode, modified } = await this.#kernel.make(
        `${pid} ${startTime}`,
        () => identityOf(directory, encoder.encode("exe\0")),
      );
      if (inode === undefined) return undefined;
      return {
        path: decoder.decode(directory.readLinkBytes("exe")),
        file: `${device} ${inode} ${modified}`,
      };
    } catch (error) {
      if (!(error instanceof NoAnswer || error instanceof SystemError)) {
        throw error;
      }
      if (isMissing(error)) return undefined;
      throw new NotKnown(pid, error.message, { cause: error });
    }
  }

  async #isFound(
    directory: ProcDir,
    { shown, mayBe, mayHaveBeen }: {
      shown: Bytes;
      mayBe: boolean;
      mayHaveBeen: boolean;
    },
  ): Promise<boolean> {
    const { pid, startTime } = directory.opened;
    const key = `${pid} ${startTime}`;
    const program = await this.#kernel.make(
      key,
      () => identityOf(directory, encoder.encode("exe\0")),
    );
    using root = openRoot();
    const isThere = await this.#leadsTo(program, { root, path: shown, key });
    // Then it is not deleted: only its name has that suffix.
    if (isThere) return mayBe;
    if (!mayHaveBeen || mayHaveArrangedPaths(directory)) return false;
    const end = shown.lastIndexOf(SLASH, shown.length - DELETED.length);
    const parent = shown.subarray(0, Math.max(1, end));
    return await this.#leadsToDevice(program, { root, path: parent, key });
  }

  /** Whether a path leads to a file. */
  async #leadsTo(file: FileIdentity, place: Place): Promise<boolean> {
    const { root, path, key } = place;
    const found = openCached(root, zeroEnded(path));
    if (found === NOT_CACHED) {
      if (file.links === 0) return false;
      const mounts = mountsOfFirst();
      // A name may end as the kernel marks deleted files.
      if (
        !decoder.decode(path).endsWith(DELETED) &&
        mounts.some(({ id }) => id === file.mount)
      ) return true;
      const asked = await this.#askFor(file, place, mounts);
      return asked !== undefined && isSameFile(asked, file);
    }
    using opened = found;
    if (!opened) return isKeptFromUs(file, path);
    const identity = () => identityOf(opened);
    return isSameFile(await this.#kernel.make(`${key} file`, identity), file);
  }

  /** Whether a path leads to the device of a file. */
  async #leadsToDevice(file: FileIdentity, place: Place): Promise<boolean> {
    const { root, path, key } = place;
    const found = openCached(root, zeroEnded(path));
    if (found === NOT_CACHED || !found) {
      const mount = mountOf(decoder.decode(path), mountsOfFirst());
      return found === NOT_CACHED && mount?.device === file.device;
    }
    using opened = found;
    const identity = () => identityOf(opened);
    const { device } = await this.#kernel.make(`${key} directory`, identity);
    return device === file.device;
  }

  /** Asks the file system of a path for the file, if it can be the file's own. */
  async #askFor(
    file: FileIdentity,
    { root, path, key }: Place,
    mounts: readonly Mount[],
  ): Promise<FileIdentity | undefined> {
    const mount = mountOf(decoder.decode(path), mounts);
    if (mount?.device !== file.device) return undefined;
    if (/^fuse/.test(mount.type)) {
      throw new NoAnswer("it is on a FUSE file system, which is not asked");
    }
    const start = encoder.encode(mount.directory);
    const found = openCached(root, zeroEnded(start));
    if (found === NOT_CACHED || !found) return undefined;
    using opened = found;
    // Another mount may have replaced it.
    const { mount: id } = await this.#kernel.make(
      `${key} mount`,
      () => identityOf(opened),
    );
    if (id !== mount.id) return undefined;
    const rest = path.subarray(mount.directory === "/" ? 1 : start.length + 1);
    return await this.#fileSystem.make(
      key,
      () => identityWithin(opened, zeroEnded(rest)),
    );
  }
}

/** A path and where to look it up. */
interface Place {
  /** The root of the machine. */
  readonly root: File;
  readonly path: Bytes;
  /** Distinguishes lookups for different processes. */
  readonly key: string;
}

function zeroEnded(path: Bytes): Bytes {
  return new Uint8Array([...path, 0]);
}

/** The mounts of process 1. */
function mountsOfFirst(): Mount[] {
  return parseMountinfo(readTextFile("/proc/1/mountinfo"));
}

/**
 * Whether a path that leads nowhere belongs to a file that its file system hides
 * even from root: a FUSE file system of another user.
 */
function isKeptFromUs({ inode, mount }: FileIdentity, path: Bytes): boolean {
  return inode === undefined && !decoder.decode(path).endsWith(DELETED) &&
    mountsOfFirst().some(({ id }) => id === mount);
}

const SLASH = "/".charCodeAt(0);

/**
 * Opens the root of process 1, which is the machine's; rcap's own if access to
 * process 1 is denied.
 */
function openRoot(): File {
  try {
    return File.openPlace("/proc/1/root");
  } catch (error) {
    if (!isDenied(error) && !isMissing(error)) throw error;
    return File.openPlace("/");
  }
}

/** Processes whose namespaces are trusted: process 1 and rcap itself. */
const TRUSTED = [1, Deno.pid];

/**
 * Whether an unprivileged user may have arranged the paths that a process sees, by
 * a mount namespace in a user namespace of their own. Of a deleted program, only
 * the path is left.
 */
function mayHaveArrangedPaths(directory: ProcDir): boolean {
  return ["ns/user", "ns/mnt"].every((name) => {
    const namespace = directory.readLink(name);
    return TRUSTED.every((pid) => linkIfAny(pid, name) !== namespace);
  });
}

/** Reads the target of a link of a process; `undefined` if access is denied. */
function linkIfAny(pid: number, name: string): string | undefined {
  try {
    using directory = ProcDir.openPid(pid);
    return directory.readLink(name);
  } catch (error) {
    if (error instanceof ProcessAccessDenied) return undefined;
    throw error;
  }
}
