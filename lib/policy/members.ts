/**
 * What all policies do with the members of a group.
 *
 * @module
 */

import { narrate } from "../collection/narrate.ts";
import { SOON } from "../collection/observe.ts";
import { ProcessError } from "../errors.ts";
import type { CappedGroup } from "../group/capped_group.ts";
import type { Taken } from "../group/measured_memory.ts";
import type { Member } from "../group/member.ts";
import type { Clock } from "../platform/clock.ts";
import type { Log } from "../platform/output.ts";
import type { ScanStatistics } from "../scanner/collection.ts";
import type { ScanEvent } from "../scanner/scan.ts";
import type { PolicySurroundings, ScanOutcome } from "./policy.ts";

/** What a policy knows of a member. */
interface Known {
  readonly member: Member;
  /** Adds the references that are visible now, without resetting them. */
  glance(): Promise<void>;
}

/** What a policy knows of the members of a group. Members that leave are forgotten. */
export class KnownMembers<T extends Known> {
  readonly #group: CappedGroup;
  readonly #newMember: (member: Member) => T;
  readonly #known = new Map<Member, T>();

  /**
   * @param newMember creates the record of a new member.
   * @param onLeave called with the record of each member that leaves.
   */
  constructor(
    group: CappedGroup,
    newMember: (member: Member) => T,
    onLeave: (known: T) => void = () => {},
  ) {
    this.#group = group;
    this.#newMember = newMember;
    group.onLeave = (member) => {
      const known = this.#known.get(member);
      this.#known.delete(member);
      if (known) onLeave(known);
    };
  }

  /** The records of all members, in the order of the group. */
  all(): T[] {
    return this.#group.victims.map((member) => {
      let known = this.#known.get(member);
      if (!known) this.#known.set(member, known = this.#newMember(member));
      return known;
    });
  }
}

/**
 * Makes references visible again, and reads them so soon that they are unlikely to have
 * been reset by others.
 */
export async function lookSoon(
  members: readonly Known[],
  { clock, signal, log }: PolicySurroundings,
): Promise<void> {
  for (const { member } of members) {
    await tolerate(member, log, () => member.memory.refresh());
  }
  await clock.sleep(SOON, signal);
  for (const known of members) {
    if (signal.aborted) return;
    await tolerate(known.member, log, () => known.glance());
  }
}

/**
 * How much of some members looks in use, but cannot be judged yet, in bytes: it may be
 * idle, so no memory in use may go instead of it, and it may not go itself.
 */
export function unjudgedOf(members: readonly Known[]): number {
  return members.reduce(
    (sum, { member: { memory } }) => sum + (memory.unjudged ?? 0),
    0,
  );
}

/** Follows a scan of a group, and narrates it at log level `debug`. */
export class ScanListener {
  readonly #name: string;
  readonly #log: Log;
  /** How much had gone when unreferenced memory did not suffice, in bytes; `undefined` if it did. */
  #before: number | undefined;
  /** How much has gone, in bytes. */
  #gone = 0;

  constructor({ name }: CappedGroup, log: Log) {
    this.#name = name;
    this.#log = log;
  }

  /** Whether unreferenced memory did not suffice, so that memory in use went too. */
  get tookInUse(): boolean {
    return this.#before !== undefined;
  }

  /** How much of what has gone was in use, in bytes. */
  get inUse(): number {
    return Math.max(0, this.#gone - (this.#before ?? Infinity));
  }

  /** Takes the events of the scan. */
  readonly onEvent = (event: ScanEvent): void => {
    if (event.type === "pageout") this.#gone += Math.max(0, event.fell);
    if (event.type === "insufficient") {
      this.#before = this.#gone + event.unreferenced;
    }
    if (!this.#log.has("debug")) return;
    for (const line of narrate(event)) {
      this.#log.debug(`${this.#name}: ${line}`);
    }
  };
}

/**
 * Concludes a scan of a group: measures the group, counts the scan if it was
 * ineffective, and returns its outcome.
 *
 * @param before the statistics as of the beginning of the scan, and what page-outs had
 * taken until then.
 * @param goal the size that the group should have now, in bytes; Infinity if none.
 * @param started when the scan began.
 */
export async function concludeScan(
  group: CappedGroup,
  clock: Clock,
  { before, statistics, goal, listener, isPartial, started }: {
    before: ScanStatistics & { taken: Taken };
    statistics: ScanStatistics;
    goal: number;
    listener: ScanListener;
    isPartial: boolean;
    started: number;
  },
): Promise<ScanOutcome> {
  const seconds = (clock.now() - started) / 1000;
  const size = await group.measureAnew(clock.now());
  const left = goal < Infinity ? size - goal : 0;
  const ineffective = statistics.ineffective > before.ineffective && left > 0;
  if (ineffective) group.ineffectiveScans++;
  return {
    attempted: statistics.attempted - before.attempted,
    effective: statistics.effective - before.effective,
    taken: {
      bytes: group.taken.bytes - before.taken.bytes,
      toSwap: group.taken.toSwap - before.taken.toSwap,
    },
    left,
    ineffective,
    tookInUse: listener.tookInUse,
    inUse: listener.inUse,
    isPartial,
    seconds,
  };
}

/** Runs a step for a member; skips the member if it has exited or cannot be read. */
export async function tolerate(
  { entry }: Member,
  log: Log,
  step: () => Promise<void>,
): Promise<void> {
  try {
    await step();
  } catch (error) {
    if (!(error instanceof ProcessError)) throw error;
    log.debug(
      `process ${entry.pid} (${entry.comm}) passed over: ${error.message}`,
    );
  }
}
