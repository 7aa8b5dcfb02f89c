/**
 * The state of the passes of the policy `coldest`: the processes of a collection, and
 * the ages of their pages.
 *
 * @module
 */

import type { ProcessMemory, Residency } from "../memory/process_memory.ts";
import { PageAges, type PageAgesOptions } from "./ages.ts";
import {
  noStatistics,
  type ScanStatistics,
  type ScanTarget,
} from "./collection.ts";

/** One process of a collection, as passes see it. */
export class AgedProcess implements ScanTarget {
  readonly memory: ProcessMemory;
  /** For how long its pages have been idle. */
  ages: PageAges;
  /** Which of its mappings can be paged out; `undefined` if not read. */
  residency: ReadonlyMap<bigint, Residency> | undefined = undefined;
  unscannable = false;
  /**
   * Whether nothing uses its memory until further notice: all of it is idle, whatever its
   * references show, and goes before that of others.
   */
  isResting = false;

  readonly #options: PageAgesOptions;

  /** @param options what is to be known of it besides its ages. */
  constructor(memory: ProcessMemory, options: PageAgesOptions = {}) {
    this.memory = memory;
    this.#options = options;
    this.ages = new PageAges(options);
  }

  /** Forgets all ages. */
  forget(): void {
    this.ages = new PageAges(this.#options);
  }

  get pid(): number {
    return this.memory.pid;
  }

  /** The size of its pages that were referenced in the last interval, in bytes. */
  get referenced(): number {
    return this.isResting ? 0 : this.ages.referencedBytes;
  }

  /** Whether its ages are known, which takes one interval. */
  get isAged(): boolean {
    return this.ages.pagedata !== undefined;
  }

  get unreferenced(): number {
    return this.isResting
      ? this.ages.residentBytes
      : this.ages.unreferencedBytes;
  }
}

/** The processes of a collection. */
export class AgedCollection {
  processes: AgedProcess[];
  /** Completed passes, including those that paged out nothing. */
  passes = 0;
  readonly statistics: ScanStatistics;

  /** @param statistics the totals that passes update. */
  constructor(
    processes: AgedProcess[],
    statistics: ScanStatistics = noStatistics(),
  ) {
    this.processes = processes;
    this.statistics = statistics;
  }
}
