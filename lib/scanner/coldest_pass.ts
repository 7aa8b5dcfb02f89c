/**
 * One pass of the policy `coldest`: chooses pages by their rank, cools them, and pages
 * them out.
 *
 * @module
 */

import { ProcessError } from "../errors.ts";
import type { PageoutControl, PageRange } from "../memory/process_memory.ts";
import type { AgedCollection, AgedProcess } from "./aged_collection.ts";
import { COOLED, TRIED } from "./carry_ages.ts";
import { takeFall } from "./collection.ts";
import { bandOf, cut, eachRange, OLD, RANKS, STATES } from "./ranked_ranges.ts";
import type { ScanEvent, ScanOptions, ScanResult } from "./scan.ts";
import { skipReason } from "./walk.ts";

/** Pages that could not be paged out are tried again after this many passes. */
const TRIED_LIFE = 60;

/** How many times a single scan chooses pages to make up for those that stayed. */
const ROUNDS = 4;

/** A scan that lowers a large excess by less than this share is ineffective. */
const LEAST_EFFECT = 1 / 16;

export interface ColdestOptions extends ScanOptions {
  /**
   * How much to cool for the next pass, in bytes. Without it there is no next pass, and
   * the whole excess is paged out at once.
   */
  reserve?: number;
  /** How much to page out beyond the excess, from idle memory only, in bytes. */
  headroom?: number;
  /** How much may be tried at most, in bytes; no limit by default. */
  most?: number;
}

export interface ColdestResult extends ScanResult {
  /** How much was idle for an interval or longer before the scan, in bytes. */
  idle: number;
}

/** The pages that are eligible for a choice. */
interface Eligible {
  /** Their accepted values of `RankedRange.done`: what was done with them. */
  readonly done: readonly number[];
  /** Their youngest band. */
  readonly least: number;
}

/** Pages that were cooled, and not used since. */
const RIPE: Eligible = { done: [COOLED], least: 1 };
/** Pages that were not used for an interval. */
const IDLE: Eligible = { done: [0, COOLED], least: 1 };
/** Idle pages that were not cooled yet. */
const UNCOOLED: Eligible = { done: [0], least: 1 };
/** Pages that have been idle for as long as was asked for. */
const OLD_ENOUGH: Eligible = { done: [OLD, OLD | COOLED], least: 1 };
/** All pages. */
const ALL: Eligible = { done: [0, COOLED], least: 0 };

/** The best eligible pages: all with a lower rank, and some with the last rank. */
interface Choice {
  readonly eligible: Eligible;
  readonly rank: number;
  /** How much to take of the last rank, in bytes. */
  readonly ofRank: number;
  /** The total size, in bytes. */
  readonly bytes: number;
}

/** How many processes may be controlled at a time: each takes descriptors. */
const MOST_CONTROLLED = 8;

/** One scan in progress. */
export class Pass implements Disposable {
  readonly #collection: AgedCollection;
  readonly #options: ColdestOptions & { readonly seconds?: number };
  /** How much may still be tried, in bytes. */
  #most: number;
  /** The processes of the collection, without those that cannot be controlled. */
  readonly #processes: Set<AgedProcess>;
  /** Processes under control, the most recently used last. */
  readonly #turns = new Map<AgedProcess, Turn>();
  /** All processes that were under control so far. */
  readonly #victims = new Set<AgedProcess>();
  #excess: number;
  /** The result of {@linkcode Pass.#measure}, while it is valid. */
  #sizes: Float64Array | undefined;

  /** @param options `seconds` is the age from which on pages are old enough. */
  constructor(
    collection: AgedCollection,
    options: ColdestOptions & { readonly seconds?: number },
  ) {
    this.#collection = collection;
    this.#most = options.most ?? Infinity;
    this.#options = options;
    this.#excess = options.excess;
    this.#processes = new Set(
      collection.processes.filter((process) =>
        !process.unscannable && process.isAged
      ),
    );
  }

  async run(): Promise<ColdestResult> {
    const { statistics } = this.#collection;
    const { reserve, headroom = 0 } = this.#options;
    this.#retry();
    if (reserve === undefined) this.#tellSkipped();
    const idle = this.#choose(IDLE, Infinity).bytes;
    if (this.#excess + headroom > 0) {
      if (reserve === undefined) {
        await this.#pageOut(IDLE, () => this.#excess + headroom);
        await this.#pageOutInUse(() => this.#excess);
      } else {
        await this.#pageOut(RIPE, () => this.#excess + headroom);
        if (this.#excess > reserve) {
          const half = this.#excess / 2;
          await this.#pageOut(IDLE, () => this.#excess - half);
          // Only if idle pages could not suffice, not because the group has grown
          // meanwhile; and no more than is still needed, if it has shrunk.
          if (idle < half) {
            await this.#pageOutInUse(() => Math.min(half - idle, this.#excess));
          }
        }
      }
    }
    if (reserve !== undefined) {
      await this.#cool(reserve + headroom + Math.max(0, this.#excess));
    }
    const complete = !this.#isStopped;
    if (complete && this.#isIneffective()) statistics.ineffective++;
    return { excess: this.#excess, complete, idle };
  }

  /** How much is old enough, in bytes. */
  get idle(): number {
    return this.#choose(OLD_ENOUGH, Infinity).bytes;
  }

  /** Pages out what is old enough. */
  async pageOutIdle(): Promise<ColdestResult> {
    this.#retry();
    const { idle } = this;
    await this.#pageOut(OLD_ENOUGH, () => this.#excess);
    return { excess: this.#excess, complete: !this.#isStopped, idle };
  }

  /** Tries again from time to time what could not be paged out. */
  #retry(): void {
    if (this.#collection.passes % TRIED_LIFE < TRIED_LIFE - 1) return;
    for (const { ages } of this.#processes) ages.retry();
  }

  /** Whether the part of the excess that could not wait was not paged out. */
  #isIneffective(): boolean {
    const { excess, reserve } = this.#options;
    if (reserve === undefined) return this.#excess > 0;
    return excess > reserve && this.#excess > excess * (1 - LEAST_EFFECT);
  }

  get #isStopped(): boolean {
    return this.#options.signal?.aborted ?? false;
  }

  /** Reports the mappings that are skipped, and why. */
  #tellSkipped(): void {
    for (const process of this.#processes) {
      for (const mapping of process.ages.pagedata!.mappings) {
        const reason = skipReason(mapping, process.residency);
        if (reason) this.#emit({ type: "skip", process, mapping, reason });
      }
    }
  }

  #emit(event: ScanEvent): void {
    this.#options.onEvent?.(event);
  }

  /** Pages out memory in use, if idle memory did not suffice. */
  async #pageOutInUse(wanted: () => number): Promise<void> {
    const { spareReferenced = false } = this.#options;
    if (spareReferenced || wanted() <= 0 || this.#isStopped) return;
    const excess = this.#excess;
    const unreferenced = this.#choose(IDLE, Infinity).bytes;
    if (this.#choose(ALL, Infinity).bytes <= unreferenced) return;
    this.#emit({ type: "insufficient", unreferenced, excess });
    await this.#pageOut(ALL, wanted);
  }

  /** Pages out the best eligible pages until enough is paged out or none are left. */
  async #pageOut(eligible: Eligible, wanted: () => number): Promise<void> {
    // If another pass follows, that one makes up for pages that stayed.
    const rounds = this.#options.reserve === undefined ? ROUNDS : 1;
    for (let round = 0; round < rounds; round++) {
      const bytes = Math.min(wanted(), this.#most);
      if (bytes <= 0 || this.#isStopped) return;
      const choice = this.#choose(eligible, bytes);
      if (choice.bytes === 0) return;
      let left = choice.ofRank;
      for (const process of this.#processes) {
        // The group may have shrunk by itself.
        if (this.#isStopped || wanted() <= 0) return;
        left = await this.#pageOutOf(process, { ...choice, ofRank: left });
      }
    }
  }

  /** @returns how much of the last rank is left to choose, in bytes. */
  async #pageOutOf(process: AgedProcess, choice: Choice): Promise<number> {
    const ranges: ChosenRange[] = [];
    const left = this.#collect(process, choice, ranges);
    if (ranges.length === 0) return left;
    const turn = await this.#control(process);
    if (!turn) return left;
    const { control } = turn;
    const { statistics } = this.#collection;
    this.#sizes = undefined;
    const most = Math.min(control.maxRanges, ranges.length);
    for (let from = 0; from < ranges.length; from += most) {
      if (this.#isStopped || !this.#processes.has(process)) return left;
      const batch = ranges.slice(from, from + most);
      const results = await control.pageOut(batch, this.#options.signal);
      const last = results.at(-1);
      const failed = last?.result === "failed";
      const done = failed ? results.length - 1 : results.length;
      if (failed && !last.isPassing) process.unscannable = true;
      // It is not a victim of this pass any more.
      if (failed) this.#processes.delete(process);
      for (const { bytes, offset, pages } of batch.slice(0, done)) {
        statistics.attempted += bytes;
        turn.attempted += bytes;
        this.#most -= bytes;
        const { bits } = process.ages.pagedata!;
        for (let at = offset; at < offset + pages; at++) bits[at] = TRIED;
      }
      process.ages.isStale = true;
      const fell = this.#accountFall(turn);
      this.#emit({
        type: "pageout",
        process,
        ranges: batch.slice(0, results.length),
        results,
        fell,
        excess: this.#excess,
      });
    }
    return left;
  }

  /** Cools the next candidates, unless they are cooled already. */
  async #cool(bytes: number): Promise<void> {
    const ripe = this.#choose(RIPE, Infinity).bytes;
    const choice = this.#choose(UNCOOLED, bytes - ripe);
    if (choice.bytes === 0) return;
    let left = choice.ofRank;
    for (const process of this.#processes) {
      if (this.#isStopped || process.unscannable) continue;
      const ranges: ChosenRange[] = [];
      left = this.#collect(process, { ...choice, ofRank: left }, ranges);
      if (ranges.length === 0) continue;
      const turn = await this.#control(process);
      if (!turn) continue;
      this.#sizes = undefined;
      await turn.control.cool?.(ranges);
      const { bits } = process.ages.pagedata!;
      for (const { offset, pages } of ranges) {
        for (let at = offset; at < offset + pages; at++) bits[at] |= COOLED;
      }
    }
  }

  /**
   * Finds out how far down the ranks a choice has to go.
   *
   * @param wanted how much to choose, in bytes.
   */
  #choose(eligible: Eligible, wanted: number): Choice {
    if (wanted <= 0) return { eligible, rank: 0, ofRank: 0, bytes: 0 };
    const sizes = this.#sizes ??= this.#measure();
    let bytes = 0;
    for (let rank = 0; rank < RANKS; rank++) {
      if (bandOf(rank) < eligible.least) break;
      let ofRank = 0;
      for (const done of eligible.done) ofRank += sizes[done * RANKS + rank];
      if (bytes + ofRank < wanted) {
        bytes += ofRank;
        continue;
      }
      return { eligible, rank, ofRank: wanted - bytes, bytes: wanted };
    }
    return { eligible, rank: RANKS, ofRank: 0, bytes };
  }

  /** Measures the size of each rank, by what was done with its pages, in bytes. */
  #measure(): Float64Array {
    const sizes = new Float64Array(STATES * RANKS);
    const { seconds } = this.#options;
    for (const process of this.#processes) {
      if (process.unscannable) continue;
      eachRange(process, ALL.least, ({ mapping, done, rank, pages }) => {
        sizes[done * RANKS + rank] += pages * mapping.pageSize;
      }, seconds);
    }
    return sizes;
  }

  /**
   * Collects the ranges of a process that belong to a choice. Merges adjacent ones.
   *
   * @returns how much of the last rank is left to choose, in bytes.
   */
  #collect(
    process: AgedProcess,
    { eligible, rank: last, ofRank }: Choice,
    ranges: ChosenRange[],
  ): number {
    if (process.unscannable) return ofRank;
    const { most, seconds } = this.#options;
    const isMost = most !== undefined;
    let left = ofRank;
    let before: ChosenRange | undefined;
    eachRange(
      process,
      eligible.least,
      ({ mapping, done, rank, firstPage, offset, pages }) => {
        if (rank > last || (rank === last && left <= 0)) return;
        if (!eligible.done.includes(done)) return;
        const { pageSize } = mapping;
        let count = pages;
        if (rank === last) {
          if (pages * pageSize > left) {
            count = cut({ mapping, firstPage, pages }, left, isMost);
            if (count === 0) return;
          }
          left -= count * pageSize;
        }
        const start = mapping.start + BigInt(firstPage) * BigInt(pageSize);
        const bytes = count * pageSize;
        const end = start + BigInt(bytes);
        if (
          before && before.end === start &&
          before.mappingStart === mapping.start
        ) {
          before.end = end;
          before.bytes += bytes;
          before.pages += count;
          return;
        }
        before = {
          start,
          end,
          bytes,
          mappingStart: mapping.start,
          isResident: true,
          offset,
          pages: count,
        };
        ranges.push(before);
      },
      seconds,
    );
    return left;
  }

  /** Takes control of a process; `undefined` if that fails. */
  async #control(process: AgedProcess): Promise<Turn | undefined> {
    const known = this.#turns.get(process);
    if (known) {
      this.#turns.delete(process);
      this.#turns.set(process, known);
      return known;
    }
    try {
      this.#releaseDownTo(MOST_CONTROLLED - 1);
      const { rss } = process.memory.readSizes();
      const control = await process.memory.control();
      const turn = { process, control, rss, attempted: 0 };
      this.#turns.set(process, turn);
      if (this.#victims.has(process)) return turn;
      this.#victims.add(process);
      this.#emit({
        type: "victim",
        process,
        resumeAddress: undefined,
        excess: this.#excess,
      });
      return turn;
    } catch (error) {
      if (!(error instanceof ProcessError)) throw error;
      this.#processes.delete(process);
      this.#sizes = undefined;
      this.#emit({ type: "error", process, error });
      return undefined;
    }
  }

  /** Releases the least recently used processes until a number of them are left. */
  #releaseDownTo(count: number): void {
    for (const [process, { control }] of this.#turns) {
      if (this.#turns.size <= count) return;
      this.#turns.delete(process);
      control[Symbol.dispose]();
    }
  }

  /** Accounts for the fall of RSS since it was last read; 0 if it cannot be read. */
  #accountFall(turn: Turn): number {
    const fell = takeFall(turn.process, turn);
    this.#excess -= fell;
    // The rest is what the process has given up by itself, for example at its exit.
    const pagedOut = Math.min(Math.max(0, fell), turn.attempted);
    turn.attempted -= pagedOut;
    this.#collection.statistics.effective += pagedOut;
    return fell;
  }

  [Symbol.dispose](): void {
    this.#releaseDownTo(0);
  }
}

/** A victim while it is controlled. */
interface Turn {
  readonly process: AgedProcess;
  readonly control: PageoutControl;
  /** RSS as last read, in bytes. */
  rss: number;
  /** How much was tried that has not been seen to go, in bytes. */
  attempted: number;
}

/** A range, and its place in the bits. */
interface ChosenRange extends PageRange {
  end: bigint;
  bytes: number;
  readonly offset: number;
  pages: number;
}
