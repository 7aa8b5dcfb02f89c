/**
 * How exactly one process is known. What is kept of a process is its own choice
 * otherwise: it can have tens of thousands of mappings, and map the same memory a
 * thousand times. So there are limits, for one process and for all together, and a
 * process that is beyond them is known more coarsely.
 *
 * Whoever stays within them is known exactly, whatever others do, unless all of them
 * together are too many.
 *
 * @module
 */

import { ProcessError } from "../../errors.ts";
import { formatSize } from "../../report/units.ts";
import { mostMemory } from "../memory_limits.ts";
import type { PagedataPurpose } from "../platform.ts";
import { Budget } from "./budget.ts";
import type { NamesKept } from "./mapping_names.ts";
import type { JoinedMappings } from "./joined_mappings.ts";
import {
  BLOCK,
  COARSEST,
  type MappingPart,
  PageRecorder,
  partsOf,
  UNIT_BYTES,
} from "./page_recorder.ts";
import { SmapsParser } from "./smaps.ts";

/** Size of the pages that are counted. */
const PAGE = 4096;

/** About what is kept of a mapping, in bytes: itself, what of it can go, and their addresses. */
const MAPPING_BYTES = 256;

/**
 * How many mappings of one process are kept: a quarter of those that Linux allows by
 * default is more than nearly all programs have (`DEFAULT_MAX_MAP_COUNT`
 * of include/linux/mm.h is 65,530; some distributions set `vm.max_map_count` to a
 * million).
 */
const MOST_MAPPINGS = 16_384;

/**
 * How many mappings are told of one process that somebody wants to see: all that
 * Linux allows by default, twice.
 */
const MOST_SHOWN = 131_072;

/** What the processes of a platform share. */
export interface PrecisionBudgets {
  /** Mappings. */
  readonly mappings: Budget;
  /** Recorded pages, in units of four bytes. */
  readonly pages: Budget;
}

/**
 * Budgets that together take three eighths of what the daemon may take. Those for
 * pages are for more than twice the memory of the machine: more than that only what is
 * mapped more than once can be, and the kernel does not page it out while it is.
 *
 * @param physical memory of the machine, in bytes.
 */
export function precisionBudgets(physical: number): PrecisionBudgets {
  const most = mostMemory(physical);
  return {
    mappings: new Budget(Math.floor(most / 8 / MAPPING_BYTES)),
    pages: new Budget(Math.floor(most / 4 / UNIT_BYTES)),
  };
}

/** What is known of the mappings of a process. */
interface MappingCount {
  readonly found: number;
  readonly leftOut: number;
  readonly areJoined: boolean;
}

/**
 * Makes sure that what is to be shown page by page was recorded so.
 *
 * @throws ProcessError when there was no room for all of it.
 */
export function requireRoom(
  pid: number,
  { leftOut }: PageRecorder,
  { purpose }: { readonly purpose: PagedataPurpose },
): void {
  if (purpose !== "inspect" || leftOut === 0) return;
  throw new ProcessError(
    pid,
    `process ${pid} maps more memory than rcap can show by the page, some of it many times`,
  );
}

/** How exactly one process is known. */
export class Precision {
  readonly #key: string;
  readonly #budgets: PrecisionBudgets | undefined;
  /** How coarsely its pages are to be recorded, and were. */
  #step = 0;
  #recordedStep = 0;
  #pagesLeftOut = 0;
  #mappings: MappingCount | undefined;

  /**
   * @param key tells processes apart.
   * @param budgets what it shares; without, it is known as exactly as can be.
   */
  constructor(key = "", budgets?: PrecisionBudgets) {
    this.#key = key;
    this.#budgets = budgets;
  }

  /** What reads its mappings for a purpose. */
  parser(purpose: PagedataPurpose, names: NamesKept = "kinds"): SmapsParser {
    return new SmapsParser({ most: this.#mostMappings(purpose), names });
  }

  #mostMappings(purpose: PagedataPurpose): number {
    if (purpose === "inspect") return MOST_SHOWN;
    const budget = this.#budgets?.mappings;
    if (!budget) return Infinity;
    return Math.min(MOST_MAPPINGS, budget.mostOf(this.#key, MOST_MAPPINGS));
  }

  /** What records its pages; about how many there will be has to be known. */
  recorder(purpose: PagedataPurpose, pages: number): PageRecorder {
    const most = this.#budgets?.pages.mostOf(this.#key, pages) ?? Infinity;
    if (purpose === "inspect") {
      return new PageRecorder({ most, step: 0, expectedPages: pages });
    }
    if (pages > most) this.#step = Math.max(this.#step, 1);
    const step = this.#recordedStep = this.#step;
    return new PageRecorder({ most, step, expectedPages: pages });
  }

  /**
   * Takes note of what was recorded.
   *
   * @param holder the pagedata that was made of it.
   * @returns whether it has to be recorded again, more coarsely.
   */
  noteRecorded(
    { wanted, leftOut }: PageRecorder,
    { found, leftOut: mappingsLeftOut, areJoined }: JoinedMappings,
    holder: object,
  ): boolean {
    this.#mappings = { found, leftOut: mappingsLeftOut, areJoined };
    this.#pagesLeftOut = leftOut;
    const budgets = this.#budgets;
    if (!budgets) return false;
    const wantedMappings = Math.min(found, MOST_MAPPINGS);
    budgets.mappings.note(this.#key, wantedMappings, holder);
    budgets.pages.note(this.#key, wanted, holder);
    if (leftOut === 0) {
      // As soon as all of it has room again, it is known exactly again.
      const most = budgets.pages.mostOf(this.#key, wanted);
      if (this.#step > 0 && wanted <= most) this.#step = 0;
      return false;
    }
    if (this.#step === COARSEST) return false;
    this.#step++;
    return true;
  }

  /** The parts in which a mapping is recorded. */
  partsOf(bytes: number, pageSize: number): MappingPart[] {
    return partsOf({ pages: bytes / pageSize, pageSize }, this.#recordedStep);
  }

  /** Why it is known less exactly than others, for a person. */
  get coarseness(): string | undefined {
    const reasons: string[] = [];
    const count = this.#mappings;
    if (count?.areJoined) {
      reasons.push(
        `it has ${count.found} mappings, more than rcap keeps of a process, so those next to each other are taken for one` +
          (count.leftOut > 0
            ? `, and the last ${count.leftOut} are passed over`
            : ""),
      );
    }
    if (this.#recordedStep > 0) {
      reasons.push(
        `it maps more memory than rcap keeps in mind page by page, so its large mappings are known by ${
          formatSize(BLOCK)
        }` +
          (this.#pagesLeftOut > 0
            ? `, and ${
              formatSize(this.#pagesLeftOut * PAGE)
            } or more are passed over`
            : ""),
      );
    }
    return reasons.length > 0 ? reasons.join("; ") : undefined;
  }
}
