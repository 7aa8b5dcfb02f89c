/**
 * One process of a group, which the daemon keeps from one interval to the next.
 *
 * @module
 */

import { ProcessError } from "../errors.ts";
import type { ProcessMemory } from "../memory/process_memory.ts";
import type { RepeatedDryRun } from "../platform/dry_run.ts";
import type {
  Container,
  MonitoredMemory,
  ProcessEntry,
  ProcessSample,
} from "../platform/platform.ts";
import {
  MeasuredMemory,
  type OnPagedata,
  type OnRead,
  type OnTaken,
} from "./measured_memory.ts";
import {
  estimateSize,
  type FootprintReading,
  type SampledSizes,
} from "./size_estimate.ts";

/** How old a footprint may get, in milliseconds. */
const FOOTPRINT_LIFE = 60_000;

/** A member. Times are in milliseconds of a monotonic clock, sizes in bytes. */
export class Member {
  readonly memory: MonitoredMemory;
  /** The same memory, for scans. */
  readonly scanMemory: ProcessMemory;
  /** As of the last sample. */
  entry: ProcessEntry;
  /** As of the last sample. */
  sizes: SampledSizes;
  /** Its container when it joined; `undefined` if it was in none. */
  readonly container: Container | undefined;
  /** Whether it is a member no more. */
  hasLeft = false;
  /** The members of all groups that have its address space, in order; empty if it has it alone. */
  sharers: readonly Member[] = [];
  #reading: FootprintReading | undefined;
  /** When its footprint was last read, or could not be. */
  #triedAt = -Infinity;

  /**
   * @param then `onTaken` is called with what is paged out, `onPagedata` with readings, and `dryRun` plans what scans
   * page out; by default they do it.
   */
  constructor(
    entry: ProcessEntry,
    memory: MonitoredMemory,
    onRead: OnRead,
    { onTaken, onPagedata, dryRun, container }: {
      onTaken?: OnTaken;
      onPagedata?: OnPagedata;
      dryRun?: RepeatedDryRun;
      container?: Container;
    } = {},
  ) {
    this.container = container;
    this.entry = entry;
    this.sizes = { rss: entry.rss, fileRss: 0, rssError: 0 };
    this.memory = memory;
    const measured = new MeasuredMemory(memory, onRead, onTaken, onPagedata);
    this.scanMemory = dryRun?.of(memory, measured) ?? measured;
  }

  /** Whether an entry is of the same process, executing the same program. */
  is({ pid, startTime, layout }: ProcessEntry): boolean {
    const { entry } = this;
    return entry.pid === pid && entry.startTime === startTime &&
      entry.layout === layout;
  }

  /** Takes over a new sample of it. */
  take(sample: ProcessSample): void {
    this.entry = sample;
    this.sizes = sample;
  }

  /** Whether its memory counts, and is paged out, as that of a member before it. */
  get countsElsewhere(): boolean {
    const first = this.sharers.find(({ hasLeft }) => !hasLeft);
    return first !== undefined && first !== this;
  }

  /** Its proportional size, estimated from the last footprint; RSS if there is none. */
  get proportional(): number {
    return this.#reading
      ? estimateSize(this.#reading, this.sizes)
      : this.sizes.rss;
  }

  /** Whether its footprint was read, or could not be. */
  get wasRead(): boolean {
    return this.#triedAt > -Infinity;
  }

  /** Whether its footprint has to be read, for the first time or again: others may share its pages by now. */
  isDue(now: number): boolean {
    return now - this.#triedAt >= FOOTPRINT_LIFE;
  }

  /**
   * Reads the footprint.
   *
   * @param sample samples the process right afterwards; `undefined` if it has exited.
   */
  async readFootprint(
    now: number,
    sample: () => ProcessSample | undefined,
  ): Promise<void> {
    try {
      const footprint = await this.memory.readFootprint();
      const then = sample();
      if (!then) return;
      this.take(then);
      this.#reading = { footprint, then };
    } catch (error) {
      // It has exited, which the next sample notices, or does not answer.
      if (!(error instanceof ProcessError)) throw error;
    } finally {
      this.#triedAt = now;
    }
  }
}
