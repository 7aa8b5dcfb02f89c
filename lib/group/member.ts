/**
 * One process of a group, which the daemon keeps from one interval to the next.
 *
 * @module
 */

import { ProcessError } from "../errors.ts";
import type { ProcessMemory } from "../memory/process_memory.ts";
import type { MonitoredMemory, ProcessEntry } from "../platform/platform.ts";
import { MeasuredMemory, type OnRead } from "./measured_memory.ts";

/** How old a proportional size may get, in milliseconds. */
const PROPORTIONAL_LIFE = 60_000;

/** A member. Times are in milliseconds of a monotonic clock, sizes in bytes. */
export class Member {
  readonly memory: MonitoredMemory;
  /** The same memory, for scans. */
  readonly scanMemory: ProcessMemory;
  /** As of the last sample. */
  entry: ProcessEntry;
  #proportional: { bytes: number; rss: number; at: number } | undefined;

  constructor(entry: ProcessEntry, memory: MonitoredMemory, onRead: OnRead) {
    this.entry = entry;
    this.memory = memory;
    this.scanMemory = new MeasuredMemory(memory, onRead);
  }

  /** Whether an entry is of the same process, executing the same program. */
  is({ pid, startTime, layout }: ProcessEntry): boolean {
    const { entry } = this;
    return entry.pid === pid && entry.startTime === startTime &&
      entry.layout === layout;
  }

  /**
   * An upper bound of the proportional size, which reads nothing: the size as last
   * read plus the growth of RSS since.
   */
  get proportionalBound(): number {
    const { rss } = this.entry;
    const read = this.#proportional;
    if (!read) return rss;
    return Math.min(rss, read.bytes + Math.max(0, rss - read.rss));
  }

  /** Whether the proportional size was read long ago: fewer processes may share pages by now. */
  isProportionalOld(now: number): boolean {
    return this.#proportional !== undefined &&
      now - this.#proportional.at > PROPORTIONAL_LIFE;
  }

  /** Reads the proportional size. */
  async readProportional(now: number): Promise<void> {
    try {
      const { proportional, rss } = await this.memory.readFootprint();
      this.#proportional = { bytes: proportional, rss, at: now };
    } catch (error) {
      // It has exited, which the next sample notices.
      if (!(error instanceof ProcessError)) throw error;
    }
  }
}
