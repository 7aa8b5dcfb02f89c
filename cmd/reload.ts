/**
 * `rcap reload`: makes a running daemon read its configuration again.
 *
 * @module
 */

import { Command } from "@commander-js/extra-typings";
import { RcapError, UsageError } from "../lib/errors.ts";
import { lines } from "../lib/report/escape.ts";
import { countOf } from "../lib/report/units.ts";
import { reloadConfiguration } from "../lib/service/control.ts";
import { exitStatusHelp } from "./exit_status.ts";
import { type Context, stateDirectoryOption } from "./options.ts";

const HELP = `
Groups whose name and selectors stay the same keep their history and totals.

${
  exitStatusHelp({
    done: true,
    failed:
      "rcap is not running, does not answer, or its state directory cannot be trusted; or the configuration cannot be checked at the moment",
    usage:
      "the configuration is invalid, so the current one stays in force; or wrong usage",
    incapable: "this user may not signal the daemon",
  })
}`;

/** The command. */
export function reloadCommand({ system, print }: Context) {
  return new Command("reload")
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
      const { problems, isPassing } = configuration;
      if (problems.length > 0 && isPassing) {
        throw new RcapError(
          "the configuration cannot be checked at the moment; the current one stays in force:",
          { details: problems },
        );
      }
      if (problems.length > 0) {
        throw new UsageError(
          "the configuration is invalid; the current one stays in force:",
          undefined,
          problems,
        );
      }
      await print(
        lines(`configuration loaded: ${countOf(groups.length, "cap")}`),
      );
    });
}
