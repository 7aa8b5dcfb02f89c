/**
 * Descriptors that are kept open as long as there is room, and closed to make
 * room: the one that was not used for longest goes first.
 *
 * @module
 */

import { SystemError } from "../../errors.ts";
import { IllumosErrno, type IllumosLibc } from "../../../ffi/illumos_libc.ts";

/** Grabbing a process and making an agent in it takes about ten. */
const RESERVE = 10;

/** Room for the three files of one process there must always be. */
const LEAST = 3;

export interface PoolOptions {
  /** How many descriptors this process may have open. */
  limit: number;
  /** How many of them are open already, and stay so. */
  inUse: number;
}

/** A descriptor, and whether this call has opened it. */
export interface Opened {
  readonly fd: number;
  readonly isFresh: boolean;
}

/** Descriptors by the path of their file and a word that tells files of one path apart. */
export class DescriptorPool implements Disposable {
  readonly #libc: Pick<IllumosLibc, "open" | "close">;
  /** How many descriptors it keeps at most. */
  readonly capacity: number;
  /** In the order of their last use. */
  readonly #descriptors = new Map<string, number>();
  /** How many times a file was opened. */
  opened = 0;
  /** How many times a descriptor was closed to make room. */
  revoked = 0;

  constructor(
    libc: Pick<IllumosLibc, "open" | "close">,
    { limit, inUse }: PoolOptions,
  ) {
    this.#libc = libc;
    this.capacity = Math.max(LEAST, limit - inUse - RESERVE);
  }

  /** How many descriptors are open. */
  get size(): number {
    return this.#descriptors.size;
  }

  /**
   * The descriptor of a file, which is opened if need be. It stays open at least
   * until the next call.
   *
   * @param key tells the file from every other.
   * @throws SystemError when it cannot be opened.
   */
  use(key: string, path: string): Opened {
    const open = this.#descriptors.get(key);
    if (open !== undefined) {
      // Now it is the last one used.
      this.#descriptors.delete(key);
      this.#descriptors.set(key, open);
      return { fd: open, isFresh: false };
    }
    this.#makeRoom(this.capacity - 1);
    const fd = this.open(path);
    this.opened++;
    this.#descriptors.set(key, fd);
    return { fd, isFresh: true };
  }

  /**
   * Opens a file that is the caller's to close, at the cost of others if need be.
   *
   * @throws SystemError when it cannot be opened.
   */
  open(path: string): number {
    for (;;) {
      try {
        return this.#libc.open(path);
      } catch (error) {
        if (!isFull(error) || this.size === 0) throw error;
        this.#makeRoom(this.size - 1);
      }
    }
  }

  /** Closes the descriptor of a file, if there is one. */
  close(key: string): void {
    const fd = this.#descriptors.get(key);
    if (fd === undefined) return;
    this.#descriptors.delete(key);
    this.#libc.close(fd);
  }

  /** Closes some descriptors for a use that cannot ask for room: half of them. */
  shrink(): void {
    this.#makeRoom(Math.floor(this.size / 2));
  }

  /** Closes descriptors until no more than some are open. */
  #makeRoom(most: number): void {
    for (const [key, fd] of this.#descriptors) {
      if (this.size <= most) return;
      this.#descriptors.delete(key);
      this.#libc.close(fd);
      this.revoked++;
    }
  }

  [Symbol.dispose](): void {
    for (const fd of this.#descriptors.values()) this.#libc.close(fd);
    this.#descriptors.clear();
  }
}

/** Whether an error says that no descriptor is left. */
function isFull(error: unknown): boolean {
  return error instanceof SystemError &&
    (error.errno === IllumosErrno.EMFILE ||
      error.errno === IllumosErrno.ENFILE);
}
