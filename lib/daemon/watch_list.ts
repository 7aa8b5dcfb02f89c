/**
 * The groups that the daemon watches, and which processes belong to them.
 *
 * @module
 */

import type { CapConfig } from "../config/config.ts";
import { isExhausted } from "../errors.ts";
import { CappedGroup } from "../group/capped_group.ts";
import { containerOf } from "../group/group_containers.ts";
import {
  type LearntGroup,
  type LearntPlace,
  selectionOf,
} from "../group/learnt_group.ts";
import type { OnPagedata, OnRead } from "../group/measured_memory.ts";
import { Member } from "../group/member.ts";
import { Membership } from "../group/membership.ts";
import { exclusive } from "../observer/exclusive_memory.ts";
import { RepeatedDryRun } from "../platform/dry_run.ts";
import type { OpenOptions } from "../platform/platform.ts";
import { coldest } from "../policy/coldest.ts";
import type { Policy } from "../policy/policy.ts";
import { countOf, formatSize } from "../report/units.ts";
import { findCgroup } from "./pressures.ts";
import { GroupPrograms } from "./programs.ts";
import type { Troubles } from "./troubles.ts";
import { type GroupSurroundings, WatchedGroup } from "./watched_group.ts";

/** What a watch list needs besides the caps. */
export interface WatchListSurroundings extends GroupSurroundings {
  readonly policy: Policy;
  readonly troubles: Troubles;
  readonly onRead?: OnRead;
  /** The most that being observed may cost a process: a share of its time. */
  readonly observationBudget: number;
  /** Whether scans only plan. */
  readonly isDryRun?: boolean;
  /** Where what is learnt is kept. */
  readonly learnt?: LearntPlace;
}

/** The groups, in the order of the configuration. */
export class WatchList {
  readonly #around: WatchListSurroundings;
  #groups: WatchedGroup[];
  #membership: Membership;
  #nextId = 1;
  /** The programs of the groups that learn. */
  readonly #programs = new WeakMap<CappedGroup, GroupPrograms>();
  /** The options of all members have it, so that a new one applies to them, too. */
  #observationBudget: number;

  constructor(caps: readonly CapConfig[], around: WatchListSurroundings) {
    this.#around = around;
    const { platform, clock, observationBudget } = around;
    this.#observationBudget = observationBudget;
    this.#membership = new Membership(platform, caps, { clock });
    this.#groups = caps.map((cap) => this.#watch(cap));
  }

  get groups(): readonly WatchedGroup[] {
    return this.#groups;
  }

  #watch(definition: CapConfig): WatchedGroup {
    const { platform, policy, rights, clock, isDryRun, recorder } =
      this.#around;
    const { onRead = () => {} } = this.#around;
    const dryRun = isDryRun ? new RepeatedDryRun(platform) : undefined;
    const { name, secondaryMmu, only, idle } = definition;
    const learnt = idle === "auto"
      ? this.#around.learnt?.of(name, selectionOf(definition))
      : undefined;
    const budget = () => this.#observationBudget;
    const options: OpenOptions = {
      group: name,
      secondaryMmu,
      only,
      get observationBudget() {
        return budget();
      },
      get maySwap() {
        return group.guard.maySwap(clock.now());
      },
    };
    const group: CappedGroup = new CappedGroup(
      this.#nextId++,
      definition,
      {
        platform,
        learnt: learnt?.idleTime,
        newMember: (entry) => {
          const make = (onPagedata?: OnPagedata) =>
            new Member(
              entry,
              exclusive(platform.open(entry, options), entry, rights),
              onRead,
              {
                onTaken: ({ bytes, toSwap }) => {
                  group.taken.bytes += bytes;
                  group.taken.toSwap += toSwap;
                },
                onPagedata,
                dryRun,
                container: containerOf(entry, platform),
              },
            );
          return recorder ? recorder.follow(make) : make();
        },
      },
    );
    if (group.idleTime) this.#programs.set(group, new GroupPrograms(learnt));
    // Only ages tell for how long memory was idle.
    const suitable = idle === undefined ? policy : coldest;
    return new WatchedGroup(group, suitable, { ...this.#around, dryRun });
  }

  /**
   * Applies the caps of a new configuration. A group stays if only its cap differs.
   *
   * @param observationBudget applies to all members at once.
   */
  redefine(caps: readonly CapConfig[], observationBudget: number): void {
    this.#observationBudget = observationBudget;
    const before = this.#groups;
    this.#groups = caps.map((cap) => {
      const same = before.find(({ group }) => isSame(group.definition, cap));
      if (!same) return this.#watch(cap);
      const { group } = same;
      const inForce = group.cap;
      group.redefine(cap);
      if (group.cap !== inForce) same.capChanged(inForce);
      return same;
    });
    const { platform, clock } = this.#around;
    this.#membership = new Membership(platform, caps, {
      previous: this.#membership,
      clock,
    });
  }

  /**
   * Applies the caps set by hand.
   *
   * @param overrides caps in bytes, by the name of the group.
   */
  override(overrides: ReadonlyMap<string, number>): void {
    for (const watched of this.#groups) {
      const { group } = watched;
      const before = group.cap;
      group.override = overrides.get(group.name);
      if (group.cap === before) continue;
      this.#around.log.info(
        group.hasCap
          ? `${group.name}: the cap is ${formatSize(group.cap)} now${
            group.override === undefined ? "" : ", set by hand"
          }`
          : `${group.name}: there is no cap now`,
      );
      watched.capChanged(before);
    }
  }

  /**
   * Applies the pauses.
   *
   * @param pauses until when, in seconds since the epoch, by the name of the group.
   */
  pause(pauses: ReadonlyMap<string, number>): void {
    for (const watched of this.#groups) {
      watched.pauseUntil(pauses.get(watched.group.name) ?? null);
    }
  }

  /** Searches for the members of all groups. Discards the result if the caps were redefined meanwhile. */
  async refresh(): Promise<void> {
    const { signal, log, troubles, platform } = this.#around;
    const membership = this.#membership;
    const pass = await membership.refresh(signal);
    const shared = await platform.sharedMemory?.(pass.members.flat())
      .catch((error) => {
        // The daemon was told to end, or no descriptor is free: the pass says so, too.
        if (!signal.aborted && !isExhausted(error)) throw error;
        return undefined;
      });
    if (signal.aborted || membership !== this.#membership) return;
    troubles.pass(pass);
    for (const [index, watched] of this.#groups.entries()) {
      const { group } = watched;
      const isFirst = !watched.isRefreshed;
      watched.isRefreshed = true;
      group.avoided = pass.avoided[index].length;
      const { joined, left } = group.update(pass.members[index]);
      findCgroup(group, platform);
      if (isFirst && joined === 0) {
        const text = `${group.name}: no process matches its selectors yet`;
        // A user could fill the log by one annotation.
        if (group.definition.isOfPod) log.debug(text);
        else log.info(text);
      }
      if (joined + left > 0) {
        log.debug(
          `${group.name}: ${
            countOf(joined, "process", "processes")
          } in, ${left} out`,
        );
      }
    }
    this.#around.rights?.retain?.(
      this.#groups.flatMap(({ group }) =>
        group.processes.map(({ entry }) => entry)
      ),
    );
    if (shared) this.#share(shared);
    for (const { group } of this.#groups) {
      await this.#programs.get(group)?.look(group, this.#around);
    }
  }

  /** What was learnt of the groups. */
  learnt(): LearntGroup[] {
    return this.#groups.flatMap(({ group }) => {
      const idleTime = group.idleTime?.learnt;
      if (!idleTime) return [];
      return [{
        name: group.name,
        select: selectionOf(group.definition),
        programs: this.#programs.get(group)?.all ?? [],
        idleTime,
      }];
    });
  }

  /**
   * Tells members which of them have one address space, which counts in the first cap.
   *
   * @param shared for each process, the pid of the first that has its address space.
   */
  #share(shared: ReadonlyMap<number, number>): void {
    const members = this.#groups.flatMap(({ group }) => group.processes);
    const firstOf = ({ entry: { pid } }: Member) => shared.get(pid) ?? pid;
    for (const sharers of Map.groupBy(members, firstOf).values()) {
      for (const member of sharers) {
        member.sharers = sharers.length > 1 ? sharers : [];
      }
    }
  }
}

/** How the time idle is known, which decides what is recorded. */
function kindOfIdle({ idle }: CapConfig): string {
  return idle === "auto" ? idle : typeof idle;
}

/**
 * Whether two definitions are of the same group: history is kept if only the cap or guard
 * rails differ.
 */
function isSame(a: CapConfig, b: CapConfig): boolean {
  return a.name === b.name && selectionOf(a) === selectionOf(b) &&
    (a.secondaryMmu ?? "leave") === (b.secondaryMmu ?? "leave") &&
    // Its policy, and which pages it knows, are others.
    kindOfIdle(a) === kindOfIdle(b) && a.only === b.only;
}
