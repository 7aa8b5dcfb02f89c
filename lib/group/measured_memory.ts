/**
 * The memory of a process, which measures what reads of its pagedata cost, and how much
 * of it goes to swap.
 *
 * @module
 */

import type { Pagedata } from "../memory/pagedata.ts";
import type {
  PageoutControl,
  PageRange,
  Residency,
} from "../memory/process_memory.ts";
import { WrappedMemory } from "../memory/wrapped_memory.ts";
import type { MonitoredMemory, ReadCost } from "../platform/platform.ts";

/** Called after each read of pagedata with what it has cost. */
export type OnRead = (cost: ReadCost) => void;

/** Called after each page-out with how much of it can only have gone to swap, in bytes. */
export type OnSwap = (bytes: number) => void;

/** Measures reads of pagedata, and page-outs. */
export class MeasuredMemory extends WrappedMemory {
  readonly #memory: MonitoredMemory;
  readonly #onRead: OnRead;
  readonly #onSwap: OnSwap;
  #residency: ReadonlyMap<bigint, Residency> | undefined;

  constructor(
    memory: MonitoredMemory,
    onRead: OnRead,
    onSwap: OnSwap = () => {},
  ) {
    super(memory);
    this.#memory = memory;
    this.#onRead = onRead;
    this.#onSwap = onSwap;
  }

  override async readResidency(): Promise<
    ReadonlyMap<bigint, Residency> | undefined
  > {
    return this.#residency = await super.readResidency();
  }

  override async control(): Promise<PageoutControl> {
    const control = await super.control();
    return {
      maxRanges: control.maxRanges,
      cool: control.cool && ((ranges) => control.cool!(ranges)),
      pageOut: async (ranges, signal) => {
        const results = await control.pageOut(ranges, signal);
        const went = ranges.filter((range, at) =>
          results[at]?.result === "done" && this.#goesToSwap(range)
        );
        this.#onSwap(went.reduce((sum, { bytes }) => sum + bytes, 0));
        return results;
      },
      [Symbol.dispose]: () => control[Symbol.dispose](),
    };
  }

  /** Whether some of a range may go to swap; what is not known does. */
  #goesToSwap({ mappingStart }: PageRange): boolean {
    return this.#residency?.get(mappingStart)?.toSwap !== 0;
  }

  override async readPagedata(): Promise<Pagedata> {
    const before = { ...this.#memory.readCost };
    const pagedata = await super.readPagedata();
    const { pages, seconds } = this.#memory.readCost;
    this.#onRead({
      pages: pages - before.pages,
      seconds: seconds - before.seconds,
    });
    return pagedata;
  }
}
