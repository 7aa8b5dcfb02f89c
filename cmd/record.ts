/**
 * `rcap record`: the references of some processes over time, in a file.
 *
 * @module
 */

import { Command, Option } from "@commander-js/extra-typings";
import denoJson from "../deno.json" with { type: "json" };
import { selectorHelp } from "../lib/collection/selectors.ts";
import { UsageError } from "../lib/errors.ts";
import { record } from "../lib/oneshot/record.ts";
import type { OperatingSystem } from "../lib/platform/operating_system.ts";
import { makeRecordingFile } from "../lib/recording/recording_file.ts";
import { lines } from "../lib/report/escape.ts";
import {
  countOf,
  exactDuration,
  formatSeconds,
  formatSize,
  parseDuration,
} from "../lib/report/units.ts";
import { exitStatusHelp } from "./exit_status.ts";
import {
  type Context,
  observing,
  pagedataOption,
  selectorsOf,
} from "./options.ts";
import { jsonOption, printResult } from "./result.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
/** How long may be recorded, and how often references may be read. */
const DURATIONS = { least: SECOND, most: 7 * 24 * 60 * MINUTE };
const INTERVALS = { least: SECOND, most: 10 * MINUTE };

function help(system: OperatingSystem): string {
  return `
Watches, pages nothing out, and writes a recording. Selectors:
${
    selectorHelp(system).map(([form, what]) => `  ${form.padEnd(14)} ${what}`)
      .join("\n")
  }

At the end of each interval, what has changed is written: which pages that could
be paged out are in memory, and which of them were used; mappings, sizes,
faults, swap, and pressure. A recording of 4 GiB takes up to 1 MiB a minute. All
of it up to the last interval is readable, however rcap ends. The file is made
with mode 0600, and nothing is overwritten.

--anonymize leaves out names, paths and absolute addresses. SIGINT ends the
recording well.

${
    exitStatusHelp({
      done: true,
      failed: true,
      usage: "wrong usage",
      incapable: true,
      noProcess: true,
      SIGINT: "ended by SIGINT; the recording is complete until then",
    })
  }

Examples:
  rcap record unit:postgresql
  rcap record user:alice -o alice.rcap --for 1h --every 10s
  rcap record 4242 --anonymize
  rcap report alice.rcap`;
}

/** The command. */
export function recordCommand(context: Context) {
  const { system } = context;
  return new Command("record")
    .description(
      "Watches some processes, and writes down which of their pages are used when.\n" +
        "Pages nothing out.",
    )
    .argument("<selector...>", "the processes")
    .option("-o, --output <file>", "the recording (rcap-DATE-TIME.rcap)")
    .addOption(
      new Option("--for <duration>", "how long to record")
        .default(10 * MINUTE, "10m")
        .argParser((text) => parseDuration(text, "--for", DURATIONS)),
    )
    .addOption(
      new Option("--every <duration>", "how often to read references")
        .default(5 * SECOND, "5s")
        .argParser((text) => parseDuration(text, "--every", INTERVALS)),
    )
    .option("--anonymize", "without names, paths and addresses", false)
    .addOption(jsonOption)
    .addOption(pagedataOption(system))
    .addHelpText("after", help(system))
    .action(async (texts, options) => {
      const { signal, log } = context;
      const { for: observation, every: interval } = options;
      if (interval > observation) {
        throw new UsageError(
          `--every ${exactDuration(interval)} is longer than --for ${
            exactDuration(observation)
          }`,
          "record for several intervals",
        );
      }
      const selectors = await selectorsOf(texts, context);
      const path = options.output ?? defaultName(new Date());
      const result = await observing(
        { ...options, observe: observation },
        context,
        async (observatory) => {
          if (observatory.platform.granularity === "mapping") {
            log.warn(
              "references are known by mapping only: a page in use makes its whole mapping look in use",
            );
          }
          using file = makeRecordingFile(system.files, path);
          return await record({
            ...observatory,
            selectors,
            observation,
            interval,
            signal,
            log,
            file,
            path,
            isAnonymous: options.anonymize,
            version: denoJson.version,
          });
        },
      );
      if (result.leftOut > 0) {
        log.warn(
          `${path}: ${result.leftOut} times something was left out that exceeds the limits of a recording`,
        );
      }
      await printResult(
        {
          json: result,
          text: () =>
            lines(
              `${path}: ${formatSize(result.size)}, ${
                countOf(result.processes, "process", "processes")
              } for ${formatSeconds(result.seconds)}${
                result.interrupted ? ", then interrupted" : ""
              }; nothing was paged out.`,
            ),
        },
        options,
        { print: context.printLast },
      );
      signal.throwIfAborted();
    });
}

/** The name of a recording that begins now. */
function defaultName(now: Date): string {
  const two = (value: number) => String(value).padStart(2, "0");
  const date = [now.getFullYear(), now.getMonth() + 1, now.getDate()];
  const time = [now.getHours(), now.getMinutes(), now.getSeconds()];
  return `rcap-${date.map(two).join("")}-${time.map(two).join("")}.rcap`;
}
