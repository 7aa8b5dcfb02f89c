/**
 * The policy `clock`: pages out what was not referenced since the last scan, going
 * through one process after another in address order, round and round, like the hand
 * of a clock.
 *
 * References are recorded near the cap only, and old history is renewed.
 *
 * @module
 */

import { TRUSTED_OBSERVATION } from "../collection/observe.ts";
import type { CappedGroup, Sample } from "../group/capped_group.ts";
import type { Member } from "../group/member.ts";
import type { Platform } from "../platform/platform.ts";
import { ScanCollection, ScannedProcess } from "../scanner/collection.ts";
import { scan, type ScanOptions, type ScanResult } from "../scanner/scan.ts";
import {
  concludeScan,
  KnownMembers,
  lookSoon,
  ScanListener,
  tolerate,
  unjudgedOf,
} from "./members.ts";
import type {
  EnforceOptions,
  GroupPolicy,
  Judgement,
  ObservedProcess,
  ObserveOptions,
  OneShotPolicy,
  Policy,
  PolicySurroundings,
  ProcessAccess,
  ScanOutcome,
} from "./policy.ts";

/** History is renewed after this many intervals, but not sooner than after a minute. */
const WINDOW_INTERVALS = 12;
const SHORTEST_WINDOW = 60_000;

/**
 * How far below the cap a scan goes if unreferenced memory suffices, as a share of the
 * cap and at most in bytes: a group exactly at its cap would exceed it again with its
 * next page.
 */
const HEADROOM_SHARE = 0.01;
const MOST_HEADROOM = 16 << 20;

/** How long references are observed again just before a scan, in milliseconds. */
const REFRESH = 1000;
/** How often they are read during that time. */
const GLANCES = 4;

/** The policy `clock`. */
export const clock: Policy = {
  forGroup: (group, around) => new ClockGroup(group, around),
  forScan: (processes, { granularity }) =>
    new ClockScan(processes, granularity),
};

/** The recorded references of a process. */
class History {
  readonly scanned: ScannedProcess;
  readonly #access: ProcessAccess;

  constructor(access: ProcessAccess) {
    this.#access = access;
    this.scanned = new ScannedProcess(access.scanMemory);
  }

  /** Starts to record references. */
  async begin(): Promise<void> {
    await this.#access.memory.reset();
    this.scanned.restart();
  }

  /** Renews the history: pages not referenced since the last renewal count as unreferenced. */
  async renew(): Promise<void> {
    this.scanned.restart(await this.#access.scanMemory.readPagedata());
  }

  /** Adds the references that are visible now, without resetting them. */
  async glance(): Promise<void> {
    this.scanned.merge(await this.#access.memory.read("glance"));
  }
}

/** A member with its history. Times are in milliseconds of the monotonic clock. */
class ClockMember {
  readonly member: Member;
  readonly #history: History;
  /** When recording started; `undefined` while references are not recorded. */
  #since: number | undefined;
  /** When the history was last renewed or judged. */
  #windowSince = -Infinity;

  constructor(member: Member) {
    this.member = member;
    this.#history = new History(member);
  }

  get scanned(): ScannedProcess {
    return this.#history.scanned;
  }

  /** Starts to record references, or renews history that is older than a window. */
  async observe(now: number, window: number): Promise<void> {
    if (this.#since === undefined) {
      await this.#history.begin();
      this.#since = now;
    } else if (now - this.#windowSince >= window) {
      await this.#history.renew();
    } else return;
    this.#windowSince = now;
  }

  glance(): Promise<void> {
    return this.#history.glance();
  }

  /** Records that a scan has judged the history. */
  judged(now: number): void {
    this.#windowSince = now;
  }

  /** Whether references have been recorded for at least some time. */
  isObserved(now: number, least: number): boolean {
    return this.#since !== undefined && now - this.#since >= least;
  }

  /** Forgets all references and stops recording. */
  forget(): void {
    if (this.#since === undefined) return;
    this.#since = undefined;
    this.scanned.restart();
  }
}

/** The policy in charge of one group. */
class ClockGroup implements GroupPolicy {
  readonly #group: CappedGroup;
  readonly #around: PolicySurroundings;
  readonly #collection: ScanCollection;
  readonly #members: KnownMembers<ClockMember>;
  shortfall = 0;
  /** What was referenced just before the last scan, in bytes. */
  #inUse: number | null = null;

  constructor(group: CappedGroup, around: PolicySurroundings) {
    this.#group = group;
    this.#around = around;
    const collection = new ScanCollection([], group.statistics);
    this.#collection = collection;
    this.#members = new KnownMembers(
      group,
      (member) => new ClockMember(member),
      ({ scanned }) => {
        if (!collection.processes.includes(scanned)) return;
        collection.processes = collection.processes.filter((process) =>
          process !== scanned
        );
      },
    );
  }

  judge(sample: Sample): Judgement {
    return { excess: Math.max(0, sample.size - this.#group.cap) };
  }

  async observe({ interval }: ObserveOptions): Promise<void> {
    const { clock, signal, log } = this.#around;
    const window = Math.max(SHORTEST_WINDOW, interval * WINDOW_INTERVALS);
    for (const known of this.#members.all()) {
      if (signal.aborted) return;
      const now = clock.now();
      await tolerate(known.member, log, () => known.observe(now, window));
    }
  }

  /** The scan itself reads the references at the end. */
  async observeOnce(milliseconds: number): Promise<void> {
    const { clock, signal } = this.#around;
    await this.observe({ interval: milliseconds });
    await clock.sleep(milliseconds, signal);
  }

  hasWork(excess: number): boolean {
    return excess > 0;
  }

  async enforce(
    excess: number,
    options: EnforceOptions,
    signal: AbortSignal,
  ): Promise<ScanOutcome | undefined> {
    const { clock } = this.#around;
    this.shortfall = 0;
    const group = this.#group;
    const over = await group.measure(clock.now()) - group.cap;
    if (over <= 0 || signal.aborted) return undefined;
    const least = Math.max(TRUSTED_OBSERVATION, options.interval * 0.9);
    const now = clock.now();
    const judged = this.#members.all().filter((known) =>
      known.isObserved(now, least)
    );
    if (judged.length === 0) return undefined;
    await this.#lookAgain(judged, options, signal);
    // The group may have shrunk by itself meanwhile.
    const wanted = Math.min(
      excess,
      over,
      await group.measure(clock.now()) - group.cap,
    );
    if (wanted <= 0 || signal.aborted) return undefined;
    return await this.#scan(judged, { ...options, wanted, signal });
  }

  /**
   * @param judged the members with enough history.
   * @param options also by how much the group should shrink, in bytes.
   */
  async #scan(
    judged: readonly ClockMember[],
    { wanted, isBounded = false, most = Infinity, sparesInUse = false, signal }:
      & EnforceOptions
      & {
        wanted: number;
        signal: AbortSignal;
      },
  ): Promise<ScanOutcome> {
    const { clock, log } = this.#around;
    const group = this.#group;
    const collection = this.#collection;
    const { statistics } = collection;
    const started = clock.now();
    const members = this.#members.all();
    const mayJudge = new Set(judged);
    collection.processes = members.filter((known) => mayJudge.has(known))
      .map(({ scanned }) => scanned);
    const before = { ...statistics, taken: { ...group.taken } };
    const readings = new Map(
      members.map((known) => [known, known.scanned.pagedata]),
    );
    this.#inUse = collection.processes.reduce(
      (sum, { referenced }) => sum + referenced,
      0,
    );
    const isPartial = judged.length < members.length || unjudgedOf(judged) > 0;
    const headroom = isBounded ? 0 : this.#headroom(wanted);
    const goal = group.size - wanted;
    group.scans++;
    const listener = new ScanListener(group, log);
    const end = new AbortController();
    let tried = 0;
    await scan(collection, {
      excess: Math.min(wanted + headroom, most),
      spareReferenced: isPartial || sparesInUse,
      signal: AbortSignal.any([signal, end.signal]),
      onEvent: (event) => {
        listener.onEvent(event);
        if (event.type !== "pageout") return;
        // A scan goes on for as long as the group does not get smaller.
        tried += event.ranges.reduce((sum, { bytes }) => sum + bytes, 0);
        if (tried >= most) end.abort();
      },
    });
    for (const known of members) {
      // New pagedata starts a new window.
      if (known.scanned.pagedata !== readings.get(known)) known.judged(started);
    }
    const outcome = await concludeScan(group, clock, {
      before,
      statistics,
      listener,
      // A scan that falls short of the headroom alone is still effective.
      goal,
      isPartial,
      started,
    });
    if (!isPartial) this.shortfall = Math.max(0, outcome.left);
    return outcome;
  }

  /** How far below the cap a scan can go with unreferenced memory alone, in bytes. */
  #headroom(excess: number): number {
    const unreferenced = this.#collection.processes.reduce(
      (sum, process) => sum + process.unreferenced,
      0,
    );
    const wanted = Math.min(this.#group.cap * HEADROOM_SHARE, MOST_HEADROOM);
    return Math.max(0, Math.min(wanted, unreferenced - excess));
  }

  /**
   * Observes references once more, and adds them. Others may have reset them
   * meanwhile: the kernel does so to find pages to reclaim, and DAMON for its statistics.
   */
  async #lookAgain(
    members: readonly ClockMember[],
    { interval }: ObserveOptions,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock, log } = this.#around;
    await lookSoon(members, { clock, log, signal });
    const pause = Math.min(REFRESH, interval / 2) / GLANCES;
    for (let glance = 0; glance < GLANCES && !signal.aborted; glance++) {
      await clock.sleep(pause, signal);
      for (const known of members) {
        await tolerate(known.member, log, () => known.glance());
      }
    }
  }

  replan(): void {
    this.#collection.victim = undefined;
    this.#collection.resumeAddress = undefined;
  }

  /** This policy does not know how long memory was idle. */
  idle(): null {
    return null;
  }

  /** It is not known when memory in use was used. */
  workingSet(): null {
    return null;
  }

  inUse(): number | null {
    return unjudgedOf(this.#members.all()) > 0 ? null : this.#inUse;
  }

  forget(): void {
    this.#inUse = null;
    for (const known of this.#members.all()) known.forget();
  }
}

/** The policy in charge of a one-shot scan. */
class ClockScan implements OneShotPolicy {
  readonly processes: readonly ObservedProcess[];
  readonly #collection: ScanCollection;
  /** What the first scan read at its start, in bytes; later ones read what is left. */
  readonly #unreferenced = new Map<ScannedProcess, number | null>();

  constructor(
    processes: readonly ProcessAccess[],
    granularity: Platform["granularity"],
  ) {
    const histories = processes.map((access) => new History(access));
    this.processes = histories.map((history, index): ObservedProcess => ({
      target: history.scanned,
      async glance() {
        // References known per mapping only would not get more precise.
        if (granularity === "page") await history.glance();
      },
      refresh: () => processes[index].memory.refresh(),
      // The scan itself reads the references at the end.
      end: () => Promise.resolve(),
      unreferenced: () =>
        this.#unreferenced.get(history.scanned) ??
          unreferencedOf(history.scanned),
    }));
    this.#collection = new ScanCollection(
      histories.map(({ scanned }) => scanned),
    );
  }

  get statistics(): ScanCollection["statistics"] {
    return this.#collection.statistics;
  }

  async scan(options: ScanOptions): Promise<ScanResult> {
    const result = await scan(this.#collection, options);
    if (this.#unreferenced.size === 0) {
      for (const process of this.#collection.processes) {
        this.#unreferenced.set(process, unreferencedOf(process));
      }
    }
    return result;
  }
}

/** How much of a process was not referenced, as last read; null if it was not read. */
function unreferencedOf(process: ScannedProcess): number | null {
  return process.pagedata ? process.unreferenced : null;
}
