/**
 * One process's directory in `/proc`, held open.
 *
 * Files opened through it are always those of that one process: once it is gone
 * they fail, also when another process has got its pid.
 *
 * @module
 */

import { File } from "../../../ffi/file.ts";
import { ProcessError } from "../../errors.ts";
import type { ProcessEntry, ProcessId } from "../platform.ts";
import { processErrorOf, replacedPid } from "../process_errors.ts";
import { accessRemedy } from "./privileges.ts";
import { parseStat } from "./stat.ts";

const decoder = new TextDecoder();

/**
 * How much of a file is read, in bytes. A process that belongs to as many groups as it
 * may (`NGROUPS_MAX`, 65,536) has some 700 KiB of `status`, most of it in one line;
 * all others are shorter.
 */
const MOST_TEXT = 1 << 20;

/** A process's directory; closed by `using`. */
export class ProcDir implements Disposable {
  readonly pid: number;
  readonly #directory: File;
  #opened: ProcessEntry | undefined;

  private constructor(pid: number, directory: File) {
    this.pid = pid;
    this.#directory = directory;
  }

  /**
   * Opens the directory of the process that has a pid now.
   *
   * @throws NoSuchProcess when there is none.
   */
  static openPid(pid: number): ProcDir {
    return ofProcess(
      pid,
      () => new ProcDir(pid, File.openPlace(`/proc/${pid}`)),
    );
  }

  /**
   * Opens the directory of exactly the process that is meant.
   *
   * @throws NoSuchProcess when it is gone, also when its pid is another's now.
   */
  static open({ pid, startTime }: ProcessId): ProcDir {
    const directory = ProcDir.openPid(pid);
    try {
      if (directory.opened.startTime === startTime) return directory;
    } catch (error) {
      directory[Symbol.dispose]();
      throw error;
    }
    directory[Symbol.dispose]();
    throw replacedPid(pid);
  }

  /** The descriptor of the directory, to open files by. */
  get fd(): number {
    return this.#directory.fd;
  }

  /** What {@linkcode stat} said when the directory was opened. */
  get opened(): ProcessEntry {
    return this.#opened ??= this.stat();
  }

  /** Opens one of its files; `using` closes it. */
  openFile(name: string, flags?: number): File {
    return ofProcess(this.pid, () => this.#directory.openAt(name, flags));
  }

  /** The text of one of its files: short ones, of which the beginning is enough. */
  readText(name: string): string {
    return ofProcess(this.pid, () => {
      using file = this.#directory.openAt(name);
      return decoder.decode(file.readAll(MOST_TEXT));
    });
  }

  /** Where one of its symbolic links points to, `exe` say. */
  readLink(name: string): string {
    return ofProcess(this.pid, () => this.#directory.readLinkAt(name));
  }

  /** Where one of its symbolic links points to, byte for byte. */
  readLinkBytes(name: string): Uint8Array<ArrayBuffer> {
    return ofProcess(this.pid, () => this.#directory.readLinkBytesAt(name));
  }

  /** What `/proc/<pid>/stat` says. */
  stat(): ProcessEntry {
    return ofProcess(this.pid, () => parseStat(this.readText("stat")));
  }

  [Symbol.dispose](): void {
    this.#directory[Symbol.dispose]();
  }
}

/** Does something with a process; system errors become errors of that process. */
export function ofProcess<T>(pid: number, step: () => T): T {
  try {
    return step();
  } catch (error) {
    throw processError(pid, error);
  }
}

/** {@linkcode ofProcess} for a step that takes its time. */
export async function ofProcessSlowly<T>(
  pid: number,
  step: () => Promise<T>,
): Promise<T> {
  try {
    return await step();
  } catch (error) {
    throw processError(pid, error);
  }
}

/** The error of a process whose address space is not the one that was observed. */
export function replaced(pid: number): ProcessError {
  return new ProcessError(
    pid,
    `process ${pid} has started another program (exec); its memory is not the one that was observed`,
  );
}

/**
 * What a failure means for a process: a system call's, or a `SyntaxError` of what
 * `/proc` says. Any other is returned as it is.
 */
export function processError(pid: number, error: unknown): unknown {
  if (error instanceof SyntaxError) {
    return new ProcessError(
      pid,
      `process ${pid}: /proc says what rcap does not understand (${error.message})`,
      { cause: error },
    );
  }
  return processErrorOf(
    pid,
    error,
    () => accessRemedy(["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"]),
  );
}
