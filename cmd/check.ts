/**
 * `rcap check`: validates a configuration, and prints the merged result.
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
import { lines, printable } from "../lib/report/escape.ts";
import { describeLearnt, learntReport } from "../lib/service/learnt_report.ts";
import { exitStatusHelp } from "./exit_status.ts";
import {
  learntDirectoryOf,
  learntDirectoryOption,
} from "./learnt_directory.ts";
import { configOption, type Context, hostRootOption } from "./options.ts";
import { jsonOption, printResult } from "./result.ts";

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

Instead of max_rss, or with it, idle = "10m" pages out what was not used for so
long; idle = "auto" finds that time. Guard rails: max_refaults = "0.2%/min",
max_pressure = "1%", min_rss = "500M", max_pageout_rate = "64M/s",
max_swap_writes = "20G/day". Also only = "anon" or "file", and priority = 1 to
100.

In select, a process has to match all selectors of an inner list:
  select = [["exe:/usr/bin/postgres", "user:postgres"], "unit:nginx"]

${
  exitStatusHelp({
    done: "the configuration is valid",
    failed:
      "failed, or the configuration cannot be judged now, for instance because the name service does not answer",
    usage: "the configuration is not valid, or wrong usage",
  })
}

Examples:
  rcap check
  rcap check --config ./new.toml --print`;

/** The command. */
export function checkCommand(context: Context) {
  return new Command("check")
    .description(
      "Reports every problem in the files of a configuration, with line and remedy.\n" +
        "Needs no privileges.",
    )
    .addOption(configOption)
    .addOption(hostRootOption(context.system))
    .addOption(learntDirectoryOption())
    .option(
      "--print",
      "print the merged result as TOML, with the source of each value",
    )
    .addOption(jsonOption)
    .addHelpText("after", HELP)
    .action(async (options) => {
      const { system, log, signal } = context;
      const { totalMemory, swapDisk } = system.memory();
      const paths = configPaths(options.config);
      const reading = await readConfig(paths, {
        totalMemory,
        swapDisk,
        users: new Users(system),
        system,
      }, signal);
      const { config, problems, isPassing, warnings, files } = reading;
      for (const message of reading.oldUsers) log.warn(message);
      const learnt = config &&
        learntReport(config.caps, system, learntDirectoryOf(options));
      const result = {
        json: { ...checkReport(reading), ...learnt && { learnt } },
        text() {
          for (const warning of warnings) log.warn(describeProblem(warning));
          if (!config) throw new ConfigError(problems, isPassing);
          if (options.print) return renderConfig(config, reading);
          return printable(
            describeCaps(config, files) +
              lines(learnt ? describeLearnt(learnt) : []),
          );
        },
      };
      await printResult(result, options, context);
      // As JSON, the problems are the result.
      if (!config) {
        context.setExitCode(new ConfigError(problems, isPassing).exitCode);
      }
    });
}
