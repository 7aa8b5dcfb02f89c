/**
 * What the commands share: the context that `main.ts` passes, options, and parsers
 * of values on the command line.
 *
 * @module
 */

import { Option } from "@commander-js/extra-typings";
import {
  describeShortObservation,
  TRUSTED_OBSERVATION,
} from "../lib/collection/observe.ts";
import { parseArguments, type Selector } from "../lib/collection/selectors.ts";
import { DEFAULT_CONFIG } from "../lib/config/config_files.ts";
import { RcapError, UsageError } from "../lib/errors.ts";
import { CommandRights } from "../lib/observer/command_rights.ts";
import { ResetLocks } from "../lib/observer/reset_locks.ts";
import type { ResetRights } from "../lib/observer/reset_rights.ts";
import type { OperatingSystem } from "../lib/platform/operating_system.ts";
import type { Log, LogFormat } from "../lib/platform/output.ts";
import type { PagedataSourceName, Platform } from "../lib/platform/platform.ts";
import type { Printable } from "../lib/report/escape.ts";
import { parseDuration, parseSize } from "../lib/report/units.ts";
import { readState } from "../lib/service/state_directory.ts";

/** What `main.ts` passes to a command besides its arguments. */
export interface Context {
  /** The operating system that rcap runs on. */
  readonly system: OperatingSystem;
  /** Aborted by the signals that end rcap. */
  readonly signal: AbortSignal;
  /** Keeps SIGHUP from aborting the command, which uses it for something else. */
  surviveHangup(): void;
  /**
   * Sets what runs if the command does not end in time after a signal. It removes
   * what the command would leave behind, without waiting, and may return the exit
   * code.
   */
  cleanUpWhenOverdue(cleanUp: () => number | undefined): void;
  /**
   * Writes to standard output. Resolves to `false` if the reader has closed it.
   *
   * @throws the signal's reason if the signal comes while the output is not read.
   */
  readonly print: (...texts: Printable[]) => Promise<boolean>;
  /** The same for what is printed because of a signal, as long as the command may take then. */
  readonly printLast: (...texts: Printable[]) => Promise<boolean>;
  readonly log: Log;
  /** The log in another format. */
  logAs(format: LogFormat): Log;
  /** Whether tables may have colours. */
  readonly color: boolean;
  /** Sets the exit code of the process, 0 by default. */
  setExitCode(code: number): void;
}

/** Parses the selectors among the arguments; warns of what may not be meant. */
export function selectorsOf(
  texts: readonly string[],
  { system, signal, log }: Context,
): Promise<Selector[]> {
  return parseArguments(texts, system, {
    signal,
    warn: (message) => log.warn(message),
  });
}

/** `--observe`: milliseconds. */
export const observeOption = new Option(
  "--observe <duration>",
  "how long to watch what is in use",
).default(TRUSTED_OBSERVATION, "2s").argParser((text) =>
  parseDuration(text, "--observe")
);

/** `--pagedata`: where reference bits come from, of the sources of this system. */
export function pagedataOption({ pagedataSources }: OperatingSystem) {
  return new Option("--pagedata <source>", "where reference bits come from")
    .choices(["auto" as const, ...pagedataSources]).default("auto" as const);
}

/** `--host-root`: where a container has the file system of its machine. */
export function hostRootOption(system: OperatingSystem) {
  return new Option(
    "--host-root <directory>",
    "in a container: where / of the machine is mounted",
  ).hideHelp(!system.useHostRoot).argParser((directory) => {
    if (!system.useHostRoot) {
      throw new UsageError("--host-root is for containers of Linux");
    }
    system.useHostRoot(directory);
    return directory;
  });
}

/** `--config`: the main file. */
export const configOption = new Option(
  "--config <file>",
  "the main file of the configuration",
).default(DEFAULT_CONFIG).argParser((text) => {
  if (text !== "") return text;
  throw new UsageError('--config: "" is not a file', "give its path");
});

/** `--state-dir`: where a daemon keeps its lock and its state. */
export function stateDirectoryOption({ stateDirectory }: OperatingSystem) {
  return new Option(
    "--state-dir <directory>",
    "the daemon's state directory",
  ).default(stateDirectory).argParser((text) => {
    if (text !== "") return text.replace(/(?<=.)\/+$/, "");
    throw new UsageError('--state-dir: "" is not a directory', "give its path");
  });
}

/** What rcap does not do to processes, as help says it. */
export function harmlessness({ stopsToPageOut }: OperatingSystem): string {
  return stopsToPageOut
    ? "Never kills or throttles a process; stops one only while it is paged out."
    : "Never kills, stops or throttles a process.";
}

/** Parses a size of the command line. */
export function sizeParser(
  option: string,
  system: OperatingSystem,
): (text: string) => number {
  return (text) =>
    parseSize(text, { what: option, totalMemory: () => totalMemory(system) });
}

/** Physical memory of the machine, in bytes. */
export function totalMemory(system: OperatingSystem): number {
  return system.memory().totalMemory;
}

/** The processes of this machine, and the rights to observe them; closed by `using`. */
interface Observatory extends Disposable {
  readonly platform: Platform;
  readonly rights: ResetRights | undefined;
}

/** How processes are observed; times in milliseconds. */
interface ObservingOptions {
  readonly observe: number;
  readonly pagedata: PagedataSourceName | "auto";
  /** How long to wait for other observers, if not as long as usual. */
  readonly patience?: number;
}

/**
 * Opens the processes of this machine for an observation. Warns if the observation
 * is short, or the source of reference bits is not the best one.
 *
 * @throws CapabilityError if the chosen source does not work here.
 */
function openProcesses(
  { observe, pagedata, patience }: ObservingOptions,
  { system, log, signal }: Pick<Context, "system" | "log" | "signal">,
): Observatory {
  const doubt = describeShortObservation(observe);
  if (doubt) log.warn(doubt);
  using opened = new DisposableStack();
  const platform = opened.use(
    system.open(pagedata, (message) => log.warn(message), signal),
  );
  const locks = ResetLocks.open(system, (error) => {
    const pid = daemonPid(system);
    if (pid === undefined) return;
    log.info(
      `rcap runs as process ${pid}; what it observes, too, may look idle to both (${error.message})`,
    );
  });
  const info = (message: string) => log.info(message);
  const rights = locks &&
    opened.use(new CommandRights({ locks, signal, info, patience }));
  const all = opened.move();
  return { platform, rights, [Symbol.dispose]: () => all.dispose() };
}

/**
 * Runs a step on the processes of this machine, opened as by `--pagedata`. They are
 * closed, and may be observed by others, as soon as the step has ended.
 */
export async function observing<T>(
  options: ObservingOptions,
  context: Pick<Context, "system" | "log" | "signal">,
  step: (observatory: Omit<Observatory, keyof Disposable>) => Promise<T>,
): Promise<T> {
  using observatory = openProcesses(options, context);
  const { platform, rights } = observatory;
  return await step({ platform, rights });
}

/** The pid of the daemon with the default state directory, if one runs. */
function daemonPid(system: OperatingSystem): number | undefined {
  try {
    return readState(system, system.stateDirectory).pid;
  } catch (error) {
    if (!(error instanceof RcapError)) throw error;
    return undefined;
  }
}
