/**
 * The daemon's loop: who belongs to which cap, how large they are, and scans of
 * those that are too large, each at its own interval.
 *
 * Sampling is quick and never waits for a scan. What takes its time, recording
 * references and scanning, goes on beside the loop, a collection at a time.
 *
 * @module
 */

import { boottimeSeconds } from "../../ffi/clock.ts";
import { ownUsage } from "../../ffi/usage.ts";
import { describeAvoided, told } from "../collection/members.ts";
import { sleep } from "../collection/observe.ts";
import { writtenAs } from "../collection/selectors.ts";
import type { CapConfig, DaemonConfig } from "../config/config.ts";
import type { Reloaded } from "../config/live_config.ts";
import type { PolicyName } from "../config/policy_names.ts";
import { RcapError } from "../errors.ts";
import { CappedGroup, type Sample } from "../group/capped_group.ts";
import { whyNotMet } from "../group/diagnosis.ts";
import type { OnRead } from "../group/measured_memory.ts";
import { Member } from "../group/member.ts";
import { type Avoided, Membership, type Pass } from "../group/membership.ts";
import type { DaemonState } from "../group/state.ts";
import type { Log } from "../platform/output.ts";
import type { Platform } from "../platform/platform.ts";
import { enforce, forgetHistory, keepHistory } from "../policy/clock.ts";
import { enforceByAge, keepAges } from "../policy/coldest.ts";
import {
  describeOutcome,
  type EnforcementOptions,
  type ScanOutcome,
} from "../policy/policy.ts";
import { formatSize } from "../report/units.ts";
import { shareOut } from "./threshold.ts";
import { Ticker } from "./ticker.ts";
import { Turns } from "./turns.ts";

/** How many collections are scanned at a time. */
const SCANS_AT_A_TIME = 2;
/** After how long one is scanned all the same, in milliseconds: others may be kept waiting. */
const SCAN_PATIENCE = 2000;

/** How many ages pages can get while they are observed for one scan only. */
const AGES_OF_ONE_SCAN = 8;

/** The loop is healthy while it has sampled within so many intervals. */
const HEALTHY_INTERVALS = 3;

/** What the daemon gets its configuration from, and tells others through. */
export interface DaemonSurroundings {
  readonly platform: Platform;
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

/** Watches collections and scans those over their cap. */
export class Daemon {
  readonly #around: DaemonSurroundings;
  readonly #tickers: Readonly<
    Record<"process" | "sample" | "report" | "config" | "turn", Ticker>
  >;
  readonly #turns = new Turns(SCANS_AT_A_TIME, SCAN_PATIENCE);
  /** What goes on beside the loop. */
  readonly #work = new Map<CappedGroup, Promise<void>>();
  readonly #startedAt = Date.now() / 1000;
  readonly #startTime: number;
  /** Holds until the daemon ends. */
  readonly #policy: PolicyName;
  #config: DaemonConfig;
  #membership: Membership;
  #collections: CappedGroup[] = [];
  /** Collections whose members were looked for. */
  readonly #refreshed = new WeakSet<CappedGroup>();
  /** The members are being looked for, beside the loop. */
  #refreshing: Promise<void> | undefined;
  /** Why processes cannot be reached that have done nothing for it, where they cannot. */
  #overload: string | undefined;
  /** What has gone wrong in the loop and was told, by step. */
  readonly #failures = new Map<string, string>();
  /** Why it is not known which processes belong to which cap, where it is not. */
  #exhausted: string | undefined;
  /** What is not known of processes, as it was told, and which are left alone, by pid. */
  #unknown: ReadonlySet<string> = new Set();
  #avoided: ReadonlySet<number> = new Set();
  #nextId = 1;
  #loadedAt = Date.now() / 1000;
  #serial = 1;
  #problems: readonly string[] = [];
  #sampledAt = performance.now();
  /** What was asked for from outside since the loop last turned. */
  #asked = { reload: false, overrides: false };
  /** The configuration is being read, beside the loop. */
  #isReading = false;
  /** What it came to, until the loop takes it over. */
  #reading: Reloaded | undefined;
  #wake = Promise.withResolvers<void>();

  constructor(config: DaemonConfig, around: DaemonSurroundings) {
    this.#around = around;
    this.#config = config;
    this.#policy = config.policy;
    this.#startTime = around.platform.readProcess(Deno.pid).startTime;
    this.#membership = new Membership(around.platform, config.caps);
    this.#collections = config.caps.map((cap) => this.#newCollection(cap));
    const now = performance.now();
    this.#tickers = {
      process: new Ticker(config.processInterval, now),
      sample: new Ticker(config.sampleInterval, now),
      report: new Ticker(config.reportInterval, now),
      config: new Ticker(config.configInterval, now + config.configInterval),
      turn: new Ticker(around.turnInterval ?? Infinity, now),
    };
    this.#around.signal.addEventListener("abort", () => this.#wake.resolve());
  }

  /** Asks for the configuration to be read again. */
  askForReload(): void {
    this.#asked.reload = true;
    this.#wake.resolve();
  }

  /** Asks for the caps set by hand to be read again. */
  askForOverrides(): void {
    this.#asked.overrides = true;
    this.#wake.resolve();
  }

  /** Why the loop is not healthy; `undefined` when it is. */
  problem(): string | undefined {
    const age = performance.now() - this.#sampledAt;
    const most = this.#config.sampleInterval * HEALTHY_INTERVALS + 1000;
    if (age > most) return `no sample for ${(age / 1000).toFixed(1)} s`;
    if (this.#overload !== undefined) return this.#overload;
    return this.#exhausted === undefined
      ? undefined
      : `it is not known which processes belong to which cap (${this.#exhausted})`;
  }

  /** Runs until it is stopped; then lets every scan end first. */
  async run(): Promise<void> {
    const { signal } = this.#around;
    const { process, sample, report, config, turn } = this.#tickers;
    await this.#refresh().catch((error) => this.#failed("members", error));
    process.take(performance.now());
    while (!signal.aborted) {
      const isDue = (ticker: Ticker) => ticker.take(performance.now());
      if (isDue(turn)) this.#step("watchdog", () => this.#around.onTurn?.());
      this.#step("requests", () => this.#answer());
      if (isDue(config)) this.#step("configuration", () => this.#reload(true));
      if (isDue(process)) this.#refreshBeside();
      if (isDue(sample)) this.#step("sample", () => this.#sample());
      if (isDue(report)) this.#step("report", () => this.#report());
      await this.#rest();
    }
    await Promise.all([this.#refreshing, ...this.#work.values()]);
  }

  /** Does a step of the loop; what goes wrong is told, and the next turn comes. */
  #step(name: string, step: () => void): void {
    try {
      step();
      this.#failures.delete(name);
    } catch (error) {
      this.#failed(name, error);
    }
  }

  /** Tells what has gone wrong in a step, once until something else does. */
  #failed(name: string, error: unknown): void {
    const message = describeError(error);
    if (this.#failures.get(name) === message) return;
    this.#failures.set(name, message);
    this.#around.log.warn(`${name}: ${message}; rcap goes on`);
  }

  /** Looks for the members of all collections beside the loop, unless that goes on already. */
  #refreshBeside(): void {
    const membership = this.#membership;
    this.#refreshing ??= this.#refresh()
      .then(() => void this.#failures.delete("members"))
      .catch((error) => this.#failed("members", error))
      .finally(() => {
        this.#refreshing = undefined;
        // What was found is of a configuration that holds no longer.
        if (membership === this.#membership) return;
        this.#tickers.process.hurry(performance.now());
        this.#wake.resolve();
      });
  }

  /**
   * Watches for as long as need be, scans once what is over its cap, and ends.
   *
   * @returns the state then; whether all caps are met is for the reader to see.
   */
  async once(observation: number): Promise<DaemonState> {
    const { platform, signal } = this.#around;
    const options = {
      ...this.#options(),
      interval: observation,
      isOnlyScan: true,
    };
    await this.#refresh();
    const sampleAll = () =>
      this.#collections.map((collection) =>
        collection.sample(platform, performance.now())
      );
    const wanting = sampleAll().map(({ wantsHistory }) => wantsHistory);
    const watched = this.#collections.filter((_, index) => wanting[index]);
    await this.#observe(watched, observation);
    const samples = sampleAll();
    const excesses = this.#shareOut(samples);
    for (const [index, collection] of this.#collections.entries()) {
      const excess = excesses[index];
      if (signal.aborted || excess <= 0) continue;
      const isBounded = excess < samples[index].excess;
      await this.#scan(collection, excess, { ...options, isBounded });
    }
    for (const collection of this.#collections) {
      collection.sample(platform, performance.now());
      await collection.measure(performance.now());
    }
    return this.#state();
  }

  /** Lets the members of collections run for a while. */
  async #observe(
    collections: readonly CappedGroup[],
    milliseconds: number,
  ): Promise<void> {
    if (collections.length === 0) return;
    const { signal } = this.#around;
    const keep = this.#policy === "coldest" ? keepAges : keepHistory;
    const parts = this.#policy === "coldest" ? AGES_OF_ONE_SCAN : 1;
    const options = { ...this.#options(), isOnlyScan: true };
    for (const collection of collections) await keep(collection, options);
    for (let part = 1; part <= parts && !signal.aborted; part++) {
      await sleep(milliseconds / parts, signal);
      // Of the clock, the scan itself looks at what was referenced.
      if (parts === 1) return;
      for (const collection of collections) await keep(collection, options);
    }
  }

  /** Waits for what is due next, or for somebody to ask for something. */
  async #rest(): Promise<void> {
    const now = performance.now();
    const waits = Object.values(this.#tickers).map((one) => one.wait(now));
    const timer = setTimeout(
      () => this.#wake.resolve(),
      Math.min(...waits, LONGEST_TIMER),
    );
    await this.#wake.promise;
    clearTimeout(timer);
    if (!this.#around.signal.aborted) {
      this.#wake = Promise.withResolvers<void>();
    }
  }

  /** Does what was asked for. */
  #answer(): void {
    const [reading, { reload, overrides }] = [this.#reading, this.#asked];
    this.#reading = undefined;
    // Whoever asks while it is being read may have changed it meanwhile.
    this.#asked = { reload: reload && this.#isReading, overrides: false };
    if (reload) this.#reload(false);
    if (reading) this.#takeOver(reading);
    if (overrides) this.#applyOverrides();
    if (reading || overrides) this.#report();
  }

  #newCollection(definition: CapConfig): CappedGroup {
    const { platform, onRead = () => {} } = this.#around;
    return new CappedGroup(
      this.#nextId++,
      definition,
      (entry) =>
        new Member(entry, platform.open(entry, definition.name), onRead),
    );
  }

  /** Reads the configuration again, beside the loop, unless it is being read. */
  #reload(onlyIfChanged: boolean): void {
    if (this.#isReading) return;
    this.#isReading = true;
    const { log, reload } = this.#around;
    reload(onlyIfChanged).then((reading) => {
      this.#reading = reading;
    }).catch((error) => {
      const message = error instanceof Error ? error.message : String(error);
      log.warn(`the configuration cannot be read: ${message}`);
    }).finally(() => {
      this.#isReading = false;
      this.#wake.resolve();
    });
  }

  #takeOver({ config, problems, isPassing }: Reloaded): void {
    const { log, onReload, platform } = this.#around;
    this.#problems = problems;
    this.#serial++;
    for (const problem of problems) log.warn(problem);
    if (!config) {
      const why = isPassing ? "is not known for the moment" : "is invalid";
      log.warn(`the configuration ${why}: the one that runs stays`);
      return;
    }
    this.#loadedAt = Date.now() / 1000;
    const before = this.#collections;
    this.#collections = config.caps.map((cap) => {
      const same = before.find(({ definition }) => isSame(definition, cap));
      same?.redefine(cap);
      return same ?? this.#newCollection(cap);
    });
    this.#membership = new Membership(platform, config.caps, this.#membership);
    this.#config = config;
    const now = performance.now();
    this.#tickers.process.setInterval(config.processInterval, now);
    this.#tickers.sample.setInterval(config.sampleInterval, now);
    this.#tickers.report.setInterval(config.reportInterval, now);
    this.#tickers.config.setInterval(config.configInterval, now);
    // Whoever is new gets its members at once.
    this.#tickers.process.hurry(now);
    this.#applyOverrides();
    log.info(`configuration loaded again: ${config.caps.length} caps`);
    onReload?.();
  }

  #applyOverrides(): void {
    const overrides = this.#around.overrides();
    for (const collection of this.#collections) {
      const before = collection.cap;
      collection.override = overrides.get(collection.name);
      if (collection.cap === before) continue;
      this.#around.log.info(
        `${collection.name}: the cap is ${formatSize(collection.cap)} now${
          collection.override === undefined ? "" : ", set by hand"
        }`,
      );
    }
  }

  async #refresh(): Promise<void> {
    const { signal, log } = this.#around;
    const membership = this.#membership;
    const pass = await membership.refresh(signal);
    if (signal.aborted || membership !== this.#membership) return;
    const { members, avoided } = pass;
    this.#tellTroubles(pass);
    this.#tellAvoided(avoided.flat());
    for (const [index, collection] of this.#collections.entries()) {
      const isFirst = !this.#refreshed.has(collection);
      this.#refreshed.add(collection);
      collection.avoided = avoided[index].length;
      const { joined, left } = collection.update(members[index]);
      if (isFirst && joined === 0) {
        log.info(`${collection.name}: no process matches its selectors yet`);
      }
      if (joined + left > 0) {
        log.debug(`${collection.name}: ${joined} processes in, ${left} out`);
      }
    }
  }

  /** Warns once of what is not known, until it is known again. */
  #tellTroubles({ unknown, exhausted }: Pass): void {
    const { log } = this.#around;
    if (exhausted === undefined) {
      if (this.#exhausted !== undefined) {
        log.info("it is known again which process belongs to which cap");
      }
    } else if (this.#exhausted === undefined) {
      log.warn(
        `it is not known which processes belong to which cap (${exhausted}); those that did still do`,
      );
    }
    this.#exhausted = exhausted;
    const isNew = (message: string) => !this.#unknown.has(message);
    for (const message of told(unknown.filter(isNew))) log.warn(message);
    this.#unknown = new Set(unknown);
  }

  /** Tells once of every process that it is left alone. */
  #tellAvoided(avoided: readonly Avoided[]): void {
    for (const { entry, directory } of avoided) {
      if (this.#avoided.has(entry.pid)) continue;
      this.#around.log.info(describeAvoided(entry, directory));
    }
    this.#avoided = new Set(avoided.map(({ entry }) => entry.pid));
  }

  #sample(): void {
    this.#sampledAt = performance.now();
    const samples = this.#collections.map((collection) =>
      collection.sample(this.#around.platform, this.#sampledAt)
    );
    const excesses = this.#shareOut(samples);
    this.#tellOfOverload();
    for (const [index, collection] of this.#collections.entries()) {
      this.#tellOfSilence(collection);
      this.#act(collection, samples[index], excesses[index]);
    }
  }

  #tellOfOverload(): void {
    const { log, platform: { overload } } = this.#around;
    if (overload !== undefined && this.#overload === undefined) {
      log.warn(overload);
    } else if (overload === undefined && this.#overload !== undefined) {
      log.info("all processes can be reached again");
    }
    this.#overload = overload;
  }

  /** Tells of members that have stopped or begun to answer. */
  #tellOfSilence(collection: CappedGroup): void {
    const { log } = this.#around;
    const { silent, answering } = collection.changedSilences();
    for (const silence of silent) {
      log.warn(
        `${collection.name}: ${silence}; it is set aside, and tried again less and less often`,
      );
    }
    for (const pid of answering) {
      log.info(`${collection.name}: process ${pid} answers again`);
    }
  }

  /** How much of its excess each collection has to give. */
  #shareOut(samples: readonly Sample[]): number[] {
    const { threshold, total, used } = this.#memory();
    const excesses = shareOut(samples.map(({ excess }) => excess), {
      threshold,
      total,
      used,
    });
    for (const [index, { excess }] of samples.entries()) {
      if (excess > 0 && excesses[index] === 0) {
        this.#collections[index].unenforcedSamples++;
      }
    }
    return excesses;
  }

  /** Decides what to do about a collection, and has it done. */
  #act(
    collection: CappedGroup,
    { wantsHistory, suffers, excess, isOld }: Sample,
    mayTake: number,
  ): void {
    if (excess === 0) this.#settle(collection);
    if (this.#work.has(collection)) return;
    if (!wantsHistory) {
      forgetHistory(collection);
      if (isOld) this.#beside(collection, () => measureAnew(collection));
      return;
    }
    let take = mayTake;
    if (take > 0 && suffers) {
      collection.breathers++;
      take = 0;
      this.#around.log.debug(
        `${collection.name}: much of what was paged out came back, so it is left alone for an interval`,
      );
    }
    const waits = collection.backoff.isWaiting(
      performance.now(),
      collection.circumstances(this.#hasFreeSwap()),
    );
    const options = { ...this.#options(), isBounded: mayTake < excess };
    this.#beside(collection, async () => {
      if (isOld) await measureAnew(collection);
      if (waits) take = 0;
      if (this.#policy === "coldest") {
        await keepAges(collection, options);
      } else {
        await keepHistory(collection, options);
        if (take <= 0) return;
      }
      using _turn = await this.#turns.take();
      await this.#scan(collection, take, options);
    });
  }

  /** Notes that a collection is under its cap, or has been brought there. */
  #settle(collection: CappedGroup): void {
    collection.backoff.reset();
    if (collection.warning === null) return;
    collection.warning = null;
    this.#around.log.info(`${collection.name}: under its cap again`);
  }

  /** Does something with a collection beside the loop; nothing of it ends the daemon. */
  #beside(collection: CappedGroup, step: () => Promise<void>): void {
    const { log, signal } = this.#around;
    const done = step().catch((error) => {
      // To end is what it was told.
      if (signal.aborted && error === signal.reason) return;
      log.warn(`${collection.name}: ${describeError(error)}`);
    }).finally(() => this.#work.delete(collection));
    this.#work.set(collection, done);
  }

  async #scan(
    collection: CappedGroup,
    excess: number,
    options: EnforcementOptions,
  ): Promise<void> {
    const { log, onScan } = this.#around;
    const outcome = this.#policy === "coldest"
      ? await enforceByAge(collection, excess, options)
      : await this.#enforceByClock(collection, excess, options);
    if (!outcome) return;
    onScan?.(outcome.seconds);
    const { attempted, effective, left, seconds } = outcome;
    log.info(describeOutcome(collection, outcome), {
      collection: collection.name,
      attempted,
      effective,
      left: Math.max(0, left),
      seconds,
    });
    if (outcome.left <= 0) this.#settle(collection);
    if (outcome.isPartial) return;
    collection.backoff.record(outcome.ineffective, {
      now: performance.now(),
      interval: options.interval,
      circumstances: {
        ...collection.circumstances(this.#hasFreeSwap()),
        size: collection.size - outcome.effective,
      },
    });
    if (collection.backoff.isHopeless && collection.warning === null) {
      collection.warning = await whyNotMet(collection);
      log.warn(
        `${collection.warning}; it is tried less often until that changes`,
        { collection: collection.name },
      );
    }
  }

  async #enforceByClock(
    collection: CappedGroup,
    excess: number,
    options: EnforcementOptions,
  ): Promise<ScanOutcome | undefined> {
    const over = await collection.measure(performance.now()) - collection.cap;
    if (over <= 0 || options.signal.aborted) return undefined;
    return await enforce(collection, Math.min(excess, over), options);
  }

  #options(): EnforcementOptions {
    const { log, signal } = this.#around;
    return { interval: this.#config.sampleInterval, log, signal };
  }

  #hasFreeSwap(): boolean {
    return this.#around.platform.memory().freeSwap > 0;
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
    return {
      version: 1,
      pid: Deno.pid,
      startTime: this.#startTime,
      startedAt: this.#startedAt,
      updatedAt: Date.now() / 1000,
      monotonic: boottimeSeconds(),
      reportInterval: this.#config.reportInterval / 1000,
      pagedata: this.#around.platform.pagedata,
      memory: this.#memory(),
      own: ownUsage(),
      configuration: {
        serial: this.#serial,
        loadedAt: this.#loadedAt,
        problems: this.#problems,
      },
      collections: this.#collections.map((collection) => collection.state()),
    };
  }
}

async function measureAnew(collection: CappedGroup): Promise<void> {
  await collection.measureAnew(performance.now());
}

/** An error in words. */
function describeError(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return error instanceof RcapError ? message : `internal error: ${message}`;
}

/** The longest time that a timer takes, in milliseconds. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** Whether two definitions are of one collection: history is kept when only the cap differs. */
function isSame(a: CapConfig, b: CapConfig): boolean {
  const selectorsOf = ({ select }: CapConfig) =>
    JSON.stringify(select.map(writtenAs));
  return a.name === b.name && selectorsOf(a) === selectorsOf(b);
}
