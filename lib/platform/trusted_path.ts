/**
 * Paths that nobody but root and the user of this process can change.
 *
 * A path is walked name by name, from one open directory to the next. Nothing is
 * looked up in a directory before the directory has been found to be trusted. So
 * what was checked is what is used, and a file system that another user's program
 * serves is never asked for anything. `openat2(2)` could do part of this, but
 * sandboxes often refuse it.
 *
 * @module
 */

import type { FileCalls, OpenFile } from "../../ffi/file_calls.ts";
import type { FileStatus, FileType } from "../../ffi/file_status.ts";
import { isMissing, RcapError } from "../errors.ts";
import { Entry, NotAFile } from "./directory.ts";

/** How many symbolic links a path may contain, as in the kernel: path_resolution(7). */
const MOST_LINKS = 40;

const ROOT = 0;
const STICKY = 0o1000;
const GROUP_WRITES = 0o020;
const OTHERS_WRITE = 0o002;

/** Somebody else can change what is found at a path. */
export class DistrustError extends RcapError {
  override name = "DistrustError";
  /** The file, directory or link on the path that others can change. */
  readonly path: string;
  readonly type: FileType;
  /** What is wrong with it, worded to follow its path. */
  readonly problem: string;
  /** What to do about it: usually a command. */
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
  /**
   * The directory at which a relative path begins. The default is the working
   * directory.
   */
  readonly from?: Entry;
  /**
   * A directory that is the root of another system, as an absolute path without links:
   * absolute links lead below it, and `..` does not lead out of it.
   */
  readonly root?: string;
  /** Makes missing directories, with this mode less the umask. */
  readonly make?: number;
  /** Whether the last name may be a symbolic link; those before it always may. */
  readonly lastMayBeLink?: boolean;
  /**
   * Called with the first thing that others can change. The walk then continues,
   * but follows no more links and never enters a file system that another user's
   * program serves. Without this callback the walk fails there.
   */
  readonly onDistrust?: (distrust: DistrustError) => void;
}

/**
 * Walks to a directory.
 *
 * @throws DistrustError if others can change the path or the directory's contents.
 * @throws SystemError if there is no such directory.
 */
export function openTrustedDirectory(
  files: FileCalls,
  path: string,
  options: WalkOptions = {},
): Entry {
  using walk = new Walk(files, path, options);
  walk.go();
  // Existing entries are safe in a sticky directory, but anybody can create a name
  // that is missing there.
  const distrust = whyOpenToOthers(walk.here);
  if (distrust) walk.distrust(distrust);
  // Fails if it is not a directory.
  return walk.here.entry(".");
}

/**
 * Walks to a regular file and opens it for reading.
 *
 * @throws DistrustError if others can change the path or the file.
 * @throws NotAFile if it is a pipe, a device or a socket.
 * @throws SystemError if there is no such file or it cannot be opened.
 */
export function openTrustedFile(
  files: FileCalls,
  path: string,
  options: Pick<WalkOptions, "from" | "root"> = {},
): OpenFile {
  using walk = new Walk(files, path, { ...options, lastMayBeLink: true });
  const name = walk.goBefore();
  return openFileIn(walk.here, name);
}

/**
 * Opens a regular file in a directory for reading.
 *
 * @param options with `ofOwner`, the file may also belong to the owner of the
 * directory if that user is not trusted.
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
  // Checked before it is opened, since opening would contact a stranger's file system,
  // and again afterwards, since it may have been replaced meanwhile.
  const seen = directory.statusOf(name);
  if (seen?.type === "file") trust(seen, finding);
  using cleanup = new DisposableStack();
  const file = cleanup.use(directory.openFile(name));
  trust(files.statusOf(file.fd, path), finding);
  cleanup.move();
  return file;
}

/**
 * Checks that others can neither change a file of a directory nor have made it, if
 * it exists.
 *
 * @throws DistrustError if they can.
 */
export function assertTrusted(directory: Entry, name: string): void {
  const status = directory.statusOf(name);
  const { files } = directory;
  if (status) {
    trust(status, { files, path: directory.pathOf(name), directory });
  }
}

/** A walk along a path. Disposal closes its directory. */
class Walk implements Disposable {
  readonly #files: FileCalls;
  readonly #options: WalkOptions;
  /** The names that are left. */
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
    // The caller closes the directory that it passed in, so the walk uses its own.
    this.#here = isFromRoot ? Entry.root(files) : from.entry(".");
    if (isFromRoot) this.#examine(this.#here, undefined);
  }

  /** The directory that the walk has reached. */
  get here(): Entry {
    return this.#here;
  }

  /** Walks the whole path. */
  go(): void {
    while (this.#rest.length > 0) this.#step();
  }

  /**
   * Walks to the directory of a file, following links. Returns the file's name
   * there.
   */
  goBefore(): string {
    for (;;) {
      const [name, next] = this.#rest;
      if (name === undefined) return ".";
      const isLink = this.#here.statusOf(name)?.type === "symbolic link";
      if (next === undefined && !isLink) return name;
      this.#step();
    }
  }

  /** Fails because others can change something, or calls `onDistrust` if it is set. */
  distrust(distrust: DistrustError): void {
    const { onDistrust } = this.#options;
    if (!onDistrust) throw distrust;
    if (this.#isTrusted) onDistrust(distrust);
    this.#isTrusted = false;
  }

  /** Walks one name further. */
  #step(): void {
    const [name, ...rest] = this.#rest;
    const { root } = this.#options;
    if (name === ".." && this.#here.path === root) {
      this.#rest = rest;
      return;
    }
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
    const isAbsolute = target.startsWith("/");
    if (isAbsolute) {
      const top = Entry.root(this.#files);
      this.#move(top);
      this.#examine(top, undefined);
    }
    const above = isAbsolute && root !== undefined ? namesOf(root) : [];
    this.#rest = [...above, ...namesOf(target), ...rest];
  }

  /** Returns the target of a link that may be followed. */
  #targetOf(link: Entry): string {
    const { path, status: { type } } = link;
    if (this.#rest.length === 1 && !this.#options.lastMayBeLink) {
      throw new DistrustError(
        { path, type },
        "is not followed here",
        "use the path of the directory that it leads to",
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
        "is in a place where others can replace it",
        "use the path that it leads to",
      );
    }
    if (++this.#links > MOST_LINKS) {
      throw this.#files.error(`open ${path}`, "ELOOP");
    }
    const target = link.target();
    // How /proc names an open file that has no path: proc_pid_fd(5).
    if (/^(pipe|socket|anon_inode):/.test(target)) {
      throw new NotAFile(`${path} is an open ${target}, not a regular file`);
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

/** The names in a path. */
function namesOf(path: string): string[] {
  return path.split("/").filter((name) => name !== "" && name !== ".");
}

/** Where something was found. */
interface Finding {
  readonly files: FileCalls;
  readonly path: string;
  /** The directory that contains it; `undefined` for the root. */
  readonly directory: Entry | undefined;
  /** Whether to trust the owner of the directory. */
  readonly ofOwner?: boolean;
}

/** @throws DistrustError if others can change or replace the file. */
function trust(status: FileStatus, finding: Finding): void {
  const distrust = distrustOf(status, finding);
  if (distrust) throw distrust;
}

/** Another user's program serves a file system. */
class ServedByStranger extends DistrustError {
  override name = "ServedByStranger";
}

/**
 * How others can change or replace a file in a directory; `undefined` if they
 * cannot.
 */
function distrustOf(
  status: FileStatus,
  { files, path, directory, ofOwner = false }: Finding,
): DistrustError | undefined {
  const { type, device, links, uid } = status;
  const what = { path, type };
  // Such a file system can report anything about its files.
  const server = device === directory?.status.device
    ? undefined
    : strangeServerOf(files, device);
  if (server !== undefined) {
    return new ServedByStranger(
      what,
      `is on a file system that a program of uid ${server} serves`,
      "choose a place on another file system",
    );
  }
  // The owner of a link decides where it leads; its mode means nothing.
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
      `has ${links} hard links, and others can make such links in its directory`,
      "replace it with a copy",
    )
    : undefined;
}

/** How others can create names in a directory, even if they cannot change existing ones. */
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
 * Who else can write: a group other than root's and others, in the notation of
 * `chmod(1)`, and those that an access control list names.
 */
type Writers = "g" | "o" | "list";

/** @param sticky whether to include those who can only add names to a directory. */
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
