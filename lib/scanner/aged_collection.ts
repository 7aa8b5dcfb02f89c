/**
 * What passes of the policy `coldest` work on and leave behind: processes with the
 * ages of their pages.
 *
 * @module
 */

import type { ProcessMemory, Residency } from "../memory/process_memory.ts";
import { PageAges } from "./ages.ts";
import {
  noStatistics,
  type ScanStatistics,
  type ScanTarget,
} from "./collection.ts";

/** One process of a collection, as passes know it. */
export class AgedProcess implements ScanTarget {
  readonly memory: ProcessMemory;
  /** How long its pages have not been used. */
  ages: PageAges = new PageAges();
  /** What of its mappings can go, where that was read. */
  residency: ReadonlyMap<bigint, Residency> | undefined = undefined;
  unscannable = false;

  constructor(memory: ProcessMemory) {
    this.memory = memory;
  }

  get pid(): number {
    return this.memory.pid;
  }

  /** Whether its ages are known: one interval has ended. */
  get isAged(): boolean {
    return this.ages.pagedata !== undefined;
  }

  get unreferenced(): number {
    return this.ages.unreferencedBytes;
  }
}

/** The processes that share one cap. */
export class AgedCollection {
  processes: AgedProcess[];
  /** Completed passes, whether or not anything was to go. */
  passes = 0;
  readonly statistics: ScanStatistics;

  /** @param statistics what passes add to. */
  constructor(
    processes: AgedProcess[],
    statistics: ScanStatistics = noStatistics(),
  ) {
    this.processes = processes;
    this.statistics = statistics;
  }
}
