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

/** A reading of a process. */
export interface ProcessReading {
  readonly pagedata: Pagedata;
  /** A byte a page, in the order of the bits of the pagedata; `moment` if it was used. */
  readonly used: Uint8Array;
  readonly moment: number;
  knowledgeOf(mapping: PagedataMapping): MappingKnowledge;
}

/** Returns a reading of the ages of pages, as of the end of an interval. */
export function readingOf(
  ages: PageAges,
  knowledgeOf: ProcessReading["knowledgeOf"],
): ProcessReading | undefined {
  const { pagedata, used } = ages;
  if (!pagedata) return undefined;
  return { pagedata, used, moment: ages.lastMomentBefore(0), knowledgeOf };
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
  /** What was read since the last step. */
  #pending: { mappings: RecordedMapping[]; bits: PageBits } | undefined;

  constructor(
    identity: RecordedIdentity,
    { writer, anonymizer }: ProcessRecording,
  ) {
    this.#writer = writer;
    this.#anonymizer = anonymizer;
    this.#identity = anonymizer?.identity(identity) ?? identity;
  }

  /** Takes a reading. What several found in use between two steps was used in the interval. */
  take(reading: ProcessReading): void {
    const { mappings, placed } = this.#placed(reading);
    const bits = this.#spare;
    this.#spare = new PageBits();
    const { used, moment } = reading;
    const isWhole = bits.take(placed, used, {
      moment,
      most: this.#writer.blocksLeft(this.#id),
    });
    if (!isWhole) this.#writer.leftOut++;
    if (this.#pending) {
      bits.addUsed(this.#pending.bits);
      this.#spare = this.#pending.bits;
    }
    this.#pending = { mappings, bits };
  }

  /** Adds what is known of it to the step that has begun. */
  record(
    figures: Omit<ProcessFigures, "isRead">,
    stays: readonly RecordedStay[],
  ): void {
    const writer = this.#writer;
    const id = this.#id ??= writer.join(this.#identity);
    if (id === undefined) return;
    const pending = this.#pending;
    writer.figures(id, { ...figures, isRead: pending ? 1 : 0 }, stays);
    if (!pending) return;
    writer.mappings(id, pending.mappings);
    this.#spare = writer.pages(id, pending.bits);
    this.#pending = undefined;
  }

  /** Ends its recording. */
  leave(reason: LeaveReason, message = ""): void {
    if (this.#id === undefined) return;
    this.#writer.leave(this.#id, reason, this.#anonymizer ? "" : message);
    this.#id = undefined;
  }

  /** The mappings as they are recorded, in address order, and the reading with their addresses. */
  #placed(
    { pagedata, knowledgeOf }: ProcessReading,
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
