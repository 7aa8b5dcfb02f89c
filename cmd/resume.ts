/**
 * `rcap resume`: ends the pause of a group.
 *
 * @module
 */

import { Command } from "@commander-js/extra-typings";
import { lines } from "../lib/report/escape.ts";
import { formatBeside, formatSize } from "../lib/report/units.ts";
import { pauseGroup } from "../lib/service/control.ts";
import { exitStatusHelp } from "./exit_status.ts";
import { type Context, stateDirectoryOption } from "./options.ts";
import { jsonOption, printResult } from "./result.ts";

const HELP = `
What the group uses is observed anew before anything of it is paged out. It is
not an error if the group is not paused.

${
  exitStatusHelp({
    done: true,
    failed:
      "rcap is not running, does not answer, or its state directory cannot be trusted",
    usage: "wrong usage",
    incapable: "this user may not control the daemon",
  })
}

Examples:
  rcap resume browsers`;

/** The command. */
export function resumeCommand(context: Context) {
  const { system } = context;
  return new Command("resume")
    .description("Ends the pause of one group of the running daemon.")
    .argument("<name>", "the group")
    .addOption(stateDirectoryOption(system))
    .addOption(jsonOption)
    .addHelpText("after", HELP)
    .action(async (name, options) => {
      const place = { system, directory: options.stateDir };
      const { before, after } = await pauseGroup(place, name, undefined);
      const { rss, cap } = after;
      const wasPaused = before.pausedUntil !== null;
      const format = cap === null ? formatSize : formatBeside(cap, rss);
      const result = {
        json: { version: 1, name, wasPaused, cap, rss },
        text: () =>
          lines(
            `${name}: ${wasPaused ? "paused no longer" : "was not paused"}; ${
              format(rss)
            } ${cap === null ? "resident" : `of ${format(cap)}`}`,
          ),
      };
      await printResult(result, options, context);
    });
}
