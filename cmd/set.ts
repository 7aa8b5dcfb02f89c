/**
 * `rcap set`: one cap of a running daemon, until it ends.
 *
 * @module
 */

import { Command } from "@commander-js/extra-typings";
import { UsageError } from "../lib/errors.ts";
import { operatingSystem } from "../lib/platform/open.ts";
import { json, lines } from "../lib/report/escape.ts";
import { formatSize } from "../lib/report/units.ts";
import { setCap } from "../lib/service/control.ts";
import {
  type Context,
  jsonOption,
  sizeParser,
  stateDirectoryOption,
} from "./options.ts";

/** The word that stands for the cap of the configuration. */
const DEFAULT = "default";

/** The smallest cap, as in the configuration. */
const SMALLEST = 4096;

const HELP = `
Sizes: 1536, 512K, 1.5G, 2GiB, or 25% of physical memory.

Exit status: 0 done; 1 rcap is not running, does not answer, or its state
directory cannot be trusted; 2 usage; 4 this user may not.

Examples:
  rcap set browsers 1G
  rcap set browsers default`;

/** The command. */
export function setCommand(context: Context) {
  return new Command("set")
    .summary("override one cap of a running daemon")
    .description(
      "Replaces the cap of one collection of the running daemon, within a second and\n" +
        "until the daemon ends. The configuration stays as it is.",
    )
    .argument("<name>", "the collection")
    .argument(
      "<size>",
      `its cap, or "${DEFAULT}" for that of the configuration`,
      (text) => text === DEFAULT ? undefined : sizeParser("SIZE")(text),
    )
    .addOption(stateDirectoryOption)
    .addOption(jsonOption)
    .addHelpText("after", HELP)
    .action(async (name, size, options) => {
      if (size !== undefined && size < SMALLEST) {
        throw new UsageError(
          `SIZE: ${size} bytes are less than a page of memory, 4K`,
          "write a unit, as in 512M",
        );
      }
      if (size !== undefined && size > operatingSystem().memory().totalMemory) {
        context.log.warn(
          "the cap is above the physical memory of this machine",
        );
      }
      const { before, after } = await setCap(options.stateDir, name, size);
      const { cap, rss } = after;
      await context.print(
        options.json
          ? json({ version: 1, name, before: before.cap, cap, rss })
          : lines(
            `${name}: the cap is ${formatSize(cap)} now, it was ${
              formatSize(before.cap)
            }; ${formatSize(rss)} are resident`,
          ),
      );
    });
}
