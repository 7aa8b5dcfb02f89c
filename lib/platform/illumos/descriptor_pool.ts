/**
 * Keeps descriptors open as long as there is room. To make room, the least recently
 * used one is closed first.
 *
 * @module
 */

import { SystemError } from "../../errors.ts";
import { IllumosErrno, type IllumosLibc } from "../../../ffi/illumos_libc.ts";

/** Grabbing a process and creating an agent in it takes about ten descriptors. */
const RESERVE = 10;

/** There must always be room for the three files of one process. */
const LEAST = 3;

export interface PoolOptions {
  /** How many descriptors this process may have open. */
  limit: number;
  /** How many of them are already open, and stay open. */
  inUse: number;
}

/** A descriptor, and whether the call opened it. */
export interface Opened {
  readonly fd: number;
  readonly isFresh: boolean;
}

/** Descriptors by a key that identifies their file. */
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
   * Returns the descriptor of a file, and opens the file if necessary. The descriptor
   * stays open at least until the next call.
   *
   * @param key identifies the file: one path may lead to different files over time.
   * @throws SystemError if the file cannot be opened.
   */
  use(key: string, path: string): Opened {
    const open = this.#descriptors.get(key);
    if (open !== undefined) {
      // It becomes the most recently used.
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
   * Opens a file, which the caller closes. Closes other descriptors if necessary.
   *
   * @throws SystemError if the file cannot be opened.
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

  /** Closes half of the descriptors, for code that opens files outside of the pool. */
  shrink(): void {
    this.#makeRoom(Math.floor(this.size / 2));
  }

  /** Closes descriptors until at most a number of them are open. */
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
