/**
 * Records what the daemon sees of its members: `[daemon] record`. It reads no references
 * of its own: a step has what the daemon's readings since the step before have found.
 *
 * @module
 */

import type { MemberRecorder } from "../daemon/watched_group.ts";
import { messageOf, NotKnown, ProcessError, RcapError } from "../errors.ts";
import type { OnPagedata } from "../group/measured_memory.ts";
import type { Member } from "../group/member.ts";
import { MA_ANON } from "../memory/mapping_flags.ts";
import {
  MODIFIED,
  type Pagedata,
  type PagedataMapping,
  REFERENCED,
} from "../memory/pagedata.ts";
import type { Clock } from "../platform/clock.ts";
import type { Log } from "../platform/output.ts";
import type { Platform } from "../platform/platform.ts";
import { ProcessRecorder } from "../recording/process_recorder.ts";
import { machineFigures } from "../recording/records.ts";
import type { Segments } from "../recording/segments.ts";
import { RecordingWriter } from "../recording/writer.ts";

/** How long nothing is written after it failed, in milliseconds: the disk may be full. */
const PAUSE = 60_000;

/** A mapping and its name. */
interface Named {
  readonly start: bigint;
  readonly end: bigint;
  readonly name: string;
}

/** A member, and how it is recorded in the segment that is written. */
interface Followed {
  readonly member: Member;
  recorder: ProcessRecorder | undefined;
  named: readonly Named[];
  /** Whether its names were asked for in this segment. */
  hasNames: boolean;
}

export interface DaemonRecorderOptions {
  readonly segments: Segments;
  readonly platform: Platform;
  readonly clock: Clock;
  readonly log: Log;
  /** How often there is a step, in milliseconds, as of the start. */
  readonly interval: number;
  /** The version of rcap. */
  readonly version: string;
}

/** Writes a step whenever the daemon has sampled. Disposal ends the recording. */
export class DaemonRecorder implements MemberRecorder, Disposable {
  readonly #options: DaemonRecorderOptions;
  readonly #followed = new Set<Followed>();
  #writer: RecordingWriter | undefined;
  #began = 0;
  /** When something could not be written. */
  #failedAt = -Infinity;
  #hasFailed = false;

  constructor(options: DaemonRecorderOptions) {
    this.#options = options;
  }

  follow(make: (onPagedata?: OnPagedata) => Member): Member {
    const member = make((pagedata) => this.#take(followed, pagedata));
    const followed: Followed = {
      member,
      recorder: undefined,
      named: [],
      hasNames: false,
    };
    this.#followed.add(followed);
    return member;
  }

  #take(followed: Followed, pagedata: Pagedata): void {
    const { bits } = pagedata;
    const used = new Uint8Array(bits.length);
    for (let at = 0; at < bits.length; at++) {
      used[at] = bits[at] & (REFERENCED | MODIFIED) ? 1 : 0;
    }
    followed.recorder?.take({
      pagedata,
      used,
      moment: 1,
      knowledgeOf: (mapping) => ({
        name: nameIn(followed.named, mapping),
        isFile: (mapping.flags & MA_ANON) === 0,
      }),
    });
  }

  /** Writes a step: what was read of the members since the last one. */
  step(): void {
    const { clock, log, segments } = this.#options;
    if (clock.now() - this.#failedAt < PAUSE) return;
    try {
      if (!this.#writer || segments.isFull) this.#beginSegment();
      this.#write();
      if (this.#hasFailed) log.info("recordings can be written again");
      this.#hasFailed = false;
    } catch (error) {
      if (!(error instanceof RcapError)) throw error;
      if (!this.#hasFailed) {
        log.warn(
          `recordings in ${segments.path} cannot be written (${
            messageOf(error)
          }); caps are still enforced`,
        );
      }
      this.#hasFailed = true;
      this.#failedAt = clock.now();
      this.#writer = undefined;
    }
  }

  #beginSegment(): void {
    const { segments, clock, interval, version, platform } = this.#options;
    this.#endSegment("continued");
    segments.begin();
    this.#began = clock.now();
    this.#writer = new RecordingWriter(segments.write, {
      rcap: version,
      startedAt: clock.wallTime(),
      interval: interval / 1000,
      selectors: [],
      pagedata: platform.pagedata,
      isAnonymous: false,
      pageIns: [],
    });
    for (const followed of this.#followed) {
      followed.recorder = undefined;
      followed.hasNames = false;
    }
  }

  #endSegment(how: string): void {
    this.#writer?.end(how);
    this.#writer = undefined;
  }

  #write(): void {
    const { platform, clock } = this.#options;
    const writer = this.#writer;
    if (!writer) return;
    writer.beginStep(
      (clock.now() - this.#began) / 1000,
      machineFigures(platform.memory(), {
        pressure: platform.memoryPressure?.(),
        memoryOfSwap: platform.memoryOfSwap?.(),
      }),
    );
    for (const followed of this.#followed) this.#record(writer, followed);
    writer.endStep();
  }

  #record(writer: RecordingWriter, followed: Followed): void {
    const { member } = followed;
    const { entry, sizes, memory } = member;
    if (member.hasLeft) {
      followed.recorder?.leave(this.#whyLeft(member));
      this.#followed.delete(followed);
      return;
    }
    if (member.countsElsewhere) return;
    if (!followed.recorder) {
      const { pid, startTime, comm } = entry;
      const uid = this.#uidOf(member);
      const identity = { pid, startTime, comm, uid };
      followed.recorder = new ProcessRecorder(identity, { writer });
    }
    if (!followed.hasNames) this.#readNames(followed);
    followed.recorder.record({
      rss: Math.round(sizes.rss),
      fileRss: Math.round(sizes.fileRss),
      size: Math.round(member.proportional),
      swapped: this.#swapOf(member),
      majorFaults: entry.majorFaults,
      unjudged: memory.unjudged ?? 0,
      observationCost: Math.round((memory.observationCost ?? 0) * 1e6),
      toSwap: 0,
      toFiles: 0,
    }, []);
  }

  #whyLeft({ entry }: Member): "exited" | "exec" | "deselected" {
    try {
      const now = this.#options.platform.readProcess(entry.pid);
      if (now.startTime !== entry.startTime || now.isZombie) return "exited";
      return now.layout === entry.layout ? "deselected" : "exec";
    } catch (error) {
      if (!(error instanceof ProcessError)) throw error;
      return "exited";
    }
  }

  #uidOf({ entry }: Member): number | undefined {
    try {
      return this.#options.platform.userOf(entry);
    } catch (error) {
      if (!(error instanceof NotKnown)) throw error;
      return undefined;
    }
  }

  #swapOf({ memory }: Member): number {
    try {
      return memory.readSwap?.() ?? 0;
    } catch (error) {
      // It has exited, which the next sample notices.
      if (!(error instanceof ProcessError)) throw error;
      return 0;
    }
  }

  /** Reads the names of its mappings, once a segment, beside the loop. */
  #readNames(followed: Followed): void {
    followed.hasNames = true;
    const { member: { memory, entry } } = followed;
    memory.readMappings("inspect").then((mappings) => {
      followed.named = mappings.map(({ start, end, name }) => ({
        start,
        end,
        name,
      }));
    }).catch((error) => {
      this.#options.log.debug(
        `process ${entry.pid} (${entry.comm}) is recorded without names: ${
          messageOf(error)
        }`,
      );
    });
  }

  [Symbol.dispose](): void {
    try {
      this.#endSegment("done");
    } catch (error) {
      if (!(error instanceof RcapError)) throw error;
      // What was written until then is readable.
    }
  }
}

/** The name of the mapping that a mapping begins in; empty if it is not known. */
function nameIn(named: readonly Named[], { start }: PagedataMapping): string {
  let [low, high] = [0, named.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (named[middle].end <= start) low = middle + 1;
    else high = middle;
  }
  const one = named[low];
  return one !== undefined && one.start <= start ? one.name : "";
}
