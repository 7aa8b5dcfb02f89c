/**
 * Records processes of which the ages of the pages are known.
 *
 * @module
 */

import type { Pagedata, PagedataMapping } from "../memory/pagedata.ts";
import { mappingBytes } from "../memory/pagedata.ts";
import type { PageAges } from "../scanner/ages.ts";
import { UNIT, unitOf } from "../scanner/moves.ts";
import { type Anonymizer, AnonymousSpace } from "./anonymous.ts";
import { PageBits } from "./page_bits.ts";
import type {
  LeaveReason,
  ProcessFigures,
  RecordedIdentity,
  RecordedMapping,
  RecordedStay,
} from "./records.ts";
import type { RecordingWriter } from "./writer.ts";

/** What is known of a mapping besides its pages. */
export interface MappingKnowledge {
  readonly name: string;
  readonly isFile: boolean;
}

/** What a step says of a process. */
export interface ProcessReading {
  readonly figures: ProcessFigures;
  readonly stays: readonly RecordedStay[];
  /** The ages of its pages, as of the end of an interval; `undefined` if it was not read. */
  readonly ages?: PageAges;
  knowledgeOf(mapping: PagedataMapping): MappingKnowledge;
}

/** Means that the processes of a recording share. */
export interface ProcessRecording {
  readonly writer: RecordingWriter;
  /** With it, names and addresses are left out. */
  readonly anonymizer?: Anonymizer;
}

/** Records one process. */
export class ProcessRecorder {
  readonly #writer: RecordingWriter;
  readonly #anonymizer: Anonymizer | undefined;
  readonly #space = new AnonymousSpace();
  readonly #identity: RecordedIdentity;
  /** Its number in the recording, once it is known that there is room. */
  #id: number | undefined;
  #spare = new PageBits();

  constructor(
    identity: RecordedIdentity,
    { writer, anonymizer }: ProcessRecording,
  ) {
    this.#writer = writer;
    this.#anonymizer = anonymizer;
    this.#identity = anonymizer?.identity(identity) ?? identity;
  }

  /** Adds what is known of it to the step that has begun. */
  record({ figures, stays, ages, knowledgeOf }: ProcessReading): void {
    const writer = this.#writer;
    const id = this.#id ??= writer.join(this.#identity);
    if (id === undefined) return;
    writer.figures(id, figures, stays);
    const pagedata = ages?.pagedata;
    if (!ages || !pagedata) return;
    const { mappings, placed } = this.#placed(pagedata, knowledgeOf);
    writer.mappings(id, mappings);
    const bits = this.#spare;
    const isWhole = bits.take(placed, ages.used, {
      moment: ages.lastMomentBefore(0),
      most: writer.blocksLeft(id),
    });
    if (!isWhole) writer.leftOut++;
    this.#spare = writer.pages(id, bits);
  }

  /** Ends its recording. */
  leave(reason: LeaveReason, message = ""): void {
    if (this.#id === undefined) return;
    this.#writer.leave(this.#id, reason, this.#anonymizer ? "" : message);
    this.#id = undefined;
  }

  /** The mappings as they are recorded, in address order, and the reading with their addresses. */
  #placed(
    pagedata: Pagedata,
    knowledgeOf: ProcessReading["knowledgeOf"],
  ): { mappings: RecordedMapping[]; placed: Pagedata } {
    const mappings: RecordedMapping[] = [];
    const placed: PagedataMapping[] = [];
    for (const mapping of pagedata.mappings) {
      const { name, isFile } = knowledgeOf(mapping);
      const { pageSize, flags } = mapping;
      const start = unitOf(mapping.start);
      const move = this.#anonymizer ? this.#space.moveOf({ start }) : 0;
      if (move === undefined) {
        this.#writer.leftOut++;
        continue;
      }
      mappings.push({
        start: start + move,
        units: mappingBytes(mapping) / UNIT,
        pageSize,
        flags,
        isFile,
        name: this.#anonymizer?.name(name) ?? name,
      });
      placed.push(
        move === 0 ? mapping : {
          ...mapping,
          start: mapping.start + BigInt(move) * BigInt(UNIT),
        },
      );
    }
    if (this.#anonymizer) mappings.sort((a, b) => a.start - b.start);
    return { mappings, placed: { ...pagedata, mappings: placed } };
  }
}
