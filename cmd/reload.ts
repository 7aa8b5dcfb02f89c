/**
 * `rcap reload`: makes a running daemon read its configuration again.
 *
 * @module
 */

import { Command } from "@commander-js/extra-typings";
import { UsageError } from "../lib/errors.ts";
import { lines } from "../lib/report/escape.ts";
import { reloadConfiguration } from "../lib/service/control.ts";
import { exitStatusHelp } from "./exit_status.ts";
import { type Context, stateDirectoryOption } from "./options.ts";

const HELP = `
Groups whose name and selectors stay the same keep their history and totals.

${
  exitStatusHelp({
    done: true,
    failed:
      "rcap is not running, does not answer, or its state directory cannot be trusted",
    usage:
      "the configuration is invalid, so the current one stays in force; or wrong usage",
    incapable: "this user may not signal the daemon",
  })
}`;

/** The command. */
export function reloadCommand({ system, print }: Context) {
  return new Command("reload")
    .summary("make a running daemon read its configuration again")
    .description(
      "Makes the running daemon read its configuration again. If the configuration is\n" +
        "invalid, reports every problem, and the current one stays in force.",
    )
    .addOption(stateDirectoryOption(system))
    .addHelpText("after", HELP)
    .action(async (options) => {
      const { configuration, groups } = await reloadConfiguration({
        system,
        directory: options.stateDir,
      });
      if (configuration.problems.length > 0) {
        throw new UsageError(
          "the configuration is invalid; the current one stays in force:",
          undefined,
          configuration.problems,
        );
      }
      await print(lines(`configuration loaded: ${groups.length} caps`));
    });
}
