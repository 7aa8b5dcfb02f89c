/**
 * Paths on which nobody but root and the user of this process has a say.
 *
 * A path is walked to name by name, from a directory that is held to the next, and
 * nothing is looked up in a directory before that was found to be trusted: what
 * was checked is what is used, and a file system that a stranger serves is never
 * asked for anything. `openat2(2)` could do a part of this; sandboxes often refuse
 * it.
 *
 * @module
 */

import type { FileCalls, OpenFile } from "../../ffi/file_calls.ts";
import type { FileStatus, FileType } from "../../ffi/file_status.ts";
import { isMissing, RcapError } from "../errors.ts";
import { Entry, NotAFile } from "./directory.ts";

/** How many symbolic links a path may lead over, as for the kernel: path_resolution(7). */
const MOST_LINKS = 40;

const ROOT = 0;
const STICKY = 0o1000;
const GROUP_WRITES = 0o020;
const OTHERS_WRITE = 0o002;

/** Somebody else has a say on what is found at a path. */
export class DistrustError extends RcapError {
  override name = "DistrustError";
  /** The file, directory or link on the path with which that is so. */
  readonly path: string;
  readonly type: FileType;
  /** What is wrong with it, to stand behind its path. */
  readonly problem: string;
  /** What to do about it: a command, for the most part. */
  readonly remedy: string;

  constructor(
    { path, type }: { path: string; type: FileType },
    problem: string,
    remedy: string,
  ) {
    super(`the ${type} ${path} ${problem}; ${remedy}`);
    this.path = path;
    this.type = type;
    this.problem = problem;
    this.remedy = remedy;
  }
}

/** How to walk. */
export interface WalkOptions {
  /** The directory where a relative path begins; the working directory otherwise. */
  readonly from?: Entry;
  /** Makes directories that are missing, with this mode less the umask. */
  readonly make?: number;
  /** Whether the last name may be a symbolic link; those before it always may. */
  readonly lastMayBeLink?: boolean;
  /**
   * Told of the first thing with which others have a say. The walk goes on then,
   * over no more links, and never into a file system that a stranger serves.
   * Without this it ends there.
   */
  readonly onDistrust?: (distrust: DistrustError) => void;
}

/**
 * Walks to a directory.
 *
 * @throws DistrustError when others have a say on the path, or on what the
 * directory holds.
 * @throws SystemError when there is none.
 */
export function openTrustedDirectory(
  files: FileCalls,
  path: string,
  options: WalkOptions = {},
): Entry {
  using walk = new Walk(files, path, options);
  walk.go();
  // One's own entries are safe in a sticky directory, but a name that is missing
  // there is anybody's to give.
  const distrust = whyOpenToOthers(walk.here);
  if (distrust) walk.distrust(distrust);
  // Fails where it is none.
  return walk.here.entry(".");
}

/**
 * Walks to a regular file, and opens it to read.
 *
 * @throws DistrustError when others have a say on the path or can change the file.
 * @throws NotAFile when it is a pipe, a device or a socket.
 * @throws SystemError when there is none, or it cannot be opened.
 */
export function openTrustedFile(
  files: FileCalls,
  path: string,
  options: Pick<WalkOptions, "from"> = {},
): OpenFile {
  using walk = new Walk(files, path, { ...options, lastMayBeLink: true });
  const name = walk.goBefore();
  return openFileIn(walk.here, name);
}

/**
 * Opens a regular file in a directory, to read it.
 *
 * @param options with `ofOwner` it may also be the file of whoever owns the
 * directory, where that is not trusted.
 * @throws DistrustError, NotAFile, SystemError as {@linkcode openTrustedFile}.
 */
export function openFileIn(
  directory: Entry,
  name: string,
  { ofOwner = false } = {},
): OpenFile {
  const path = directory.pathOf(name);
  const { files } = directory;
  const finding = { files, path, directory, ofOwner };
  // Before it is opened, since a stranger's file system would be asked for that;
  // and afterwards, since it may be another by then.
  const seen = directory.statusOf(name);
  if (seen?.type === "file") trust(seen, finding);
  using cleanup = new DisposableStack();
  const file = cleanup.use(directory.openFile(name));
  trust(files.statusOf(file.fd, path), finding);
  cleanup.move();
  return file;
}

/**
 * Makes sure that others can neither change a file of a directory nor have made it,
 * if it is there.
 *
 * @throws DistrustError when they can.
 */
export function assertTrusted(directory: Entry, name: string): void {
  const status = directory.statusOf(name);
  const { files } = directory;
  if (status) {
    trust(status, { files, path: directory.pathOf(name), directory });
  }
}

/** Where a walk is; `using` lets it go. */
class Walk implements Disposable {
  readonly #files: FileCalls;
  readonly #options: WalkOptions;
  /** The names to go over. */
  #rest: string[];
  #here: Entry;
  #links = 0;
  #isTrusted = true;

  constructor(files: FileCalls, path: string, options: WalkOptions) {
    this.#files = files;
    this.#options = options;
    const { from } = options;
    const isFromRoot = from === undefined || path.startsWith("/");
    this.#rest = namesOf(
      from === undefined && !path.startsWith("/")
        ? `${files.workingDirectory()}/${path}`
        : path,
    );
    // What was handed in is not this walk's to close.
    this.#here = isFromRoot ? Entry.root(files) : from.entry(".");
    if (isFromRoot) this.#examine(this.#here, undefined);
  }

  /** The directory that it has come to. */
  get here(): Entry {
    return this.#here;
  }

  /** Goes to a directory. */
  go(): void {
    while (this.#rest.length > 0) this.#step();
  }

  /** Goes to the directory of a file, over links. @returns the file's name there. */
  goBefore(): string {
    for (;;) {
      const [name, next] = this.#rest;
      if (name === undefined) return ".";
      const isLink = this.#here.statusOf(name)?.type === "symbolic link";
      if (next === undefined && !isLink) return name;
      this.#step();
    }
  }

  /** Ends the walk since others have a say, unless that is to be told only. */
  distrust(distrust: DistrustError): void {
    const { onDistrust } = this.#options;
    if (!onDistrust) throw distrust;
    if (this.#isTrusted) onDistrust(distrust);
    this.#isTrusted = false;
  }

  /** Goes over one name. */
  #step(): void {
    const [name, ...rest] = this.#rest;
    using cleanup = new DisposableStack();
    const entry = cleanup.use(this.#find(name));
    if (entry.status.type !== "symbolic link") {
      this.#examine(entry, this.#here);
      cleanup.move();
      this.#move(entry);
      this.#rest = rest;
      return;
    }
    const target = this.#targetOf(entry);
    if (target.startsWith("/")) {
      const root = Entry.root(this.#files);
      this.#move(root);
      this.#examine(root, undefined);
    }
    this.#rest = [...namesOf(target), ...rest];
  }

  /** Where a link leads to, if it may be followed. */
  #targetOf(link: Entry): string {
    const { path, status: { type } } = link;
    if (this.#rest.length === 1 && !this.#options.lastMayBeLink) {
      throw new DistrustError(
        { path, type },
        "is not followed here",
        "name the directory that it leads to",
      );
    }
    trust(link.status, {
      files: this.#files,
      path,
      directory: this.#here,
    });
    if (!this.#isTrusted) {
      throw new DistrustError(
        { path, type },
        "stands where others can put another in its place",
        "name the place that it leads to",
      );
    }
    if (++this.#links > MOST_LINKS) {
      throw this.#files.error(`open ${path}`, "ELOOP");
    }
    const target = link.target();
    // What an open file is called in /proc that has no path: proc_pid_fd(5).
    if (/^(pipe|socket|anon_inode):/.test(target)) {
      throw new NotAFile(`${path} is an open ${target}, and no file`);
    }
    return target;
  }

  #find(name: string): Entry {
    const { make } = this.#options;
    try {
      return this.#here.entry(name);
    } catch (error) {
      if (make === undefined || !isMissing(error)) throw error;
      this.#here.makeDirectory(name, make);
      return this.#here.entry(name);
    }
  }

  #examine({ path, status }: Entry, directory: Entry | undefined): void {
    const files = this.#files;
    const distrust = distrustOf(status, { files, path, directory });
    // Nothing may be asked of a stranger's file system, whatever is tolerated.
    if (distrust instanceof ServedByStranger) throw distrust;
    if (distrust) this.distrust(distrust);
  }

  #move(to: Entry): void {
    this.#here[Symbol.dispose]();
    this.#here = to;
  }

  [Symbol.dispose](): void {
    this.#here[Symbol.dispose]();
  }
}

/** The names that a path goes over. */
function namesOf(path: string): string[] {
  return path.split("/").filter((name) => name !== "" && name !== ".");
}

/** Where something was found. */
interface Finding {
  readonly files: FileCalls;
  readonly path: string;
  /** The directory that it is in; none above the root. */
  readonly directory: Entry | undefined;
  /** Whether to trust who owns the directory. */
  readonly ofOwner?: boolean;
}

/** @throws DistrustError when others have a say on something, or can change it. */
function trust(status: FileStatus, finding: Finding): void {
  const distrust = distrustOf(status, finding);
  if (distrust) throw distrust;
}

/** Somebody else's program answers for a file system. */
class ServedByStranger extends DistrustError {
  override name = "ServedByStranger";
}

/** How others have a say on something in a directory, or can change it. */
function distrustOf(
  status: FileStatus,
  { files, path, directory, ofOwner = false }: Finding,
): DistrustError | undefined {
  const { type, device, links, uid } = status;
  const what = { path, type };
  // Such a file system says of its files what it likes.
  const server = device === directory?.status.device
    ? undefined
    : strangeServerOf(files, device);
  if (server !== undefined) {
    return new ServedByStranger(
      what,
      `is on a file system that a program of uid ${server} answers for`,
      "choose a place on another file system",
    );
  }
  // Who owns a link says where it leads; its mode means nothing.
  const writers = type === "symbolic link" ? [] : writersOf(status);
  const isOurs = isTrusted(files, uid) ||
    ofOwner && uid === directory?.status.uid;
  if (!isOurs || writers.length > 0) {
    return notOnlyOurs(what, { ...status, isOurs, writers, files });
  }
  const isShared = directory !== undefined &&
    (!isTrusted(files, directory.status.uid) ||
      writersOf(directory.status, { sticky: true }).length > 0);
  return isShared && type !== "directory" && links > 1
    ? new DistrustError(
      what,
      `has ${links} names, and others can make such names in its directory`,
      "put a copy in its place",
    )
    : undefined;
}

/** How others can make names in a directory, also when they cannot change those there are. */
function whyOpenToOthers(
  { path, status, files }: Entry,
): DistrustError | undefined {
  const writers = writersOf(status, { sticky: true });
  return writers.length > 0
    ? notOnlyOurs({ path, type: status.type }, {
      ...status,
      isOurs: isTrusted(files, status.uid),
      writers,
      files,
    })
    : undefined;
}

function notOnlyOurs(
  what: { path: string; type: FileType },
  { uid, gid, mode, isOurs, writers, files }: FileStatus & {
    isOurs: boolean;
    writers: readonly Writers[];
    files: FileCalls;
  },
): DistrustError {
  const modes = writers.filter((one) => one !== "list");
  const names = modes.map((one) => one === "g" ? `group ${gid}` : "others");
  const hasList = modes.length < writers.length;
  const problems = [
    ...isOurs ? [] : [`belongs to uid ${uid}`],
    ...modes.length > 0
      ? [
        `has mode ${mode.toString(8)}, so that ${
          names.join(" and ")
        } can write to it`,
      ]
      : [],
    ...hasList
      ? ["has an access control list that lets others write to it"]
      : [],
  ];
  const link = what.type === "symbolic link" ? "-h " : "";
  const remedies = [
    ...isOurs ? [] : [`chown ${link}root ${what.path}`],
    ...modes.length > 0 ? [`chmod ${modes.join("")}-w ${what.path}`] : [],
    ...hasList ? [`${files.removeList} ${what.path}`] : [],
  ];
  return new DistrustError(
    what,
    problems.join(" and "),
    remedies.join(" and "),
  );
}

/**
 * As `chmod(1)` has them, a group other than root's, and others; and those that an
 * access control list names.
 */
type Writers = "g" | "o" | "list";

/** @param sticky counts those who can only add names to a directory, too. */
function writersOf(
  { type, mode, gid, isWritableByList }: FileStatus,
  { sticky = false } = {},
): Writers[] {
  const isSafe = !sticky && type === "directory" && (mode & STICKY) !== 0;
  const modes = isSafe ? 0 : mode;
  return [
    ...(modes & GROUP_WRITES) !== 0 && gid !== ROOT ? ["g" as const] : [],
    ...(modes & OTHERS_WRITE) !== 0 ? ["o" as const] : [],
    ...isWritableByList ? ["list" as const] : [],
  ];
}

function isTrusted(files: FileCalls, uid: number): boolean {
  return uid === ROOT || uid === files.effectiveUid();
}

/** The user whose program answers for a file system, unless that user is trusted. */
function strangeServerOf(
  files: FileCalls,
  device: string,
): number | undefined {
  const uid = files.serverOf(device);
  return uid === undefined || isTrusted(files, uid) ? undefined : uid;
}
