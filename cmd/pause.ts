/**
 * `rcap pause`: makes a running daemon leave one group alone for a time.
 *
 * @module
 */

import { Command, Option } from "@commander-js/extra-typings";
import { systemClock } from "../lib/platform/clock.ts";
import { lines } from "../lib/report/escape.ts";
import { formatTimeSoon, parseDuration } from "../lib/report/units.ts";
import { pauseGroup } from "../lib/service/control.ts";
import { exitStatusHelp } from "./exit_status.ts";
import { type Context, stateDirectoryOption } from "./options.ts";
import { jsonOption, printResult } from "./result.ts";

/** How long a pause is by default, in milliseconds. */
const DEFAULT_PAUSE = 3_600_000;
/** The shortest and the longest pause, in milliseconds: the longest of all durations. */
const RANGE = { least: 1000, most: 596 * 3_600_000 };

const HELP = `
Meanwhile nothing of the group is paged out, and its references are not reset;
only its sizes are read. It may exceed its cap. The page-out in flight is the
last one. A pause outlasts reloads and restarts of the daemon; a new one
replaces it, and rcap resume ends it. What is out stays out: see rcap restore.

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
  rcap pause browsers
  rcap pause browsers --for 8h`;

/** The command. */
export function pauseCommand(context: Context) {
  const { system } = context;
  return new Command("pause")
    .description(
      "Makes the running daemon leave one group alone, within a second and for a time.",
    )
    .argument("<name>", "the group")
    .addOption(
      new Option("--for <duration>", "how long").default(DEFAULT_PAUSE, "1h")
        .argParser((text) => parseDuration(text, "--for", RANGE)),
    )
    .addOption(stateDirectoryOption(system))
    .addOption(jsonOption)
    .addHelpText("after", HELP)
    .action(async (name, options) => {
      const now = systemClock.wallTime();
      const until = Math.ceil(now + options.for / 1000);
      const place = { system, directory: options.stateDir };
      const { after: { rss, cap } } = await pauseGroup(place, name, until);
      const result = {
        json: { version: 1, name, pausedUntil: until, cap, rss },
        text: () =>
          lines(
            `${name}: paused until ${
              formatTimeSoon(until, now)
            }; to end it before: rcap resume ${name}`,
          ),
      };
      await printResult(result, options, context);
    });
}
