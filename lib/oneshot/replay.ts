/**
 * What a policy would have done with the references of a recording: the real policy, on a
 * simulated machine whose processes play it. `rcap replay` prints the result.
 *
 * @module
 */

import type { PolicyName } from "../config/policy_names.ts";
import { RcapError } from "../errors.ts";
import { CappedGroup } from "../group/capped_group.ts";
import { Member } from "../group/member.ts";
import type { FileCalls } from "../platform/directory.ts";
import { Log } from "../platform/output.ts";
import { SimulatedClock } from "../platform/simulated_clock.ts";
import { policyOf } from "../policy/policies.ts";
import type { GroupPolicy } from "../policy/policy.ts";
import { openRecording } from "../recording/recording_file.ts";
import { stepsOf } from "../recording/turns.ts";
import { PARTS } from "../recording/replayed_memory.ts";
import { ReplayedPlatform } from "../recording/replayed_platform.ts";
import type { RecordedProcess, RecordedStep } from "../recording/records.ts";

/** What an interval would have been like. Sizes in bytes, times in seconds. */
export interface ReplayRow {
  readonly seconds: number;
  /** The size at its end. */
  readonly size: number;
  /** Pages a second. */
  readonly pagedOut: number;
  readonly refaults: number;
}

/** What a policy would have done. */
export interface PolicyReplay {
  readonly policy: PolicyName;
  readonly meanSize: number;
  /** The share of the time in which the cap was exceeded, after it was first met. */
  readonly overCap: number | null;
  /** When it was first met, if only until a scan had ended; null if it was not. */
  readonly metAfter: number | null;
  /** Pages in all, and a second from when the cap was first met on. */
  readonly pagedOut: number;
  readonly refaults: number;
  readonly refaultsPerSecond: number | null;
  /** Pages in the worst minute of that time; null if there was none. */
  readonly worstMinute: number | null;
  readonly timeline: readonly ReplayRow[];
}

/** What `rcap replay --json` prints. */
export interface ReplayReport {
  readonly version: 1;
  readonly file: string;
  readonly cap: number;
  readonly interval: number;
  readonly seconds: number;
  /** The size without a cap, on average. */
  readonly meanSize: number;
  readonly policies: readonly PolicyReplay[];
}

export interface ReplayOptions {
  /** In bytes. */
  readonly cap: number;
  readonly policies: readonly PolicyName[];
  readonly process?: (one: RecordedProcess) => boolean;
  /** Ends it with the reason of the signal. */
  readonly signal: AbortSignal;
  /** Called with the share that is done. */
  readonly onProgress?: (policy: PolicyName, seconds: number) => void;
}

/**
 * Replays a recording.
 *
 * @throws RcapError if it cannot be read, is damaged, or has less than two steps.
 */
export async function replayRecording(
  files: FileCalls,
  path: string,
  options: ReplayOptions,
): Promise<ReplayReport> {
  const policies: PolicyReplay[] = [];
  let [seconds, interval, sizes, steps] = [0, 0, 0, 0];
  for (const policy of options.policies) {
    using recording = openRecording(files, path);
    const { reader } = recording;
    interval = reader.info.interval;
    const replay = new Replay(policy, options, interval);
    [seconds, sizes, steps] = [0, 0, 0];
    for await (const step of stepsOf(reader, options.signal)) {
      const chosen = chosenOf(step, options);
      for (const { figures } of chosen.processes.values()) {
        sizes += figures.size;
      }
      await replay.play(chosen);
      options.onProgress?.(policy, step.seconds);
      seconds = step.seconds;
      steps++;
    }
    if (steps < 2) {
      throw new RcapError(
        `${path} has too little to be replayed: ${steps} complete steps`,
      );
    }
    policies.push(replay.result());
  }
  return {
    version: 1,
    file: path,
    cap: options.cap,
    interval,
    seconds,
    meanSize: Math.round(sizes / steps),
    policies,
  };
}

function chosenOf(
  step: RecordedStep,
  { process: isChosen }: ReplayOptions,
): RecordedStep {
  if (!isChosen) return step;
  const chosen = [...step.processes].filter(([, one]) => isChosen(one));
  return { ...step, processes: new Map(chosen) };
}

/** One policy at work. */
class Replay {
  readonly #name: PolicyName;
  readonly #cap: number;
  readonly #clock = new SimulatedClock();
  readonly #platform = new ReplayedPlatform();
  readonly #group: CappedGroup;
  readonly #policy: GroupPolicy;
  readonly #signal: AbortSignal;
  readonly #interval: number;
  readonly #timeline: ReplayRow[] = [];
  readonly #playEvery: (milliseconds: number) => void;
  /** The first interval in which the cap was met. */
  #met: number | undefined;
  /** Of the interval that is played: when it began and how long it is, in milliseconds. */
  #began = 0;
  #length = 1;

  /** @param interval of the recording, in seconds. */
  constructor(
    name: PolicyName,
    { cap, signal }: ReplayOptions,
    interval: number,
  ) {
    this.#name = name;
    this.#cap = cap;
    this.#signal = signal;
    this.#interval = interval * 1000;
    const platform = this.#platform;
    this.#group = new CappedGroup(
      1,
      { name: "replay", select: [], maxRss: cap, place: "replay" },
      {
        platform,
        newMember: (entry) => new Member(entry, platform.open(entry), () => {}),
      },
    );
    this.#policy = policyOf(name).forGroup(this.#group, {
      clock: this.#clock,
      log: new Log("error"),
      signal,
    });
    this.#playEvery = this.#clock.repeat(
      this.#interval / PARTS,
      () => this.#playTillNow(),
    );
  }

  #playTillNow(): void {
    const passed = (this.#clock.now() - this.#began) / this.#length;
    this.#platform.playTo(Math.floor(Math.min(passed, 1) * PARTS));
  }

  /** Plays the interval that a step ends; beside it, the policy does what it would. */
  async play(step: RecordedStep): Promise<void> {
    const clock = this.#clock;
    const platform = this.#platform;
    const before = {
      pagedOut: platform.pagedOut,
      refaults: platform.refaults,
    };
    platform.begin(step);
    this.#began = clock.now();
    const end = Math.max(step.seconds * 1000, this.#began + 1);
    this.#length = end - this.#began;
    // However long it is, a gap of days for instance, it has as many parts.
    this.#playEvery(this.#length / PARTS);
    // At the start, the sizes and references of the interval before are known.
    const work = this.#timeline.length > 0 ? this.#work() : Promise.resolve();
    await clock.finish(work, this.#interval / PARTS);
    const afterScan = platform.size;
    if (clock.now() < end) await clock.advance(end - clock.now());
    platform.playTo(PARTS);
    const seconds = this.#length / 1000;
    if (Math.min(afterScan, platform.size) <= this.#cap) {
      this.#met ??= this.#timeline.length;
    }
    this.#timeline.push({
      seconds: step.seconds,
      size: platform.size,
      pagedOut: (platform.pagedOut - before.pagedOut) / seconds,
      refaults: (platform.refaults - before.refaults) / seconds,
    });
  }

  /** Does what the daemon does with a sample. */
  async #work(): Promise<void> {
    const clock = this.#clock;
    const group = this.#group;
    const policy = this.#policy;
    const interval = this.#interval;
    const moment = () => ({ now: clock.now(), interval });
    const circumstances = () => group.circumstances(Infinity);
    group.update(this.#platform.listProcesses());
    const sample = group.sample(clock.now());
    const { excess } = policy.judge(sample);
    group.backoff.sampled(
      { cameBack: sample.cameBack, isEnforced: excess > 0 },
      circumstances(),
      moment(),
    );
    if (!sample.wantsHistory) return policy.forget();
    await policy.observe({ interval });
    const take = group.backoff.isWaiting(moment()) ? 0 : excess;
    if (!policy.hasWork(take)) return;
    if (take > 0) group.backoff.begin();
    const outcome = await policy.enforce(take, { interval }, this.#signal);
    if (take > 0) group.backoff.end();
    if (!outcome) return;
    group.backoff.scanned(
      { ...outcome, pagedOut: outcome.effective },
      circumstances(),
      moment(),
    );
  }

  result(): PolicyReplay {
    const timeline = this.#timeline;
    const platform = this.#platform;
    const met = this.#met;
    const after = met === undefined ? [] : timeline.slice(met + 1);
    const lengths = after.map(({ seconds }, at) =>
      seconds - timeline[timeline.length - after.length + at - 1].seconds
    );
    const time = lengths.reduce((sum, length) => sum + length, 0);
    const over = after.filter(({ size }) => size > this.#cap).length;
    const pages = after.map(({ refaults }, at) => refaults * lengths[at]);
    const refaults = pages.reduce((sum, some) => sum + some, 0);
    const sizes = timeline.reduce((sum, { size }) => sum + size, 0);
    return {
      policy: this.#name,
      meanSize: Math.round(sizes / timeline.length),
      overCap: after.length === 0 ? null : over / after.length,
      metAfter: met === undefined ? null : timeline[met].seconds,
      pagedOut: platform.pagedOut,
      refaults: platform.refaults,
      refaultsPerSecond: time === 0 ? null : refaults / time,
      worstMinute: time === 0 ? null : Math.round(worstMinute(after, pages)),
      timeline,
    };
  }
}

/** The most pages that came back within any minute. */
function worstMinute(
  rows: readonly ReplayRow[],
  pages: readonly number[],
): number {
  let [worst, sum, first] = [0, 0, 0];
  for (const [at, { seconds }] of rows.entries()) {
    sum += pages[at];
    while (seconds - rows[first].seconds >= 60) sum -= pages[first++];
    worst = Math.max(worst, sum);
  }
  return worst;
}
