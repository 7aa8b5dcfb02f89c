/**
 * The daemon as a service: its loop, with configuration, state directory, signals,
 * service manager and metrics.
 *
 * @module
 */

import type { DaemonConfig } from "../config/config.ts";
import type { ConfigPaths } from "../config/config_files.ts";
import { LiveConfig } from "../config/live_config.ts";
import { Daemon } from "../daemon/daemon.ts";
import { messageOf, RcapError, UsageError } from "../errors.ts";
import type { LearntGroup, LearntPlace } from "../group/learnt_group.ts";
import type { DaemonState } from "../group/state.ts";
import { CommandRights } from "../observer/command_rights.ts";
import { DaemonRights } from "../observer/daemon_rights.ts";
import { ResetLocks } from "../observer/reset_locks.ts";
import type { OperatingSystem } from "../platform/operating_system.ts";
import { type Clock, fasterClock, systemClock } from "../platform/clock.ts";
import { HURRY } from "../platform/environment.ts";
import type { Log } from "../platform/output.ts";
import type { Platform } from "../platform/platform.ts";
import { Segments } from "../recording/segments.ts";
import { countOf, formatSize } from "../report/units.ts";
import { DaemonRecorder } from "./daemon_recorder.ts";
import { LearntFile } from "./learnt_file.ts";
import { LeaseServer } from "./lease_server.ts";
import { Metrics } from "./metrics.ts";
import {
  type Address,
  formatAddress,
  MetricsServer,
} from "./metrics_server.ts";
import { Notifier } from "./notify.ts";
import { StateDirectory } from "./state_directory.ts";

/** The most by which tests and benchmarks hurry the daemon. */
const MOST_HURRY = 1000;

/** How often the daemon releases memory that it does not use, in milliseconds. */
const TRIM_INTERVAL = 60_000;
/**
 * How often it looks whether that is due sooner, in milliseconds, and by how much its
 * records and garbage must have grown since, in bytes. A pass over many processes leaves
 * much garbage at once, which V8 alone would keep.
 */
const LOOK_INTERVAL = 5000;
const MUCH_GARBAGE = 4 << 20;

export interface ServiceOptions {
  readonly system: OperatingSystem;
  readonly config: ConfigPaths;
  readonly stateDirectory: string;
  /** Where what is learnt is kept, if something is to be learnt. */
  readonly learntDirectory: string;
  /** Where to serve metrics. */
  readonly metrics?: Address;
  /** The version of rcap. */
  readonly version: string;
  /** Stops the daemon. */
  readonly signal: AbortSignal;
  readonly log: Log;
  /** Whether nothing is paged out. */
  readonly isDryRun?: boolean;
  /**
   * Called with a function that releases the state directory without waiting, for a
   * daemon that does not end in time.
   */
  readonly onTaken?: (release: () => void) => void;
}

/**
 * Runs the daemon until it is stopped. It leaves nothing behind but a state directory
 * with the lock file and the pauses that have not ended.
 *
 * @throws ConfigError if the configuration is invalid.
 * @throws RcapError if another daemon runs, or the daemon cannot be set up.
 */
export async function runService(options: ServiceOptions): Promise<void> {
  const { system, log, signal, isDryRun } = options;
  await using held = new AsyncDisposableStack();
  system.requireOwnProcesses();
  const configuration = held.use(new LiveConfig(options.config, system, log));
  const config = await configuration.load(signal);
  await system.requirePrivileges();
  const directory = held.use(
    StateDirectory.take(
      system,
      options.stateDirectory,
      (text) => log.warn(text),
    ),
  );
  options.onTaken?.(() => directory[Symbol.dispose]());
  const notifier = held.use(
    Notifier.fromEnvironment({
      systemd: system.systemd,
      warn: (text) => log.warn(text),
    }),
  );
  const platform = held.use(
    system.open(config.pagedata, (text) => log.warn(text), signal),
  );
  const locks = openLocks(system, log);
  if (locks) held.use(locks);
  const rights = locks && new DaemonRights(locks);
  const how = isDryRun ? "; dry run: nothing is paged out" : "";
  let current = config;
  const learnt = held.use(
    new LazyLearntFile(system, options.learntDirectory, log),
  );
  const metrics = new Metrics({ version: options.version });
  const report = new StateWriter(directory, log);

  const clock = daemonClock();
  const recorder = config.record === ""
    ? undefined
    : held.use(openRecorder(config, { ...options, platform, clock }, held));

  const daemon = new Daemon(config, {
    platform,
    clock,
    learnt,
    system,
    log,
    signal,
    rights,
    recorder,
    onSample: () => recorder?.step(),
    report: (state) => {
      report.write(state);
      metrics.update(state);
    },
    overrides: () => directory.overrides(),
    pauses: () => directory.pauses(),
    kubernetes: () => configuration.kubernetes,
    reload: async (onlyIfChanged) => {
      const result = await configuration.reload(onlyIfChanged);
      if (!result) return undefined;
      notifier.reloading();
      // The daemon loads nothing, and so does not call onReload.
      if (!result.config) notifier.ready();
      else current = result.config;
      return result;
    },
    onReload: () => notifier.ready(watching(current) + how),
    onTurn: () => notifier.watchdog(),
    turnInterval: notifier.watchdogInterval,
    onScan: (seconds) => metrics.observeScan(seconds),
    onRead: (reading) => metrics.observeRead(reading),
    isDryRun,
  });
  configuration.onChange = () => daemon.askForChanges();
  if (configuration.kubernetes?.pods) configuration.onChange();
  for (
    const [name, listener] of [
      ["SIGHUP", () => daemon.askForReload()],
      ["SIGUSR1", () => daemon.askForRequests()],
    ] as const
  ) {
    Deno.addSignalListener(name, listener);
    held.defer(() => Deno.removeSignalListener(name, listener));
  }
  if (locks && rights) {
    const lending = lendReferences({ daemon, locks, rights, platform, log });
    if (lending) held.use(lending);
  }
  if (options.metrics) {
    const server = held.use(
      new MetricsServer({
        address: options.metrics,
        metrics,
        health: () => daemon.problem(),
        warn: (text) => log.warn(text),
        endConnection: system.endConnection,
        descriptors: system.openFilesLimit(),
      }),
    );
    log.info(`metrics on http://${formatAddress(server.address)}/metrics`);
  }

  log.info(`${watching(config)}, references from ${platform.pagedata}${how}`);
  notifier.ready(watching(config) + how);
  held.use(trimRegularly(system));
  await daemon.run();
  notifier.stopping();
  log.info("stopped");
}

/**
 * Scans the groups over their cap once.
 *
 * @param observation how long to observe, in milliseconds.
 * @returns the state afterwards.
 * @throws ConfigError, RcapError as {@linkcode runService}.
 */
export async function runOnce(
  { system, config: paths, stateDirectory, signal, log, onTaken, isDryRun }:
    Omit<
      ServiceOptions,
      "metrics" | "version" | "learntDirectory"
    >,
  observation: number,
): Promise<DaemonState> {
  system.requireOwnProcesses();
  using configuration = new LiveConfig(paths, system, log);
  const config = await configuration.load(signal, { awaitsPods: true });
  await system.requirePrivileges();
  using directory = StateDirectory.take(
    system,
    stateDirectory,
    (text) => log.warn(text),
  );
  onTaken?.(() => directory[Symbol.dispose]());
  using platform = system.open(
    config.pagedata,
    (text) => log.warn(text),
    signal,
  );
  const locks = openLocks(system, log);
  const info = (text: string) => log.info(text);
  using rights = locks && new CommandRights({ locks, signal, info });
  const daemon = new Daemon(config, {
    platform,
    clock: systemClock,
    system,
    log,
    signal,
    rights,
    report: () => {},
    overrides: () => directory.overrides(),
    pauses: () => directory.pauses(),
    kubernetes: () => configuration.kubernetes,
    reload: () => Promise.resolve(undefined),
    isDryRun,
  });
  const state = await daemon.once(observation);
  signal.throwIfAborted();
  return state;
}

/** What a daemon does, for its status line. */
function watching({ caps, kubernetes }: DaemonConfig): string {
  if (kubernetes) {
    return `watching ${
      countOf(caps.length, "group")
    }, and the annotations of pods`;
  }
  return caps.length === 0
    ? "no cap is configured, so there is nothing to do"
    : `watching ${countOf(caps.length, "group")}`;
}

/** The clock of the daemon: that of the system, unless tests and benchmarks hurry it. */
function daemonClock(): Clock {
  const factor = Number(Deno.env.get(HURRY) ?? 1);
  if (factor === 1) return systemClock;
  if (factor > 0 && factor <= MOST_HURRY) {
    return fasterClock(systemClock, factor);
  }
  throw new UsageError(
    `${HURRY} is not a factor that time can pass faster by`,
    `write a number up to ${MOST_HURRY}, or unset it`,
  );
}

/** What was learnt, in a file that is opened when it is needed first. */
class LazyLearntFile implements LearntPlace, Disposable {
  readonly #open: () => LearntFile;
  #file: LearntFile | undefined;

  constructor(system: OperatingSystem, path: string, log: Log) {
    this.#open = () => new LearntFile(system, path, (text) => log.warn(text));
  }

  of(name: string, select: string): LearntGroup | undefined {
    return (this.#file ??= this.#open()).of(name, select);
  }

  keep(groups: readonly LearntGroup[]): void {
    (this.#file ??= this.#open()).keep(groups);
  }

  [Symbol.dispose](): void {
    this.#file?.[Symbol.dispose]();
  }
}

/**
 * Begins to record what the daemon sees.
 *
 * @throws RcapError if recordings cannot be kept.
 */
function openRecorder(
  { record, recordLimit, sampleInterval }: DaemonConfig,
  { system, log, version, platform, clock }: ServiceOptions & {
    platform: Platform;
    clock: Clock;
  },
  held: AsyncDisposableStack,
): DaemonRecorder {
  const segments = held.use(
    Segments.open(system.files, record, { limit: recordLimit }),
  );
  log.info(
    `recording in ${record}, up to ${
      formatSize(recordLimit)
    }; all groups are observed`,
  );
  return new DaemonRecorder({
    segments,
    platform,
    clock,
    log,
    interval: sampleInterval,
    version,
  });
}

/** Opens the locks on processes under observation; warns if there are none. */
function openLocks(system: OperatingSystem, log: Log): ResetLocks | undefined {
  return ResetLocks.open(system, ({ message }) =>
    log.warn(
      `other commands of rcap may reset references unnoticed, so that memory in use looks idle (${message})`,
    ));
}

/** Starts to lend references to commands; `undefined` if that does not work. */
function lendReferences(
  { daemon, locks, rights, platform, log }: {
    daemon: Daemon;
    locks: ResetLocks;
    rights: DaemonRights;
    platform: Platform;
    log: Log;
  },
): LeaseServer | undefined {
  try {
    // Killed daemons leave sockets behind.
    const running = new Set(platform.listPids());
    for (const pid of locks.socketPids()) {
      if (pid === Deno.pid || !running.has(pid)) locks.removeSocket(pid);
    }
    return new LeaseServer({
      path: locks.socketOf(Deno.pid),
      lend: (id) => daemon.lend(id, rights),
      takeBack: (id) => rights.takeBack(id),
      warn: (text) => log.warn(text),
    });
  } catch (error) {
    log.warn(
      `commands cannot borrow references, and wait for the daemon in vain (${
        messageOf(error)
      })`,
    );
    return undefined;
  }
}

/** Returns unused memory to the system, now and from time to time until disposed of. */
function trimRegularly(system: OperatingSystem): Disposable {
  let trimmedAt = 0;
  let sizeThen = 0;
  const trim = () => {
    trimOwnMemory(system);
    trimmedAt = systemClock.now();
    sizeThen = recordsSize();
  };
  const look = () => {
    const isDue = systemClock.now() - trimmedAt >= TRIM_INTERVAL ||
      recordsSize() - sizeThen >= MUCH_GARBAGE;
    if (isDue) trim();
  };
  trim();
  const timer = setInterval(look, LOOK_INTERVAL);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** The size of what V8 keeps, used or garbage, with buffers outside its heap, in bytes. */
function recordsSize(): number {
  const { heapUsed, external } = Deno.memoryUsage();
  return heapUsed + external;
}

/** Returns unused memory to the system. */
function trimOwnMemory(system: OperatingSystem): void {
  // V8 exposes it with --expose-gc, as the built binary is set up.
  const { gc } = globalThis as { gc?: () => void };
  gc?.();
  system.trimOwnMemory();
}

/** Writes the state; warns once if that fails. */
class StateWriter {
  readonly #directory: StateDirectory;
  readonly #log: Log;
  #failed = false;

  constructor(directory: StateDirectory, log: Log) {
    this.#directory = directory;
    this.#log = log;
  }

  write(state: DaemonState): void {
    try {
      this.#directory.write(state);
      if (this.#failed) this.#log.info("the state can be written again");
      this.#failed = false;
    } catch (error) {
      if (!(error instanceof RcapError)) throw error;
      if (!this.#failed) {
        this.#log.warn(
          `the state cannot be written, so rcap stat shows nothing new (${error.message}); caps are still enforced`,
        );
      }
      this.#failed = true;
    }
  }
}
