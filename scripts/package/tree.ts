/**
 * The command tree of rcap on Linux, as data: what man pages and completions are made
 * from.
 *
 * @module
 */

import type { CommandUnknownOpts, Option } from "@commander-js/extra-typings";
import type { EventEmitter } from "node:events";
import { commandTree } from "../../cmd/command_tree.ts";
import { COMMANDS } from "../../cmd/commands.ts";
import type { Context } from "../../cmd/options.ts";
import { linux } from "../../lib/platform/linux/system.ts";
import { Log } from "../../lib/platform/output.ts";

/** An option. */
export interface OptionEntry {
  /** As in help: `-o, --output <fields>`. */
  readonly flags: string;
  readonly short?: string;
  readonly long?: string;
  /** Whether it takes a value. */
  readonly takesValue: boolean;
  /** The values that it can take, if these are few. */
  readonly choices: readonly string[];
  /** As in help: with choices and default. */
  readonly description: string;
}

/** A command, or rcap itself. */
export interface CommandPage {
  /** `rcap` or that of the command. */
  readonly name: string;
  readonly summary: string;
  readonly description: string;
  readonly arguments: readonly {
    readonly name: string;
    readonly required: boolean;
    readonly variadic: boolean;
    readonly description: string;
  }[];
  /** Its own, then the global ones. */
  readonly options: readonly OptionEntry[];
  /** The help below the options. */
  readonly after: string;
}

/** Returns rcap itself, followed by every command in the order of help. */
export async function commandPages(): Promise<CommandPage[]> {
  const program = await describedProgram();
  return [program, ...program.commands].map(pageOf);
}

/** Returns the program with all commands, to describe them: none can be called. */
export function describedProgram(): Promise<CommandUnknownOpts> {
  return commandTree(
    describing(),
    new Set(COMMANDS.map(({ name }) => name)),
    { onLogLevel: () => {}, onNoColor: () => {} },
  );
}

/** A context for commands that are described and never called. */
function describing(): Context {
  const refuse = () => {
    throw new Error("a command that is only described was called");
  };
  return {
    system: linux,
    signal: new AbortController().signal,
    surviveHangup: refuse,
    cleanUpWhenOverdue: refuse,
    print: refuse,
    printLast: refuse,
    log: new Log("error"),
    logAs: refuse,
    color: false,
    setExitCode: refuse,
  };
}

function pageOf(command: CommandUnknownOpts): CommandPage {
  const help = command.createHelp();
  const own = help.visibleOptions(command);
  const all = command.parent
    ? [...own, ...help.visibleGlobalOptions(command)]
    : own;
  return {
    name: command.name(),
    summary: command.summary(),
    description: command.description(),
    arguments: command.registeredArguments.map((argument) => ({
      name: argument.name(),
      required: argument.required,
      variadic: argument.variadic,
      description: help.argumentDescription(argument),
    })),
    options: all.map((option) =>
      entryOf(option, help.optionDescription(option))
    ),
    after: textAfter(command),
  };
}

function entryOf(option: Option, description: string): OptionEntry {
  return {
    flags: option.flags,
    short: option.short,
    long: option.long,
    takesValue: option.required || option.optional,
    choices: option.argChoices ?? [],
    description,
  };
}

/** What `addHelpText("after")` has added to a command: commander emits it as an event. */
function textAfter(command: CommandUnknownOpts): string {
  let text = "";
  // It is an emitter of Node.js; its types leave that out.
  const emitter = command as unknown as EventEmitter;
  emitter.emit("afterHelp", {
    error: false,
    command,
    write: (part: string) => text += part,
  });
  return text.trim();
}
