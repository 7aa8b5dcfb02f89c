/**
 * The files of a configuration: the main file and the drop-ins beside it.
 *
 * @module
 */

import {
  isDenied,
  isExhausted,
  isMissing,
  RcapError,
  SystemError,
} from "../errors.ts";
import {
  type Entry,
  type FileCalls,
  NotAFile,
  type OpenFile,
  readUpTo,
} from "../platform/directory.ts";
import {
  DistrustError,
  openTrustedDirectory,
  openTrustedFile,
} from "../platform/trusted_path.ts";
import { exactSize } from "../report/units.ts";
import type { FoundProblem } from "./config_problem.ts";

/** The paths of a configuration. */
export interface ConfigPaths {
  /** The main file. */
  readonly file: string;
  /** The directory of the drop-ins, which need not exist. */
  readonly dropIns: string;
}

/** The default main file. */
export const DEFAULT_CONFIG = "/etc/rcap.toml";

/** A minimal configuration in one line, for messages. */
export const LEAST_CONFIG =
  `cap = [{ name = "web", select = ["unit:nginx"], max_rss = "2G" }]`;

/** The contents of the files of a configuration. */
export interface ConfigFiles {
  /** The files that could be read: the main file, then the drop-ins in name order. */
  readonly files: readonly ConfigFile[];
  /** The problems of those that could not. */
  readonly problems: readonly FoundProblem[];
}

/** A file that could be read. */
export interface ConfigFile {
  readonly path: string;
  readonly text: string;
}

/**
 * Returns the paths of a configuration by its main file: drop-ins of `/x/foo.toml`
 * are in `/x/foo.d`.
 */
export function configPaths(file: string = DEFAULT_CONFIG): ConfigPaths {
  return { file, dropIns: `${file.replace(/\.toml$/, "")}.d` };
}

/**
 * The most bytes of a file: room for thousands of caps. A larger file is not a
 * configuration.
 */
const LARGEST_FILE = 2 ** 20;
/** The most bytes of all files together. */
const LARGEST_TOTAL = 4 * LARGEST_FILE;
const MOST_DROP_INS = 1000;

/**
 * Reads the files of a configuration.
 *
 * The main file may be missing if there are drop-ins or if no cap is required. A
 * drop-in is a file whose name ends in `.toml` and does not start with a dot, as
 * names of editors' own files do.
 *
 * A file that users other than root and the current one can change is not read, but
 * reported as a problem.
 */
export function readConfigFiles(
  paths: ConfigPaths,
  files: FileCalls,
  { mayBeMissing = false } = {},
): ConfigFiles {
  const reader = new Reader(files);
  const main = reader.read(
    paths.file,
    () => openTrustedFile(files, paths.file),
  );
  const hasDropIns = reader.readDropIns(paths.dropIns);
  if (main instanceof SystemError && !hasDropIns && !mayBeMissing) {
    reader.problems.unshift(missing(paths));
  }
  return reader;
}

/** Reads files one after the other. */
class Reader implements ConfigFiles {
  readonly files: ConfigFile[] = [];
  readonly problems: FoundProblem[] = [];
  #total = 0;
  /** Paths that are not trusted, since one of them can be on the way to several files. */
  readonly #distrusted = new Set<string>();

  readonly #calls: FileCalls;

  constructor(calls: FileCalls) {
    this.#calls = calls;
  }

  /** @returns Whether there is a drop-in. */
  readDropIns(path: string): boolean {
    try {
      using directory = openTrustedDirectory(this.#calls, path, {
        lastMayBeLink: true,
      });
      const names = directory.names()
        .filter((name) => name.endsWith(".toml") && !name.startsWith("."))
        .sort();
      if (names.length > MOST_DROP_INS) {
        this.problems.push({
          file: path,
          line: 0,
          message:
            `it contains ${names.length} drop-ins, more than ${MOST_DROP_INS}`,
          suggestion: "put several caps into one file",
        });
        return true;
      }
      for (const name of names) this.#readDropIn(directory, { name, path });
      return names.length > 0;
    } catch (error) {
      if (!isMissing(error)) this.#fail(path, error);
      return false;
    }
  }

  #readDropIn(
    directory: Entry,
    { name, path }: { name: string; path: string },
  ): void {
    const file = `${path}/${name}`;
    const open = () => openTrustedFile(this.#calls, name, { from: directory });
    const read = this.read(file, open);
    if (!(read instanceof SystemError)) return;
    // A drop-in that was just removed is not a problem; a dangling link is.
    if (directory.statusOf(name)) {
      this.problems.push(unreadable(file, read));
    } else if (name.includes("\ufffd")) {
      this.problems.push({
        file,
        line: 0,
        message: "it cannot be read, since its name is not UTF-8",
        suggestion: "rename it",
      });
    }
  }

  /**
   * Reads a file; a failure becomes a problem.
   *
   * @returns The error if there is no such file.
   */
  read(path: string, open: () => OpenFile): SystemError | "read" | "problem" {
    try {
      using file = open();
      const read = contents(path, file);
      if (!("text" in read)) {
        this.problems.push(read);
        return "problem";
      }
      this.#total += read.text.length;
      if (this.#total > LARGEST_TOTAL) {
        this.problems.push(
          tooLarge(path, "with the files before it, ", LARGEST_TOTAL),
        );
        return "problem";
      }
      this.files.push(read);
      return "read";
    } catch (error) {
      if (error instanceof SystemError && isMissing(error)) return error;
      this.#fail(path, error);
      return "problem";
    }
  }

  #fail(path: string, error: unknown): void {
    if (error instanceof DistrustError) {
      if (this.#distrusted.has(error.path)) return;
      this.#distrusted.add(error.path);
    }
    this.problems.push(problemOf(path, error));
  }
}

function contents(path: string, file: OpenFile): ConfigFile | FoundProblem {
  const bytes = readUpTo(file, LARGEST_FILE);
  if (!bytes) return tooLarge(path, "", LARGEST_FILE);
  try {
    return {
      path,
      text: new TextDecoder("utf-8", { fatal: true }).decode(bytes),
    };
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    const lines = new TextDecoder().decode(bytes).split("\n");
    return {
      file: path,
      line: lines.findIndex((line) => line.includes("\ufffd")) + 1,
      message: "these bytes are not UTF-8",
      suggestion:
        `find out its encoding (file ${path}) and convert it with iconv`,
    };
  }
}

function tooLarge(file: string, how: string, most: number): FoundProblem {
  return {
    file,
    line: 0,
    message: `${how}it is larger than ${exactSize(most)}`,
    suggestion: "name the right file, or distribute the caps over drop-ins",
  };
}

/** Returns the problem of a file, or of the directory of drop-ins, that cannot be read. */
function problemOf(file: string, error: unknown): FoundProblem {
  if (error instanceof DistrustError) return distrusted(file, error);
  // Without a descriptor or memory, nothing is known about the file.
  if (error instanceof RcapError && isExhausted(error)) {
    return {
      file,
      line: 0,
      message: `it cannot be read at the moment: ${error.message}`,
      suggestion: null,
      isPassing: true,
    };
  }
  if (error instanceof SystemError) return unreadable(file, error);
  if (!(error instanceof RcapError)) throw error;
  if (!(error instanceof NotAFile)) {
    return { file, line: 0, message: error.message, suggestion: null };
  }
  return {
    file,
    line: 0,
    message: "it is a device, a pipe or a socket, not a file",
    suggestion: "replace it with a file, or remove it",
  };
}

function distrusted(
  file: string,
  { path, type, problem, remedy }: DistrustError,
): FoundProblem {
  return {
    file,
    line: 0,
    message: path === file
      ? `it ${problem}`
      : `it cannot be trusted, since the ${type} ${path} ${problem}`,
    suggestion: remedy,
  };
}

function unreadable(path: string, error: SystemError): FoundProblem {
  return {
    file: path,
    line: 0,
    message: `it cannot be read: ${error.words}`,
    suggestion: isDenied(error)
      ? "run as root, or make it readable"
      : "replace it with a readable one, or remove it",
  };
}

function missing({ file, dropIns }: ConfigPaths): FoundProblem {
  return {
    file,
    line: 0,
    message: `it does not exist, and there is no drop-in in ${dropIns}`,
    suggestion:
      `name another with --config, or write one, such as ${LEAST_CONFIG}`,
  };
}

/**
 * Returns a text that stays the same until a file of the configuration changes;
 * `undefined` if the files cannot be read at the moment. It reads all files, which
 * are small: neither times nor sizes reveal every change.
 */
export function fingerprint(
  paths: ConfigPaths,
  calls: FileCalls,
): string | undefined {
  const files = readConfigFiles(paths, calls);
  return files.problems.some(({ isPassing }) => isPassing)
    ? undefined
    : fingerprintOf(files);
}

/** Returns the fingerprint of files that were read. */
export function fingerprintOf(files: ConfigFiles): string {
  return JSON.stringify(files);
}
