/**
 * The commands, in the order in which help lists them. A command is loaded when it is
 * called: most of them are small, and shell loops feel the rest.
 *
 * @module
 */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import type { Context } from "./options.ts";

/** One command. */
export interface CommandEntry {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  /** Loads its module. */
  readonly load: () => Promise<(context: Context) => CommandUnknownOpts>;
}

export const COMMANDS: readonly CommandEntry[] = [
  {
    name: "run",
    summary: "enforce the caps of a configuration, as a daemon",
    load: async () => (await import("./run.ts")).runCommand,
  },
  {
    name: "scan",
    summary: "scan some processes once, for real or as a dry run",
    load: async () => (await import("./scan.ts")).scanCommand,
  },
  {
    name: "inspect",
    summary: "the mappings of one process, optionally page by page",
    load: async () => (await import("./inspect.ts")).inspectCommand,
  },
  {
    name: "size",
    summary: "what a cap would cost some processes, and which one to choose",
    load: async () => (await import("./size.ts")).sizeCommand,
  },
  {
    name: "record",
    summary: "write down which pages of some processes are used when",
    load: async () => (await import("./record.ts")).recordCommand,
  },
  {
    name: "report",
    summary: "what a recording shows, or how two of them differ",
    load: async () => (await import("./report.ts")).reportCommand,
  },
  {
    name: "replay",
    summary: "what each policy would have done with a recording under a cap",
    load: async () => (await import("./replay.ts")).replayCommand,
  },
  {
    name: "top",
    summary: "a live view of who holds memory that nobody uses",
    load: async () => (await import("./top.ts")).topCommand,
  },
  {
    name: "restore",
    summary: "bring back what of some processes is in swap",
    load: async () => (await import("./restore.ts")).restoreCommand,
  },
  {
    name: "stat",
    summary: "what a running daemon has done, every few seconds",
    load: async () => (await import("./stat.ts")).statCommand,
  },
  {
    name: "set",
    summary: "override one cap of a running daemon",
    load: async () => (await import("./set.ts")).setCommand,
  },
  {
    name: "pause",
    summary: "leave one group of a running daemon alone for a time",
    load: async () => (await import("./pause.ts")).pauseCommand,
  },
  {
    name: "resume",
    summary: "end the pause of a group",
    load: async () => (await import("./resume.ts")).resumeCommand,
  },
  {
    name: "reload",
    summary: "make a running daemon read its configuration again",
    load: async () => (await import("./reload.ts")).reloadCommand,
  },
  {
    name: "check",
    summary: "validate a configuration",
    load: async () => (await import("./check.ts")).checkCommand,
  },
  {
    name: "doctor",
    summary: "what works on this machine, and why the rest does not",
    load: async () => (await import("./doctor.ts")).doctorCommand,
  },
];
