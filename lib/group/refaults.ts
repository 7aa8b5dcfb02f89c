/**
 * Counts the refaults of a group: page faults that brought back what rcap had paged out.
 *
 * The kernel counts, for each process, the faults that waited for a disk or for swap, zram
 * included. Those of memory that rcap never paged out, such as the first use of a file, are
 * among them. They can be told apart only as far as there are more of them than rcap has
 * paged out pages that are not back yet.
 *
 * @module
 */

import { PAGES_PER_FAULT } from "./backoff.ts";
import { RollingWindow } from "./rolling_window.ts";

/** The time over which refaults are added up, in milliseconds. */
const WINDOW = 60_000;

/** Counts refaults. */
export class Refaults {
  /** How many there were in all. */
  total = 0;
  readonly #pageSize: number;
  /** What was paged out and has not come back, in bytes; an upper bound. */
  #out = 0;
  #size: number | undefined;
  readonly #recent = new RollingWindow(WINDOW);

  /** @param pageSize in bytes. */
  constructor(pageSize: number) {
    this.#pageSize = pageSize;
  }

  /** Notes what a scan has paged out, in bytes, and the size of the group after it. */
  tookOut(bytes: number, size: number): void {
    this.#out += bytes;
    this.#size = size;
  }

  /**
   * Records a sample.
   *
   * @param cameBack the size of the pages whose faults waited, in bytes.
   * @param size of the group, in bytes.
   */
  sampled(
    { cameBack, size }: { cameBack: number; size: number },
    now: number,
  ): void {
    const pages = Math.ceil(Math.min(cameBack, this.#out) / this.#pageSize);
    this.total += pages;
    this.#recent.add(pages, now);
    const grown = size - (this.#size ?? size);
    const returned = Math.max(
      cameBack,
      Math.min(grown, cameBack * PAGES_PER_FAULT),
    );
    this.#out = Math.max(0, this.#out - returned);
    this.#size = size;
  }

  /** How many pages there were in the last minute. */
  inLastMinute(now: number): number {
    return this.#recent.total(now);
  }
}
