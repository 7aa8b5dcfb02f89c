/**
 * Test helpers: a daemon on a simulated machine and clock.
 *
 * @module
 */

import { parseSelector } from "../collection/selectors.ts";
import type { CapConfig, DaemonConfig } from "../config/config.ts";
import type { Reloaded } from "../config/live_config.ts";
import type { LearntPlace } from "../group/learnt_group.ts";
import type { DaemonState, GroupState } from "../group/state.ts";
import type { DaemonRights } from "../observer/daemon_rights.ts";
import { Log, type LogLevel } from "../platform/output.ts";
import { FakeClock, FakePlatform, PAGE } from "../platform/fake_testing.ts";
import { Daemon } from "./daemon.ts";
import type { MemberRecorder } from "./watched_group.ts";

/** The sample interval, in seconds. */
export const INTERVAL = 5;

/** A cap for the processes with a name, which is also the name of the group. */
export function capOf(name: string, pages: number): CapConfig {
  return {
    name,
    select: [parseSelector(`comm:${name}`)],
    maxRss: pages * PAGE,
    place: "test:1",
  };
}

/** Options of a {@linkcode SimulatedDaemon}. */
export interface SimulationOptions {
  readonly caps: readonly CapConfig[];
  readonly policy?: DaemonConfig["policy"];
  /** Enforcement threshold, as a share of physical memory. */
  readonly threshold?: number;
  /** 1 % by default. */
  readonly observationBudget?: number;
  /** Returns what records the members, a step with each sample. */
  readonly recorderOf?: (
    simulation: SimulatedDaemon,
  ) => MemberRecorder & { step(): void };
  readonly level?: LogLevel;
  /** Whose references it may reset; by default all. */
  readonly rights?: DaemonRights;
  readonly isDryRun?: boolean;
  /** Where what is learnt is kept. */
  readonly learnt?: LearntPlace;
  /** Replaces {@linkcode SimulatedDaemon.reloaded}. */
  readonly reload?: () => Promise<Reloaded | undefined>;
}

/** A daemon on a simulated machine. Disposal stops it. */
export class SimulatedDaemon implements AsyncDisposable {
  readonly clock: FakeClock = new FakeClock();
  readonly platform: FakePlatform = new FakePlatform(this.clock);
  readonly config: DaemonConfig;
  /** Its log, line by line. */
  readonly messages: string[] = [];
  /** Caps set by hand, in bytes by name. */
  readonly overrides = new Map<string, number>();
  /** Until when groups are paused, in seconds since the epoch by name. */
  readonly pauses = new Map<string, number>();
  /** The result of the next read of the configuration. */
  reloaded: Reloaded | undefined;
  readonly daemon: Daemon;
  readonly #ending = new AbortController();
  #state: DaemonState | undefined;
  #run: Promise<void> | undefined;

  constructor(
    {
      caps,
      policy = "clock",
      threshold = 0,
      observationBudget = 0.01,
      level = "info",
      rights,
      isDryRun,
      learnt,
      reload,
      recorderOf,
    }: SimulationOptions,
  ) {
    this.config = {
      sampleInterval: INTERVAL * 1000,
      processInterval: INTERVAL * 1000,
      reportInterval: 1000,
      configInterval: INTERVAL * 1000,
      enforcementThreshold: threshold,
      observationBudget,
      policy,
      pagedata: "pte",
      record: "",
      recordLimit: 2 ** 30,
      kubernetes: false,
      caps,
    };
    const recorder = recorderOf?.(this);
    this.daemon = new Daemon(this.config, {
      platform: this.platform,
      clock: this.clock,
      system: {
        boottimeSeconds: () => this.clock.now() / 1000,
        ownUsage: () => ({ cpu: 0, rss: 0 }),
      },
      log: new Log(level, { write: (line) => this.messages.push(line) }),
      signal: this.#ending.signal,
      rights,
      isDryRun,
      learnt,
      recorder,
      onSample: () => recorder?.step(),
      report: (state) => this.#state = state,
      overrides: () => this.overrides,
      pauses: () => this.pauses,
      reload: reload ?? (() => {
        const { reloaded } = this;
        this.reloaded = undefined;
        return Promise.resolve(reloaded);
      }),
    });
  }

  /** Runs the daemon for a number of seconds; the first call starts it. */
  async run(seconds: number): Promise<void> {
    this.#run ??= this.daemon.run();
    await this.clock.advance(seconds * 1000);
  }

  /** The last report of the daemon. */
  get state(): DaemonState {
    if (!this.#state) throw new Error("nothing was reported yet");
    return this.#state;
  }

  /** A group as of the last report. */
  group(name: string): GroupState {
    const group = this.state.groups.find((one) => one.name === name);
    if (!group) throw new Error(`no group ${name}`);
    return group;
  }

  /** The messages that contain a text. */
  said(words: string): string[] {
    return this.messages.filter((line) => line.includes(words));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await this.clock.advance(0);
    await this.#run;
  }
}
