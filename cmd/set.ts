/**
 * `rcap set`: overrides one cap of a running daemon, until it ends.
 *
 * @module
 */

import { Command } from "@commander-js/extra-typings";
import { lines } from "../lib/report/escape.ts";
import { describeExcessiveCap, parseCapSize } from "../lib/config/cap_size.ts";
import { formatBeside, formatSize } from "../lib/report/units.ts";
import { setCap } from "../lib/service/control.ts";
import { exitStatusHelp } from "./exit_status.ts";
import { type Context, stateDirectoryOption, totalMemory } from "./options.ts";
import { jsonOption, printResult } from "./result.ts";

/** The word for the cap of the configuration. */
const DEFAULT = "default";

const HELP = `
Sizes: 1048576, 512K, 1.5G, 2GiB, or 25% of physical memory.

${
  exitStatusHelp({
    done: true,
    failed:
      "rcap is not running, does not answer, or its state directory cannot be trusted",
    usage: "wrong usage",
    incapable: "this user may not change caps",
  })
}

Examples:
  rcap set browsers 1G
  rcap set browsers default`;

/** The command. */
export function setCommand(context: Context) {
  const { system } = context;
  return new Command("set")
    .description(
      "Replaces the cap of one group of the running daemon, within a second and\n" +
        "until the daemon ends. The configuration stays as it is.",
    )
    .argument("<name>", "the group")
    .argument(
      "<size>",
      `its cap, or "${DEFAULT}" for the one in the configuration`,
      (text) =>
        text === DEFAULT ? undefined : parseCapSize(text, {
          what: "SIZE",
          totalMemory: () => totalMemory(system),
        }),
    )
    .addOption(stateDirectoryOption(system))
    .addOption(jsonOption)
    .addHelpText("after", HELP)
    .action(async (name, size, options) => {
      const doubt = size && describeExcessiveCap(size, totalMemory(system));
      if (doubt) context.log.warn(`the cap of ${doubt}`);
      const { before, after } = await setCap(
        { system, directory: options.stateDir },
        name,
        size,
      );
      const { cap, rss } = after;
      const format = cap === null ? formatSize : formatBeside(cap, rss);
      const now = cap === null
        ? "there is no cap now"
        : `the cap is ${format(cap)} now`;
      const then = before.cap === null
        ? "there was none"
        : `it was ${formatSize(before.cap)}`;
      const result = {
        json: { version: 1, name, before: before.cap, cap, rss },
        text: () =>
          lines(
            `${name}: ${now}, ${then}; ${format(rss)} resident`,
          ),
      };
      await printResult(result, options, context);
    });
}
