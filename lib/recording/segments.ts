/**
 * Recordings one after another in a directory, of which the oldest is removed when they
 * exceed a limit.
 *
 * @module
 */

import { messageOf, RcapError } from "../errors.ts";
import type { Entry, FileCalls, OpenFile } from "../platform/directory.ts";
import { openTrustedDirectory } from "../platform/trusted_path.ts";

/** Only root reads what processes do. */
const FILE_MODE = 0o600;
const DIRECTORY_MODE = 0o700;
/** How many segments there are when the limit is reached. */
const SEGMENTS = 16;

const NAME = /^rcap-\d{8}-\d{6}(?:-\d+)?\.rcap$/;

/** A segment that was written before. */
interface Segment {
  readonly name: string;
  readonly size: number;
}

/** The segments of a directory. Disposal closes it. */
export class Segments implements Disposable {
  readonly path: string;
  readonly #directory: Entry;
  readonly #limit: number;
  readonly #now: () => Date;
  /** Those that are complete, the oldest first. */
  #complete: Segment[];
  #file: OpenFile | undefined;
  #name = "";
  #size = 0;

  private constructor(
    directory: Entry,
    { limit, now }: { limit: number; now: () => Date },
  ) {
    this.path = directory.path;
    this.#directory = directory;
    this.#limit = limit;
    this.#now = now;
    this.#complete = directory.names().filter((name) => NAME.test(name)).sort()
      .flatMap((name) => {
        const status = directory.statusOf(name);
        return status?.type === "file" ? [{ name, size: status.size }] : [];
      });
  }

  /**
   * Opens a directory, and makes it if it is missing.
   *
   * @param options `limit` is that of all segments together, in bytes.
   * @throws RcapError if it cannot be made, or others could write to it.
   */
  static open(
    files: FileCalls,
    path: string,
    { limit, now = () => new Date() }: { limit: number; now?: () => Date },
  ): Segments {
    try {
      using cleanup = new DisposableStack();
      const directory = cleanup.use(
        openTrustedDirectory(files, path, { make: DIRECTORY_MODE }),
      );
      const segments = new Segments(directory, { limit, now });
      cleanup.move();
      return segments;
    } catch (error) {
      if (!(error instanceof RcapError)) throw error;
      throw new RcapError(
        `recordings cannot be kept in ${path}: ${messageOf(error)}`,
        { cause: error },
      );
    }
  }

  /** Whether the segment that is written is as large as it should become. */
  get isFull(): boolean {
    return this.#size >= this.#limit / SEGMENTS;
  }

  /** Begins another segment. */
  begin(): void {
    this.end();
    const name = this.#newName();
    this.#file = this.#directory.makeFile(name, FILE_MODE);
    this.#name = name;
    this.#size = 0;
    this.#prune();
  }

  /** Ends the segment that is written. */
  end(): void {
    if (!this.#file) return;
    this.#file[Symbol.dispose]();
    this.#file = undefined;
    this.#complete.push({ name: this.#name, size: this.#size });
  }

  /** Adds to the segment that is written. @throws SystemError if it takes no more. */
  readonly write = (bytes: Uint8Array<ArrayBuffer>): void => {
    this.#size += bytes.length;
    this.#prune();
    this.#file?.writeAll(bytes);
  };

  #newName(): string {
    const date = this.#now().toISOString().replaceAll(/[-:]|\..*/g, "")
      .replace("T", "-");
    for (let count = 0;; count++) {
      // Names are in the order of time, within a second too.
      const suffix = count === 0 ? "" : `-${count}`;
      const name = `rcap-${date}${suffix}.rcap`;
      if (!this.#directory.statusOf(name)) return name;
    }
  }

  /** Removes the oldest until all of them are within the limit. */
  #prune(): void {
    let total = this.#complete.reduce((sum, { size }) => sum + size, 0) +
      this.#size;
    while (total > this.#limit && this.#complete.length > 0) {
      const [oldest] = this.#complete;
      this.#directory.remove(oldest.name);
      this.#complete = this.#complete.slice(1);
      total -= oldest.size;
    }
  }

  [Symbol.dispose](): void {
    this.end();
    this.#directory[Symbol.dispose]();
  }
}
