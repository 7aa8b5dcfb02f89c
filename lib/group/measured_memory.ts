/**
 * The memory of a process, which measures what reads of its pagedata cost, and counts what
 * is paged out.
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

/**
 * What the system took of the ranges that it was given, in bytes: an upper bound of what
 * went. By how much the resident size fell does not tell, because a process may grow at
 * the same time.
 */
export interface Taken {
  bytes: number;
  /** The part that may have gone to swap. */
  toSwap: number;
}

/** Called after each page-out. */
export type OnTaken = (taken: Readonly<Taken>) => void;

/** Called with each reading after which references were reset, before anyone changes it. */
export type OnPagedata = (pagedata: Pagedata) => void;

/** Measures reads of pagedata, and page-outs. */
export class MeasuredMemory extends WrappedMemory {
  readonly #memory: MonitoredMemory;
  readonly #onRead: OnRead;
  readonly #onTaken: OnTaken;
  readonly #onPagedata: OnPagedata;
  #residency: ReadonlyMap<bigint, Residency> | undefined;

  constructor(
    memory: MonitoredMemory,
    onRead: OnRead,
    onTaken: OnTaken = () => {},
    onPagedata: OnPagedata = () => {},
  ) {
    super(memory);
    this.#memory = memory;
    this.#onRead = onRead;
    this.#onTaken = onTaken;
    this.#onPagedata = onPagedata;
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
        const taken = ranges.filter((_, at) => results[at]?.result === "done");
        this.#onTaken({
          bytes: sumOf(taken),
          toSwap: sumOf(taken.filter((range) => this.#goesToSwap(range))),
        });
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
    this.#onPagedata(pagedata);
    return pagedata;
  }
}

function sumOf(ranges: readonly PageRange[]): number {
  return ranges.reduce((sum, { bytes }) => sum + bytes, 0);
}
