/**
 * `rcap run`: the daemon that keeps groups under their caps.
 *
 * @module
 */

import { Command, Option } from "@commander-js/extra-typings";
import denoJson from "../deno.json" with { type: "json" };
import { TRUSTED_OBSERVATION } from "../lib/collection/observe.ts";
import { Users } from "../lib/collection/users.ts";
import { type DaemonConfig, readConfig } from "../lib/config/config.ts";
import { configPaths, DEFAULT_CONFIG } from "../lib/config/config_files.ts";
import { EXIT_CODES, UsageError } from "../lib/errors.ts";
import { mostMemory } from "../lib/platform/memory_limits.ts";
import type { OperatingSystem } from "../lib/platform/operating_system.ts";
import { LOG_FORMATS, type LogFormat } from "../lib/platform/output.ts";
import {
  type Address,
  formatAddress,
  parseAddress,
} from "../lib/service/metrics_server.ts";
import { runOnce, runService } from "../lib/service/service.ts";
import { areCapsMet, statRows } from "../lib/service/stat.ts";
import { LEARNT_DIRECTORY } from "../lib/service/learnt_file.ts";
import { systemdUnit } from "../lib/service/unit.ts";
import { exitStatusHelp } from "./exit_status.ts";
import {
  learntDirectoryOf,
  learntDirectoryOption,
} from "./learnt_directory.ts";
import {
  configOption,
  type Context,
  harmlessness,
  hostRootOption,
  stateDirectoryOption,
  totalMemory,
} from "./options.ts";
import { addTableOptions, ResultTable } from "./result.ts";
import { notesOf, STAT_TABLE } from "./stat.ts";

const HELP = `
The configuration is ${DEFAULT_CONFIG} and its drop-ins; rcap check reports what
is wrong with it. A small one:

  [[cap]]
  name = "browsers"
  select = ["user:alice", "exe:/usr/lib/firefox/*"]
  max_rss = "2G"

Signals: SIGHUP reads the configuration again, SIGTERM and SIGINT end the daemon
after the page-out in flight. Nothing has to be undone.

The table options apply to --once, which prints the table of rcap stat.

${
  exitStatusHelp({
    done: "ended on request",
    failed:
      "another daemon runs, other users can write to the state directory, or another failure",
    usage: true,
    capNotMet: "with --once, a cap is not met, or would not be",
    incapable: true,
  })
}

Examples:
  rcap run
  rcap run --config ./test.toml --state-dir /run/rcap-test --log-level debug
  rcap run --once
  rcap run --dry-run --config ./test.toml --state-dir /run/rcap-test
  rcap run --print-unit > /etc/systemd/system/rcap.service`;

/** The command. */
export function runCommand(context: Context) {
  const { system } = context;
  return addTableOptions(
    new Command("run")
      .description(
        "Watches groups of processes and pages out what they do not use when they\n" +
          `exceed their caps.\n${harmlessness(system)}`,
      )
      .addOption(configOption)
      .addOption(stateDirectoryOption(system))
      .addOption(hostRootOption(system))
      .addOption(learntDirectoryOption())
      .option(
        "-n, --dry-run",
        "watch, and say what would go; page out nothing",
        false,
      )
      .option("--once", "scan the groups over their cap once, and exit", false)
      .addOption(
        new Option(
          "--metrics <[host:]port>",
          "serve OpenMetrics at this address; loopback by default",
        ).argParser((text) => parseAddress(text)),
      )
      .addOption(
        new Option("--log-format <format>", "format of messages")
          .choices(LOG_FORMATS).default("text" as const),
      )
      .option(
        "--print-unit",
        "print a systemd unit for this binary, and exit",
        false,
      ),
  )
    .addHelpText("after", HELP)
    .action(async (options) => {
      const table = new ResultTable(
        STAT_TABLE,
        options,
        context,
      );
      if (options.printUnit) {
        requireAbsolute(options.config, "--config");
        requireAbsolute(options.stateDir, "--state-dir");
        requireAbsolute(options.learntDir, "--learnt-dir");
        if (!system.systemd) {
          throw new UsageError("--print-unit: systemd is a Linux feature");
        }
        const { caps, record } = await configured(options.config, context);
        await context.print(systemdUnit({
          program: Deno.execPath(),
          args: unitArguments(options, system),
          stateDirectory: options.stateDir,
          learntDirectory: options.learntDir,
          capabilities: system.systemd.capabilities,
          mostMemory: mostMemory(totalMemory(system)),
          metrics: options.metrics,
          // A dry run asks for nothing to be reclaimed.
          caps: options.dryRun ? [] : caps,
          record,
        }));
        return;
      }
      context.surviveHangup();
      const service = {
        system,
        config: configPaths(options.config),
        stateDirectory: options.stateDir,
        learntDirectory: learntDirectoryOf(options),
        metrics: options.metrics,
        signal: context.signal,
        log: context.logAs(options.logFormat),
        version: denoJson.version,
        isDryRun: options.dryRun,
        onTaken: (release: () => void) =>
          context.cleanUpWhenOverdue(() => {
            release();
            // The signal asks a daemon to end, but interrupts a single scan.
            return options.once ? undefined : 0;
          }),
      };
      if (!options.once) {
        await runService(service);
        return;
      }
      const state = await runOnce(service, TRUSTED_OBSERVATION);
      await table.print({
        json: state,
        rows: statRows(state, undefined),
        below: notesOf(state),
      });
      if (!areCapsMet(state)) context.setExitCode(EXIT_CODES.capNotMet.code);
    });
}

/** @throws UsageError if a path would mean another one in a unit. */
function requireAbsolute(path: string, option: string): void {
  if (path.startsWith("/")) return;
  throw new UsageError(
    `${option}: "${path}" is not an absolute path, and systemd starts services in /`,
    "write one that begins with a slash",
  );
}

/** The caps of a configuration for a unit; none if there is no valid one yet. */
async function configured(
  path: string,
  { system, log, signal }: Context,
): Promise<Pick<DaemonConfig, "caps" | "record">> {
  const { config, files } = await readConfig(configPaths(path), {
    totalMemory: totalMemory(system),
    users: new Users(system),
    system,
  }, signal);
  if (!config && files.length > 0) {
    log.warn(
      "the configuration is not valid, so the unit lets no cgroup be reclaimed, and nothing be recorded; rcap check says what is wrong",
    );
  }
  return config ?? { caps: [], record: "" };
}

/** The arguments of the daemon in a unit: those that differ from the default. */
function unitArguments(
  { config, stateDir, learntDir, hostRoot, metrics, logFormat, dryRun }: {
    config: string;
    stateDir: string;
    hostRoot?: string;
    learntDir: string;
    metrics?: Address;
    logFormat: LogFormat;
    dryRun: boolean;
  },
  { stateDirectory }: OperatingSystem,
): string[] {
  return [
    "run",
    ...(config === DEFAULT_CONFIG ? [] : ["--config", config]),
    ...(stateDir === stateDirectory ? [] : ["--state-dir", stateDir]),
    ...(hostRoot === undefined ? [] : ["--host-root", hostRoot]),
    ...(learntDir === LEARNT_DIRECTORY ? [] : ["--learnt-dir", learntDir]),
    ...(metrics ? ["--metrics", formatAddress(metrics)] : []),
    ...(logFormat === "text" ? [] : ["--log-format", logFormat]),
    ...(dryRun ? ["--dry-run"] : []),
  ];
}
