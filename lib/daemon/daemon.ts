/**
 * The daemon's loop: finds the members of each group, samples their sizes, and scans
 * groups that exceed their cap, each at its own interval.
 *
 * Sampling is quick and never waits for a scan. Slow work, such as recording
 * references and scanning, runs beside the loop, one task per group.
 *
 * @module
 */

import { type DaemonConfig, DEFAULT_PRIORITY } from "../config/config.ts";
import type { Reloaded } from "../config/live_config.ts";
import { ProcessError } from "../errors.ts";
import type { OnRead } from "../group/measured_memory.ts";
import type { LearntPlace } from "../group/learnt_group.ts";
import type { DaemonState } from "../group/state.ts";
import type { KubernetesState } from "../kubernetes/annotated_pod.ts";
import type { OperatingSystem } from "../platform/operating_system.ts";
import type { Clock } from "../platform/clock.ts";
import type { Log } from "../platform/output.ts";
import { ExclusiveMemory } from "../observer/exclusive_memory.ts";
import type { DaemonRights } from "../observer/daemon_rights.ts";
import type { ResetRights } from "../observer/reset_rights.ts";
import type {
  MonitoredMemory,
  Platform,
  ProcessId,
} from "../platform/platform.ts";
import { policyOf } from "../policy/policies.ts";
import { countOf } from "../report/units.ts";
import { Costs } from "./costs.ts";
import { watchPressure } from "./pressures.ts";
import { Reloading } from "./reloading.ts";
import { shareOut } from "./threshold.ts";
import { Ticker } from "./ticker.ts";
import { Troubles } from "./troubles.ts";
import { Turns } from "./turns.ts";
import { WatchList } from "./watch_list.ts";
import type { JudgedSample, MemberRecorder } from "./watched_group.ts";

/** How many groups may be scanned at the same time. */
const SCANS_AT_A_TIME = 2;
/** A group waits at most this long for others to be scanned, in milliseconds. */
const SCAN_PATIENCE = 2000;

/** How often the daemon looks whether there is another cost to measure, in milliseconds. */
const COST_INTERVAL = 60_000;

/** The loop is healthy if it has sampled within this many intervals. */
const HEALTHY_INTERVALS = 3;

/** The daemon's interfaces to the machine, its configuration and its observers. */
export interface DaemonSurroundings {
  readonly platform: Platform;
  readonly clock: Clock;
  readonly system: Pick<OperatingSystem, "boottimeSeconds" | "ownUsage">;
  readonly log: Log;
  /** Stops the daemon. */
  readonly signal: AbortSignal;
  /** Decides whose references may be reset; by default all. */
  readonly rights?: ResetRights;
  /** Receives the state every report interval and after each request. */
  readonly report: (state: DaemonState) => void;
  /** Returns the caps set by hand, in bytes by name. */
  readonly overrides: () => ReadonlyMap<string, number>;
  /** Returns until when groups are paused, in seconds since the epoch by name. */
  readonly pauses: () => ReadonlyMap<string, number>;
  /**
   * Reads the configuration again. Waits for the name service.
   *
   * @param onlyIfChanged resolves to `undefined` if no file has changed.
   */
  readonly reload: (onlyIfChanged: boolean) => Promise<Reloaded | undefined>;
  /** Called on every turn of the loop, for a watchdog. */
  readonly onTurn?: () => void;
  /** The longest time between two calls of `onTurn`, in milliseconds. */
  readonly turnInterval?: number;
  readonly onScan?: (seconds: number) => void;
  readonly onRead?: OnRead;
  readonly onReload?: () => void;
  /** Returns what the watch of pods reports; null without one. */
  readonly kubernetes?: () => KubernetesState | null;
  /** Where what is learnt is kept. */
  readonly learnt?: LearntPlace;
  /** Whether scans only plan. */
  readonly isDryRun?: boolean;
  /** Records what the members do. */
  readonly recorder?: MemberRecorder;
  /** Called when all sizes have been sampled. */
  readonly onSample?: () => void;
}

/** Watches groups and scans those over their cap. */
export class Daemon {
  readonly #around: DaemonSurroundings;
  readonly #tickers: Readonly<
    Record<
      "process" | "sample" | "report" | "config" | "turn" | "costs",
      Ticker
    >
  >;
  readonly #troubles: Troubles;
  readonly #reloading: Reloading;
  readonly #watchList: WatchList;
  /** The tasks that run beside the loop. */
  readonly #work = new Set<Promise<void>>();
  readonly #startedAt: number;
  readonly #startTime: number;
  readonly #costs: Costs;
  #config: DaemonConfig;
  /** The search for members that runs beside the loop, if any. */
  #refreshing: Promise<void> | undefined;
  #loadedAt: number;
  #serial = 1;
  #problems: readonly string[] = [];
  /** Whether all of these are temporary. */
  #isPassing = false;
  #sampledAt: number;
  /** Whether what was set by hand is to be read on the next turn of the loop. */
  #hasRequests = false;
  /** Whether something was learnt that is not kept yet. */
  #hasLearnt = false;
  #wake = new AbortController();

  /** @param config its policy stays in force until the daemon ends. */
  constructor(config: DaemonConfig, around: DaemonSurroundings) {
    const { platform, clock, log, signal, rights, onScan, onRead, isDryRun } =
      around;
    this.#around = around;
    this.#config = config;
    this.#startedAt = clock.wallTime();
    this.#loadedAt = this.#startedAt;
    this.#startTime = platform.readProcess(Deno.pid).startTime;
    this.#troubles = new Troubles(log);
    this.#costs = new Costs({ platform, clock, log, signal });
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
      rights,
      onScan,
      onRead,
      policy: policyOf(config.policy),
      observationBudget: config.observationBudget,
      isDryRun,
      learnt: around.learnt,
      onLearnt: () => this.#hasLearnt = true,
      recorder: around.recorder,
      troubles: this.#troubles,
      turns: new Turns(SCANS_AT_A_TIME, SCAN_PATIENCE, clock),
      work: this.#work,
    });
    // Pauses outlast a daemon.
    this.#watchList.pause(around.pauses());
    const now = clock.now();
    this.#sampledAt = now;
    this.#tickers = {
      process: new Ticker(config.processInterval, now),
      sample: new Ticker(config.sampleInterval, now),
      report: new Ticker(config.reportInterval, now),
      config: new Ticker(config.configInterval, now + config.configInterval),
      turn: new Ticker(around.turnInterval ?? Infinity, now),
      costs: new Ticker(COST_INTERVAL, now),
    };
    signal.addEventListener("abort", () => this.#wake.abort());
  }

  /** Requests that the configuration be read again. */
  askForReload(): void {
    this.#reloading.ask();
    this.#wake.abort();
  }

  /** Requests that the configuration be read again if it has changed. */
  askForChanges(): void {
    this.#tickers.config.hurry(this.#around.clock.now());
    this.#wake.abort();
  }

  /** Requests that the caps and pauses set by hand be read again. */
  askForRequests(): void {
    this.#hasRequests = true;
    this.#wake.abort();
  }

  /**
   * Lends the references of a process to a command: resets them, after it has recorded
   * them itself.
   */
  async lend(
    id: ProcessId,
    rights: DaemonRights,
  ): Promise<"granted" | "failed" | "free"> {
    const memory = rights.holds(id) ? this.#memoryOf(id) : undefined;
    if (!(memory instanceof ExclusiveMemory)) return "free";
    try {
      await memory.handOver(() => rights.lend(id));
      return "granted";
    } catch (error) {
      if (!(error instanceof ProcessError)) throw error;
      this.#around.log.debug(
        `process ${id.pid} cannot be lent: ${error.message}`,
      );
      return "failed";
    }
  }

  #memoryOf({ pid, startTime }: ProcessId): MonitoredMemory | undefined {
    return this.#watchList.groups.flatMap(({ group }) => group.processes)
      .find(({ entry }) => entry.pid === pid && entry.startTime === startTime)
      ?.memory;
  }

  /** Why the loop is not healthy; `undefined` if it is. */
  problem(): string | undefined {
    const age = this.#around.clock.now() - this.#sampledAt;
    const most = this.#config.sampleInterval * HEALTHY_INTERVALS + 1000;
    if (age > most) return `no sample for ${(age / 1000).toFixed(1)} s`;
    return this.#troubles.problem;
  }

  /** Runs until stopped, then waits for running scans to end. */
  async run(): Promise<void> {
    const { signal, clock, onTurn } = this.#around;
    const { process, sample, report, config, turn, costs } = this.#tickers;
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
      if (isDue(costs)) this.#costs.measure();
      if (isDue(process)) this.#refreshBeside();
      if (isDue(sample)) troubles.step("sample", () => this.#sample());
      if (isDue(report)) troubles.step("report", () => this.#report());
      await this.#rest();
    }
    await Promise.all([this.#refreshing, this.#costs.ended(), ...this.#work]);
  }

  /** Searches for the members of all groups beside the loop, unless a search is running. */
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
    // The groups were replaced meanwhile: search for the members of the new ones.
    if (groups === this.#watchList.groups) return;
    this.#tickers.process.hurry(this.#around.clock.now());
    this.#wake.abort();
  }

  /**
   * Observes for a time, then scans each group that exceeds its cap once.
   *
   * @param observation how long to observe, in milliseconds.
   * @returns the state afterwards, from which the caller sees whether all caps are met.
   */
  async once(observation: number): Promise<DaemonState> {
    const { signal, clock } = this.#around;
    await this.#costs.measureReferences();
    await this.#watchList.refresh();
    const { groups } = this.#watchList;
    const sampleAll = () => groups.map((group) => group.sample());
    const wanting = sampleAll().map(({ wantsHistory }) => wantsHistory);
    await Promise.all(
      groups.filter((_, index) => wanting[index])
        .map((group) => group.observeOnce(observation)),
    );
    sampleAll();
    for (const { group } of groups) await group.measure(clock.now());
    const samples = sampleAll();
    const excesses = this.#shareOut(samples);
    this.#watchGuards(samples);
    for (const [index, group] of groups.entries()) {
      if (signal.aborted) break;
      const excess = excesses[index];
      const options = {
        interval: observation,
        isBounded: excess < samples[index].excess,
        isOnlyScan: true,
      };
      if (excess > 0) await group.enforce(excess, options);
      await group.pageOutIdle(options);
    }
    for (const group of groups) {
      await group.group.measureAnew(clock.now());
      if (!signal.aborted) await group.explainOnlyScan();
    }
    return this.#state();
  }

  /** Waits for the next tick or request. */
  async #rest(): Promise<void> {
    const { clock, signal } = this.#around;
    const now = clock.now();
    const waits = Object.values(this.#tickers).map((one) => one.wait(now));
    await clock.sleep(Math.min(...waits), this.#wake.signal);
    if (!signal.aborted) this.#wake = new AbortController();
  }

  /** Carries out requests. */
  #answer(): void {
    const reading = this.#reloading.take();
    const hasRequests = this.#hasRequests;
    this.#hasRequests = false;
    if (reading) this.#takeOver(reading);
    if (hasRequests) this.#applyRequests();
    if (reading || hasRequests) this.#report();
  }

  #takeOver({ config, problems, isPassing, isOfPods }: Reloaded): void {
    const { log, onReload, clock } = this.#around;
    this.#problems = problems;
    this.#isPassing = isPassing ?? false;
    this.#serial++;
    for (const problem of problems) log.warn(problem);
    if (!config) {
      const why = isPassing ? "cannot be checked at the moment" : "is invalid";
      log.warn(`the configuration ${why}; the running one stays in force`);
      return;
    }
    this.#loadedAt = clock.wallTime();
    this.#watchList.redefine(config.caps, config.observationBudget);
    this.#config = config;
    const now = clock.now();
    const { process, sample, report, config: files } = this.#tickers;
    process.setInterval(config.processInterval, now);
    sample.setInterval(config.sampleInterval, now);
    report.setInterval(config.reportInterval, now);
    files.setInterval(config.configInterval, now);
    // New groups get their members at once.
    process.hurry(now);
    this.#applyRequests();
    const count = countOf(config.caps.length, "cap");
    if (isOfPods) log.debug(`caps of pods have changed: ${count} in all`);
    else log.info(`configuration loaded again: ${count}`);
    onReload?.();
  }

  #applyRequests(): void {
    this.#watchList.override(this.#around.overrides());
    this.#watchList.pause(this.#around.pauses());
  }

  #sample(): void {
    const { clock, platform } = this.#around;
    this.#sampledAt = clock.now();
    const { groups } = this.#watchList;
    const samples = groups.map((group) => group.sample());
    const excesses = this.#shareOut(samples);
    this.#watchGuards(samples);
    this.#keepLearnt();
    this.#troubles.overload(platform.overload);
    for (const [index, watched] of groups.entries()) {
      this.#troubles.silences(watched.group);
      watched.act(samples[index], excesses[index], this.#config.sampleInterval);
    }
    this.#around.onSample?.();
  }

  /** Keeps what was learnt, once a minute at most. */
  #keepLearnt(): void {
    if (!this.#hasLearnt) return;
    this.#hasLearnt = false;
    this.#around.learnt?.keep(this.#watchList.learnt());
  }

  /** Tells all guard rails what the samples show. */
  #watchGuards(samples: readonly JudgedSample[]): void {
    const { groups } = this.#watchList;
    for (const [index, watched] of groups.entries()) {
      watched.noteSample(samples[index]);
    }
    const { platform, clock } = this.#around;
    watchPressure(groups.map(({ group }) => group), platform, clock.now());
  }

  /** By how much each group must shrink, in bytes. */
  #shareOut(samples: readonly JudgedSample[]): number[] {
    const { groups } = this.#watchList;
    const claims = samples.map(({ excess }, index) => {
      const { priority = DEFAULT_PRIORITY } = groups[index].group.definition;
      return { excess, priority };
    });
    const excesses = shareOut(claims, this.#memory());
    for (const [index, { excess }] of samples.entries()) {
      if (excess > 0 && excesses[index] === 0) {
        groups[index].group.unenforcedSamples++;
      }
    }
    return excesses;
  }

  #memory(): DaemonState["memory"] {
    const { platform } = this.#around;
    const { totalMemory, availableMemory, totalSwap, freeSwap } = platform
      .memory();
    return {
      total: totalMemory,
      used: totalMemory - availableMemory,
      threshold: this.#config.enforcementThreshold,
      swap: { total: totalSwap, used: totalSwap - freeSwap },
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
      costs: this.#costs.known,
      memory: this.#memory(),
      own: this.#around.system.ownUsage(),
      configuration: {
        serial: this.#serial,
        loadedAt: this.#loadedAt,
        problems: this.#problems,
        isPassing: this.#isPassing,
      },
      kubernetes: this.#around.kubernetes?.() ?? null,
      dryRun: this.#around.isDryRun ?? false,
      groups: this.#watchList.groups.map((group) => group.state()),
    };
  }
}
