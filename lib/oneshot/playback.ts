/**
 * Plays a recording: the processes with the ages of their pages, step by step, and what of
 * them is of interest.
 *
 * @module
 */

import type { Staying } from "../collection/what_stays.ts";
import { RcapError } from "../errors.ts";
import type { Pagedata } from "../memory/pagedata.ts";
import type { FileCalls } from "../platform/directory.ts";
import type { MachineMemory } from "../platform/platform.ts";
import type { RecordingEnd } from "../recording/reader.ts";
import { openRecording } from "../recording/recording_file.ts";
import type {
  MachineFigures,
  RecordedMapping,
  RecordedProcess,
  RecordedStep,
  RecordingInfo,
} from "../recording/records.ts";
import { stepsOf } from "../recording/turns.ts";
import { PageAges } from "../scanner/ages.ts";
import type { GroupReading } from "../scanner/group_reading.ts";
import { UNIT } from "../scanner/moves.ts";
import type { SizedMember } from "./sized_group.ts";

/** Which recording is played. */
export interface RecordingSource {
  readonly files: FileCalls;
  readonly path: string;
  /** Ends it with the reason of the signal. */
  readonly signal: AbortSignal;
}

/** What of a recording is of interest; all by default. */
export interface PlaybackFilter {
  /** From this time on, and until that, in seconds since it began. */
  readonly from?: number;
  readonly to?: number;
  readonly process?: (one: RecordedProcess) => boolean;
  readonly mapping?: (mapping: RecordedMapping) => boolean;
  /** Whether the ages of pages are not of interest. */
  readonly keepsNoAges?: boolean;
}

/** What a step of a playback shows; valid until the next one. */
export interface PlayedStep {
  readonly step: RecordedStep;
  /** How long its interval was, in seconds. */
  readonly interval: number;
  /** The processes that are there, in the order in which they joined. */
  readonly processes: readonly PlayedProcess[];
  /** Those that have left since the step before. */
  readonly left: readonly PlayedProcess[];
}

/** A process of a recording. Sizes are in bytes. */
export class PlayedProcess implements SizedMember {
  readonly source: RecordedProcess;
  readonly ages: PageAges;
  /** Its mappings that are of interest. */
  mappings: readonly RecordedMapping[] = [];
  hasExited = false;
  /** When it joined and left, in seconds; as far as this was played. */
  joinedAt = 0;
  leftAt: number | undefined;
  readonly #filter: PlaybackFilter;
  #origins = new Map<bigint, "swap" | "file">();
  #known: readonly RecordedMapping[] | undefined;
  /** How long ago its last reading was, in seconds. */
  #passed = 0;

  constructor(recorded: RecordedProcess, filter: PlaybackFilter) {
    this.source = recorded;
    this.#filter = filter;
    this.ages = new PageAges({
      originOf: ({ start }) => this.#origins.get(start) ?? "swap",
    });
  }

  get isWatched(): boolean {
    return !this.hasExited;
  }

  /** With only some mappings, what is recorded of these. */
  get size(): number {
    return this.#filter.mapping ? this.recorded : this.source.figures.size;
  }

  get recorded(): number {
    return this.ages.residentBytes;
  }

  get out(): number {
    return this.source.figures.swapped;
  }

  /** What of it was in swap at the start, by page, is not recorded. */
  get outAtStart(): number {
    return 0;
  }

  get pageable(): { toSwap: number; toFiles: number } {
    const { toSwap, toFiles } = this.source.figures;
    return { toSwap, toFiles };
  }

  get stays(): readonly Staying[] {
    return this.source.stays.map(({ reason, bytes }) => ({
      reason,
      rss: bytes,
      proportional: bytes,
    }));
  }

  /** What it looks to use was not judged at all; for how long is not recorded. */
  unresetFor(): number {
    return this.source.figures.unjudged;
  }

  /** Whether its references were read in the last step. */
  get isRead(): boolean {
    return this.#passed === 0 && this.ages.pagedata !== undefined;
  }

  /** Takes over a step. */
  advance(interval: number): void {
    const { mappings, figures, bits } = this.source;
    if (mappings !== this.#known) {
      this.#known = mappings;
      this.mappings = this.#filter.mapping
        ? mappings.filter(this.#filter.mapping)
        : mappings;
      this.#origins = new Map(
        this.mappings.map(({ start, isFile }) => [
          BigInt(start) * BigInt(UNIT),
          isFile ? "file" : "swap",
        ]),
      );
    }
    this.#passed += interval;
    if (figures.isRead === 0 || this.#filter.keepsNoAges) return;
    const reading: Pagedata = bits.pagedata(this.mappings);
    this.ages.advance(reading, this.#passed);
    this.#passed = 0;
  }

  addTo(reading: GroupReading): void {
    if (!this.ages.pagedata) return;
    if (this.#passed === 0) reading.addRead(this.ages);
    else reading.addUnread(this.ages, this.#passed);
  }
}

/** How a playback went. */
export interface Playback {
  readonly info: RecordingInfo;
  readonly end: RecordingEnd;
  /** How long the recording is, in seconds, and how many steps it has. */
  readonly seconds: number;
  readonly steps: number;
}

/**
 * Plays a recording.
 *
 * @param onStep called with each step that is of interest.
 * @throws RcapError if it cannot be read, is damaged, or has no step of interest.
 * @throws the reason of the signal soon after it is aborted.
 */
export async function playRecording(
  { files, path, signal }: RecordingSource,
  filter: PlaybackFilter,
  onStep: (step: PlayedStep, info: RecordingInfo) => void,
): Promise<Playback> {
  using recording = openRecording(files, path);
  const { reader } = recording;
  const { from = 0, to = Infinity } = filter;
  const played = new Map<RecordedProcess, PlayedProcess>();
  let [seconds, steps, shown] = [0, 0, 0];
  let selected = 0;
  let hasMapping = false;
  for await (const step of stepsOf(reader, signal)) {
    const interval = step.seconds - seconds;
    seconds = step.seconds;
    steps++;
    const left: PlayedProcess[] = [];
    for (const { process } of step.left) {
      const one = played.get(process);
      if (!one) continue;
      one.hasExited = true;
      one.leftAt = seconds;
      played.delete(process);
      left.push(one);
    }
    // Timers are not exact: a step belongs to the interval that it ends.
    if (seconds - interval / 2 < from || seconds - interval / 2 > to) continue;
    shown++;
    for (const process of step.processes.values()) {
      if (filter.process && !filter.process(process)) continue;
      let one = played.get(process);
      if (!one) {
        one = new PlayedProcess(process, filter);
        one.joinedAt = Math.max(0, seconds - interval);
        played.set(process, one);
        selected++;
      }
      one.advance(interval);
      hasMapping ||= one.mappings.length > 0;
    }
    onStep(
      { step, interval, processes: [...played.values()], left },
      reader.info,
    );
  }
  if (steps === 0) throw new RcapError(`${path} has no complete step`);
  if (shown === 0) {
    throw new RcapError(
      `${path} has nothing between --from and --to; it is ${
        Math.round(seconds)
      } s long`,
    );
  }
  if (selected === 0) {
    throw new RcapError(
      filter.process
        ? `${path} has no process that --process selects; rcap report ${path} lists them`
        : `${path} has no process: each had exited, or run another program, when its interval ended`,
    );
  }
  if (filter.mapping && !hasMapping) {
    throw new RcapError(
      `${path} has no mapping that --mapping selects; rcap report ${path} lists them`,
    );
  }
  return { info: reader.info, end: reader.end, seconds, steps };
}

/** The memory of the machine, as recorded. */
export function memoryOf(
  { totalMemory, availableMemory, totalSwap, freeSwap }: MachineFigures,
): MachineMemory {
  return { totalMemory, availableMemory, totalSwap, freeSwap };
}
