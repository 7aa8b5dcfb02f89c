/**
 * Reads a recording, step by step. What is damaged is refused, and memory is bounded
 * whatever the file says.
 *
 * @module
 */

import type { SkipReason } from "../memory/process_memory.ts";
import { UNIT } from "../scanner/moves.ts";
import { DamagedRecording, Decoder, Malformed } from "./codec.ts";
import { readInfo } from "./info.ts";
import { type Frame, FrameReader, type ReadBytes } from "./frames.ts";
import { BLOCK, BLOCK_WORDS, WORDS } from "./page_bits.ts";
import {
  type Departure,
  LEAVE_REASONS,
  LONGEST_COMM,
  MACHINE_FIGURES,
  type MachineFigures,
  MOST_BLOCKS,
  MOST_MAPPINGS,
  MOST_NAMES,
  MOST_PROCESSES,
  MOST_STAYS,
  noFigures,
  PROCESS_FIGURES,
  RECORD,
  type RecordedMapping,
  RecordedProcess,
  type RecordedStay,
  type RecordedStep,
  type RecordingInfo,
} from "./records.ts";

/** The largest number of a unit, exclusive: addresses of 64 bits. */
const MOST_UNITS = 2 ** 52;
const LARGEST_PAGE = 2 ** 30;
/** The longest recording, in milliseconds: ten years. Minutes of it are counted. */
const LONGEST = 3650 * 86_400_000;

/** How a recording ends. */
export interface RecordingEnd {
  /** `done`, `interrupted`, or another word of its writer; `undefined` if it just ends. */
  readonly how: string | undefined;
  /** Where the file ends within a frame, in bytes; `undefined` if it does not. */
  readonly cutAt: number | undefined;
}

/** What the mappings of a process become in a step. */
interface MappingsChange {
  /** Those at the start, as before and as far as they were read. */
  readonly mappings: RecordedMapping[];
  /** Those at the end, which stay as they were. */
  readonly kept: readonly RecordedMapping[];
}

/** A recording that is being read. */
export class RecordingReader {
  readonly info: RecordingInfo;
  readonly #frames: FrameReader;
  readonly #processes = new Map<number, RecordedProcess>();
  readonly #names = [""];
  #machine: MachineFigures = noFigures(MACHINE_FIGURES);
  #nextId = 0;
  #blocks = 0;
  #mappings = 0;
  #milliseconds = 0;
  #isInStep = false;
  #how: string | undefined;
  #joined: RecordedProcess[] = [];
  /** The mappings that change in this step. */
  readonly #changes = new Map<RecordedProcess, MappingsChange>();
  #left: Departure[] = [];

  /**
   * Begins to read.
   *
   * @param name the name of the file, for messages.
   * @throws DamagedRecording if it is not a recording, or damaged.
   */
  constructor(read: ReadBytes, name: string) {
    this.#frames = new FrameReader(read, name);
    this.#frames.start();
    const frame = this.#frames.next();
    if (!frame) {
      throw new DamagedRecording(`${name} ends before its first step`);
    }
    this.info = this.#guarded(frame, () => readInfo(frame.contents));
  }

  /** How it ends; of use after the last step. */
  get end(): RecordingEnd {
    return { how: this.#how, cutAt: this.#frames.cutAt };
  }

  /**
   * Reads the steps. A step that is not complete, at the end of a file that was cut off,
   * is left out.
   *
   * @throws DamagedRecording at the first damage.
   */
  *steps(): Generator<RecordedStep> {
    for (const step of this.turns()) if (step) yield step;
  }

  /**
   * Reads the steps, in turns that take a fraction of a second at most, whatever the file
   * says: gives `undefined` after a turn that did not complete one.
   *
   * @throws DamagedRecording at the first damage.
   */
  *turns(): Generator<RecordedStep | undefined> {
    let number = 0;
    for (;;) {
      const frame = this.#frames.next();
      if (!frame) return;
      yield undefined;
      const decoder = new Decoder(frame.contents);
      while (!decoder.isAtEnd) {
        const isComplete = this.#guarded(frame, () => this.#record(decoder));
        if (!isComplete) continue;
        yield {
          number: number++,
          seconds: this.#milliseconds / 1000,
          machine: this.#machine,
          processes: this.#processes,
          joined: this.#joined,
          left: this.#left,
        };
        this.#joined = [];
        this.#left = [];
      }
    }
  }

  #guarded<T>({ at }: Frame, step: () => T): T {
    try {
      return step();
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      this.#frames.fail(at, error.message);
    }
  }

  /** @returns whether it ends a step. */
  #record(decoder: Decoder): boolean {
    const kind = decoder.byte();
    if (this.#how !== undefined) {
      throw new Malformed("it goes on after its end");
    }
    if (kind === RECORD.end) {
      if (this.#isInStep) throw new Malformed("it ends within a step");
      this.#how = decoder.text();
      return false;
    }
    if (kind === RECORD.step) {
      if (this.#isInStep) throw new Malformed("a step begins within another");
      this.#isInStep = true;
      this.#milliseconds += decoder.upTo(
        LONGEST - this.#milliseconds,
        "a time",
      );
      readFigures(decoder, MACHINE_FIGURES, this.#machine);
      return false;
    }
    if (!this.#isInStep) throw new Malformed("a record is outside of any step");
    switch (kind) {
      case RECORD.stepEnd:
        this.#isInStep = false;
        for (const [process, { mappings, kept }] of this.#changes) {
          process.mappings = kept.length === 0
            ? mappings
            : mappings.concat(kept);
        }
        this.#changes.clear();
        return true;
      case RECORD.join:
        this.#join(decoder);
        break;
      case RECORD.leave:
        this.#leave(decoder);
        break;
      case RECORD.figures: {
        const { figures } = this.#process(decoder);
        readFigures(decoder, PROCESS_FIGURES, figures);
        break;
      }
      case RECORD.stays:
        this.#stays(decoder);
        break;
      case RECORD.name:
        if (this.#names.length > MOST_NAMES) {
          throw new Malformed("there are too many names");
        }
        this.#names.push(decoder.text());
        break;
      case RECORD.mappings:
        this.#readMappings(decoder);
        break;
      case RECORD.pages:
        this.#readPages(decoder);
        break;
      default:
        throw new Malformed(`there is no kind of record ${kind}`);
    }
    return false;
  }

  #process(decoder: Decoder): RecordedProcess {
    const id = decoder.number();
    const process = this.#processes.get(id);
    if (process) return process;
    throw new Malformed(`there is no process ${id}`);
  }

  #join(decoder: Decoder): void {
    if (this.#processes.size + this.#left.length >= 2 * MOST_PROCESSES) {
      throw new Malformed("there are too many processes");
    }
    const pid = decoder.number();
    const startTime = decoder.number();
    const comm = decoder.text();
    if (comm.length > LONGEST_COMM) throw new Malformed("a name is too long");
    const uid = decoder.number();
    const id = this.#nextId++;
    const process = new RecordedProcess(id, {
      pid,
      startTime,
      comm,
      uid: uid === 0 ? undefined : uid - 1,
    });
    this.#processes.set(id, process);
    this.#joined.push(process);
  }

  #leave(decoder: Decoder): void {
    const process = this.#process(decoder);
    const reason = LEAVE_REASONS[decoder.byte()];
    if (!reason) throw new Malformed("a process leaves for no known reason");
    const message = decoder.text();
    this.#blocks -= process.bits.size;
    const change = this.#changes.get(process);
    this.#mappings -= change
      ? change.mappings.length + change.kept.length
      : process.mappings.length;
    this.#changes.delete(process);
    process.bits.clear();
    process.mappings = [];
    this.#processes.delete(process.id);
    this.#left.push({ process, reason, message });
  }

  #stays(decoder: Decoder): void {
    const process = this.#process(decoder);
    const count = decoder.upTo(MOST_STAYS, "the number of reasons");
    const stays: RecordedStay[] = [];
    for (let at = 0; at < count; at++) {
      const reason = decoder.text();
      if (!/^[a-z-]{1,32}$/.test(reason)) {
        throw new Malformed("a reason is not a word");
      }
      // Another rcap may know other words; they are only shown.
      stays.push({ reason: reason as SkipReason, bytes: decoder.number() });
    }
    process.stays = stays;
  }

  #readMappings(decoder: Decoder): void {
    const process = this.#process(decoder);
    const { mappings, kept } = this.#changeOf(process, decoder);
    const last = mappings.at(-1);
    let end = last ? last.start + last.units : 0;
    for (;;) {
      const more = decoder.byte();
      if (more === 0) break;
      if (more !== 1) throw new Malformed("a list of mappings goes on oddly");
      if (this.#mappings >= MOST_MAPPINGS) {
        throw new Malformed("too many mappings");
      }
      const start = end + decoder.number();
      const units = decoder.number();
      end = start + units;
      if (end > MOST_UNITS) throw new Malformed("an address is too large");
      const pageSize = decoder.number();
      const scale = pageSize / UNIT;
      const isPower = scale >= 1 && pageSize <= LARGEST_PAGE &&
        Number.isInteger(Math.log2(scale));
      if (!isPower || units % scale !== 0) {
        throw new Malformed(`${pageSize} is not a size of pages`);
      }
      const flags = decoder.upTo(0xffff, "flags");
      const isFile = decoder.byte() !== 0;
      const number = decoder.number();
      const name = this.#names[number];
      if (name === undefined) throw new Malformed(`there is no name ${number}`);
      mappings.push({ start, units, pageSize, flags, isFile, name });
      this.#mappings++;
    }
    if (kept.length > 0 && kept[0].start < end) {
      throw new Malformed("mappings are not in address order");
    }
  }

  /**
   * Reads how many mappings stay. A list that did not fit its frame goes on where it
   * ended: each list is put together once a step, so that reading takes no longer than
   * the file and its lists are long.
   */
  #changeOf(process: RecordedProcess, decoder: Decoder): MappingsChange {
    const begun = this.#changes.get(process);
    const before = process.mappings;
    const first = decoder.number();
    const last = decoder.number();
    if (begun) {
      if (first === begun.mappings.length && last === begun.kept.length) {
        return begun;
      }
      throw new Malformed("the mappings of a process change twice in a step");
    }
    if (first + last > before.length) {
      throw new Malformed(
        `${first + last} is too large for a number of mappings`,
      );
    }
    const change = {
      mappings: before.slice(0, first),
      kept: before.slice(before.length - last),
    };
    this.#mappings += first + last - before.length;
    this.#changes.set(process, change);
    return change;
  }

  #readPages(decoder: Decoder): void {
    const { bits } = this.#process(decoder);
    let number = -1;
    for (;;) {
      const distance = decoder.number();
      if (distance === 0) return;
      number += distance;
      if (number >= MOST_UNITS / BLOCK) {
        throw new Malformed("an address is too large");
      }
      const mask = decoder.byte();
      if (mask < 1 || mask > 3) throw new Malformed("a block changes oddly");
      const known = bits.size;
      const place = bits.place(number);
      this.#blocks += bits.size - known;
      if (this.#blocks > MOST_BLOCKS) throw new Malformed("too many blocks");
      const { words } = bits;
      let isEmpty = true;
      for (let at = 0; at < BLOCK_WORDS; at++) {
        if (mask & (at < WORDS ? 1 : 2)) words[place + at] ^= decoder.word();
        if (words[place + at] !== 0) isEmpty = false;
      }
      if (isEmpty) {
        bits.remove(number);
        this.#blocks--;
      }
    }
  }
}

/** Reads figures that have changed. */
function readFigures<T extends string>(
  decoder: Decoder,
  names: readonly T[],
  figures: Record<T, number>,
): void {
  const mask = decoder.upTo(2 ** names.length - 1, "a set of figures");
  for (const [at, name] of names.entries()) {
    if (!(mask >>> at & 1)) continue;
    figures[name] += decoder.signed();
    if (!(figures[name] >= 0 && Number.isSafeInteger(figures[name]))) {
      throw new Malformed(`${figures[name]} is out of range for ${name}`);
    }
  }
}
