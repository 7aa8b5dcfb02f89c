/**
 * The state of the scan loop of the policy `clock`: the processes of a collection, the
 * position of the clock's hand, and statistics.
 *
 * @module
 */

import { ProcessError } from "../errors.ts";
import {
  type Pagedata,
  recordedBytes,
  unreferencedBytes,
} from "../memory/pagedata.ts";
import type { ProcessMemory } from "../memory/process_memory.ts";
import { IgnoredSet } from "./ignored_set.ts";
import { mergePagedata } from "./merge.ts";

/** One process, as all scans see it. */
export interface ScanTarget {
  readonly memory: ProcessMemory;
  readonly pid: number;
  /** Size of its unreferenced pages when last read, in bytes. */
  readonly unreferenced: number;
  /** Whether page-outs of it failed, so that it is not a victim any more. */
  readonly unscannable: boolean;
}

/** One process of a collection, as the scan loop sees it. */
export class ScannedProcess implements ScanTarget {
  readonly memory: ProcessMemory;
  /** What was referenced or modified since the last page-out walk; `undefined` before the first read. */
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

  /** Size of its referenced or modified pages, in bytes. */
  get referenced(): number {
    const { pagedata } = this;
    if (!pagedata) return 0;
    const recorded = pagedata.mappings.reduce(
      (sum, mapping) => sum + recordedBytes(pagedata, mapping),
      0,
    );
    return recorded - unreferencedBytes(pagedata);
  }

  /** Adds newly read pagedata to the accumulated pagedata. No reference in either is lost. */
  merge(reading: Pagedata): void {
    const changed = !this.pagedata || mergePagedata(this.pagedata, reading);
    this.pagedata = reading;
    if (changed) this.ignored.clear();
    this.unreferenced = unreferencedBytes(reading);
  }

  /** Replaces the accumulated pagedata, or discards it: history starts again. */
  restart(reading?: Pagedata): void {
    this.pagedata = reading;
    this.ignored.clear();
    this.unreferenced = reading ? unreferencedBytes(reading) : 0;
  }
}

/** Statistics of a collection since it was created. Sizes are in bytes, times in seconds. */
export interface ScanStatistics {
  /** Size of the ranges that were paged out, or skipped as ignored. */
  attempted: number;
  /** By how much RSS fell. */
  effective: number;
  /** Completed scans, which reached the end of the last process. */
  scanCount: number;
  /** Completed scans that started at the beginning and did not cover the excess. */
  ineffective: number;
  /** Time spent in scans. */
  scanTime: number;
  /** `scanTime` when the last completed scan ended. */
  completedScanTime: number;
}

/** The statistics of a collection that has not been scanned yet. */
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

/** The processes of a collection, in list order, and where the next scan continues. */
export class ScanCollection {
  processes: ScannedProcess[];
  /** The process at which the next scan starts. */
  victim: ScannedProcess | undefined = undefined;
  /** The address in it at which the next scan starts; `undefined` for its beginning. */
  resumeAddress: bigint | undefined = undefined;
  readonly statistics: ScanStatistics;

  /** @param statistics the totals that scans update. */
  constructor(
    processes: ScannedProcess[],
    statistics: ScanStatistics = noStatistics(),
  ) {
    this.processes = processes;
    this.statistics = statistics;
  }
}

/**
 * Returns by how much the RSS of a process has fallen since it was last read, in bytes;
 * 0 if it cannot be read: the next step finds out whether the process has exited.
 *
 * @param last the RSS as last read, which is updated.
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
