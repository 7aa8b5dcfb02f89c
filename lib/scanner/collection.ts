/**
 * What a scan works on and leaves behind: the processes that share a cap, the
 * place of the clock's hand, and statistics.
 *
 * @module
 */

import { ProcessError } from "../errors.ts";
import { type Pagedata, unreferencedBytes } from "../memory/pagedata.ts";
import type { ProcessMemory, Residency } from "../memory/process_memory.ts";
import { PageAges } from "./ages.ts";
import { IgnoredSet } from "./ignored_set.ts";
import { mergePagedata } from "./merge.ts";

/** One process of a collection, as the scanner knows it. */
export class ScannedProcess {
  readonly memory: ProcessMemory;
  /** What was referenced or modified since the last page-out walk; none before the first reading. */
  pagedata: Pagedata | undefined = undefined;
  readonly ignored: IgnoredSet = new IgnoredSet();
  /** Size of its unreferenced pages at the last reading, in bytes. */
  unreferenced = 0;
  /** How long its pages have not been used, for the policy that knows ages. */
  ages: PageAges = new PageAges();
  /** What of its mappings can go, where that was read; for the same policy. */
  residency: ReadonlyMap<bigint, Residency> | undefined = undefined;
  /** Whether page-outs of it failed, so that it is no victim any more. */
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
    this.ages = new PageAges();
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

/** The processes that share one cap, in list order, and where the next scan goes on. */
export class ScanCollection {
  processes: ScannedProcess[];
  /** The process that the next scan begins with. */
  victim: ScannedProcess | undefined = undefined;
  /** The address in it to go on from; its beginning when `undefined`. */
  resumeAddress: bigint | undefined = undefined;
  /** Completed passes of the policy `coldest`, whether or not anything was to go. */
  passes = 0;
  readonly statistics: ScanStatistics = {
    attempted: 0,
    effective: 0,
    scanCount: 0,
    ineffective: 0,
    scanTime: 0,
    completedScanTime: 0,
  };

  constructor(processes: ScannedProcess[]) {
    this.processes = processes;
  }
}

/**
 * By how much the RSS of a process has fallen since it was last read, in bytes; 0
 * when it cannot be read: the next step finds out whether the process is gone.
 *
 * @param last takes the RSS that is read.
 */
export function takeFall(
  { memory }: ScannedProcess,
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
