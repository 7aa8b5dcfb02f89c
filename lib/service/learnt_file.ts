/**
 * The file in which the daemon keeps what it has learnt, in a directory that only its
 * user can read. It outlasts the daemon and the machine.
 *
 * @module
 */

import * as v from "valibot";
import { isMissing, messageOf, RcapError } from "../errors.ts";
import { LONGEST, REMEMBERED, SHORTEST } from "../group/idle_time.ts";
import {
  type LearntGroup,
  type LearntPlace,
  LONGEST_PATH,
  MOST_PROGRAMS,
} from "../group/learnt_group.ts";
import { type Entry, readUpTo } from "../platform/directory.ts";
import { FileLock } from "../platform/file_lock.ts";
import type { OperatingSystem } from "../platform/operating_system.ts";
import {
  assertTrusted,
  openFileIn,
  openTrustedDirectory,
} from "../platform/trusted_path.ts";
import { json } from "../report/escape.ts";
import { replaceFile, TEMPORARY } from "./numbers_by_name.ts";

/** The environment variable with which systemd names the directory: systemd.exec(5). */
export const LEARNT_ENVIRONMENT = ["STATE_DIRECTORY"] as const;

/** The directory by default: hier(7). */
export const LEARNT_DIRECTORY = "/var/lib/rcap";

const DIRECTORY_MODE = 0o700;
const FILE_MODE = 0o600;
const FILE = "learnt.json";
const LOCK = "lock";

/** The largest file, in bytes: that of hundreds of groups with long paths. */
const LARGEST = 2 ** 24;

/** The version of the format. */
const VERSION = 1;

const seconds = v.pipe(v.number(), v.minValue(0), v.maxValue(2 * LONGEST));
const FORMAT = v.object({
  version: v.literal(VERSION),
  // An earlier rcap did not write it. The longest time that a date can have.
  at: v.optional(v.pipe(v.number(), v.minValue(0), v.maxValue(8.64e12))),
  groups: v.array(v.object({
    // The cap of a pod has the names of its namespace, up to 63 characters, and pod.
    name: v.pipe(v.string(), v.maxLength(330)),
    select: v.string(),
    programs: v.pipe(
      v.array(v.object({
        path: v.pipe(v.string(), v.maxLength(LONGEST_PATH)),
        file: v.pipe(v.string(), v.maxLength(80)),
      })),
      v.maxLength(MOST_PROGRAMS),
    ),
    idleTime: v.object({
      needed: v.pipe(v.array(seconds), v.maxLength(REMEMBERED)),
      seconds: v.pipe(seconds, v.minValue(SHORTEST), v.maxValue(LONGEST)),
    }),
  })),
});

/** The directory that systemd made, or else the default one. */
export function learntDirectory(
  env = (name: string) => Deno.env.get(name),
): string {
  // There may be several, with colons between them.
  return env(LEARNT_ENVIRONMENT[0])?.split(":")[0] || LEARNT_DIRECTORY;
}

/** What is in the file. */
export interface Learnt {
  /** When it was kept, in seconds since the epoch, if that is known. */
  readonly at?: number;
  readonly groups: readonly LearntGroup[];
}

/**
 * Reads what a daemon has learnt so far, beside a daemon that runs.
 *
 * @param path the directory.
 * @throws RcapError if it cannot be read, or is not what rcap has written.
 */
export function readLearnt(
  { files }: Pick<OperatingSystem, "files">,
  path: string,
): Learnt {
  try {
    using directory = openTrustedDirectory(files, path);
    return readFile(directory);
  } catch (error) {
    if (isMissing(error)) return { groups: [] };
    throw error;
  }
}

function readFile(directory: Entry): Learnt {
  try {
    using file = openFileIn(directory, FILE);
    const bytes = readUpTo(file, LARGEST);
    if (!bytes) throw new RcapError("it is too large");
    const text = new TextDecoder().decode(bytes);
    const result = v.safeParse(FORMAT, JSON.parse(text), { abortEarly: true });
    if (result.success) return result.output;
    throw new RcapError("it is not what this version of rcap has written");
  } catch (error) {
    if (isMissing(error)) return { groups: [] };
    const isDamaged = error instanceof SyntaxError ||
      error instanceof RangeError;
    if (isDamaged) throw new RcapError("it is damaged");
    throw error;
  }
}

/** What was learnt, in a file. Nothing that is wrong with it stops the daemon. */
export class LearntFile implements LearntPlace, Disposable {
  readonly #warn: (text: string) => void;
  readonly #path: string;
  readonly #held = new DisposableStack();
  #directory: Entry | undefined;
  #groups: readonly LearntGroup[] = [];
  #hasFailed = false;

  /**
   * Opens the directory, and makes it if it is missing.
   *
   * @param warn called with what is wrong with it.
   */
  constructor(
    { files }: Pick<OperatingSystem, "files">,
    path: string,
    warn: (text: string) => void,
  ) {
    this.#warn = warn;
    this.#path = path;
    using cleanup = new DisposableStack();
    try {
      const directory = cleanup.use(
        openTrustedDirectory(files, path, { make: DIRECTORY_MODE }),
      );
      assertTrusted(directory, LOCK);
      const lock = FileLock.tryLock(directory, LOCK);
      if (!lock) throw new RcapError("another rcap uses it");
      cleanup.use(lock);
      this.#directory = directory;
      this.#held.use(cleanup.move());
    } catch (error) {
      if (!(error instanceof RcapError)) throw error;
      warn(
        `what is learnt ends with this daemon: the directory ${path} cannot be used (${error.message}); choose another with --learnt-dir`,
      );
      return;
    }
    this.#groups = this.#read(this.#directory);
  }

  #read(directory: Entry): readonly LearntGroup[] {
    try {
      return readFile(directory).groups;
    } catch (error) {
      if (!(error instanceof RcapError)) throw error;
      this.#warn(
        `what was learnt in ${directory.pathOf(FILE)} is ignored (${
          messageOf(error)
        }); it is learnt anew, and the file is replaced`,
      );
      return [];
    }
  }

  of(name: string, select: string): LearntGroup | undefined {
    return this.#groups.find((one) =>
      one.name === name && one.select === select
    );
  }

  keep(groups: readonly LearntGroup[]): void {
    const directory = this.#directory;
    if (!directory) return;
    this.#groups = groups;
    const text = json({ version: VERSION, at: Date.now() / 1000, groups });
    try {
      if (text.length > LARGEST / 3) throw new RcapError("it is too much");
      replaceFile(directory, {
        name: FILE,
        temporary: FILE + TEMPORARY,
        text,
        mode: FILE_MODE,
      });
      this.#hasFailed = false;
    } catch (error) {
      if (!(error instanceof RcapError)) throw error;
      if (!this.#hasFailed) {
        this.#warn(
          `what is learnt cannot be kept in ${this.#path} (${error.message})`,
        );
      }
      this.#hasFailed = true;
    }
  }

  [Symbol.dispose](): void {
    this.#held[Symbol.dispose]();
  }
}
