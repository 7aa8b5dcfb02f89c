/**
 * The command line: signals, output, and the mapping from errors to exit codes.
 *
 * @module
 */

import { CommanderError } from "@commander-js/extra-typings";

import {
  EXIT_CODES,
  isExhausted,
  messageOf,
  RcapError,
  UsageError,
} from "../lib/errors.ts";
import { systemClock } from "../lib/platform/clock.ts";
import type { OperatingSystem } from "../lib/platform/operating_system.ts";
import {
  flushMessages,
  isTerminal,
  Log,
  type LogLevel,
  print,
  printError,
} from "../lib/platform/output.ts";
import { lines } from "../lib/report/escape.ts";
import { calledCommands, commandTree, unknownHelp } from "./command_tree.ts";
import type { Context } from "./options.ts";

const ENDING_SIGNALS = ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM"] as const;
type EndingSignal = typeof ENDING_SIGNALS[number];

/** The reason of an abort by a signal. */
class Interrupted extends Error {
  readonly exitCode: number;

  constructor(signal: EndingSignal) {
    super(signal);
    this.exitCode = EXIT_CODES[signal].code;
  }
}

/** How long a command may take to end after a signal, in milliseconds. */
const GRACE_MS = 160;

/** How long standard error may take for the last messages, in milliseconds. */
const FLUSH_MS = 1000;
/** When the process ends after a signal at the latest, in milliseconds. */
const END_MS = 225;

/**
 * Runs a command line, prints the message of an error, and returns the exit code.
 *
 * @param chooseSystem chooses the operating system.
 */
export async function runProgram(
  args: string[],
  chooseSystem: () => OperatingSystem,
): Promise<number> {
  const interruption = new AbortController();
  const overdue: Overdue = { hasCome: false };
  interruption.signal.addEventListener("abort", () => {
    overdue.signalledAt = performance.now();
  });
  // A command that hangs is abandoned: it ends with this process.
  const exitCode = await Promise.race([
    run(args, chooseSystem, { interruption, overdue }),
    graceAfter(interruption.signal).finally(() => overdue.hasCome = true),
  ]).catch((error) => {
    const ended = overdue.hasCome ? overdue.cleanUp?.() : undefined;
    return ended ?? exitCodeOf(error);
  });
  reportHeldBy(overdue.system);
  await flushMessages(
    overdue.signalledAt === undefined
      ? FLUSH_MS
      : overdue.signalledAt + END_MS - performance.now(),
  );
  return exitCode;
}

/** A command that may not end within the grace after a signal. */
interface Overdue {
  /** The operating system, once it is chosen. */
  system?: OperatingSystem;
  /** When the signal came, as of `performance.now()`. */
  signalledAt?: number;
  hasCome: boolean;
  /** {@linkcode Context.cleanUpWhenOverdue}. */
  cleanUp?: () => number | undefined;
}

/** Reports the page-outs that keep this process from ending. */
function reportHeldBy(system: OperatingSystem | undefined): void {
  const pids = system?.heldBy() ?? [];
  if (pids.length === 0) return;
  printError(
    `rcap: waiting for a page-out of process ${
      pids.join(", ")
    }, which nothing can end: its memory map is locked, or the machine very busy; all else has ended`,
  );
}

/** Throws the reason of an abort once the grace after it is over. */
async function graceAfter(signal: AbortSignal): Promise<never> {
  await new Promise((resolve) => signal.addEventListener("abort", resolve));
  await systemClock.sleep(GRACE_MS);
  throw signal.reason;
}

async function run(
  args: string[],
  chooseSystem: () => OperatingSystem,
  { interruption, overdue }: {
    interruption: AbortController;
    overdue: Overdue;
  },
): Promise<number> {
  const survived = new Set<EndingSignal>();
  // nohup makes a process ignore SIGHUP. Ask before the first signal listener is
  // added: Deno then installs its own SIGHUP handler, which ends the process.
  const system = overdue.system = chooseSystem();
  if (system.ignoresHangup()) survived.add("SIGHUP");
  for (const signal of ENDING_SIGNALS) {
    Deno.addSignalListener(signal, () => {
      if (!survived.has(signal)) interruption.abort(new Interrupted(signal));
    });
  }

  let exitCode = 0;
  let level: LogLevel = "info";
  let color = isTerminal() && !Deno.env.get("NO_COLOR");
  const context: Context = {
    system,
    signal: interruption.signal,
    surviveHangup: () => survived.add("SIGHUP"),
    cleanUpWhenOverdue: (cleanUp) => overdue.cleanUp = cleanUp,
    print: (...texts) => print(texts, interruption.signal),
    printLast: (...texts) => print(texts, new AbortController().signal),
    get log() {
      return new Log(level);
    },
    logAs: (format) => new Log(level, { format }),
    get color() {
      return color;
    },
    setExitCode: (code) => exitCode = code,
  };
  const program = await commandTree(context, calledCommands(args), {
    onLogLevel: (chosen) => level = chosen,
    onNoColor: () => color = false,
  });
  let help = "";
  let hints = "";
  for (const command of [program, ...program.commands]) {
    command.configureOutput({
      writeOut: (text) => help += text,
      writeErr: (text) => hints += text,
      // The thrown error has the message.
      outputError: () => {},
    }).showHelpAfterError(`see ${commandLineOf(command)} --help`)
      .exitOverride();
  }
  try {
    await program.parseAsync(args, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    const unknown = unknownHelp(program);
    if (error.exitCode === 0 && unknown) throw unknown;
    if (error.exitCode === 0) await context.print(lines(...linesOf(help)));
    else if (error.code !== "commander.help") throw usageError(error, hints);
    // Called without a command.
    else printError(...linesOf(hints));
    return error.exitCode === 0 ? 0 : EXIT_CODES.usage.code;
  }
  return exitCode;
}

/** How a command is called. */
function commandLineOf(command: { name(): string }): string {
  return command.name() === "rcap" ? "rcap" : `rcap ${command.name()}`;
}

/** The lines of a text that rcap itself has written. */
function linesOf(text: string): string[] {
  return text.replace(/\n$/, "").split("\n");
}

/**
 * The error for a wrong command line, from commander's message. The message repeats
 * what was typed, line breaks included; only commander's guess is a line of its own.
 */
function usageError({ message }: CommanderError, hints: string): UsageError {
  const [, problem, guess] =
    /^error: (.*?)(?:\n(\(Did you mean [^\n]*\?\)))?$/s.exec(message) ??
      [undefined, message];
  return new UsageError(problem, undefined, [
    ...(guess === undefined ? [] : [guess]),
    ...linesOf(hints),
  ]);
}

/** Prints the message of an error that ended a command, and returns its exit code. */
function exitCodeOf(error: unknown): number {
  if (error instanceof Interrupted) return error.exitCode;
  const message = messageOf(error);
  if (error instanceof RcapError) {
    const remedy = isExhausted(error)
      ? "; raise the limit of open files (ulimit -n), or give the machine memory"
      : "";
    printError(`rcap: ${message}${remedy}`, ...error.details);
    return error.exitCode;
  }
  printError(
    `rcap: internal error: ${message}`,
    "This is a fault of rcap itself. Please report it with the command line that led here.",
  );
  return EXIT_CODES.failed.code;
}
