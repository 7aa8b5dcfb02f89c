/**
 * `rcap check`: whether a configuration is valid, and what it amounts to.
 *
 * @module
 */

import { Command } from "@commander-js/extra-typings";
import { Users } from "../lib/collection/users.ts";
import {
  ConfigError,
  describeProblem,
  readConfig,
} from "../lib/config/config.ts";
import { configPaths, DEFAULT_CONFIG } from "../lib/config/config_files.ts";
import {
  checkReport,
  describeCaps,
  renderConfig,
} from "../lib/config/config_report.ts";
import { operatingSystem } from "../lib/platform/open.ts";
import { json } from "../lib/report/escape.ts";
import { configOption, type Context, jsonOption } from "./options.ts";

/** Exit code when the configuration is not valid. */
const INVALID = 2;
/** Exit code when only the name service has not told whether it is. */
const NOT_KNOWN = 1;

const HELP = `
A configuration:
  [daemon]
  sample_interval = "5s"

  [[cap]]
  name = "web"
  select = ["unit:nginx", "exe:/usr/sbin/php-fpm*"]
  max_rss = "2G"

Drop-ins of ${DEFAULT_CONFIG} are /etc/rcap.d/*.toml in name order, those of any
other FILE.toml are FILE.d/*.toml. Their caps are added; of a [daemon] key, the
last counts.

In select, those in a list of their own have to hold together:
  select = [["exe:/usr/bin/postgres", "user:postgres"], "unit:nginx"]

Exit status: 0 valid; 2 not valid, or usage; 1 it is not known for the
moment, as when the name service does not answer, or anything else.

Examples:
  rcap check
  rcap check --config ./new.toml --print`;

/** The command. */
export function checkCommand(context: Context) {
  return new Command("check")
    .summary("validate a configuration")
    .description(
      "Tells everything that is wrong with the files of a configuration, with line\n" +
        "and remedy. Needs no privileges.",
    )
    .addOption(configOption)
    .option(
      "--print",
      "print the merged result as TOML, and where it comes from",
    )
    .addOption(jsonOption)
    .addHelpText("after", HELP)
    .action(async (options) => {
      const { log, signal, print } = context;
      const { totalMemory } = operatingSystem().memory();
      const paths = configPaths(options.config);
      const users = new Users();
      const reading = await readConfig(paths, { totalMemory, users }, signal);
      const { config, problems, isPassing, warnings, files } = reading;
      if (options.json) {
        await print(json(checkReport(reading)));
        if (!config) context.setExitCode(isPassing ? NOT_KNOWN : INVALID);
        return;
      }
      for (const warning of warnings) log.warn(describeProblem(warning));
      if (!config) throw new ConfigError(problems, isPassing);
      await print(
        options.print
          ? renderConfig(config, reading)
          : describeCaps(config, files),
      );
    });
}
