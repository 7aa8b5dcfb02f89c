/**
 * The scan loop: lowers the resident set of one collection by an excess. It pages
 * out unreferenced pages, and keeps its place for the next scan like the hand of a
 * clock.
 *
 * @module
 */

import { ProcessError } from "../errors.ts";
import {
  clearBits,
  type Pagedata,
  type PagedataMapping,
  recordedBytes,
} from "../memory/pagedata.ts";
import type {
  PageoutControl,
  PageoutResult,
  PageRange,
  Residency,
  SkipReason,
} from "../memory/process_memory.ts";
import {
  type ScanCollection,
  type ScannedProcess,
  type ScanTarget,
  takeFall,
} from "./collection.ts";
import { processAfter, validVictim } from "./victim.ts";
import {
  addressAt,
  type Position,
  positionOf,
  skipReason,
  takeUnreferencedRange,
} from "./walk.ts";

/** After this many completed scans the ignored sets are emptied. */
const IGNORED_SET_LIFE = 10;

/** A step of a scan. Sizes are in bytes. */
export type ScanEvent =
  /** A process could not be read or controlled, or failed a page-out. */
  | { type: "error"; process: ScanTarget; error: ProcessError }
  /** Unreferenced pages alone will not do; working-set pages go too. */
  | { type: "insufficient"; unreferenced: number; excess: number }
  /** A process becomes the victim. */
  | {
    type: "victim";
    process: ScanTarget;
    resumeAddress: bigint | undefined;
    excess: number;
  }
  /** A mapping is passed over. */
  | {
    type: "skip";
    process: ScanTarget;
    mapping: PagedataMapping;
    reason: SkipReason;
  }
  /** Ranges were paged out; `fell` is by how much RSS fell. */
  | {
    type: "pageout";
    process: ScanTarget;
    ranges: readonly PageRange[];
    results: readonly PageoutResult[];
    fell: number;
    excess: number;
  }
  /** A mapping has shown to be unpageable. */
  | { type: "ignore"; process: ScanTarget; mapping: PagedataMapping }
  /** The scan ends. */
  | { type: "end"; excess: number; complete: boolean };

export interface ScanOptions {
  /** By how much the resident set should fall, in bytes. */
  excess: number;
  /**
   * Leaves referenced pages alone even if the rest does not suffice: for
   * collections in which processes that cannot be judged yet may hold more.
   */
  spareReferenced?: boolean;
  /** Asks the scan to stop. It releases its victim and returns. */
  signal?: AbortSignal;
  /** Called with each step of the scan. */
  onEvent?: (event: ScanEvent) => void;
}

/** The result of one scan. */
export interface ScanResult {
  /** The remaining excess, in bytes; negative if more was paged out than requested. */
  excess: number;
  /** Whether the scan reached the end of the last process. */
  complete: boolean;
}

/**
 * Scans a collection once.
 *
 * A process that cannot be read, controlled or paged out is passed over and
 * reported by an event. It never ends the scan.
 */
export async function scan(
  collection: ScanCollection,
  options: ScanOptions,
): Promise<ScanResult> {
  const started = performance.now();
  const { statistics } = collection;
  const scanOfCollection = new Scan(collection, options);
  const result = await scanOfCollection.run();
  statistics.scanTime += (performance.now() - started) / 1000;
  if (result.complete) statistics.completedScanTime = statistics.scanTime;
  options.onEvent?.({ type: "end", ...result });
  return result;
}

/** A victim and the data that its walk uses. */
interface Visited {
  readonly victim: ScannedProcess;
  readonly pagedata: Pagedata;
  readonly residency: ReadonlyMap<bigint, Residency> | undefined;
}

/** A victim while it is controlled. */
interface Turn extends Visited {
  readonly control: PageoutControl;
  /** The last reading of RSS, in bytes. */
  rss: number;
}

/** A range and its place in the pagedata. */
interface PlannedRange extends PageRange {
  readonly position: Position;
  /** Whether it contains every recorded page of its mapping. */
  readonly whole: boolean;
}

/** One scan in progress. */
class Scan {
  readonly #collection: ScanCollection;
  readonly #spareReferenced: boolean;
  readonly #signal: AbortSignal | undefined;
  readonly #emit: (event: ScanEvent) => void;
  #excess: number;

  constructor(collection: ScanCollection, options: ScanOptions) {
    this.#collection = collection;
    this.#excess = options.excess;
    this.#spareReferenced = options.spareReferenced ?? false;
    this.#signal = options.signal;
    this.#emit = options.onEvent ?? (() => {});
  }

  async run(): Promise<ScanResult> {
    const collection = this.#collection;
    const { statistics } = collection;
    let victim = validVictim(collection.processes, collection.victim);
    const resumed = victim !== undefined && victim === collection.victim &&
      collection.resumeAddress !== undefined;
    let address = resumed ? collection.resumeAddress : undefined;
    let complete = false;

    if (victim) await this.#mergeFrom(victim);

    while (victim && this.#excess > 0 && !this.#signal?.aborted) {
      address = await this.#scanVictim(victim, address);
      collection.victim = victim;
      // It has not gone through everything.
      if (this.#signal?.aborted) break;
      const next = processAfter(collection.processes, victim);
      if (!next) {
        complete = true;
        statistics.scanCount++;
        if (this.#excess > 0 && !resumed) statistics.ineffective++;
        break;
      }
      if (this.#excess <= 0) break;
      victim = validVictim(collection.processes, next);
      address = undefined;
    }

    collection.resumeAddress = address;
    if (address === undefined && collection.victim) {
      collection.victim = validVictim(
        collection.processes,
        processAfter(collection.processes, collection.victim),
      );
    }
    return { excess: this.#excess, complete };
  }

  /** Updates the pagedata of a process and all processes after it. */
  async #mergeFrom(victim: ScannedProcess): Promise<void> {
    const { processes, statistics } = this.#collection;
    const upkeep = statistics.scanCount % IGNORED_SET_LIFE;
    const candidates = processes.slice(processes.indexOf(victim))
      .filter((process) => !process.unscannable);
    let unreferenced = 0;
    for (const process of candidates) {
      if (this.#signal?.aborted) return;
      if (!await this.#merge(process)) continue;
      unreferenced += process.unreferenced;
      if (upkeep !== 0) {
        process.ignored.removeReferenced(process.pagedata!);
      } else if (statistics.scanCount !== 0) {
        process.ignored.clear();
      }
    }
    if (unreferenced < this.#excess && !this.#spareReferenced) {
      this.#emit({ type: "insufficient", unreferenced, excess: this.#excess });
      for (const process of candidates) {
        if (process.pagedata) clearBits(process.pagedata);
        process.memory.closePagedata();
      }
    }
  }

  /**
   * Merges the current pagedata of one process. Returns `false` if it cannot be
   * read.
   */
  async #merge(process: ScannedProcess): Promise<boolean> {
    const reading = await this.#readPagedata(process);
    if (!reading) return false;
    process.merge(reading);
    return true;
  }

  /** Reads pagedata, and reopens it if necessary. */
  async #readPagedata(process: ScannedProcess): Promise<Pagedata | undefined> {
    const { memory } = process;
    try {
      return await memory.readPagedata();
    } catch (error) {
      if (!(error instanceof ProcessError)) throw error;
      memory.closePagedata();
    }
    return await this.#tolerate(process, () => memory.readPagedata());
  }

  /**
   * Pages out unreferenced pages of one process.
   *
   * @param from the address to start at; `undefined` for the beginning.
   * @returns the address reached; `undefined` for the end.
   */
  async #scanVictim(
    victim: ScannedProcess,
    from: bigint | undefined,
  ): Promise<bigint | undefined> {
    const { pagedata, memory } = victim;
    if (!pagedata) return undefined;
    this.#emit({
      type: "victim",
      process: victim,
      resumeAddress: from,
      excess: this.#excess,
    });
    const residency = await this.#tolerate(
      victim,
      () => memory.readResidency(),
    );
    const start = from === undefined
      ? { mapping: 0, page: 0 }
      : positionOf(pagedata, from);
    const position = this.#visit({ victim, pagedata, residency }, start);
    const rss = await this.#tolerate(victim, () => memory.readSizes().rss);
    if (rss === undefined) return addressOf(pagedata, position);
    using control = await this.#tolerate(victim, () => memory.control());
    if (!control) return addressOf(pagedata, position);

    const turn = { victim, pagedata, residency, control, rss };
    return addressOf(pagedata, await this.#pageOut(turn, position));
  }

  /** Walks over a controlled victim and pages out. Returns the position reached. */
  async #pageOut(
    turn: Turn,
    position: Position | undefined,
  ): Promise<Position | undefined> {
    while (position && this.#excess > 0 && !this.#signal?.aborted) {
      const batch: PlannedRange[] = [];
      position = this.#plan(turn, position, batch);
      if (batch.length === 0) continue;
      const begun = await this.#pageOutBatch(turn, batch);
      // After a failure or a request to stop, the walk ends at the first range that
      // is left.
      if (begun < batch.length) return batch[begun].position;
    }
    this.#accountFall(turn);
    return position;
  }

  /**
   * Collects the next ranges, as many as one page-out takes and the excess
   * requires.
   *
   * @returns the position after them.
   */
  #plan(
    turn: Turn,
    start: Position,
    batch: PlannedRange[],
  ): Position | undefined {
    const { victim, pagedata, control } = turn;
    let position: Position | undefined = start;
    let planned = 0;
    while (
      position && planned < this.#excess && batch.length < control.maxRanges
    ) {
      const mapping: PagedataMapping = pagedata.mappings[position.mapping];
      const next = { mapping: position.mapping + 1, page: 0 };
      if (victim.ignored.has(mapping)) {
        this.#collection.statistics.attempted += recordedBytes(
          pagedata,
          mapping,
        );
        this.#emit({
          type: "skip",
          process: victim,
          mapping,
          reason: "ignored",
        });
        position = this.#visit(turn, next);
        continue;
      }
      const range = takeUnreferencedRange(
        pagedata,
        position,
        this.#excess - planned,
      );
      if (!range) {
        position = this.#visit(turn, next);
        continue;
      }
      const { firstPage, endPage, bytes, whole } = range;
      const at = { mapping: position.mapping, page: firstPage };
      const behind = { mapping: position.mapping, page: endPage };
      batch.push({
        start: addressAt(pagedata, at),
        end: addressAt(pagedata, behind),
        bytes,
        mappingStart: mapping.start,
        position: at,
        whole,
      });
      planned += bytes;
      position = range.more ? behind : this.#visit(turn, next);
    }
    return position;
  }

  /**
   * Pages out ranges and accounts for them.
   *
   * @returns how many of them were processed; fewer than all after a failure or a
   * request to stop.
   */
  async #pageOutBatch(turn: Turn, batch: PlannedRange[]): Promise<number> {
    const { victim, pagedata, control } = turn;
    const { statistics } = this.#collection;
    const results = await control.pageOut(batch, this.#signal);
    const last = results.at(-1);
    const failed = last?.result === "failed";
    const done = failed ? results.length - 1 : results.length;
    if (failed && !last.isPassing) victim.unscannable = true;

    const fell = done > 0 ? this.#accountFall(turn) : 0;
    this.#emit({
      type: "pageout",
      process: victim,
      ranges: batch.slice(0, results.length),
      results,
      fell,
      excess: this.#excess,
    });
    for (const { bytes, whole, position } of batch.slice(0, done)) {
      statistics.attempted += bytes;
      if (fell <= 0 && whole) {
        const mapping = pagedata.mappings[position.mapping];
        victim.ignored.add(mapping);
        this.#emit({ type: "ignore", process: victim, mapping });
      }
    }
    return done;
  }

  /**
   * Accounts for the fall of RSS since it was last read. Returns the fall, 0 if RSS
   * cannot be read.
   */
  #accountFall(turn: Turn): number {
    const fell = takeFall(turn.victim, turn);
    this.#excess -= fell;
    if (fell > 0) this.#collection.statistics.effective += fell;
    return fell;
  }

  /** Returns the first position, from a given one on, that the page-out walk visits. */
  #visit(
    { victim, pagedata, residency }: Visited,
    position: Position | undefined,
  ): Position | undefined {
    let visited = position;
    while (visited && visited.mapping < pagedata.mappings.length) {
      const mapping = pagedata.mappings[visited.mapping];
      const reason = skipReason(mapping, residency);
      if (!reason) return visited;
      this.#emit({ type: "skip", process: victim, mapping, reason });
      visited = { mapping: visited.mapping + 1, page: 0 };
    }
    return undefined;
  }

  /** Runs a step that may fail for one process, and reports the failure. */
  async #tolerate<T>(
    process: ScannedProcess,
    step: () => T | Promise<T>,
  ): Promise<T | undefined> {
    try {
      return await step();
    } catch (error) {
      if (!(error instanceof ProcessError)) throw error;
      this.#emit({ type: "error", process, error });
      return undefined;
    }
  }
}

/** Returns the address of a position; `undefined` for the end. */
function addressOf(
  pagedata: Pagedata,
  position: Position | undefined,
): bigint | undefined {
  return position && addressAt(pagedata, position);
}
