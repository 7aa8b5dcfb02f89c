/**
 * A dry run: reads the real process, pages out nothing, and answers the scanner as
 * if every page-out had taken what it can take.
 *
 * @module
 */

import type {
  PageoutControl,
  PageoutResult,
  PageRange,
  ProcessMemory,
  ProcessSizes,
} from "../memory/process_memory.ts";
import { WrappedMemory } from "../memory/wrapped_memory.ts";
import { accountedPins } from "./held_memory.ts";
import type { MappingFigures, MonitoredMemory, Platform } from "./platform.ts";

/** Swap that all processes of a dry run fill, in bytes. */
export interface PlannedSwap {
  free: number;
}

/** What a plan can still take of a mapping. Sizes are in bytes. */
interface Plannable {
  readonly figures: MappingFigures;
  /** How much of `figures.pageable` is left. */
  left: number;
}

/** The memory of a process, with page-outs that are only planned. */
export class DryRunMemory extends WrappedMemory {
  readonly #memory: MonitoredMemory;
  readonly #swap: PlannedSwap;
  /** Its mappings in address order, as first read. */
  #mappings: readonly Plannable[] | undefined;
  /** How much can go besides what is pinned somewhere in it, in bytes. */
  #movable = 0;
  #planned = 0;
  /**
   * The sizes as first read, so that the plan does not depend on later changes of
   * the process.
   */
  #sizes: ProcessSizes | undefined;

  constructor(memory: MonitoredMemory, swap: PlannedSwap) {
    super(memory);
    this.#memory = memory;
    this.#swap = swap;
  }

  override readSizes(): ProcessSizes {
    this.#sizes ??= super.readSizes();
    const { rss, image } = this.#sizes;
    return { rss: rss - this.#planned, image };
  }

  override async control(): Promise<PageoutControl> {
    await this.#readMappings();
    return {
      maxRanges: Infinity,
      pageOut: (ranges) =>
        Promise.resolve(ranges.map((range) => this.#plan(range))),
      [Symbol.dispose]() {},
    };
  }

  /**
   * Plans a range. Of a mapping no more is planned than its figures say can go: its
   * pages may be mapped more than once, or need more swap than is free. Of all mappings
   * no more is planned than is not pinned.
   */
  #plan({ start, bytes }: PageRange): PageoutResult {
    const mapping = mappingAt(this.#mappings ?? [], start);
    // The process has unmapped it since.
    if (!mapping) return PLANNED;
    const { pageable, toSwap, reason } = mapping.figures;
    const swapShare = pageable > 0 ? toSwap / pageable : 0;
    const wanted = Math.min(bytes, mapping.left, this.#movable);
    if (wanted === 0 && mapping.left > 0) {
      return { ...PLANNED, reason: "pinned" };
    }
    const { free } = this.#swap;
    const taken = Math.min(
      wanted,
      swapShare > 0 ? Math.floor(free / swapShare) : Infinity,
    );
    mapping.left -= taken;
    this.#movable -= taken;
    this.#swap.free = Math.max(0, free - taken * swapShare);
    this.#planned += taken;
    if (taken < wanted) return { ...PLANNED, reason: "no-swap" };
    return taken > 0 ? PLANNED : { ...PLANNED, reason: reason ?? "shared" };
  }

  /** Reads the mappings as they would be after what is planned. */
  async readMappingsAfter(): Promise<MappingFigures[]> {
    const mappings = await this.#readMappings();
    return mappings.map(({ figures, left }) => {
      const { rss, own, proportional, pageable, toSwap } = figures;
      const gone = pageable - left;
      const hasRoom = toSwap === 0 || this.#swap.free > 0;
      return {
        ...figures,
        rss: rss - gone,
        own: own - gone,
        proportional: proportional - gone,
        pageable: hasRoom ? left : 0,
        reason: figures.reason ??
          (hasRoom ? undefined : "no-swap"),
      };
    });
  }

  async #readMappings(): Promise<readonly Plannable[]> {
    if (this.#mappings) return this.#mappings;
    const mappings = await this.#memory.readMappings("scan");
    const pageable = mappings.reduce((sum, one) => sum + one.pageable, 0);
    const pinned = accountedPins(this.#memory, mappings);
    this.#movable = Math.max(0, pageable - pinned);
    return this.#mappings = mappings.map((figures) => ({
      figures,
      left: figures.pageable,
    }));
  }
}

/** Plans the scans of one group again and again: what goes in one is there in the next. */
export class RepeatedDryRun {
  readonly #platform: Platform;
  #swap: PlannedSwap = { free: 0 };

  constructor(platform: Platform) {
    this.#platform = platform;
  }

  /** Begins another scan, for which nothing is planned yet. */
  begin(): void {
    this.#swap = { free: this.#platform.memory().freeSwap };
  }

  /** Returns the memory of a process, with the page-outs of the current scan. */
  of(memory: MonitoredMemory, passedOn: ProcessMemory): ProcessMemory {
    return new ReplannedMemory(memory, passedOn, () => this.#swap);
  }
}

/** The memory of a process, with page-outs that are planned anew for every scan. */
class ReplannedMemory extends WrappedMemory {
  readonly #memory: MonitoredMemory;
  readonly #swapNow: () => PlannedSwap;
  #plan: { memory: DryRunMemory; swap: PlannedSwap } | undefined;

  /** @param swapNow returns another object for every scan. */
  constructor(
    memory: MonitoredMemory,
    passedOn: ProcessMemory,
    swapNow: () => PlannedSwap,
  ) {
    super(passedOn);
    this.#memory = memory;
    this.#swapNow = swapNow;
  }

  get #planned(): DryRunMemory {
    const swap = this.#swapNow();
    if (this.#plan?.swap !== swap) {
      this.#plan = { memory: new DryRunMemory(this.#memory, swap), swap };
    }
    return this.#plan.memory;
  }

  override readSizes(): ProcessSizes {
    return this.#planned.readSizes();
  }

  override control(): Promise<PageoutControl> {
    return this.#planned.control();
  }
}

const PLANNED: PageoutResult = { result: "planned" };

/** Finds the mapping that holds an address by bisection. */
function mappingAt(
  mappings: readonly Plannable[],
  address: bigint,
): Plannable | undefined {
  let [from, to] = [0, mappings.length];
  while (from < to) {
    const middle = (from + to) >>> 1;
    if (mappings[middle].figures.end <= address) from = middle + 1;
    else to = middle;
  }
  const mapping = mappings.at(from);
  return mapping && mapping.figures.start <= address ? mapping : undefined;
}
