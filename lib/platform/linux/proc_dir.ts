/**
 * The `/proc` directory of one process, held open.
 *
 * Files opened through it always belong to that process: once it has exited,
 * opening fails, even if another process now has its pid.
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
 * The most bytes of a file that are read. The `status` of a process in the most
 * groups possible (`NGROUPS_MAX`, 65,536) has some 700 KiB, most of it in one line;
 * all others are shorter.
 */
const MOST_TEXT = 1 << 20;

/** The directory of a process; closed by `using`. */
export class ProcDir implements Disposable {
  readonly pid: number;
  readonly #directory: File;
  #opened: ProcessEntry | undefined;

  private constructor(pid: number, directory: File) {
    this.pid = pid;
    this.#directory = directory;
  }

  /**
   * Opens the directory of the process that currently has a pid.
   *
   * @throws NoSuchProcess if there is none.
   */
  static openPid(pid: number): ProcDir {
    return ofProcess(
      pid,
      () => new ProcDir(pid, File.openPlace(`/proc/${pid}`)),
    );
  }

  /**
   * Opens the directory of exactly this process.
   *
   * @throws NoSuchProcess if it has exited, even if another process now has its
   * pid.
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

  /** The descriptor of the directory, for opening files. */
  get fd(): number {
    return this.#directory.fd;
  }

  /** The result of {@linkcode stat} when it was first read. */
  get opened(): ProcessEntry {
    return this.#opened ??= this.stat();
  }

  /** Opens one of its files; `using` closes it. */
  openFile(name: string, flags?: number): File {
    return ofProcess(this.pid, () => this.#directory.openAt(name, flags));
  }

  /** Reads the text of one of its short files; of a long one, the beginning. */
  readText(name: string): string {
    return ofProcess(this.pid, () => {
      using file = this.#directory.openAt(name);
      return decoder.decode(file.readAll(MOST_TEXT));
    });
  }

  /** Reads the target of one of its symbolic links, such as `exe`. */
  readLink(name: string): string {
    return ofProcess(this.pid, () => this.#directory.readLinkAt(name));
  }

  /** Reads the target of one of its symbolic links as bytes. */
  readLinkBytes(name: string): Uint8Array<ArrayBuffer> {
    return ofProcess(this.pid, () => this.#directory.readLinkBytesAt(name));
  }

  /** Reads `/proc/<pid>/stat`. */
  stat(): ProcessEntry {
    return ofProcess(this.pid, () => parseStat(this.readText("stat")));
  }

  [Symbol.dispose](): void {
    this.#directory[Symbol.dispose]();
  }
}

/** Runs a step on a process; converts system errors to errors of that process. */
export function ofProcess<T>(pid: number, step: () => T): T {
  try {
    return step();
  } catch (error) {
    throw processError(pid, error);
  }
}

/** {@linkcode ofProcess} for an asynchronous step. */
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

/**
 * Converts an error of a system call, or a `SyntaxError` of a file of `/proc`, to
 * the error of a process. Returns any other error unchanged.
 */
export function processError(pid: number, error: unknown): unknown {
  if (error instanceof SyntaxError) {
    return new ProcessError(
      pid,
      `process ${pid}: rcap cannot parse its files in /proc (${error.message})`,
      { cause: error },
    );
  }
  return processErrorOf(
    pid,
    error,
    () => accessRemedy(["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"]),
  );
}
