/**
 * The files of a configuration: the main file and the drop-ins beside it.
 *
 * @module
 */

import { permissionsOf } from "../../ffi/directory.ts";
import { File, isDenied, isMissing, readDirectory } from "../../ffi/file.ts";
import { errnoMessage, SystemError } from "../../ffi/libc.ts";
import { exactSize } from "../report/units.ts";
import type { ConfigProblem } from "./config_problem.ts";

/** Where a configuration is. */
export interface ConfigPaths {
  /** The main file. */
  readonly file: string;
  /** The directory of the drop-ins, which need not exist. */
  readonly dropIns: string;
}

/** The main file, unless another is named. */
export const DEFAULT_CONFIG = "/etc/rcap.toml";

/** The least that makes a configuration: one line, for messages. */
export const LEAST_CONFIG =
  `cap = [{ name = "web", select = ["unit:nginx"], max_rss = "2G" }]`;

/** What the files of a configuration hold. */
export interface ConfigFiles {
  /** Those that could be read: the main file, then the drop-ins in name order. */
  readonly files: readonly ConfigFile[];
  /** Of those that could not. */
  readonly problems: readonly ConfigProblem[];
}

/** A file that could be read. */
export interface ConfigFile {
  readonly path: string;
  readonly text: string;
}

/**
 * Where a configuration is by its main file: drop-ins of `/x/foo.toml` are in
 * `/x/foo.d`.
 */
export function configPaths(file: string = DEFAULT_CONFIG): ConfigPaths {
  return { file, dropIns: `${file.replace(/\.toml$/, "")}.d` };
}

/**
 * Reads the files of a configuration.
 *
 * The main file may be missing where there are drop-ins, or nothing is needed. A drop-in is what ends in
 * `.toml`, but for names with a leading dot, as editors give to files of their own.
 */
export function readConfigFiles(
  paths: ConfigPaths,
  { mayBeMissing = false } = {},
): ConfigFiles {
  const files: ConfigFile[] = [];
  const problems: ConfigProblem[] = [];
  const dropIns = listDropIns(paths.dropIns, problems);
  for (const path of [paths.file, ...dropIns]) {
    try {
      const read = readFile(path);
      if ("text" in read) files.push(read);
      else problems.push(read);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      if (path !== paths.file || !isMissing(error)) {
        problems.push(unreadable(path, error));
      } else if (dropIns.length === 0 && !mayBeMissing) {
        problems.push(missing(paths));
      }
    }
  }
  return { files, problems };
}

/** The paths of the drop-ins in name order; none where there is no directory. */
function listDropIns(directory: string, problems: ConfigProblem[]): string[] {
  try {
    return readDirectory(directory)
      .filter((name) => name.endsWith(".toml") && !name.startsWith("."))
      .sort().map((name) => `${directory}/${name}`);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    if (!isMissing(error)) problems.push(unreadable(directory, error));
    return [];
  }
}

/** Room for thousands of caps: what is larger is another file, or a device. */
const LARGEST_FILE = 2 ** 20;

// <sys/stat.h>: types of files.
const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const S_IFDIR = 0o040000;

/** @throws SystemError when it cannot be read. */
function readFile(path: string): ConfigFile | ConfigProblem {
  const type = permissionsOf(path).mode & S_IFMT;
  // A directory is told of when it is read; a pipe would not end.
  if (type !== S_IFREG && type !== S_IFDIR) {
    return {
      file: path,
      line: 0,
      message: "it is a device, a pipe or a socket, and no file",
      suggestion: "put a file in its place, or take it away",
    };
  }
  const bytes = readBytes(path, LARGEST_FILE + 1);
  if (bytes.length > LARGEST_FILE) {
    return {
      file: path,
      line: 0,
      message: `it is larger than ${exactSize(LARGEST_FILE)}`,
      suggestion:
        "name the file that you mean, or distribute caps over drop-ins",
    };
  }
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
        `find out what it is written in (file ${path}) and convert it with iconv`,
    };
  }
}

/** The beginning of a file, as much as is wanted of it. */
function readBytes(path: string, most: number): Uint8Array<ArrayBuffer> {
  using file = File.open(path);
  const buffer = new Uint8Array(most);
  let length = 0;
  let more = 0;
  do {
    more = file.read(buffer.subarray(length));
    length += more;
  } while (more > 0);
  return buffer.subarray(0, length);
}

function unreadable(path: string, error: SystemError): ConfigProblem {
  return {
    file: path,
    line: 0,
    message: `it cannot be read: ${errnoMessage(error.errno)}`,
    suggestion: isDenied(error)
      ? "try as root, or let more users read it"
      : "put a readable one in its place, or take it away",
  };
}

function missing({ file, dropIns }: ConfigPaths): ConfigProblem {
  return {
    file,
    line: 0,
    message: `there is no such file, and no drop-in in ${dropIns}`,
    suggestion:
      `name another with --config, or write one, such as ${LEAST_CONFIG}`,
  };
}

/**
 * A text that is the same for as long as no file of a configuration changes. All
 * files are read for it: they are small, and neither times nor sizes tell of every
 * change.
 */
export function fingerprint(paths: ConfigPaths): string {
  return fingerprintOf(readConfigFiles(paths));
}

/** The fingerprint of files that have been read. */
export function fingerprintOf(files: ConfigFiles): string {
  return JSON.stringify(files);
}
