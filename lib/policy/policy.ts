/**
 * The interface of a policy: the part of rcap that decides which pages to page out.
 *
 * A policy records in its own way which pages processes reference, and pages out those
 * that it judges to be idle: repeatedly for a group of the daemon, and once for the
 * processes of a one-shot scan.
 *
 * @module
 */

import type { Watched } from "../collection/observe.ts";
import type { CappedGroup, Sample } from "../group/capped_group.ts";
import type { MemberGrowth } from "../group/growth.ts";
import type { Taken } from "../group/measured_memory.ts";
import type { ProcessMemory } from "../memory/process_memory.ts";
import type { Clock } from "../platform/clock.ts";
import type { Log } from "../platform/output.ts";
import type { MonitoredMemory, Platform } from "../platform/platform.ts";
import { formatBeside, formatSize } from "../report/units.ts";
import type { IdleBytes } from "../scanner/ages.ts";
import type { ScanStatistics, ScanTarget } from "../scanner/collection.ts";
import type { ScanOptions, ScanResult } from "../scanner/scan.ts";

/** A policy. */
export interface Policy {
  /** Takes charge of a group of the daemon. */
  forGroup(group: CappedGroup, around: PolicySurroundings): GroupPolicy;
  /**
   * Takes charge of the processes of a one-shot scan. Their references have not been
   * reset yet.
   */
  forScan(
    processes: readonly ProcessAccess[],
    around: { granularity: Platform["granularity"]; clock: Clock },
  ): OneShotPolicy;
}

/** The memory of a process: to observe it, and to scan it. */
export interface ProcessAccess {
  readonly memory: MonitoredMemory;
  readonly scanMemory: ProcessMemory;
}

/** What a policy needs to work on a group. */
export interface PolicySurroundings {
  readonly clock: Clock;
  readonly log: Log;
  /** Stops the work at its next step. */
  readonly signal: AbortSignal;
}

/** How a group is observed. */
export interface ObserveOptions {
  /** How often the group is sampled, in milliseconds. */
  readonly interval: number;
}

/** How the cap of a group is enforced. */
export interface EnforceOptions extends ObserveOptions {
  /** Whether the threshold limits what may be paged out to less than the excess. */
  readonly isBounded?: boolean;
  /** Whether no other scan follows. */
  readonly isOnlyScan?: boolean;
  /** Whether memory in use stays, because other memory is going to go instead. */
  readonly sparesInUse?: boolean;
  /** How much may be tried at most, headroom included, in bytes; no limit by default. */
  readonly most?: number;
}

/** Which idle memory is paged out. */
export interface IdleGoal {
  /** For how long it has not been used, in seconds. */
  readonly seconds: number;
  /** How much of it may be tried at most, in bytes. */
  readonly most: number;
}

/** A policy in charge of one group. It keeps records of the members. */
export interface GroupPolicy {
  /** Judges a sample of the group. */
  judge(sample: Sample): Judgement;
  /** Starts to record the references of all members, or updates their records. */
  observe(options: ObserveOptions): Promise<void>;
  /** Observes all members for a number of milliseconds, for one scan. */
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
   * @param excess by how much the group should shrink at most, in bytes; 0 to
   * prepare only.
   * @param signal ends the scan at its next step.
   * @returns `undefined` if nothing had to go, or nothing can be judged yet.
   */
  enforce(
    excess: number,
    options: EnforceOptions,
    signal: AbortSignal,
  ): Promise<ScanOutcome | undefined>;
  /**
   * How much of the excess idle memory that can be paged out did not suffice for in the
   * last call of {@linkcode enforce}, in bytes; 0 if it sufficed or was not judged.
   */
  readonly shortfall: number;
  /**
   * How much {@linkcode pageOutIdle} would try without a limit, in bytes; `undefined` if
   * nothing new is known since it was last paged out. Only of policies that know ages.
   */
  idleFor?(seconds: number): Promise<number | undefined>;
  /**
   * Pages out what has been idle for a time.
   *
   * @returns `undefined` if nothing could be tried.
   */
  pageOutIdle?(
    goal: IdleGoal,
    options: ObserveOptions,
    signal: AbortSignal,
  ): Promise<ScanOutcome | undefined>;
  /**
   * How much the members have used within the last two minutes, or since they are
   * observed, in bytes; `null` if this is not known.
   */
  workingSet(): number | null;
  /** How much was idle for how long; `null` if this is not known. */
  idle(): IdleBytes[] | null;
  /**
   * How much the members were seen to use, in bytes, when their references were last
   * judged; `null` if this is not known.
   */
  inUse(): number | null;
  /** What of the members appeared while they were watched, and was not used again. */
  growth?(): MemberGrowth[];
  /** Tries again what could not be paged out, since circumstances have changed. */
  retry?(): void;
  /** Notes that what scans have paged out so far was only planned, and is there to go. */
  replan(): void;
  /** Stops recording references, and forgets those recorded. */
  forget(): void;
}

/** A policy's judgement of a sample. */
export interface Judgement {
  /** By how much the cap is exceeded, or soon will be, in bytes; 0 if it is not. */
  readonly excess: number;
}

/** A policy in charge of the processes of a one-shot scan. */
export interface OneShotPolicy {
  /** The processes, in the order in which they were given. */
  readonly processes: readonly ObservedProcess[];
  /** The totals that the scan updates. */
  readonly statistics: ScanStatistics;
  /** Scans all processes once, after their observation has ended. */
  scan(options: ScanOptions): Promise<ScanResult>;
}

/** One process of a one-shot scan. */
export interface ObservedProcess extends Watched {
  /** The process as the events of a scan name it. */
  readonly target: ScanTarget;
  /** Ends the observation. */
  end(): Promise<void>;
  /**
   * How much was not referenced during the whole observation, in bytes, wherever it is now;
   * `null` if not known.
   */
  unreferenced(): number | null;
}

/**
 * The result of a scan, after which the group was measured again. Sizes are in bytes,
 * times in seconds.
 */
export interface ScanOutcome {
  /** By how much the resident sets fell while they were paged out; some of it may be back. */
  readonly effective: number;
  /** What page-outs took: at least what went. */
  readonly taken: Readonly<Taken>;
  readonly attempted: number;
  /** By how much the group is above the size that the scan was to reach; 0 or less if it is not. */
  readonly left: number;
  /** Whether it went through everything once and did not cover the excess. */
  readonly ineffective: boolean;
  /** Whether unreferenced memory did not suffice, so that memory in use went too. */
  readonly tookInUse: boolean;
  /** How much of `effective` was in use, as far as references show. */
  readonly inUse: number;
  /** Whether it left out members, or parts of them, that cannot be judged yet. */
  readonly isPartial: boolean;
  readonly seconds: number;
}

/** Describes what a scan of a dry run would page out, beside the size of the group. */
export function describePlan(
  { name, size, cap, hasCap }: CappedGroup,
  { effective, inUse }: ScanOutcome,
): string {
  const what = `${name}: dry run: would page out ${formatSize(effective)}${
    inUse > 0 ? `, ${formatSize(inUse)} of it in use` : ""
  }; `;
  if (!hasCap) return `${what}${formatSize(size)} resident`;
  const format = formatBeside(cap, size);
  const left = size - effective;
  return `${what}${format(size)} of ${format(cap)}` +
    (left > cap ? `, ${formatSize(left - cap)} would still be too much` : "");
}

/** Describes the result of a scan in words, with the size of the group measured after it. */
export function describeOutcome(
  { name, size, cap, hasCap }: CappedGroup,
  { effective, seconds }: ScanOutcome,
): string {
  const what = `${name}: paged out ${formatSize(effective)} in ${
    seconds.toFixed(2)
  } s; `;
  if (!hasCap) return `${what}${formatSize(size)} resident`;
  const format = formatBeside(cap, size);
  return `${what}${format(size)} of ${format(cap)}` +
    (size > cap ? `, ${formatSize(size - cap)} too much` : "");
}
