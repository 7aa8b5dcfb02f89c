/**
 * Writes a recording: what has changed since the step before.
 *
 * @module
 */

import { RcapError } from "../errors.ts";
import { Encoder } from "./codec.ts";
import { fileStart, frameOf, LARGEST_FRAME } from "./frames.ts";
import { BLOCK_WORDS, PageBits, WORDS } from "./page_bits.ts";
import {
  LARGEST_INFO,
  LEAVE_REASONS,
  type LeaveReason,
  LONGEST_COMM,
  MACHINE_FIGURES,
  type MachineFigures,
  MOST_BLOCKS,
  MOST_MAPPINGS,
  MOST_NAMES,
  MOST_PROCESSES,
  noFigures,
  PROCESS_FIGURES,
  type ProcessFigures,
  RECORD,
  type RecordedIdentity,
  type RecordedMapping,
  type RecordedStay,
  type RecordingInfo,
} from "./records.ts";

/** More than the longest record, or piece of one, that is added at once. */
const LARGEST_PIECE = 65_536 + 4096;

/** A process that is being recorded, as it was last written. */
class Written {
  readonly id: number;
  figures: ProcessFigures = noFigures(PROCESS_FIGURES);
  stays = "";
  mappings: readonly RecordedMapping[] = [];
  bits = new PageBits();

  constructor(id: number) {
    this.id = id;
  }
}

/** Writes a recording. Whatever was written is readable after {@linkcode endStep}. */
export class RecordingWriter {
  readonly #sink: (bytes: Uint8Array<ArrayBuffer>) => void;
  readonly #encoder = new Encoder();
  readonly #names = new Map<string, number>();
  readonly #processes = new Map<number, Written>();
  #nextId = 0;
  #frames = 0;
  #milliseconds = 0;
  #blocks = 0;
  #mappings = 0;
  #machine: MachineFigures = noFigures(MACHINE_FIGURES);
  /** How many bytes were written. */
  size = 0;
  /** How many processes, mappings or blocks were left out, since there were too many. */
  leftOut = 0;

  /** @param sink takes bytes at the end of the recording, or throws. */
  constructor(
    sink: (bytes: Uint8Array<ArrayBuffer>) => void,
    info: RecordingInfo,
  ) {
    this.#sink = sink;
    this.#put(fileStart());
    const text = new TextEncoder().encode(JSON.stringify(info));
    if (text.length > LARGEST_INFO) {
      throw new RcapError("the selectors are too long to be recorded");
    }
    this.#encoder.byte(RECORD.info);
    this.#encoder.number(text.length);
    this.#encoder.raw(text);
    this.#flush();
  }

  /** @param seconds since the recording began. */
  beginStep(seconds: number, machine: MachineFigures): void {
    const milliseconds = Math.max(
      Math.round(seconds * 1000),
      this.#milliseconds,
    );
    const encoder = this.#encoder;
    encoder.byte(RECORD.step);
    encoder.number(milliseconds - this.#milliseconds);
    this.#milliseconds = milliseconds;
    addFigures(encoder, MACHINE_FIGURES, this.#machine, machine);
    this.#machine = { ...machine };
  }

  /** Adds a process; `undefined` if there are too many. */
  join({ pid, startTime, comm, uid }: RecordedIdentity): number | undefined {
    if (this.#processes.size >= MOST_PROCESSES) {
      this.leftOut++;
      return undefined;
    }
    const encoder = this.#encoder;
    const id = this.#nextId++;
    this.#processes.set(id, new Written(id));
    encoder.byte(RECORD.join);
    encoder.number(pid);
    encoder.number(startTime);
    encoder.text(comm.slice(0, LONGEST_COMM));
    encoder.number(uid === undefined ? 0 : uid + 1);
    this.#flushIfFull();
    return id;
  }

  /** @param message why, in words, for `unreadable`. */
  leave(id: number, reason: LeaveReason, message = ""): void {
    const { bits, mappings } = this.#find(id);
    this.#processes.delete(id);
    this.#blocks -= bits.size;
    this.#mappings -= mappings.length;
    const encoder = this.#encoder;
    encoder.byte(RECORD.leave);
    encoder.number(id);
    encoder.byte(LEAVE_REASONS.indexOf(reason));
    encoder.text(message);
    this.#flushIfFull();
  }

  /** Sets the figures of a process, and what of it cannot go. */
  figures(
    id: number,
    figures: ProcessFigures,
    stays: readonly RecordedStay[],
  ): void {
    const written = this.#find(id);
    const encoder = this.#encoder;
    if (
      PROCESS_FIGURES.some((name) => figures[name] !== written.figures[name])
    ) {
      encoder.byte(RECORD.figures);
      encoder.number(id);
      addFigures(encoder, PROCESS_FIGURES, written.figures, figures);
      written.figures = { ...figures };
    }
    const now = JSON.stringify(stays);
    if (now !== written.stays && (stays.length > 0 || written.stays !== "")) {
      encoder.byte(RECORD.stays);
      encoder.number(id);
      encoder.number(stays.length);
      for (const { reason, bytes } of stays) {
        encoder.text(reason);
        encoder.number(bytes);
      }
      written.stays = now;
    }
    this.#flushIfFull();
  }

  /** Sets the mappings of a process, in address order. */
  mappings(id: number, mappings: readonly RecordedMapping[]): void {
    const written = this.#find(id);
    const others = this.#mappings - written.mappings.length;
    const now = mappings.slice(0, Math.max(0, MOST_MAPPINGS - others));
    this.leftOut += mappings.length - now.length;
    const before = written.mappings;
    const least = Math.min(before.length, now.length);
    let first = 0;
    while (first < least && isSame(before[first], now[first])) first++;
    let last = 0;
    while (
      last < least - first &&
      isSame(before[before.length - 1 - last], now[now.length - 1 - last])
    ) last++;
    if (first + last === before.length && now.length === before.length) return;
    const changed = now.slice(first, now.length - last);
    const names = changed.map(({ name }) => this.#nameOf(name));
    const encoder = this.#encoder;
    encoder.byte(RECORD.mappings);
    encoder.number(id);
    encoder.number(first);
    encoder.number(last);
    let end = first === 0 ? 0 : now[first - 1].start + now[first - 1].units;
    for (const [at, mapping] of changed.entries()) {
      const { start, units, pageSize, flags, isFile } = mapping;
      encoder.byte(1);
      encoder.number(start - end);
      encoder.number(units);
      encoder.number(pageSize);
      encoder.number(flags);
      encoder.byte(isFile ? 1 : 0);
      encoder.number(names[at]);
      end = start + units;
      if (encoder.length > LARGEST_FRAME - LARGEST_PIECE) {
        // Goes on in the next frame.
        encoder.byte(0);
        this.#flush();
        encoder.byte(RECORD.mappings);
        encoder.number(id);
        encoder.number(first + at + 1);
        encoder.number(last);
      }
    }
    encoder.byte(0);
    this.#mappings = others + now.length;
    written.mappings = now;
    this.#flushIfFull();
  }

  /** Returns the number of a name, which becomes known first. */
  #nameOf(name: string): number {
    if (name === "") return 0;
    const known = this.#names.get(name);
    if (known !== undefined) return known;
    if (this.#names.size >= MOST_NAMES) return 0;
    const number = this.#names.size + 1;
    this.#names.set(name, number);
    this.#encoder.byte(RECORD.name);
    this.#encoder.text(name);
    this.#flushIfFull();
    return number;
  }

  /** How many blocks a process may have; one without a number has none yet. */
  blocksLeft(id: number | undefined): number {
    const own = id === undefined ? 0 : this.#find(id).bits.size;
    return MOST_BLOCKS - this.#blocks + own;
  }

  /**
   * Sets the bits of the pages of a process.
   *
   * @param bits at most {@linkcode blocksLeft}; owned by this object afterwards.
   * @returns bits that are not needed any more.
   */
  pages(id: number, bits: PageBits): PageBits {
    const written = this.#find(id);
    const before = written.bits;
    const encoder = this.#encoder;
    let last = -1;
    const begin = () => {
      encoder.byte(RECORD.pages);
      encoder.number(id);
      last = -1;
    };
    let hasBegun = false;
    for (const number of unionOf(before.numbers, bits.numbers)) {
      const [old, now] = [before.placeOf(number), bits.placeOf(number)];
      const mask = (differ(before, old, bits, now, 0) ? 1 : 0) |
        (differ(before, old, bits, now, WORDS) ? 2 : 0);
      if (mask === 0) continue;
      if (!hasBegun) begin();
      hasBegun = true;
      encoder.number(number - last);
      last = number;
      encoder.byte(mask);
      for (let at = 0; at < BLOCK_WORDS; at++) {
        if (!(mask & (at < WORDS ? 1 : 2))) continue;
        const word = old < 0 ? 0 : before.words[old + at];
        encoder.word(word ^ (now < 0 ? 0 : bits.words[now + at]));
      }
      if (encoder.length > LARGEST_FRAME - LARGEST_PIECE) {
        encoder.number(0);
        this.#flush();
        begin();
      }
    }
    if (hasBegun) encoder.number(0);
    this.#flushIfFull();
    this.#blocks += bits.size - before.size;
    written.bits = bits;
    return before;
  }

  /** Ends a step, and writes it. */
  endStep(): void {
    this.#encoder.byte(RECORD.stepEnd);
    this.#flush();
  }

  /** Ends the recording. @param how in words: `done`, `interrupted`. */
  end(how: string): void {
    this.#encoder.byte(RECORD.end);
    this.#encoder.text(how);
    this.#flush();
  }

  #find(id: number): Written {
    const process = this.#processes.get(id);
    if (!process) throw new RangeError(`no process ${id}`);
    return process;
  }

  #flushIfFull(): void {
    if (this.#encoder.length > LARGEST_FRAME - LARGEST_PIECE) this.#flush();
  }

  #flush(): void {
    this.#put(frameOf(this.#frames++, this.#encoder.bytes));
    this.#encoder.clear();
  }

  #put(bytes: Uint8Array<ArrayBuffer>): void {
    this.#sink(bytes);
    this.size += bytes.length;
  }
}

/** Adds the figures that have changed: a bit each, and by how much. */
function addFigures<T extends string>(
  encoder: Encoder,
  names: readonly T[],
  before: Record<T, number>,
  now: Record<T, number>,
): void {
  let mask = 0;
  for (const [at, name] of names.entries()) {
    if (before[name] !== now[name]) mask |= 1 << at;
  }
  encoder.number(mask);
  for (const name of names) {
    if (before[name] !== now[name]) encoder.signed(now[name] - before[name]);
  }
}

function isSame(one: RecordedMapping, other: RecordedMapping): boolean {
  return one.start === other.start && one.units === other.units &&
    one.pageSize === other.pageSize && one.flags === other.flags &&
    one.isFile === other.isFile && one.name === other.name;
}

/** The numbers of two ascending lists, ascending. */
function* unionOf(
  one: readonly number[],
  other: readonly number[],
): Generator<number> {
  let [a, b] = [0, 0];
  while (a < one.length || b < other.length) {
    const [first, second] = [one[a] ?? Infinity, other[b] ?? Infinity];
    if (first <= second) a++;
    if (second <= first) b++;
    yield Math.min(first, second);
  }
}

/** Whether the words of one kind differ in two blocks; a missing block is empty. */
function differ(
  before: PageBits,
  old: number,
  bits: PageBits,
  now: number,
  offset: number,
): boolean {
  for (let at = offset; at < offset + WORDS; at++) {
    const word = old < 0 ? 0 : before.words[old + at];
    if (word !== (now < 0 ? 0 : bits.words[now + at])) return true;
  }
  return false;
}
