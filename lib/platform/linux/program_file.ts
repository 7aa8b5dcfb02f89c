/**
 * Whether the path of a process's program is the path of that program on this
 * machine.
 *
 * Every mount namespace has paths of its own, and every user can make one: what
 * `/proc/<pid>/exe` shows says how the process itself came to its program. So the
 * path is looked up as the machine has it, below the root of process 1, and has to
 * lead to the same file.
 *
 * @module
 */

import { File, isDenied, isMissing } from "../../../ffi/file.ts";
import { isExhausted, SystemError } from "../../../ffi/libc.ts";
import {
  type FileIdentity,
  identityBelow,
  identityOf,
  isSameFile,
  NOT_CACHED,
  openCached,
} from "../../../ffi/path_lookup.ts";
import { BoundedCalls, NoAnswer } from "../../bounded_calls.ts";
import { NotKnown } from "../../errors.ts";
import type { ProcessEntry } from "../platform.ts";
import { ProcDir } from "./proc_dir.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Ends the path of a program that was deleted or replaced: proc_pid_exe(5). */
const DELETED = " (deleted)";

/**
 * Lookups that no file system has to be asked for: how many at a time, and for how
 * long anybody waits, in milliseconds.
 */
const SURE = { places: 2, milliseconds: 10_000 };

/**
 * Lookups for which a file system is asked, which may be another user's and not
 * answer. While as many are stuck, other such programs are not known; those whose
 * files the kernel remembers, as it does on most file systems while they run, are.
 */
const DOUBTFUL = { places: 2, milliseconds: 1000 };

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** Looks the files of programs up. */
export class ProgramFiles {
  readonly #sure = new BoundedCalls(SURE);
  readonly #doubtful = new BoundedCalls(DOUBTFUL);

  /**
   * Whether the path of a process's program matches, and leads to that program on
   * this machine. A program that was deleted, since it was upgraded, say, matches by
   * its path while its file is on the device of the directory that the path names.
   *
   * @param matches is asked before anything is looked up.
   * @throws ProcessError when the path cannot be seen.
   * @throws NotKnown when the file cannot be looked up for the moment.
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
      // It has exited meanwhile, and its directory is empty.
      if (isMissing(error)) return false;
      const { pid, comm } = process;
      throw new NotKnown(
        pid,
        isExhausted(error)
          ? error.message
          : `it is not known whether process ${pid} (${comm}) runs the program at ${text}: its file does not answer (${error.message})`,
        { cause: error },
      );
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
    const program = await this.#sure.make(
      key,
      () => identityOf(directory, encoder.encode("exe\0")),
    );
    using root = openRoot();
    const file = await this.#lookUp(root, shown, `${key} file`);
    // It is not deleted then: its name only ends as if it were.
    if (file && isSameFile(file, program)) return mayBe;
    if (!mayHaveBeen || mayHaveArrangedPaths(directory)) return false;
    const end = shown.lastIndexOf(SLASH, shown.length - DELETED.length);
    const parent = shown.subarray(0, Math.max(1, end));
    const folder = await this.#lookUp(root, parent, `${key} directory`);
    return folder?.device === program.device;
  }

  async #lookUp(
    root: File,
    path: Bytes,
    key: string,
  ): Promise<FileIdentity | undefined> {
    const zeroEnded = new Uint8Array([...path, 0]);
    const found = openCached(root, zeroEnded);
    if (found === NOT_CACHED) {
      return await this.#doubtful.make(
        key,
        () => identityBelow(root, zeroEnded),
      );
    }
    using file = found;
    return file && await this.#sure.make(key, () => identityOf(file));
  }
}

const SLASH = "/".charCodeAt(0);

/**
 * The root of process 1; where that is not for this user, rcap's own, since this
 * user can scan no processes but his own.
 */
function openRoot(): File {
  try {
    return File.openPlace("/proc/1/root");
  } catch (error) {
    if (!isDenied(error) && !isMissing(error)) throw error;
    return File.openPlace("/");
  }
}

/**
 * Whether a user without privileges may have chosen which directory a path names for
 * a process: by a mount namespace that a user namespace of his own allows. Of a
 * deleted program, the path is all that is left.
 */
function mayHaveArrangedPaths(directory: ProcDir): boolean {
  return ["ns/user", "ns/mnt"].every((name) => {
    try {
      using first = ProcDir.openPid(1);
      return directory.readLink(name) !== first.readLink(name);
    } catch (error) {
      if (isDenied(error) || isDenied(causeOf(error))) return false;
      throw error;
    }
  });
}

function causeOf(error: unknown): unknown {
  return error instanceof Error ? error.cause : undefined;
}
