/**
 * What caps would have cost the processes of a recording: `rcap size --from`.
 *
 * @module
 */

import {
  MACHINE_FIGURES,
  type MachineFigures,
  noFigures,
  type RecordingInfo,
} from "../recording/records.ts";
import {
  memoryOf,
  type PlayedProcess,
  type PlayedStep,
  playRecording,
  type RecordingSource,
} from "./playback.ts";
import type { RefaultLimit } from "../report/rates.ts";
import { ONE_OF_MANY, OTHERS } from "./size.ts";
import { SizedGroup } from "./sized_group.ts";
import { type SizeReport, sizeReport } from "./size_report.ts";

/** The most groups; all others are one. */
const MOST_GROUPS = 1024;

/** Returns the name of the group of a process. */
export type PlayedGroupOf = (one: PlayedProcess) => string;

/** What caps would have cost the groups of a playback. */
export class GroupPlayback {
  readonly #groupOf: PlayedGroupOf | undefined;
  readonly #groups = new Map<string, SizedGroup>();
  readonly #known = new Set<PlayedProcess>();
  #machine: MachineFigures = noFigures(MACHINE_FIGURES);
  #began: number | undefined;

  /** @param groupOf which processes belong together; all by default. */
  constructor(groupOf?: PlayedGroupOf) {
    this.#groupOf = groupOf;
  }

  /** @param interval of the recording, in seconds. */
  take(
    { step, interval: length, processes, left }: PlayedStep,
    interval: number,
  ): void {
    this.#began ??= step.seconds - length;
    if (left.length > 0) {
      for (const one of left) this.#known.delete(one);
      for (const group of this.#groups.values()) group.forgetExited();
    }
    for (const one of processes) {
      if (this.#known.has(one)) continue;
      this.#known.add(one);
      this.#groupNamed(this.#groupOf?.(one) ?? "", interval)
        .processes.push(one);
    }
    this.#machine = { ...step.machine };
    for (const group of this.#groups.values()) {
      group.begin();
      group.take(step.seconds - this.#began, true);
    }
  }

  #groupNamed(wanted: string, interval: number): SizedGroup {
    const isFull = this.#groups.size >= MOST_GROUPS;
    const name = isFull && !this.#groups.has(wanted) ? OTHERS : wanted;
    let group = this.#groups.get(name);
    if (!group) {
      group = new SizedGroup(name, {
        interval,
        // How long it will be is not known; it matters only if it is short.
        observation: Infinity,
        ...this.#groupOf ? ONE_OF_MANY : {},
      });
      this.#groups.set(name, group);
    }
    return group;
  }

  /** @param limit the most refaults that the recommended cap may cause. */
  report({ limit, info, isInterrupted = false }: {
    limit: RefaultLimit;
    info: RecordingInfo;
    isInterrupted?: boolean;
  }): SizeReport {
    const { interval, pageIns, pagedata } = info;
    return sizeReport(
      {
        groups: [...this.#groups.values()],
        costs: { pageIns },
        isInterrupted,
        interval,
      },
      { limit, pagedata, memory: memoryOf(this.#machine) },
    );
  }
}

/**
 * Finds out what caps would have cost the processes of a recording.
 *
 * @throws RcapError if it cannot be read or is damaged.
 */
export async function sizesOfRecording(
  source: RecordingSource,
  { limit, groupOf }: { limit: RefaultLimit; groupOf?: PlayedGroupOf },
): Promise<SizeReport> {
  const sizes = new GroupPlayback(groupOf);
  const { info, end } = await playRecording(source, {}, (played, info) => {
    sizes.take(played, info.interval);
  });
  return sizes.report({ limit, info, isInterrupted: end.how !== "done" });
}
