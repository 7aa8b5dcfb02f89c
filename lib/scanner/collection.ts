/**
 * What the scan loop of the policy `clock` works on and leaves behind: the processes
 * that share a cap, the place of the clock's hand, and statistics.
 *
 * @module
 */

import { ProcessError } from "../errors.ts";
import { type Pagedata, unreferencedBytes } from "../memory/pagedata.ts";
import type { ProcessMemory } from "../memory/process_memory.ts";
import { IgnoredSet } from "./ignored_set.ts";
import { mergePagedata } from "./merge.ts";

/** One process, as every scan knows it. */
export interface ScanTarget {
  readonly memory: ProcessMemory;
  readonly pid: number;
  /** Size of its unreferenced pages at the last reading, in bytes. */
  readonly unreferenced: number;
  /** Whether page-outs of it failed, so that it is no victim any more. */
  readonly unscannable: boolean;
}

/** One process of a collection, as the scan loop knows it. */
export class ScannedProcess implements ScanTarget {
  readonly memory: ProcessMemory;
  /** What was referenced or modified since the last page-out walk; none before the first reading. */
  pagedata: Pagedata | undefined = undefined;
  readonly ignored: IgnoredSet = new IgnoredSet();
  unreferenced = 0;
  unscannable = false;

  constructor(memory: ProcessMemory) {
    this.memory = memory;
  }

  get pid(): number {
    return this.memory.pid;
  }

  /** Adds a reading to what is accumulated: no reference that either knows is lost. */
  merge(reading: Pagedata): void {
    const changed = !this.pagedata || mergePagedata(this.pagedata, reading);
    this.pagedata = reading;
    if (changed) this.ignored.clear();
    this.unreferenced = unreferencedBytes(reading);
  }

  /** Forgets what is accumulated for a reading, or for nothing: history starts anew. */
  restart(reading?: Pagedata): void {
    this.pagedata = reading;
    this.ignored.clear();
    this.unreferenced = reading ? unreferencedBytes(reading) : 0;
  }
}

/** Statistics of a collection since it was made. Sizes in bytes, times in seconds. */
export interface ScanStatistics {
  /** Size of the ranges that were paged out or left out as ignored. */
  attempted: number;
  /** By how much that lowered RSS. */
  effective: number;
  /** Completed scans: those that reached the end of the last process. */
  scanCount: number;
  /** Completed scans that began at the beginning and did not cover the excess. */
  ineffective: number;
  /** Time spent in scans. */
  scanTime: number;
  /** `scanTime` when the last completed scan ended. */
  completedScanTime: number;
}

/** The statistics of a collection that was not scanned yet. */
export function noStatistics(): ScanStatistics {
  return {
    attempted: 0,
    effective: 0,
    scanCount: 0,
    ineffective: 0,
    scanTime: 0,
    completedScanTime: 0,
  };
}

/** The processes that share one cap, in list order, and where the next scan goes on. */
export class ScanCollection {
  processes: ScannedProcess[];
  /** The process that the next scan begins with. */
  victim: ScannedProcess | undefined = undefined;
  /** The address in it to go on from; its beginning when `undefined`. */
  resumeAddress: bigint | undefined = undefined;
  readonly statistics: ScanStatistics;

  /** @param statistics what scans add to. */
  constructor(
    processes: ScannedProcess[],
    statistics: ScanStatistics = noStatistics(),
  ) {
    this.processes = processes;
    this.statistics = statistics;
  }
}

/**
 * By how much the RSS of a process has fallen since it was last read, in bytes; 0
 * when it cannot be read: the next step finds out whether the process is gone.
 *
 * @param last takes the RSS that is read.
 */
export function takeFall(
  { memory }: ScanTarget,
  last: { rss: number },
): number {
  try {
    const { rss } = memory.readSizes();
    const fell = last.rss - rss;
    last.rss = rss;
    return fell;
  } catch (error) {
    if (!(error instanceof ProcessError)) throw error;
    return 0;
  }
}
