/**
 * Records which pages of some processes are used, interval by interval. Nothing is paged
 * out. `rcap record` prints what came of it.
 *
 * @module
 */

import { writtenAs } from "../collection/selectors.ts";
import { messageOf, NotKnown, ProcessError, RcapError } from "../errors.ts";
import type { PagedataMapping } from "../memory/pagedata.ts";
import { systemClock } from "../platform/clock.ts";
import type { Platform, ProcessEntry } from "../platform/platform.ts";
import { Anonymizer } from "../recording/anonymous.ts";
import {
  type MappingKnowledge,
  ProcessRecorder,
  readingOf,
} from "../recording/process_recorder.ts";
import type { RecordingFile } from "../recording/recording_file.ts";
import { machineFigures } from "../recording/records.ts";
import { RecordingWriter } from "../recording/writer.ts";
import { formatSize } from "../report/units.ts";
import type { SizedProcess } from "./sized_process.ts";
import {
  ProcessWatch,
  type Watcher,
  type WatchOptions,
} from "./watch_processes.ts";

export interface RecordOptions extends WatchOptions {
  /** Where the recording goes: a file that is empty. */
  readonly file: Omit<RecordingFile, keyof Disposable>;
  /** Its path, for messages. */
  readonly path: string;
  /** Whether names, paths and absolute addresses are left out. */
  readonly isAnonymous: boolean;
  /** The version of rcap. */
  readonly version: string;
}

/** What was recorded; what `rcap record --json` prints. Sizes in bytes, times in seconds. */
export interface RecordResult {
  readonly version: 1;
  readonly file: string;
  readonly size: number;
  readonly seconds: number;
  readonly steps: number;
  /** How many processes were recorded in all. */
  readonly processes: number;
  /** Whether it was ended early. */
  readonly interrupted: boolean;
  /** How much was left out since it exceeded the limits of a recording: processes and mappings. */
  readonly leftOut: number;
}

/**
 * Records for a time, or until the signal.
 *
 * @throws NoMatch, NoSuchProcess if there is nothing to record; the file is removed.
 * @throws RcapError if the file takes no more; what was written until then is readable.
 */
export async function record(options: RecordOptions): Promise<RecordResult> {
  const { platform, signal, path, selectors, interval, isAnonymous } = options;
  const clock = options.clock ?? systemClock;
  const pageIns = (await platform.costs?.())?.pageIns ?? [];
  const recorder = new Recorder(options, {
    rcap: options.version,
    startedAt: clock.wallTime(),
    interval: interval / 1000,
    selectors: isAnonymous
      ? []
      : selectors.map((one) => [writtenAs(one)].flat().join(" ")),
    pagedata: platform.pagedata,
    isAnonymous,
    pageIns,
  });
  try {
    await new ProcessWatch({ ...options, keepsNames: true }, recorder).run();
    recorder.end(signal.aborted ? "interrupted" : "done");
  } finally {
    if (recorder.steps === 0) options.file.remove();
  }
  const { steps, processes, seconds, writer, failure } = recorder;
  if (steps === 0 && failure === undefined) signal.throwIfAborted();
  if (failure !== undefined) {
    throw new RcapError(
      `${path} could not be written any more: ${
        messageOf(failure)
      }; the first ${steps} steps, ${Math.round(seconds)} s, are readable`,
    );
  }
  return {
    version: 1,
    file: path,
    size: writer.size,
    seconds: Number(seconds.toFixed(1)),
    steps,
    processes,
    interrupted: signal.aborted,
    leftOut: writer.leftOut,
  };
}

/** A process of the recording. */
interface Followed {
  readonly watched: SizedProcess;
  readonly recorder: ProcessRecorder;
}

/** Writes a step at the end of each interval. */
class Recorder implements Watcher {
  readonly writer: RecordingWriter;
  readonly #platform: Platform;
  readonly #anonymizer: Anonymizer | undefined;
  #followed: Followed[] = [];
  steps = 0;
  processes = 0;
  seconds = 0;
  /** Why nothing more could be written. */
  failure: unknown;

  constructor(
    { file, platform, isAnonymous }: RecordOptions,
    info: ConstructorParameters<typeof RecordingWriter>[1],
  ) {
    this.#platform = platform;
    this.#anonymizer = isAnonymous ? new Anonymizer() : undefined;
    this.writer = new RecordingWriter((bytes) => file.write(bytes), info);
  }

  wants(): boolean {
    return true;
  }

  join(watched: SizedProcess): void {
    const { pid, startTime, comm } = watched.entry;
    const recorder = new ProcessRecorder(
      { pid, startTime, comm, uid: this.#uidOf(watched.entry) },
      { writer: this.writer, anonymizer: this.#anonymizer },
    );
    this.#followed.push({ watched, recorder });
    this.processes++;
  }

  #uidOf(entry: ProcessEntry): number | undefined {
    try {
      return this.#platform.userOf(entry);
    } catch (error) {
      if (!(error instanceof NotKnown)) throw error;
      return undefined;
    }
  }

  begin(): void {}

  forgetExited(): void {}

  take(seconds: number, endsInterval: boolean): boolean {
    if (!endsInterval) return true;
    try {
      this.#write(seconds);
      this.steps++;
      this.seconds = seconds;
      return true;
    } catch (error) {
      if (!(error instanceof RcapError)) throw error;
      this.failure = error;
      return false;
    }
  }

  #write(seconds: number): void {
    const platform = this.#platform;
    this.writer.beginStep(
      seconds,
      machineFigures(platform.memory(), {
        pressure: platform.memoryPressure?.(),
        memoryOfSwap: platform.memoryOfSwap?.(),
      }),
    );
    this.#followed = this.#followed.filter((one) => this.#follow(one));
    this.writer.endStep();
  }

  /** @returns whether it is still there. */
  #follow({ watched, recorder }: Followed): boolean {
    if (watched.hasExited) {
      recorder.leave(this.#hasExecuted(watched.entry) ? "exec" : "exited");
      return false;
    }
    if (watched.error !== undefined) {
      recorder.leave("unreadable", watched.error);
      return false;
    }
    const { sample, memory, pageable, stays } = watched;
    const { ages, isRead } = watched;
    const reading = isRead && ages && readingOf(ages, knowing(watched));
    if (reading) recorder.take(reading);
    recorder.record(
      {
        rss: Math.round(sample.rss),
        fileRss: Math.round(sample.fileRss),
        size: Math.round(watched.size),
        swapped: this.#swapOf(watched),
        majorFaults: sample.majorFaults,
        unjudged: memory.unjudged ?? 0,
        observationCost: Math.round((memory.observationCost ?? 0) * 1e6),
        toSwap: Math.round(pageable.toSwap),
        toFiles: Math.round(pageable.toFiles),
      },
      stays.flatMap(({ reason, proportional }) =>
        reason === null || reason === "nonresident"
          ? []
          : [{ reason, bytes: Math.round(proportional) }]
      ),
    );
    return true;
  }

  #swapOf({ memory, out }: SizedProcess): number {
    try {
      return memory.readSwap?.() ?? out;
    } catch (error) {
      // It has exited, which the next reading notices.
      if (!(error instanceof ProcessError)) throw error;
      return out;
    }
  }

  /** Whether a process that is gone runs another program. */
  #hasExecuted({ pid, startTime, layout }: ProcessEntry): boolean {
    try {
      const now = this.#platform.readProcess(pid);
      return now.startTime === startTime && now.layout !== layout &&
        !now.isZombie;
    } catch (error) {
      if (!(error instanceof ProcessError)) throw error;
      return false;
    }
  }

  progress(): string {
    return `, ${formatSize(this.writer.size)} written`;
  }

  end(how: string): void {
    if (this.failure !== undefined) return;
    try {
      this.writer.end(how);
    } catch (error) {
      if (!(error instanceof RcapError)) throw error;
      this.failure = error;
    }
  }
}

/** Returns what is known of the mappings of a process; it is asked in address order. */
function knowing(
  watched: SizedProcess,
): (mapping: PagedataMapping) => MappingKnowledge {
  const { named } = watched;
  let at = 0;
  return (mapping) => {
    while (at < named.length && named[at].end <= mapping.start) at++;
    const one = named[at];
    const isKnown = one !== undefined && one.start <= mapping.start;
    return {
      name: isKnown ? one.name : "",
      isFile: watched.originOf(mapping) === "file",
    };
  };
}
