/**
 * How much may be paged out: at a rate, and to swap in a day.
 *
 * @module
 */

import type { ByteRate } from "../report/rates.ts";
import { RollingWindow } from "./rolling_window.ts";

/** Smaller amounts are not worth a scan, in bytes: less than a large page. */
export const LEAST_PAGEOUT = 2 << 20;

/** A rate that page-outs keep on average. Times are in milliseconds. */
export class PageoutRate {
  readonly rate: ByteRate;
  /** What may go now, in bytes; less than 0 if too much went. */
  #left = Infinity;
  #at = -Infinity;

  constructor(rate: ByteRate) {
    this.rate = rate;
  }

  /**
   * How much may go now, in bytes.
   *
   * @param interval the time between two scans: so much is saved up at most.
   */
  available(now: number, interval: number): number {
    const { bytes, per } = this.rate;
    const most = Math.max(bytes / per * interval, LEAST_PAGEOUT);
    const gained = this.#at === -Infinity
      ? most
      : (now - this.#at) * bytes / per;
    const before = this.#left === Infinity ? 0 : this.#left;
    this.#left = Math.min(most, before + gained);
    this.#at = now;
    return Math.max(0, this.#left);
  }

  /** Notes what was paged out, in bytes. */
  tookOut(bytes: number): void {
    if (this.#left < Infinity) this.#left -= bytes;
  }
}

/** How much may be written to swap within a time. */
export class SwapBudget {
  readonly limit: ByteRate;
  readonly #written: RollingWindow;

  constructor(limit: ByteRate) {
    this.limit = limit;
    this.#written = new RollingWindow(limit.per);
  }

  /** How much was written within the time that ends now, in bytes. */
  written(now: number): number {
    return this.#written.total(now);
  }

  /** Whether there is too little left for a page-out. */
  isUsedUp(now: number): boolean {
    return this.left(now) < LEAST_PAGEOUT;
  }

  /** How much may be written now, in bytes. */
  left(now: number): number {
    return Math.max(0, this.limit.bytes - this.written(now));
  }

  /** Notes what was written, in bytes. */
  tookOut(bytes: number, now: number): void {
    this.#written.add(bytes, now);
  }
}
