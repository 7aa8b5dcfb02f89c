/**
 * The processes under one cap, as the daemon watches them: their sizes, and what
 * scans did to them.
 *
 * @module
 */

import { whyNot } from "../collection/members.ts";
import type { CapConfig } from "../config/config.ts";
import { NoSuchProcess, ProcessError } from "../errors.ts";
import type { Clock } from "../platform/clock.ts";
import type {
  Platform,
  ProcessEntry,
  ProcessSample,
} from "../platform/platform.ts";
import type { IdleBytes } from "../scanner/ages.ts";
import { formatSize } from "../report/units.ts";
import { noStatistics, type ScanStatistics } from "../scanner/collection.ts";
import { Backoff, type Circumstances } from "./backoff.ts";
import { groupContainers } from "./group_containers.ts";
import { GuardRails } from "./guard_rails.ts";
import { IdleTime, type LearntIdleTime } from "./idle_time.ts";
import type { Taken } from "./measured_memory.ts";
import type { Member } from "./member.ts";
import type { Growth } from "./growth.ts";
import { NetSavings } from "./net_savings.ts";
import { type GroupState, MOST_MEMBERS } from "./state.ts";
import { warningsOf } from "./warnings.ts";

/** References are recorded from this share of the cap on. */
const HISTORY_SHARE = 0.8;

/** One sample of a group. Sizes are in bytes. */
export interface Sample {
  /** The size that counts against the cap. A member whose footprint was never read counts by RSS. */
  readonly size: number;
  readonly accounting: "rss" | "pss";
  /** Whether references should be recorded. */
  readonly wantsHistory: boolean;
  /** Whether footprints of members have to be read, for the first time or again. */
  readonly needsReading: boolean;
  /** How much was read back from a disk or swap since the sample before. */
  readonly cameBack: number;
}

type GroupSize = Pick<Sample, "size" | "accounting">;

/** One group. Sizes are in bytes, times in milliseconds of a monotonic clock. */
export class CappedGroup {
  readonly id: number;
  /** The totals of its scans, which the policy updates. */
  readonly statistics: ScanStatistics = noStatistics();
  readonly backoff = new Backoff();
  readonly guard: GuardRails;
  /** Finds the time after which idle memory goes; `undefined` unless that is `auto`. */
  readonly idleTime: IdleTime | undefined;
  /** The cgroup of version 2 that has its members and no others, if it is known. */
  cgroup: string | undefined;
  /** Why a guard rail has no effect, in words for users; null if all have. */
  guardTrouble: string | null = null;
  /** The cap set by hand, which replaces that of the configuration. */
  override: number | undefined;
  /** Why the cap cannot be met, as far as is known. */
  warning: string | null = null;
  /** Why the kernel does not reclaim its memory, although it should; in words for users. */
  reclaimFailure: string | null = null;
  /** Until when it is paused, in seconds since the epoch; null if it is not. */
  pausedUntil: number | null = null;
  /** The members that may leak. */
  growth: readonly Growth[] = [];
  /** In a dry run, how much the last scan would have paged out; else null. */
  planned: number | null = null;
  /** How many scans were started. */
  scans = 0;
  /** How many scans went through everything once and did not cover the excess. */
  ineffectiveScans = 0;
  backedOff = 0;
  unenforcedSamples = 0;
  /** How many processes match its selectors but are to be left alone. */
  avoided = 0;
  /** What page-outs have taken of its members so far. */
  readonly taken: Taken = { bytes: 0, toSwap: 0 };
  /** Called with each member that leaves; a scan goes on without it. */
  onLeave: (member: Member) => void = () => {};
  #definition: CapConfig;
  readonly #platform: Platform;
  readonly #savings = new NetSavings();
  readonly #newMember: (entry: ProcessEntry) => Member;
  /** By pid, in the order in which they joined. */
  #members = new Map<number, Member>();
  /** The members that are set aside because they do not answer. */
  #silent: ReadonlySet<Member> = new Set();
  /** The members that cannot be read. */
  #unreadable: ReadonlySet<Member> = new Set();
  #joined = 0;
  #left = 0;
  #samples = 0;
  #least: number | null = null;
  #most: number | null = null;
  /** Whether its size is estimated from footprints. */
  #isProportional = false;
  #last: GroupSize = { size: 0, accounting: "rss" };
  /** `#membership` as of the last time that all footprints were read. */
  #membershipRead = 0;
  /** How many page faults of members since the last sample waited for a disk. */
  #faults = 0;
  /** How many there have been until the last sample. */
  #earlierFaults = 0;
  /** The sizes of the members that have left, added up. */
  #departed = 0;
  /** What being observed has cost them, in seconds; null if not known of any. */
  #departedCost: number | null = null;

  constructor(
    id: number,
    definition: CapConfig,
    { platform, newMember, learnt }: {
      platform: Platform;
      newMember: (entry: ProcessEntry) => Member;
      /** What an earlier daemon has learnt of it. */
      learnt?: LearntIdleTime;
    },
  ) {
    this.id = id;
    this.#definition = definition;
    this.#platform = platform;
    this.#newMember = newMember;
    this.guard = new GuardRails(definition, platform.pageSize);
    this.idleTime = definition.idle === "auto"
      ? new IdleTime(learnt)
      : undefined;
  }

  get name(): string {
    return this.#definition.name;
  }

  get definition(): CapConfig {
    return this.#definition;
  }

  /** The cap in force; Infinity if there is none. */
  get cap(): number {
    return this.override ?? this.#definition.maxRss ?? Infinity;
  }

  /**
   * For how long memory is not used before it goes, in milliseconds; `undefined` if none
   * goes without a cap, or the time is not known yet.
   */
  get idle(): number | undefined {
    const { idle } = this.#definition;
    if (idle !== "auto") return idle;
    const seconds = this.idleTime?.seconds;
    return seconds === undefined ? undefined : seconds * 1000;
  }

  /** The same, or the time by which ages have to be known while it is not. */
  get observedIdle(): number | undefined {
    const { idleTime } = this;
    return idleTime ? idleTime.observedFor * 1000 : this.idle;
  }

  /** Whether there is a cap. */
  get hasCap(): boolean {
    return this.cap < Infinity;
  }

  /** Whether its size is so near the cap that references have to be known. */
  get isNearCap(): boolean {
    return this.size >= this.cap * HISTORY_SHARE;
  }

  /** The members, without those whose memory counts as that of another one. */
  get members(): Member[] {
    return [...this.#members.values()].filter((member) =>
      !member.countsElsewhere
    );
  }

  /** All members, even if several have one address space. */
  get processes(): Member[] {
    return [...this.#members.values()];
  }

  /** The members that something can be paged out of. */
  get victims(): Member[] {
    return this.members.filter(({ entry }) => !entry.mainThreadExited);
  }

  /** The size that was last measured: by a sample, or from footprints. */
  get size(): number {
    return this.#last.size;
  }

  /** How {@linkcode size} counts shared pages. */
  get accounting(): Sample["accounting"] {
    return this.#last.accounting;
  }

  /** Applies a definition that selects the same processes. */
  redefine(definition: CapConfig): void {
    this.#definition = definition;
    this.guard.configure(definition);
  }

  /**
   * Applies the members that a pass found; those that stay keep their place.
   *
   * @returns how many have joined and left.
   */
  update(entries: readonly ProcessEntry[]): { joined: number; left: number } {
    const [joined, left] = [this.#joined, this.#left];
    const present = new Set(entries.map(({ pid }) => pid));
    for (const pid of this.#members.keys()) {
      if (!present.has(pid)) this.#remove(pid);
    }
    for (const entry of entries) {
      const member = this.#members.get(entry.pid);
      if (member?.is(entry)) continue;
      if (member && member.entry.startTime !== entry.startTime) {
        // Another process has this pid now: it moves to the end of the list.
        this.#remove(entry.pid);
      }
      if (!this.#members.has(entry.pid)) this.#joined++;
      this.#put(entry);
    }
    return { joined: this.#joined - joined, left: this.#left - left };
  }

  /** A number that changes whenever a process joins or leaves. */
  get #membership(): number {
    return this.#joined + this.#left;
  }

  #remove(pid: number): void {
    const member = this.#members.get(pid);
    if (!member) return;
    this.#members.delete(pid);
    this.#left++;
    this.#part(member);
  }

  #part(member: Member): void {
    member.hasLeft = true;
    this.#departed += member.proportional;
    this.#departedCost = addCost(this.#departedCost, member);
    this.onLeave(member);
  }

  /** Adds a member for an entry, in the place of the member with its pid, if any. */
  #put(entry: ProcessEntry): void {
    const before = this.#members.get(entry.pid);
    this.#members.set(entry.pid, this.#newMember(entry));
    if (before) this.#part(before);
  }

  /** Reads the sizes of all members, which is cheap, and drops those that have exited. */
  sample(now: number): Sample {
    this.#resample();
    const faults = this.#faults;
    this.#faults = 0;
    this.#earlierFaults += faults;
    const { size, accounting } = this.#updateSize();
    this.#samples++;
    return {
      size,
      accounting,
      wantsHistory: this.#definition.idle !== undefined ||
        size >= this.cap * HISTORY_SHARE,
      needsReading: this.#mayExceed &&
        this.members.some((member) => this.#isDue(member, now)),
      cameBack: faults * this.#platform.pageSize,
    };
  }

  #resample(): void {
    for (const [pid, member] of this.#members) {
      const sample = resample(this.#platform, member);
      if (!sample) {
        this.#remove(pid);
        continue;
      }
      this.#countFaults(member, sample);
      // If it has executed another program, it keeps its place.
      if (!member.is(sample)) this.#put(sample);
      this.#members.get(pid)?.take(sample);
    }
  }

  #countFaults({ entry }: Member, { majorFaults }: ProcessSample): void {
    this.#faults += Math.max(0, majorFaults - entry.majorFaults);
  }

  /**
   * Whether the size has to be known proportionally: the RSS of all members exceeds the
   * cap, or may, as exact as it is known; or the size must not fall below another one.
   */
  get #mayExceed(): boolean {
    return this.#upperBound > this.cap ||
      this.#definition.minRss !== undefined;
  }

  get #upperBound(): number {
    return sumOf(this.members, ({ sizes }) => sizes.rss + sizes.rssError);
  }

  /**
   * The size that counts against the cap as of the last sample.
   *
   * Up to the cap it is the sum of RSS, an upper bound; beyond, it is based on
   * footprints. It stays so until it is far from the cap again, lest it jump.
   */
  #sizeNow(): GroupSize {
    const bound = this.#upperBound;
    this.#isProportional = this.#mayExceed ||
      this.#isProportional && bound > this.cap * HISTORY_SHARE;
    const { members } = this;
    return this.#isProportional
      ? {
        size: sumOf(members, ({ proportional }) => proportional),
        accounting: members.some(({ memory, wasRead }) =>
            wasRead && memory.knowsProportional
          )
          ? "pss"
          : "rss",
      }
      : { size: sumOf(members, ({ sizes }) => sizes.rss), accounting: "rss" };
  }

  /**
   * Updates the size that is reported. It stays as it is while the footprint of a new
   * member is not known, which would count too much of what it shares.
   */
  #updateSize(): GroupSize {
    const size = this.#sizeNow();
    const isKnown = !this.#isProportional ||
      this.members.every(({ wasRead }) => wasRead);
    if (isKnown) {
      this.#least = Math.min(this.#least ?? size.size, size.size);
      this.#most = Math.max(this.#most ?? size.size, size.size);
    }
    if (isKnown || this.#least === null) this.#last = size;
    return size;
  }

  /** Reads the footprints that are missing or old, if RSS may exceed the cap. */
  async readDue(now: number): Promise<number> {
    return await this.#measure(now, (member) => this.#isDue(member, now));
  }

  /**
   * Whether the footprint of a member has to be read. Old ones suffice while the group is
   * dormant.
   */
  #isDue(member: Member, now: number): boolean {
    return this.backoff.isDormant(now) ? !member.wasRead : member.isDue(now);
  }

  /**
   * Measures the size that counts against the cap, before a scan. If processes have
   * joined or left, the others share their pages with more or fewer, so all footprints
   * are read anew before the size is said to exceed the goal.
   */
  async measure(now: number, goal = this.cap): Promise<number> {
    const size = await this.readDue(now);
    return size > goal && this.#membershipRead !== this.#membership
      ? await this.measureAnew(now)
      : size;
  }

  /**
   * Measures the size anew, as after a scan. Reads all footprints, if RSS may exceed the
   * cap.
   */
  async measureAnew(now: number): Promise<number> {
    this.#resample();
    this.#membershipRead = this.#membership;
    return await this.#measure(now, () => true);
  }

  /** Samples all members again; returns the sum of their RSS, in bytes. */
  resampledRss(): number {
    this.#resample();
    return sumOf(this.members, ({ sizes }) => sizes.rss);
  }

  async #measure(
    now: number,
    isDue: (member: Member) => boolean,
  ): Promise<number> {
    if (this.#mayExceed) {
      for (const member of this.members.filter(isDue)) {
        await member.readFootprint(now, () => {
          const sample = resample(this.#platform, member);
          if (!sample || !member.is(sample)) return undefined;
          this.#countFaults(member, sample);
          return sample;
        });
      }
    }
    return this.#updateSize().size;
  }

  /** The members that have stopped answering, in words, and those that answer again, by pid. */
  changedSilences(): { silent: string[]; answering: number[] } {
    const before = this.#silent;
    const silent = this.members.filter(({ memory }) => memory.silence);
    this.#silent = new Set(silent);
    return {
      silent: silent.filter((member) => !before.has(member))
        .flatMap(({ memory }) => memory.silence ?? []),
      answering: this.members.filter((member) =>
        before.has(member) && !member.memory.silence
      ).map(({ entry }) => entry.pid),
    };
  }

  /** Why members cannot be read that could be read before, in words for users. */
  newlyUnreadable(): string[] {
    const before = this.#unreadable;
    const unreadable = this.members.filter(({ memory }) =>
      memory.unreadable && !memory.silence
    );
    this.#unreadable = new Set(unreadable);
    return unreadable.filter((member) => !before.has(member))
      .flatMap(({ memory }) => memory.unreadable ?? []);
  }

  /**
   * How much cannot be paged out since main threads have exited, while the group is over
   * its cap; `undefined` if nothing.
   */
  get stuck(): string | undefined {
    if (this.size <= this.cap) return undefined;
    const stuck = this.members.filter(({ entry }) => entry.mainThreadExited);
    const bytes = sumOf(stuck, ({ proportional }) => proportional);
    if (bytes === 0) return undefined;
    const whose = stuck.length === 1
      ? `the main thread of process ${stuck[0].entry.pid} has`
      : `the main threads of ${stuck.length} processes have`;
    return `${
      formatSize(bytes)
    } of it cannot be paged out, since ${whose} exited while others run`;
  }

  /** The circumstances for {@linkcode Backoff}. */
  circumstances(freeSwap: number): Circumstances {
    const { size, cap } = this;
    return { size, cap, departed: this.#departed, freeSwap };
  }

  /** The memory pressure, and the cgroup whose it is; null for that of the machine. */
  #pressure(): Pick<GroupState, "pressure" | "cgroup"> {
    const { cgroup = null } = this;
    const platform = this.#platform;
    const own = cgroup === null ? undefined : platform.memoryPressure?.(cgroup);
    return own === undefined
      ? { pressure: platform.memoryPressure?.() ?? null, cgroup: null }
      : { pressure: own, cgroup };
  }

  /**
   * The state of the group, for reports.
   *
   * @param idle how much was not used for how long; `null` if the policy does not know.
   */
  state(
    idle: readonly IdleBytes[] | null,
    clock: Pick<Clock, "now" | "wallTime">,
  ): GroupState {
    const { statistics, planned } = this;
    const isDryRun = planned !== null;
    const memories = this.members.map(({ memory }) => memory);
    return {
      id: this.id,
      name: this.name,
      cap: this.hasCap ? this.cap : null,
      configuredCap: this.#definition.maxRss ?? null,
      processes: this.#members.size,
      members: this.processes.slice(0, MOST_MEMBERS)
        .map(({ entry: { pid, startTime } }) => ({ pid, startTime })),
      avoided: this.avoided,
      addressSpace: sumOf(this.members, ({ entry }) => entry.image),
      rss: this.#last.size,
      accounting: this.#last.accounting,
      idle,
      idleTime: this.idleTime?.state ?? null,
      ...this.#savings.of(memories, this.#platform, {
        now: clock.now(),
        activity: this.#membership + statistics.attempted +
          this.#earlierFaults + this.#faults,
      }),
      ...this.#pressure(),
      containers: groupContainers(
        this.members.map(({ container }) => container),
      ),
      growth: this.growth,
      planned,
      pausedUntil: this.pausedUntil,
      statistics: {
        attempted: isDryRun ? 0 : statistics.attempted,
        effective: isDryRun ? 0 : statistics.effective,
        scans: this.scans,
        completeScans: statistics.scanCount,
        ineffectiveScans: this.ineffectiveScans,
        unenforcedSamples: this.unenforcedSamples,
        samples: this.#samples,
        minimumRss: this.#least,
        maximumRss: this.#most,
        processesIn: this.#joined,
        processesOut: this.#left,
        scanTime: statistics.scanTime,
        backedOff: this.backedOff,
        refaults: this.guard.refaults.total,
        observationCost: this.processes.reduce(addCost, this.#departedCost),
      },
      heldBack: this.guard.heldBack(clock.now()),
      warning: warningsOf(this, clock),
    };
  }
}

/** Adds what being observed has cost a member to a sum, in seconds, if it is known. */
function addCost(
  sum: number | null,
  { memory: { observationCost } }: Member,
): number | null {
  return observationCost === undefined ? sum : (sum ?? 0) + observationCost;
}

/** Samples a member; `undefined` if it has exited or cannot be a member any more. */
function resample(
  platform: Platform,
  { entry, sizes }: Member,
): ProcessSample | undefined {
  try {
    const sample = platform.sampleProcess(entry.pid);
    return sample.startTime === entry.startTime && !whyNot(sample)
      ? sample
      : undefined;
  } catch (error) {
    if (error instanceof NoSuchProcess) return undefined;
    // It cannot be read at the moment, for example because no descriptor is free.
    if (error instanceof ProcessError) return { ...entry, ...sizes };
    throw error;
  }
}

function sumOf(
  members: readonly Member[],
  size: (member: Member) => number,
): number {
  return members.reduce((sum, member) => sum + size(member), 0);
}
