/**
 * One process of a collection, as the daemon keeps it from one interval to the
 * next.
 *
 * @module
 */

import { ProcessError } from "../errors.ts";
import type { MonitoredMemory, ProcessEntry } from "../platform/platform.ts";
import { ScannedProcess } from "../scanner/collection.ts";
import { MeasuredMemory, type OnRead } from "./measured_memory.ts";

/** How often proportional sizes are read anew at least, in milliseconds. */
const PROPORTIONAL_LIFE = 60_000;

/** A member. Times are in milliseconds of one monotonic clock, sizes in bytes. */
export class Member {
  readonly memory: MonitoredMemory;
  readonly scanned: ScannedProcess;
  /** As of the last sample. */
  entry: ProcessEntry;
  /** Since when references are recorded; `undefined` while they are not. */
  observedSince: number | undefined;
  /** When the history that is kept was last begun anew or judged. */
  windowSince = -Infinity;
  #residencyAt = -Infinity;
  #proportional: { bytes: number; rss: number; at: number } | undefined;

  constructor(entry: ProcessEntry, memory: MonitoredMemory, onRead: OnRead) {
    this.entry = entry;
    this.memory = memory;
    this.scanned = new ScannedProcess(new MeasuredMemory(memory, onRead));
  }

  /** Whether this is the process, and the program, of an entry. */
  is({ pid, startTime, layout }: ProcessEntry): boolean {
    const { entry } = this;
    return entry.pid === pid && entry.startTime === startTime &&
      entry.layout === layout;
  }

  /** Starts to record references. */
  async observe(now: number): Promise<void> {
    await this.memory.reset();
    this.scanned.restart();
    this.observedSince = now;
    this.windowSince = now;
  }

  /** Begins history anew: what was not referenced since the last time counts as unreferenced. */
  async renew(now: number): Promise<void> {
    this.scanned.restart(await this.scanned.memory.readPagedata());
    this.windowSince = now;
  }

  /** Adds what shows now to what is known, and resets nothing. */
  async glance(): Promise<void> {
    const { ages } = this.scanned;
    const reading = await this.memory.read("glance");
    if (!ages.pagedata) return this.scanned.merge(reading);
    ages.look(reading);
    if (ages.hasMarkedMoves) await this.memory.refresh();
  }

  /**
   * Brings the ages up to date: after an interval, what was not referenced in it is
   * one older.
   *
   * @param interval how long an interval is at least.
   */
  async age(interval: number): Promise<void> {
    const { ages, memory } = this.scanned;
    const now = performance.now();
    if (now - this.windowSince < interval) {
      // Without ages yet, nothing of it can go; and who has not run has used nothing.
      if (!ages.pagedata || !(ages.isStale || this.memory.hasRun())) return;
      return await this.glance();
    }
    ages.advance(await memory.readPagedata());
    this.windowSince = now;
    // Else the processors would not note again what they keep to themselves.
    await this.memory.refresh();
  }

  /** Reads which mappings can go, when that was not read for some time. */
  async keepResidency(life: number): Promise<void> {
    const now = performance.now();
    if (now - this.#residencyAt < life) return;
    this.scanned.residency = await this.memory.readResidency();
    this.#residencyAt = now;
  }

  /** Forgets all references and records none. */
  forget(): void {
    if (this.observedSince === undefined) return;
    this.observedSince = undefined;
    this.scanned.restart();
  }

  /** Whether references have been recorded for some time. */
  isObserved(now: number, least: number): boolean {
    return this.observedSince !== undefined &&
      now - this.observedSince >= least;
  }

  /**
   * A bound of the proportional size at little cost: what it was when it was
   * read, and all that RSS has grown since.
   */
  get proportionalBound(): number {
    const { rss } = this.entry;
    const read = this.#proportional;
    if (!read) return rss;
    return Math.min(rss, read.bytes + Math.max(0, rss - read.rss));
  }

  /** Whether the proportional size was read long ago: others may share less by now. */
  isProportionalOld(now: number): boolean {
    return this.#proportional !== undefined &&
      now - this.#proportional.at > PROPORTIONAL_LIFE;
  }

  /** Reads the proportional size. */
  async readProportional(now: number): Promise<void> {
    try {
      const { rss } = this.memory.readSizes();
      const bytes = await this.memory.readProportional();
      this.#proportional = { bytes, rss, at: now };
    } catch (error) {
      // It has gone, which the next sample notices.
      if (!(error instanceof ProcessError)) throw error;
    }
  }
}
