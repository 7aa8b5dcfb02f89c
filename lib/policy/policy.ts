/**
 * What a policy is: the part of rcap that knows which pages should go.
 *
 * A policy records which pages processes reference, in a way of its own, and pages out
 * what it judges to be idle. It does so for a group of the daemon again and again, and
 * for the processes of a one-shot scan once.
 *
 * @module
 */

import type { Watched } from "../collection/observe.ts";
import type { CappedGroup, Sample } from "../group/capped_group.ts";
import type { ProcessMemory } from "../memory/process_memory.ts";
import type { Clock } from "../platform/clock.ts";
import type { Log } from "../platform/output.ts";
import type { MonitoredMemory, Platform } from "../platform/platform.ts";
import { formatSize } from "../report/units.ts";
import type { IdleBytes } from "../scanner/ages.ts";
import type { ScanStatistics, ScanTarget } from "../scanner/collection.ts";
import type { ScanOptions, ScanResult } from "../scanner/scan.ts";

/** A policy. */
export interface Policy {
  /** Takes charge of a group of the daemon. */
  forGroup(group: CappedGroup, around: PolicySurroundings): GroupPolicy;
  /**
   * Takes charge of the processes of a one-shot scan, whose references have not been
   * reset yet.
   */
  forScan(
    processes: readonly ProcessAccess[],
    granularity: Platform["granularity"],
  ): OneShotPolicy;
}

/** The memory of a process: to observe it, and to scan it. */
export interface ProcessAccess {
  readonly memory: MonitoredMemory;
  readonly scanMemory: ProcessMemory;
}

/** What all of a policy's work on a group needs. */
export interface PolicySurroundings {
  readonly clock: Clock;
  readonly log: Log;
  /** Stops it at the next step. */
  readonly signal: AbortSignal;
}

/** How a group is observed. */
export interface ObserveOptions {
  /** How often the group is sampled, in milliseconds. */
  readonly interval: number;
}

/** How the cap of a group is enforced. */
export interface EnforceOptions extends ObserveOptions {
  /** Whether the threshold asks for less than the excess, so that no more may go than that. */
  readonly isBounded?: boolean;
  /** Whether no other scan follows. */
  readonly isOnlyScan?: boolean;
}

/** A policy in charge of one group. It keeps what it knows of the members. */
export interface GroupPolicy {
  /** What a sample of the group means. */
  judge(sample: Sample): Judgement;
  /** Records the references of all members, or brings up to date what is known of them. */
  observe(options: ObserveOptions): Promise<void>;
  /** Observes all members for so many milliseconds, for one scan. */
  observeOnce(milliseconds: number): Promise<void>;
  /**
   * Whether {@linkcode enforce} has something to do.
   *
   * @param excess as that of `enforce`.
   */
  hasWork(excess: number): boolean;
  /**
   * Scans the group once. Members that cannot be judged yet lose nothing.
   *
   * @param excess by how much the group should shrink at the most, in bytes; 0 to
   * prepare only.
   * @returns `undefined` when nothing was paged out.
   */
  enforce(
    excess: number,
    options: EnforceOptions,
  ): Promise<ScanOutcome | undefined>;
  /** How much was not used for how long; `null` when this is not known. */
  idle(): IdleBytes[] | null;
  /** Records no references any more, and forgets those recorded. */
  forget(): void;
}

/** What a sample means. */
export interface Judgement {
  /** By how much the cap is exceeded, or will soon be; in bytes, 0 when it is not. */
  readonly excess: number;
  /** Whether so much of what was paged out came back that the group is better left alone. */
  readonly suffers: boolean;
}

/** A policy in charge of the processes of a one-shot scan. */
export interface OneShotPolicy {
  /** The processes, in the order in which they were given. */
  readonly processes: readonly ObservedProcess[];
  /** What the scan adds to. */
  readonly statistics: ScanStatistics;
  /** Scans all processes once. Their observation has ended. */
  scan(options: ScanOptions): Promise<ScanResult>;
}

/** One process of a one-shot scan. */
export interface ObservedProcess extends Watched {
  /** The process as the events of a scan name it. */
  readonly target: ScanTarget;
  /** Ends the observation. */
  end(): Promise<void>;
  /** Size of what was not referenced in all the observation, in bytes; `null` when not known. */
  unreferenced(): number | null;
}

/** What a scan came to. Sizes in bytes, times in seconds. */
export interface ScanOutcome {
  /** By how much the resident set fell. */
  readonly effective: number;
  readonly attempted: number;
  /** What is left of the excess, 0 or less for nothing. */
  readonly left: number;
  /** Whether it went once through everything and did not cover the excess. */
  readonly ineffective: boolean;
  /** Whether members were left out that cannot be judged yet. */
  readonly isPartial: boolean;
  readonly seconds: number;
}

/** Whether more than this share of what was paged out came back, a group suffers. */
const SUFFERING_SHARE = 0.25;

/** Whether too much has come back of what scans have paged out. */
export function hasComeBack({ pagedOut, cameBack }: Sample): boolean {
  return pagedOut > 0 && cameBack > pagedOut * SUFFERING_SHARE;
}

/** What a scan came to, in words. */
export function describeOutcome(
  { name, size, cap }: CappedGroup,
  { effective, left, seconds }: ScanOutcome,
): string {
  return `${name}: paged out ${formatSize(effective)} in ${
    seconds.toFixed(2)
  } s; ${formatSize(size - effective)} of ${formatSize(cap)}` +
    (left > 0 ? `, ${formatSize(left)} too much` : "");
}
