/**
 * How exactly a process is known. Without limits, a process decides how much rcap
 * keeps: it can have tens of thousands of mappings, and map the same memory a
 * thousand times. So there are limits, for one process and for all together, and a
 * process beyond them is known more coarsely.
 *
 * A process within the limits is known exactly, whatever others do, unless all
 * processes together are too many.
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

/** Size of the counted pages, in bytes. */
const PAGE = 4096;

/**
 * The approximate memory that a mapping takes, in bytes: the mapping, its
 * residency, and their addresses.
 */
const MAPPING_BYTES = 256;

/**
 * The most mappings of one process that are kept: a quarter of what Linux allows by
 * default, and more than nearly all programs have (`DEFAULT_MAX_MAP_COUNT` of
 * include/linux/mm.h is 65,530; some distributions set `vm.max_map_count` to a
 * million).
 */
const MOST_MAPPINGS = 16_384;

/**
 * The most mappings of one process that `inspect` shows: twice as many as Linux
 * allows by default.
 */
const MOST_SHOWN = 131_072;

/** Budgets that the processes of a platform share. */
export interface PrecisionBudgets {
  /** Mappings. */
  readonly mappings: Budget;
  /** Recorded pages, in units of eight bytes. */
  readonly pages: Budget;
}

/**
 * Returns budgets that together take three eighths of what the daemon may take. The
 * page budget suffices for more than the machine's memory: only pages that are mapped
 * more than once can exceed it, and the kernel does not page those out.
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

/** The mappings of a process, counted. */
interface MappingCount {
  readonly found: number;
  readonly leftOut: number;
  readonly areJoined: boolean;
}

/**
 * Checks that pages for `inspect` were recorded one by one.
 *
 * @throws ProcessError if there was not room for all of them.
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
  /** The step for the next recording, and that of the last. */
  #step = 0;
  #recordedStep = 0;
  #pagesLeftOut = 0;
  #mappings: MappingCount | undefined;
  #whyByMapping: string | undefined;

  /**
   * @param key identifies the process.
   * @param budgets the shared budgets; without them, the process is known exactly.
   */
  constructor(key = "", budgets?: PrecisionBudgets) {
    this.#key = key;
    this.#budgets = budgets;
  }

  /** Returns a parser of its mappings for a purpose. */
  parser(purpose: PagedataPurpose, names: NamesKept = "kinds"): SmapsParser {
    return new SmapsParser({ most: this.#mostMappings(purpose), names });
  }

  #mostMappings(purpose: PagedataPurpose): number {
    if (purpose === "inspect") return MOST_SHOWN;
    const budget = this.#budgets?.mappings;
    if (!budget) return Infinity;
    return Math.min(MOST_MAPPINGS, budget.mostOf(this.#key, MOST_MAPPINGS));
  }

  /** Returns a recorder of its pages. */
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
   * Notes what was recorded.
   *
   * @param holder the pagedata that uses the memory.
   * @returns Whether the process must be recorded again, more coarsely.
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
      // If everything has room again, the next recording is exact.
      const most = budgets.pages.mostOf(this.#key, wanted);
      if (this.#step > 0 && wanted <= most) this.#step = 0;
      return false;
    }
    if (this.#step === COARSEST) return false;
    this.#step++;
    return true;
  }

  /**
   * Notes where references came from.
   *
   * @param whyByMapping why they are known by mapping only, in words; `undefined` if
   * the source of the platform could read them.
   */
  noteSource(whyByMapping: string | undefined): void {
    this.#whyByMapping = whyByMapping;
  }

  /** Whether references are known by mapping only, unlike those of other processes. */
  get isByMapping(): boolean {
    return this.#whyByMapping !== undefined;
  }

  /** Returns the parts in which a mapping is recorded. */
  partsOf(bytes: number, pageSize: number): MappingPart[] {
    return partsOf({ pages: bytes / pageSize, pageSize }, this.#recordedStep);
  }

  /** Describes for people why the process is not known exactly; `undefined` if it is. */
  get coarseness(): string | undefined {
    const reasons: string[] = [];
    if (this.#whyByMapping !== undefined) {
      reasons.push(
        `its references are known by mapping only, because ${this.#whyByMapping}`,
      );
    }
    const count = this.#mappings;
    if (count?.areJoined) {
      reasons.push(
        `it has ${count.found} mappings, more than rcap keeps of a process, so neighbours are treated as one` +
          (count.leftOut > 0
            ? `, and the last ${count.leftOut} are left out`
            : ""),
      );
    }
    if (this.#recordedStep > 0) {
      reasons.push(
        `it maps more memory than rcap can record by the page, so its large mappings are known in blocks of ${
          formatSize(BLOCK)
        }` +
          (this.#pagesLeftOut > 0
            ? `, and ${
              formatSize(this.#pagesLeftOut * PAGE)
            } or more are left out`
            : ""),
      );
    }
    return reasons.length > 0 ? reasons.join("; ") : undefined;
  }
}
