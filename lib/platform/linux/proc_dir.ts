/**
 * The `/proc` directory of one process, held open.
 *
 * Files opened through it always belong to that process: once it has exited,
 * opening fails, even if another process now has its pid.
 *
 * If the main thread has exited while others run, the files in the process's directory
 * show no memory; those of a thread that runs do: `/proc/<pid>/task/<tid>`.
 *
 * @module
 */

import { File, O_PATH } from "../../../ffi/file.ts";
import { ProcessError, SystemError } from "../../errors.ts";
import type { ProcessId } from "../platform.ts";
import {
  exited,
  mainThreadExited,
  processErrorOf,
  replaced,
  replacedPid,
} from "../process_errors.ts";
import { accessRemedy } from "./privileges.ts";
import { parseStat, type ProcStat } from "./stat.ts";

const decoder = new TextDecoder();

/**
 * The most bytes of a file that are read. The `status` of a process in the most
 * groups possible (`NGROUPS_MAX`, 65,536) has some 700 KiB, most of it in one line;
 * all others are shorter.
 */
const MOST_TEXT = 1 << 20;

/**
 * How many threads are looked at to find one that runs: the kernel lists them in the
 * order in which they started, and forgets them when they exit.
 */
const MOST_THREADS = 32;

/** The directory of a process; closed by `using`. */
export class ProcDir implements Disposable {
  readonly pid: number;
  readonly #directory: File;
  /** The directory of a thread that runs, if the main thread has exited. */
  #thread: File | undefined;
  #opened: ProcStat | undefined;

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
   * pid, or has released its memory because it exits.
   */
  static open({ pid, startTime }: ProcessId): ProcDir {
    using held = new DisposableStack();
    const directory = held.use(ProcDir.openPid(pid));
    const { opened } = directory;
    if (opened.startTime !== startTime) throw replacedPid(pid);
    if (!opened.isSystem) requireMemory(opened);
    held.move();
    return directory;
  }

  /** The directory with the files. */
  get #files(): File {
    return this.#thread ?? this.#directory;
  }

  /** The descriptor of the directory, for opening files. */
  get fd(): number {
    return this.#files.fd;
  }

  /** The result of {@linkcode stat} when it was first read. */
  get opened(): ProcStat {
    return this.#opened ??= this.stat();
  }

  /** Opens one of its files; `using` closes it. */
  openFile(name: string, flags?: number): File {
    return ofProcess(this.pid, () => this.#files.openAt(name, flags));
  }

  /** Reads the text of one of its short files; of a long one, the beginning. */
  readText(name: string): string {
    return ofProcess(this.pid, () => {
      using file = this.#files.openAt(name);
      return decoder.decode(file.readAll(MOST_TEXT));
    });
  }

  /** Reads one of its files that have a single line, such as `statm`, by one call. */
  readLine(name: string): string {
    return ofProcess(this.pid, () => readLineAt(this.#files, name));
  }

  /** Reads the target of one of its symbolic links, such as `exe`. */
  readLink(name: string): string {
    return ofProcess(this.pid, () => this.#files.readLinkAt(name));
  }

  /** Reads the target of one of its symbolic links as bytes. */
  readLinkBytes(name: string): Uint8Array<ArrayBuffer> {
    return ofProcess(this.pid, () => this.#files.readLinkBytesAt(name));
  }

  /**
   * Reads `/proc/<pid>/stat`. Layout and sizes are those of a thread that runs, if the
   * main thread has exited and one is found.
   */
  stat(): ProcStat {
    return ofProcess(this.pid, () => {
      const stat = parseStat(readLineAt(this.#directory, "stat"));
      if (!stat.mainThreadExited) return stat;
      this.#thread?.[Symbol.dispose]();
      const running = runningThread(this.#directory, this.pid);
      this.#thread = running?.directory;
      if (!running) return stat;
      const { layout, rss, image } = running.stat;
      return { ...stat, layout, rss, image };
    });
  }

  [Symbol.dispose](): void {
    this.#thread?.[Symbol.dispose]();
    this.#directory[Symbol.dispose]();
  }
}

/**
 * Checks that a process has memory. One that exits releases it long before it is a
 * zombie: to free a lot of it takes time, and so may what closing its files waits for
 * (`exit_mm` and what follows in `do_exit` of kernel/exit.c).
 *
 * @throws NoSuchProcess if it has none.
 */
export function requireMemory(
  { pid, image }: { readonly pid: number; readonly image: number },
): void {
  if (image === 0) throw exited(pid);
}

/** Returns why the address space that a process had is not its own any more. */
export function whyLost(id: ProcessId): ProcessError {
  try {
    using directory = ProcDir.open(id);
    return directory.opened.mainThreadExited
      ? mainThreadExited(id)
      : replaced(id.pid);
  } catch (error) {
    if (!(error instanceof ProcessError)) throw error;
    return error;
  }
}

/** Larger than any line of stat or statm: 52 numbers and a command. */
const lineBuffer = new Uint8Array(4096);

/** Reads a file of `/proc` that has a single line, by one call. */
export function readLine(file: File): string {
  return decoder.decode(lineBuffer.subarray(0, file.read(lineBuffer)));
}

function readLineAt(directory: File, name: string): string {
  using file = directory.openAt(name);
  return readLine(file);
}

/** Finds a thread that runs and has memory, other than the main thread. */
function runningThread(
  process: File,
  pid: number,
): { directory: File; stat: ProcStat } | undefined {
  using tasks = process.openAt("task");
  for (const name of tasks.names(MOST_THREADS)) {
    if (Number(name) === pid) continue;
    using held = new DisposableStack();
    try {
      const directory = held.use(tasks.openAt(name, O_PATH));
      const stat = parseStat(readLineAt(directory, "stat"));
      if (stat.image === 0) continue;
      held.move();
      return { directory, stat };
    } catch (error) {
      // It has exited since it was listed.
      if (!(error instanceof SystemError)) throw error;
    }
  }
  return undefined;
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
