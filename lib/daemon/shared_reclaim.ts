/**
 * Has the kernel reclaim what page-outs of a group cannot take, because several processes
 * map it: `reclaim = "auto"` of a cap.
 *
 * The kernel is asked for no more than the excess that is shared, in small requests, until
 * one of them does not lower the RSS. Which pages go is its own choice, so after a request
 * in vain it is left alone for longer each time.
 *
 * @module
 */

import { whatStays } from "../collection/what_stays.ts";
import {
  cgroupTest,
  describeOnly,
  NOT_ONE_SELECTOR,
} from "../config/reclaim.ts";
import { ProcessError, SystemError } from "../errors.ts";
import type { CappedGroup } from "../group/capped_group.ts";
import type { Platform, ReclaimableCgroup } from "../platform/platform.ts";
import type { PolicySurroundings } from "../policy/policy.ts";
import { formatSize } from "../report/units.ts";

/** The most that one request asks for, in bytes: a request cannot be ended. */
const MOST_AT_ONCE = 32 << 20;

/** How long after a request in vain there is no other, at first and at most, in milliseconds. */
const FIRST_PAUSE = 60_000;
const LONGEST_PAUSE = 3_600_000;

/** How old the size of what is shared may get, in milliseconds: it is read as smaps is. */
const SHARED_LIFE = 60_000;

/** How many of the cgroups below are named. */
const MOST_NAMED = 5;

/** What was reclaimed of a group. Sizes are in bytes. */
export interface Reclaimed {
  /** How much the kernel was asked for. */
  readonly asked: number;
  /** By how much the size of the group fell meanwhile, up to what was asked for. */
  readonly fell: number;
}

/** Reclaims the shared memory of one group. */
export class SharedReclaim {
  readonly #group: CappedGroup;
  readonly #platform: Platform;
  readonly #around: PolicySurroundings;
  /** Until when there is no request, and how long the last pause was or would be. */
  #pausedUntil = -Infinity;
  #pause = 0;
  /** How much of the group several processes map, and when that was read. */
  #shared = 0;
  #sharedAt = -Infinity;
  /** What was last logged of the cgroup, and of why it cannot be reclaimed. */
  readonly #told = { info: "", warn: "" };

  constructor(
    group: CappedGroup,
    around: PolicySurroundings & { readonly platform: Platform },
  ) {
    this.#group = group;
    this.#platform = around.platform;
    this.#around = around;
  }

  /**
   * Whether the kernel is expected to take shared memory, so that no memory in use need be
   * paged out instead.
   */
  get isPromising(): boolean {
    const { definition, reclaimFailure } = this.#group;
    return definition.reclaim === "auto" && reclaimFailure === null &&
      !this.#isHeldBack;
  }

  /** Whether there is no request now, after one in vain or because nothing may go to swap. */
  get #isHeldBack(): boolean {
    return this.#isPaused ||
      !this.#group.guard.maySwap(this.#around.clock.now());
  }

  get #isPaused(): boolean {
    return this.#around.clock.now() < this.#pausedUntil;
  }

  /**
   * Asks the kernel to reclaim shared memory.
   *
   * @param missing how much is still to go, in bytes, after a scan has paged out what it
   * could. No more is asked for than is shared.
   * @param longest how long this goes on, in milliseconds; the last request may take longer.
   * @returns `undefined` if nothing was asked for.
   */
  async take(
    missing: number,
    longest: number,
    signal: AbortSignal,
  ): Promise<Reclaimed | undefined> {
    const group = this.#group;
    const { clock } = this.#around;
    if (group.definition.reclaim !== "auto") {
      group.reclaimFailure = null;
      return undefined;
    }
    if (missing <= 0 || this.#isHeldBack || signal.aborted) return undefined;
    const cgroup = this.#find();
    if (!cgroup) return undefined;
    const wanted = Math.min(missing, await this.#sharedSize());
    if (wanted <= 0) this.#noteEnd(true);
    let failure: string | null = null;
    const before = group.size;
    const began = clock.now();
    let asked = 0;
    let isVain = false;
    while (asked < wanted && !isVain && !signal.aborted) {
      const bytes = Math.min(wanted - asked, MOST_AT_ONCE);
      const rss = group.resampledRss();
      failure = await this.#ask(cgroup, bytes, signal);
      if (failure !== null) break;
      asked += bytes;
      isVain = group.resampledRss() >= rss;
      if (clock.now() - began > longest) break;
    }
    if (failure !== null) this.#fail(failure);
    else group.reclaimFailure = null;
    if (asked === 0) return undefined;
    this.#noteEnd(isVain);
    await group.measureAnew(clock.now());
    const fell = Math.min(Math.max(0, before - group.size), asked);
    this.#shared -= fell;
    this.#around.log.debug(
      `${group.name}: asked the kernel to reclaim ${
        formatSize(asked)
      } of cgroup ${cgroup.path}; the group is smaller by ${formatSize(fell)}`,
    );
    return { asked, fell };
  }

  /** Makes a request; returns why that failed, `null` if it did not. */
  async #ask(
    { reclaim, path }: ReclaimableCgroup,
    bytes: number,
    signal: AbortSignal,
  ): Promise<string | null> {
    try {
      const result = await reclaim(bytes, signal);
      // The wait ends with the scan, which is not a failure.
      return result === "busy" && !signal.aborted
        ? `a request to reclaim memory of cgroup ${path} goes on`
        : null;
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      return `the kernel refuses to reclaim memory of cgroup ${path} (${error.message}); in a unit, let rcap write there: rcap run --print-unit`;
    }
  }

  #noteEnd(isVain: boolean): void {
    if (!isVain) {
      this.#pause = 0;
      return;
    }
    this.#pause = Math.min(this.#pause * 2 || FIRST_PAUSE, LONGEST_PAUSE);
    this.#pausedUntil = this.#around.clock.now() + this.#pause;
  }

  /** Finds the cgroup of the group; `undefined` if it cannot be reclaimed. */
  #find(): ReclaimableCgroup | undefined {
    const group = this.#group;
    const leftAlone = group.processes.find(({ memory }) => memory.leftAlone);
    if (leftAlone) {
      this.#fail(`${leftAlone.memory.leftAlone}`);
      return undefined;
    }
    const { select, only } = group.definition;
    if (only !== undefined) {
      this.#fail(describeOnly(only));
      return undefined;
    }
    const matches = cgroupTest(select);
    const entries = group.processes.map(({ entry }) => entry);
    const found = matches
      ? this.#platform.reclaimable?.(entries, matches) ??
        "this system has no cgroups"
      : NOT_ONE_SELECTOR;
    if (typeof found === "string") {
      this.#fail(found);
      return undefined;
    }
    this.#tell(
      "info",
      `what several processes map is reclaimed by the kernel, which chooses the pages, from cgroup ${found.path}${
        describeChildren(found.children)
      }`,
    );
    return found;
  }

  #fail(why: string): void {
    const failure = `reclaim has no effect: ${why}`;
    this.#group.reclaimFailure = failure;
    this.#tell("warn", failure);
  }

  /** Logs a message, unless it was the last one. */
  #tell(level: "info" | "warn", message: string): void {
    if (this.#told[level] === message) return;
    this.#told[level] = message;
    const { name } = this.#group;
    this.#around.log[level](`${name}: ${message}`, { group: name });
  }

  /** How much of the group several processes map and could go, in bytes, as it counts. */
  async #sharedSize(): Promise<number> {
    const now = this.#around.clock.now();
    if (now - this.#sharedAt < SHARED_LIFE) return this.#shared;
    this.#sharedAt = now;
    this.#shared = 0;
    const { members, accounting } = this.#group;
    for (const { memory } of members) {
      try {
        const mappings = await memory.readMappings("scan");
        const shared = whatStays(memory, mappings)
          .find(({ reason }) => reason === "shared");
        this.#shared +=
          (accounting === "pss" ? shared?.proportional : shared?.rss) ?? 0;
      } catch (error) {
        // Nothing is known to be shared of a process that cannot be read.
        if (!(error instanceof ProcessError)) throw error;
      }
    }
    return this.#shared;
  }
}

/** Names the cgroups below one, whose processes lose memory, too. */
function describeChildren(children: readonly string[]): string {
  if (children.length === 0) return "";
  const named = children.slice(0, MOST_NAMED);
  const others = children.length - named.length;
  return ` and all below it, which lose memory as well: ${named.join(", ")}${
    others > 0 ? ` and ${others} more` : ""
  }`;
}
