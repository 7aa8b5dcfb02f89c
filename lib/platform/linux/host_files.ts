/**
 * The files of the machine that rcap looks names up in: its own, or in a container those
 * of the machine that are mounted there.
 *
 * @module
 */

import { linuxFiles } from "../../../ffi/linux_files.ts";
import { isExhausted, isMissing, RcapError, UsageError } from "../../errors.ts";
import {
  type Entry,
  type FileCalls,
  type OpenFile,
  readUpTo,
} from "../directory.ts";
import {
  openTrustedDirectory,
  openTrustedFile,
  type WalkOptions,
} from "../trusted_path.ts";

/** The most bytes of a file: room for the bundle of a container, and for thousands in a list. */
const LARGEST_FILE = 4 * 2 ** 20;

/** A user of `/etc/passwd`: passwd(5). */
export interface PasswdEntry {
  readonly name: string;
  readonly uid: number;
  readonly home: string;
}

/** Files below a directory. */
export class HostFiles {
  readonly calls: FileCalls;
  /** What paths begin with, without links; empty for the machine that rcap itself sees. */
  readonly root: string;

  constructor(root = "", calls: FileCalls = linuxFiles) {
    this.root = root;
    this.calls = calls;
  }

  /**
   * Returns the files of the machine that are mounted in a directory.
   *
   * @throws UsageError if it is not an absolute path, or has no `/etc/passwd`.
   * @throws RcapError if others can change it.
   */
  static mountedIn(directory: string): HostFiles {
    const remedy =
      "mount / of the machine there: podman run --volume /:/host:ro,rslave";
    if (!directory.startsWith("/")) {
      throw new UsageError(
        `--host-root: "${directory}" is not an absolute path`,
        remedy,
      );
    }
    let host: HostFiles;
    try {
      using found = openTrustedDirectory(linuxFiles, directory);
      host = new HostFiles(found.path === "/" ? "" : found.path);
    } catch (error) {
      if (!isMissing(error)) throw error;
      throw new UsageError(`--host-root: there is no "${directory}"`, remedy);
    }
    if (host.passwd() === undefined) {
      throw new UsageError(
        `--host-root: "${directory}" has no etc/passwd that can be read`,
        remedy,
      );
    }
    return host;
  }

  /** Opens a file that nobody but root can change. Links lead to files of the same machine. */
  open(path: string): OpenFile {
    return openTrustedFile(this.calls, this.root + path, this.#below);
  }

  /** Opens such a directory. */
  openDirectory(
    path: string,
    options: Pick<WalkOptions, "onDistrust"> = {},
  ): Entry {
    return openTrustedDirectory(this.calls, this.root + path, {
      ...options,
      ...this.#below,
    });
  }

  get #below(): Pick<WalkOptions, "root"> {
    return this.root === "" ? {} : { root: this.root };
  }

  /** Reads such a file; `undefined` if there is none, or it is too large. */
  readText(path: string): string | undefined {
    return readText(() => this.open(path));
  }

  /** The users of the machine's own list; `undefined` if there is none to trust. */
  passwd(): PasswdEntry[] | undefined {
    return this.readText("/etc/passwd")?.split("\n").flatMap((line) => {
      const [name, , uid, , , home] = line.split(":");
      return home === undefined || !/^\d{1,10}$/.test(uid)
        ? []
        : [{ name, uid: Number(uid), home }];
    });
  }

  /** The id of a user of that list. */
  uidOfUser(name: string): number | undefined {
    return this.passwd()?.find((user) => user.name === name)?.uid;
  }
}

/** Reads a file; `undefined` if there is none to trust, or it is too large. */
export function readText(open: () => OpenFile): string | undefined {
  try {
    using file = open();
    const bytes = readUpTo(file, LARGEST_FILE);
    return bytes && new TextDecoder().decode(bytes);
  } catch (error) {
    return nothing(error);
  }
}

/** A file that is not there, or not to be trusted, says nothing. */
export function nothing(error: unknown): undefined {
  if (isExhausted(error) || !(error instanceof RcapError)) throw error;
  return undefined;
}
