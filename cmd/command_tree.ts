/**
 * The command tree: every command with its options and help. The program parses by it,
 * and man pages and completions are made from it.
 *
 * @module
 */

import {
  Command,
  type CommandUnknownOpts,
  Option,
} from "@commander-js/extra-typings";
import denoJson from "../deno.json" with { type: "json" };
import { didYouMean } from "../lib/config/did_you_mean.ts";
import { UsageError } from "../lib/errors.ts";
import { LOG_LEVELS, type LogLevel } from "../lib/platform/output.ts";
import { lines } from "../lib/report/escape.ts";
import { COMMANDS } from "./commands.ts";
import { type Context, harmlessness } from "./options.ts";

/** What happens as soon as a global option is read. */
export interface GlobalOptions {
  readonly onLogLevel: (level: LogLevel) => void;
  readonly onNoColor: () => void;
}

/**
 * Returns the program with its commands.
 *
 * @param called the names of the commands that are loaded with options and help; the
 * others have only a name and a summary.
 */
export async function commandTree(
  context: Context,
  called: ReadonlySet<string>,
  { onLogLevel, onNoColor }: GlobalOptions,
): Promise<CommandUnknownOpts> {
  const program = new Command("rcap")
    .description(
      "Keeps the resident memory of groups of processes under a cap by paging out\n" +
        `what they do not use.\n${harmlessness(context.system)}`,
    )
    .version(denoJson.version, "-V, --version", "print the version")
    .addOption(
      new Option("--log-level <level>", "how much to log on standard error")
        .choices(LOG_LEVELS).default("info"),
    )
    .option("--no-color", "no colours, as with NO_COLOR in the environment")
    .on("option:log-level", onLogLevel)
    .on("option:no-color", onNoColor)
    .helpCommand(false)
    .addHelpText("after", "\nrcap help COMMAND describes a command in detail.");
  for (const { name, summary, load } of COMMANDS) {
    const command = called.has(name)
      ? (await load())(context)
      : new Command(name);
    program.addCommand(command.summary(summary));
  }
  program.addCommand(versionCommand(context).summary("print the version"));
  program.addCommand(helpCommand(program).summary("describe a command"));
  for (const command of [program, ...program.commands]) {
    command.configureHelp({ showGlobalOptions: true })
      .helpOption("-h, --help", "print this help");
  }
  return program;
}

function versionCommand({ print }: Context) {
  return new Command("version").description("Prints the version of rcap.")
    .action(async () => {
      await print(lines(denoJson.version));
    });
}

/** `rcap help`: commander's own shows the general help for a command that is unknown. */
function helpCommand(program: CommandUnknownOpts) {
  return new Command("help")
    .description("Describes a command in detail, or lists all commands.")
    .argument("[command]", "the command")
    .action((name) => {
      const command = name === undefined
        ? program
        : program.commands.find((command) => command.name() === name);
      if (command) command.help();
      throw unknownCommand(name ?? "", program);
    });
}

function unknownCommand(name: string, program: CommandUnknownOpts): UsageError {
  const guess = didYouMean(
    name,
    program.commands.map((command) => command.name()),
  );
  return new UsageError(`unknown command '${name}'`, undefined, [
    ...(guess === undefined ? [] : [`(Did you mean ${guess}?)`]),
    "see rcap --help",
  ]);
}

/**
 * Returns an error if a program that was parsed has shown its help instead of that of an
 * unknown command, which commander does.
 */
export function unknownHelp(
  program: CommandUnknownOpts,
): UsageError | undefined {
  const name = program.args.find((arg) => !isHelp(arg));
  const isKnown = name === undefined || name.startsWith("-") ||
    program.commands.some((command) => command.name() === name);
  return isKnown ? undefined : unknownCommand(name, program);
}

/**
 * The names of the commands that a command line may call, or of all if it calls none:
 * help then describes each.
 */
export function calledCommands(args: readonly string[]): ReadonlySet<string> {
  const all = new Set(COMMANDS.map(({ name }) => name));
  const first = args.findIndex((arg) => all.has(arg));
  return first < 0 || args.slice(0, first).some(isHelp)
    ? all
    : new Set(args.filter((arg) => all.has(arg)));
}

function isHelp(arg: string): boolean {
  return arg === "-h" || arg === "--help";
}
