/**
 * The processes under one cap, as the daemon watches them: their sizes, and what
 * scans did to them.
 *
 * @module
 */

import { whyNot } from "../collection/members.ts";
import type { CapConfig } from "../config/config.ts";
import { NoSuchProcess, ProcessError } from "../errors.ts";
import type { Platform, ProcessEntry } from "../platform/platform.ts";
import type { IdleBytes } from "../scanner/ages.ts";
import { noStatistics, type ScanStatistics } from "../scanner/collection.ts";
import { Backoff, type Circumstances } from "./backoff.ts";
import type { Member } from "./member.ts";
import type { GroupState } from "./state.ts";

/** References are recorded from this share of the cap on. */
const HISTORY_SHARE = 0.8;

/** The most warnings that are reported. */
const MOST_WARNINGS = 5;

/** One sample of a group. Sizes are in bytes. */
export interface Sample {
  /** The size that counts against the cap, or an upper bound of it that is within the cap. */
  readonly size: number;
  readonly accounting: "rss" | "pss";
  /** Whether references should be recorded. */
  readonly wantsHistory: boolean;
  /** Whether the size is based on proportional sizes that were read long ago. */
  readonly isOld: boolean;
  /** By how much scans have lowered the size since the sample before. */
  readonly pagedOut: number;
  /** How much was read back from a disk or swap since the sample before. */
  readonly cameBack: number;
}

/** One group. Sizes are in bytes, times in milliseconds of a monotonic clock. */
export class CappedGroup {
  readonly id: number;
  /** The totals of its scans, which the policy updates. */
  readonly statistics: ScanStatistics = noStatistics();
  readonly backoff = new Backoff();
  /** The cap set by hand, which replaces that of the configuration. */
  override: number | undefined;
  /** Why the cap cannot be met. */
  warning: string | null = null;
  /** How many scans were started. */
  scans = 0;
  /** How many scans went through everything once and did not cover the excess. */
  ineffectiveScans = 0;
  backedOff = 0;
  unenforcedSamples = 0;
  /** How many processes match its selectors but are to be left alone. */
  avoided = 0;
  /** Called with each member that leaves; a scan goes on without it. */
  onLeave: (member: Member) => void = () => {};
  #definition: CapConfig;
  readonly #newMember: (entry: ProcessEntry) => Member;
  /** By pid, in the order in which they joined. */
  #members = new Map<number, Member>();
  /** The members that are set aside because they do not answer. */
  #silent: ReadonlySet<Member> = new Set();
  #joined = 0;
  #left = 0;
  #samples = 0;
  #least: number | null = null;
  #most: number | null = null;
  #last: Pick<Sample, "size" | "accounting"> = { size: 0, accounting: "rss" };
  /** `effective` as of the last sample. */
  #effectiveThen = 0;

  constructor(
    id: number,
    definition: CapConfig,
    newMember: (entry: ProcessEntry) => Member,
  ) {
    this.id = id;
    this.#definition = definition;
    this.#newMember = newMember;
  }

  get name(): string {
    return this.#definition.name;
  }

  get definition(): CapConfig {
    return this.#definition;
  }

  /** The cap in force. */
  get cap(): number {
    return this.override ?? this.#definition.maxRss;
  }

  get members(): Member[] {
    return [...this.#members.values()];
  }

  /** The size as of the last sample. */
  get size(): number {
    return this.#last.size;
  }

  /** Applies a definition that selects the same processes. */
  redefine(definition: CapConfig): void {
    this.#definition = definition;
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

  #remove(pid: number): void {
    const member = this.#members.get(pid);
    if (!member) return;
    this.#members.delete(pid);
    this.#left++;
    this.onLeave(member);
  }

  /** Adds a member for an entry, in the place of the member with its pid, if any. */
  #put(entry: ProcessEntry): void {
    const before = this.#members.get(entry.pid);
    this.#members.set(entry.pid, this.#newMember(entry));
    if (before) this.onLeave(before);
  }

  /** Reads the sizes of all members, which is cheap, and drops those that have exited. */
  sample(platform: Platform, now: number): Sample {
    let rss = 0;
    let faults = 0;
    for (const [pid, member] of this.#members) {
      const entry = reread(platform, member.entry);
      if (!entry) {
        this.#remove(pid);
        continue;
      }
      faults += Math.max(0, entry.majorFaults - member.entry.majorFaults);
      if (member.is(entry)) member.entry = entry;
      // It has executed another program; it keeps its place.
      else this.#put(entry);
      rss += entry.rss;
    }
    const { effective } = this.statistics;
    const pagedOut = effective - this.#effectiveThen;
    this.#effectiveThen = effective;
    this.#last = this.#sizeOf(rss);
    const { size, accounting } = this.#last;
    this.#samples++;
    this.#least = Math.min(this.#least ?? size, size);
    this.#most = Math.max(this.#most ?? size, size);
    return {
      ...this.#last,
      wantsHistory: size >= this.cap * HISTORY_SHARE,
      isOld: accounting === "pss" &&
        this.members.some((member) => member.isProportionalOld(now)),
      pagedOut,
      cameBack: faults * platform.pageSize,
    };
  }

  /** The size that counts against the cap, or its upper bound, without reading anything. */
  #sizeOf(rss: number): Pick<Sample, "size" | "accounting"> {
    if (this.#members.size < 2 || rss <= this.cap) {
      return { size: rss, accounting: "rss" };
    }
    const bound = this.members.reduce(
      (sum, member) => sum + member.proportionalBound,
      0,
    );
    return { size: bound, accounting: "pss" };
  }

  /**
   * Reads the size that counts against the cap. Reads proportional sizes only if
   * several members together exceed the cap, since they may share memory.
   */
  async measure(now: number): Promise<number> {
    if (this.#last.accounting === "rss" || this.#last.size <= this.cap) {
      return this.#last.size;
    }
    return await this.measureAnew(now);
  }

  /** Reads the proportional sizes of all members. */
  async measureAnew(now: number): Promise<number> {
    for (const member of this.members) await member.readProportional(now);
    const rss = this.members.reduce((sum, { entry }) => sum + entry.rss, 0);
    this.#last = this.#sizeOf(rss);
    return this.#last.size;
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

  /**
   * Why the cap cannot be met, which members do not answer, and which are known
   * coarsely; `null` if nothing is wrong.
   */
  #warnings(): string | null {
    const { members } = this;
    const all = [
      ...this.warning === null ? [] : [this.warning],
      ...members.flatMap(({ memory }) => memory.silence ?? []),
      ...members.flatMap(({ memory }) => memory.coarseness ?? []),
    ];
    if (all.length === 0) return null;
    const most = all.slice(0, MOST_WARNINGS);
    const others = all.length - most.length;
    return most.join("; ") + (others > 0 ? `; and ${others} others` : "");
  }

  /** The circumstances for {@linkcode Backoff}. */
  circumstances(hasFreeSwap: boolean): Circumstances {
    return {
      size: this.#last.size,
      cap: this.cap,
      membership: this.#joined + this.#left,
      hasFreeSwap,
    };
  }

  /**
   * The state of the group, for reports.
   *
   * @param idle how much was not used for how long; `null` if the policy does not know.
   */
  state(idle: readonly IdleBytes[] | null): GroupState {
    const { statistics } = this;
    return {
      id: this.id,
      name: this.name,
      cap: this.cap,
      configuredCap: this.#definition.maxRss,
      processes: this.#members.size,
      avoided: this.avoided,
      addressSpace: this.members.reduce(
        (sum, { entry }) => sum + entry.image,
        0,
      ),
      rss: this.#last.size,
      accounting: this.#last.accounting,
      idle,
      statistics: {
        attempted: statistics.attempted,
        effective: statistics.effective,
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
      },
      warning: this.#warnings(),
    };
  }
}

/** Reads a process again; `undefined` if it has exited or cannot be a member any more. */
function reread(
  platform: Platform,
  before: ProcessEntry,
): ProcessEntry | undefined {
  try {
    const entry = platform.readProcess(before.pid);
    return entry.startTime === before.startTime && !whyNot(entry)
      ? entry
      : undefined;
  } catch (error) {
    if (error instanceof NoSuchProcess) return undefined;
    // It cannot be read at the moment, for example because no descriptor is free.
    if (error instanceof ProcessError) return before;
    throw error;
  }
}
