/**
 * The heat map of a recording: time across, addresses down, only what was in memory.
 *
 * @module
 */

import { UNIT } from "../scanner/moves.ts";
import { BLOCK, ones, WORDS } from "./page_bits.ts";
import type { RecordedMapping, RecordedProcess } from "./records.ts";

/** The units of a word: the smallest part of the address space that a row can be. */
const WORD = BLOCK / WORDS;
/** The size of a word, in bytes. */
export const WORD_BYTES = WORD * UNIT;

/** Rows of a heat map: parts of the address space of one process. */
export interface HeatRow {
  /** The id of the process. */
  readonly process: number;
  /** The name of its mapping; of the largest one, with `isMixed`. */
  readonly name: string;
  /** Whether it has parts of several mappings. */
  readonly isMixed: boolean;
  /** Its first address, and the one after its last. */
  readonly start: bigint;
  readonly end: bigint;
  /** How much of it was in memory at some time, to a word, in bytes. */
  readonly bytes: number;
}

/** A heat map. Cells are by row, then by column. */
export interface HeatMap {
  readonly rows: readonly HeatRow[];
  /** When each column ends, in seconds since the recording began. */
  readonly columns: readonly number[];
  /** How much was in memory on average, in bytes. */
  readonly resident: Float64Array;
  /** The share of that which was used in an interval, on average. */
  readonly used: Float64Array;
}

/** The words of one process that were in memory at some time. */
interface Ever {
  readonly id: number;
  /** Block numbers, and a bit a word. */
  readonly blocks: Map<number, number>;
  /** The names of mappings by their start; those seen last. */
  readonly mappings: Map<number, RecordedMapping>;
}

/** Finds out which rows a heat map has. */
export class HeatLayout {
  readonly #ever = new Map<number, Ever>();
  #known = new Map<number, readonly RecordedMapping[]>();
  /** When each step was, in seconds. */
  readonly times: number[] = [];

  /** Adds a process as of a step. */
  add(
    { id, bits }: RecordedProcess,
    mappings: readonly RecordedMapping[],
  ): void {
    let ever = this.#ever.get(id);
    if (!ever) {
      ever = { id, blocks: new Map(), mappings: new Map() };
      this.#ever.set(id, ever);
    }
    if (this.#known.get(id) !== mappings) {
      this.#known.set(id, mappings);
      for (const mapping of mappings) ever.mappings.set(mapping.start, mapping);
    }
    const { words, numbers } = bits;
    for (const number of numbers) {
      const place = bits.placeOf(number);
      let mask = ever.blocks.get(number) ?? 0;
      for (let at = 0; at < WORDS; at++) {
        if (words[place + at] !== 0) mask |= 1 << at;
      }
      ever.blocks.set(number, mask);
    }
  }

  /**
   * Divides what was in memory into rows.
   *
   * @param most how many rows there may be, but for one a process at least.
   * @param onlyMapped whether only the mappings that were added are of interest.
   */
  rows(most: number, onlyMapped: boolean): HeatRows {
    const all = [...this.#ever.values()].map((one) => wordsOf(one, onlyMapped));
    return new HeatRows(all.filter(({ words }) => words.length > 0), most);
  }
}

/** The words of a process, ascending, and the mapping of each. */
interface ProcessWords {
  readonly id: number;
  readonly words: Float64Array;
  readonly mappings: readonly (RecordedMapping | undefined)[];
}

function wordsOf(
  { id, blocks, mappings }: Ever,
  onlyMapped: boolean,
): ProcessWords {
  const numbers = [...blocks.keys()].sort((a, b) => a - b);
  const all = [...mappings.values()].sort((a, b) => a.start - b.start);
  const words: number[] = [];
  const names: (RecordedMapping | undefined)[] = [];
  let at = 0;
  for (const number of numbers) {
    const mask = blocks.get(number) ?? 0;
    for (let word = 0; word < WORDS; word++) {
      if (!(mask >>> word & 1)) continue;
      const unit = number * BLOCK + word * WORD;
      while (
        at + 1 < all.length &&
        (all[at].start + all[at].units <= unit || all[at + 1].start <= unit)
      ) at++;
      const one = all[at];
      const isIn = one && one.start < unit + WORD &&
        one.start + one.units > unit;
      if (onlyMapped && !isIn) continue;
      words.push(number * WORDS + word);
      names.push(isIn ? one : undefined);
    }
  }
  return { id, words: Float64Array.from(words), mappings: names };
}

/** Words of one process that follow each other, of mappings with one name. */
interface Segment {
  readonly process: ProcessWords;
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

/** The rows of a heat map. */
export class HeatRows {
  readonly rows: HeatRow[] = [];
  /** By id of a process: its words, ascending, and the row of each. */
  readonly #rowOf = new Map<
    number,
    { words: Float64Array; rows: Int32Array }
  >();

  /** @param most how many rows there may be. */
  constructor(all: readonly ProcessWords[], most: number) {
    const segments = all.flatMap(segmentsOf);
    const total = all.reduce((sum, { words }) => sum + words.length, 0);
    let size = Math.max(1, total / most);
    while (countRows(segments, size) > Math.max(most, all.length)) size *= 1.1;
    for (const { id, words } of all) {
      this.#rowOf.set(id, { words, rows: new Int32Array(words.length) });
    }
    for (const group of grouped(segments, size)) this.#addRows(group, size);
  }

  #addRows(group: readonly Segment[], size: number): void {
    const [first] = group;
    const last = group[group.length - 1];
    const { process } = first;
    const largest = group.reduce((best, one) =>
      one.to - one.from > best.to - best.from ? one : best
    );
    const length = last.to - first.from;
    const count = Math.max(1, Math.round(length / size));
    const place = this.#rowOf.get(process.id);
    for (let row = 0; row < count; row++) {
      const from = first.from + Math.floor(length * row / count);
      const to = first.from + Math.floor(length * (row + 1) / count);
      place?.rows.fill(this.rows.length, from, to);
      this.rows.push({
        process: process.id,
        name: largest.name,
        isMixed: group.some(({ name }) => name !== largest.name),
        start: addressOf(process.words[from]),
        end: addressOf(process.words[to - 1] + 1),
        bytes: (to - from) * WORD_BYTES,
      });
    }
  }

  /** Returns an empty map of these rows. */
  map(times: readonly number[], mostColumns: number): HeatMapBuilder {
    return new HeatMapBuilder(this.rows, times, mostColumns, this.#rowOf);
  }
}

function addressOf(word: number): bigint {
  return BigInt(word) * BigInt(WORD_BYTES);
}

function segmentsOf(process: ProcessWords): Segment[] {
  const { words, mappings } = process;
  const segments: Segment[] = [];
  let from = 0;
  for (let at = 1; at <= words.length; at++) {
    const [one, next] = [mappings[at - 1], mappings[at]];
    const [name, nextName] = [one?.name ?? "", next?.name ?? ""];
    // Anonymous mappings that are far apart have nothing in common.
    const isOne = at < words.length && name === nextName &&
      (name !== "" || one?.start === next?.start ||
        words[at] === words[at - 1] + 1);
    if (isOne) continue;
    segments.push({ process, name, from, to: at });
    from = at;
  }
  return segments;
}

/** Puts segments together that are less than half a row. */
function* grouped(
  segments: readonly Segment[],
  size: number,
): Generator<Segment[]> {
  let group: Segment[] = [];
  let length = 0;
  for (const segment of segments) {
    const own = segment.to - segment.from;
    const isOther = group.length > 0 && group[0].process !== segment.process;
    if (group.length > 0 && (isOther || own >= size / 2 || length >= size)) {
      yield group;
      group = [];
      length = 0;
    }
    if (own >= size / 2) {
      yield [segment];
      continue;
    }
    group.push(segment);
    length += own;
  }
  if (group.length > 0) yield group;
}

function countRows(segments: readonly Segment[], size: number): number {
  let count = 0;
  for (const group of grouped(segments, size)) {
    const length = group[group.length - 1].to - group[0].from;
    count += Math.max(1, Math.round(length / size));
  }
  return count;
}

/** Fills a heat map. */
export class HeatMapBuilder {
  readonly #rows: readonly HeatRow[];
  readonly #columns: number[];
  readonly #columnOf: Int32Array;
  readonly #steps: Int32Array;
  readonly #rowOf: ReadonlyMap<
    number,
    { words: Float64Array; rows: Int32Array }
  >;
  readonly #resident: Float64Array;
  readonly #used: Float64Array;

  constructor(
    rows: readonly HeatRow[],
    times: readonly number[],
    most: number,
    rowOf: ReadonlyMap<number, { words: Float64Array; rows: Int32Array }>,
  ) {
    const columns = Math.min(times.length, most);
    this.#rows = rows;
    this.#rowOf = rowOf;
    this.#columns = new Array(columns).fill(0);
    this.#columnOf = new Int32Array(times.length);
    this.#steps = new Int32Array(columns);
    for (const [step, time] of times.entries()) {
      const column = Math.floor(step * columns / times.length);
      this.#columnOf[step] = column;
      this.#columns[column] = time;
      this.#steps[column]++;
    }
    this.#resident = new Float64Array(rows.length * columns);
    this.#used = new Float64Array(rows.length * columns);
  }

  /** Adds a process as of a step, which is one of those of the layout. */
  add(step: number, { id, bits }: RecordedProcess): void {
    const place = this.#rowOf.get(id);
    if (!place) return;
    const { words: all, rows } = place;
    const column = this.#columnOf[step];
    const { words } = bits;
    let at = 0;
    for (const number of bits.numbers) {
      const block = bits.placeOf(number);
      const first = number * WORDS;
      while (at < all.length && all[at] < first) at++;
      for (; at < all.length && all[at] < first + WORDS; at++) {
        const index = block + all[at] - first;
        const cell = rows[at] * this.#columns.length + column;
        this.#resident[cell] += ones(words[index]);
        this.#used[cell] += ones(words[index] & words[index + WORDS]);
      }
    }
  }

  build(): HeatMap {
    const columns = this.#columns.length;
    const resident = new Float64Array(this.#resident.length);
    const used = new Float64Array(this.#used.length);
    for (let cell = 0; cell < resident.length; cell++) {
      const pages = this.#resident[cell];
      resident[cell] = pages * UNIT / this.#steps[cell % columns];
      used[cell] = pages === 0 ? 0 : this.#used[cell] / pages;
    }
    return { rows: this.#rows, columns: this.#columns, resident, used };
  }
}
