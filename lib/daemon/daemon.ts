/**
 * The daemon's loop: which processes belong to which cap, how large they are, and
 * scans of groups that are too large, each at its own interval.
 *
 * Sampling is quick and never waits for a scan. What takes its time, recording
 * references and scanning, goes on beside the loop, a group at a time.
 *
 * @module
 */

import type { DaemonConfig } from "../config/config.ts";
import type { Reloaded } from "../config/live_config.ts";
import type { OnRead } from "../group/measured_memory.ts";
import type { DaemonState } from "../group/state.ts";
import type { OperatingSystem } from "../platform/operating_system.ts";
import type { Clock } from "../platform/clock.ts";
import type { Log } from "../platform/output.ts";
import type { Platform } from "../platform/platform.ts";
import { policyOf } from "../policy/policies.ts";
import { Reloading } from "./reloading.ts";
import { shareOut } from "./threshold.ts";
import { Ticker } from "./ticker.ts";
import { Troubles } from "./troubles.ts";
import { Turns } from "./turns.ts";
import { WatchList } from "./watch_list.ts";
import type { JudgedSample } from "./watched_group.ts";

/** How many groups are scanned at a time. */
const SCANS_AT_A_TIME = 2;
/** After how long one is scanned all the same, in milliseconds: others may be kept waiting. */
const SCAN_PATIENCE = 2000;

/** The loop is healthy while it has sampled within so many intervals. */
const HEALTHY_INTERVALS = 3;

/** What the daemon gets its configuration from, and tells others through. */
export interface DaemonSurroundings {
  readonly platform: Platform;
  readonly clock: Clock;
  readonly system: Pick<OperatingSystem, "boottimeSeconds" | "ownUsage">;
  readonly log: Log;
  /** Stops the daemon. */
  readonly signal: AbortSignal;
  /** Takes the state, every report interval and when something was asked for. */
  readonly report: (state: DaemonState) => void;
  /** The caps that were set by hand, in bytes by name. */
  readonly overrides: () => ReadonlyMap<string, number>;
  /**
   * Reads the configuration again. It takes as long as the name service does.
   *
   * @param onlyIfChanged gives nothing when no file has changed.
   */
  readonly reload: (onlyIfChanged: boolean) => Promise<Reloaded | undefined>;
  /** Told of every turn of the loop, for a watchdog. */
  readonly onTurn?: () => void;
  /** How often `onTurn` has to be called at least, in milliseconds. */
  readonly turnInterval?: number;
  readonly onScan?: (seconds: number) => void;
  readonly onRead?: OnRead;
  readonly onReload?: () => void;
}

/** Watches groups and scans those over their cap. */
export class Daemon {
  readonly #around: DaemonSurroundings;
  readonly #tickers: Readonly<
    Record<"process" | "sample" | "report" | "config" | "turn", Ticker>
  >;
  readonly #troubles: Troubles;
  readonly #reloading: Reloading;
  readonly #watchList: WatchList;
  /** What goes on beside the loop. */
  readonly #work = new Set<Promise<void>>();
  readonly #startedAt: number;
  readonly #startTime: number;
  #config: DaemonConfig;
  /** The members are being looked for, beside the loop. */
  #refreshing: Promise<void> | undefined;
  #loadedAt: number;
  #serial = 1;
  #problems: readonly string[] = [];
  #sampledAt: number;
  /** The caps set by hand were asked to be read since the loop last turned. */
  #hasNewOverrides = false;
  #wake = new AbortController();

  /** @param config its policy holds until the daemon ends. */
  constructor(config: DaemonConfig, around: DaemonSurroundings) {
    const { platform, clock, log, signal, onScan, onRead } = around;
    this.#around = around;
    this.#config = config;
    this.#startedAt = clock.wallTime();
    this.#loadedAt = this.#startedAt;
    this.#startTime = platform.readProcess(Deno.pid).startTime;
    this.#troubles = new Troubles(log);
    this.#reloading = new Reloading({
      reload: around.reload,
      log,
      onEnd: () => this.#wake.abort(),
    });
    this.#watchList = new WatchList(config.caps, {
      platform,
      clock,
      log,
      signal,
      onScan,
      onRead,
      policy: policyOf(config.policy),
      troubles: this.#troubles,
      turns: new Turns(SCANS_AT_A_TIME, SCAN_PATIENCE, clock),
      work: this.#work,
    });
    const now = clock.now();
    this.#sampledAt = now;
    this.#tickers = {
      process: new Ticker(config.processInterval, now),
      sample: new Ticker(config.sampleInterval, now),
      report: new Ticker(config.reportInterval, now),
      config: new Ticker(config.configInterval, now + config.configInterval),
      turn: new Ticker(around.turnInterval ?? Infinity, now),
    };
    signal.addEventListener("abort", () => this.#wake.abort());
  }

  /** Asks for the configuration to be read again. */
  askForReload(): void {
    this.#reloading.ask();
    this.#wake.abort();
  }

  /** Asks for the caps set by hand to be read again. */
  askForOverrides(): void {
    this.#hasNewOverrides = true;
    this.#wake.abort();
  }

  /** Why the loop is not healthy; `undefined` when it is. */
  problem(): string | undefined {
    const age = this.#around.clock.now() - this.#sampledAt;
    const most = this.#config.sampleInterval * HEALTHY_INTERVALS + 1000;
    if (age > most) return `no sample for ${(age / 1000).toFixed(1)} s`;
    return this.#troubles.problem;
  }

  /** Runs until it is stopped; then lets every scan end first. */
  async run(): Promise<void> {
    const { signal, clock, onTurn } = this.#around;
    const { process, sample, report, config, turn } = this.#tickers;
    const troubles = this.#troubles;
    await this.#refresh();
    process.take(clock.now());
    while (!signal.aborted) {
      const isDue = (ticker: Ticker) => ticker.take(clock.now());
      if (isDue(turn)) troubles.step("watchdog", () => onTurn?.());
      troubles.step("requests", () => this.#answer());
      if (isDue(config)) {
        troubles.step("configuration", () => this.#reloading.begin(true));
      }
      if (isDue(process)) this.#refreshBeside();
      if (isDue(sample)) troubles.step("sample", () => this.#sample());
      if (isDue(report)) troubles.step("report", () => this.#report());
      await this.#rest();
    }
    await Promise.all([this.#refreshing, ...this.#work]);
  }

  /** Looks for the members of all groups beside the loop, unless that goes on already. */
  #refreshBeside(): void {
    this.#refreshing ??= this.#refresh();
  }

  async #refresh(): Promise<void> {
    const { groups } = this.#watchList;
    try {
      await this.#watchList.refresh();
      this.#troubles.succeeded("members");
    } catch (error) {
      this.#troubles.failed("members", error);
    }
    this.#refreshing = undefined;
    // What was found is of a configuration that holds no longer.
    if (groups === this.#watchList.groups) return;
    this.#tickers.process.hurry(this.#around.clock.now());
    this.#wake.abort();
  }

  /**
   * Watches for a time, scans once what is over its cap, and ends.
   *
   * @param observation for how long to watch, in milliseconds.
   * @returns the state then; whether all caps are met is for the reader to see.
   */
  async once(observation: number): Promise<DaemonState> {
    const { signal, clock } = this.#around;
    await this.#watchList.refresh();
    const { groups } = this.#watchList;
    const sampleAll = () => groups.map((group) => group.sample());
    const wanting = sampleAll().map(({ wantsHistory }) => wantsHistory);
    await Promise.all(
      groups.filter((_, index) => wanting[index])
        .map((group) => group.observeOnce(observation)),
    );
    const samples = sampleAll();
    const excesses = this.#shareOut(samples);
    for (const [index, group] of groups.entries()) {
      const excess = excesses[index];
      if (signal.aborted || excess <= 0) continue;
      await group.enforce(excess, {
        interval: observation,
        isBounded: excess < samples[index].excess,
        isOnlyScan: true,
      });
    }
    for (const watched of groups) {
      watched.sample();
      await watched.group.measure(clock.now());
    }
    return this.#state();
  }

  /** Waits for what is due next, or for somebody to ask for something. */
  async #rest(): Promise<void> {
    const { clock, signal } = this.#around;
    const now = clock.now();
    const waits = Object.values(this.#tickers).map((one) => one.wait(now));
    await clock.sleep(Math.min(...waits), this.#wake.signal);
    if (!signal.aborted) this.#wake = new AbortController();
  }

  /** Does what was asked for. */
  #answer(): void {
    const reading = this.#reloading.take();
    const hasNewOverrides = this.#hasNewOverrides;
    this.#hasNewOverrides = false;
    if (reading) this.#takeOver(reading);
    if (hasNewOverrides) this.#applyOverrides();
    if (reading || hasNewOverrides) this.#report();
  }

  #takeOver({ config, problems, isPassing }: Reloaded): void {
    const { log, onReload, clock } = this.#around;
    this.#problems = problems;
    this.#serial++;
    for (const problem of problems) log.warn(problem);
    if (!config) {
      const why = isPassing ? "is not known for the moment" : "is invalid";
      log.warn(`the configuration ${why}: the one that runs stays`);
      return;
    }
    this.#loadedAt = clock.wallTime();
    this.#watchList.redefine(config.caps);
    this.#config = config;
    const now = clock.now();
    const { process, sample, report, config: files } = this.#tickers;
    process.setInterval(config.processInterval, now);
    sample.setInterval(config.sampleInterval, now);
    report.setInterval(config.reportInterval, now);
    files.setInterval(config.configInterval, now);
    // A new group gets its members at once.
    process.hurry(now);
    this.#applyOverrides();
    log.info(`configuration loaded again: ${config.caps.length} caps`);
    onReload?.();
  }

  #applyOverrides(): void {
    this.#watchList.override(this.#around.overrides());
  }

  #sample(): void {
    const { clock, platform } = this.#around;
    this.#sampledAt = clock.now();
    const { groups } = this.#watchList;
    const samples = groups.map((group) => group.sample());
    const excesses = this.#shareOut(samples);
    this.#troubles.overload(platform.overload);
    for (const [index, watched] of groups.entries()) {
      this.#troubles.silences(watched.group);
      watched.act(samples[index], excesses[index], this.#config.sampleInterval);
    }
  }

  /** How much of its excess each group has to give, in bytes. */
  #shareOut(samples: readonly JudgedSample[]): number[] {
    const excesses = shareOut(
      samples.map(({ excess }) => excess),
      this.#memory(),
    );
    for (const [index, { excess }] of samples.entries()) {
      if (excess > 0 && excesses[index] === 0) {
        this.#watchList.groups[index].group.unenforcedSamples++;
      }
    }
    return excesses;
  }

  #memory(): DaemonState["memory"] {
    const { totalMemory, availableMemory } = this.#around.platform.memory();
    return {
      total: totalMemory,
      used: totalMemory - availableMemory,
      threshold: this.#config.enforcementThreshold,
    };
  }

  #report(): void {
    this.#around.report(this.#state());
  }

  #state(): DaemonState {
    const { platform, clock } = this.#around;
    return {
      version: 2,
      pid: Deno.pid,
      startTime: this.#startTime,
      startedAt: this.#startedAt,
      updatedAt: clock.wallTime(),
      monotonic: this.#around.system.boottimeSeconds(),
      reportInterval: this.#config.reportInterval / 1000,
      pagedata: platform.pagedata,
      memory: this.#memory(),
      own: this.#around.system.ownUsage(),
      configuration: {
        serial: this.#serial,
        loadedAt: this.#loadedAt,
        problems: this.#problems,
      },
      groups: this.#watchList.groups.map((group) => group.state()),
    };
  }
}
