/**
 * Compares an idle time that finds itself with the best fixed one that is found by trying:
 * what each saves, and how much slower it makes workloads than watching alone. Needs root,
 * gcc and zram; nothing else may use swap meanwhile.
 *
 * With `--vm`, compares it in a virtual machine with a loop on `memory.reclaim` that memory
 * pressure steers, by counts. Needs gcc, and packages of Debian; the built binary runs there.
 *
 * `RCAP_BIN` names a binary to run; by default rcap runs from source, and in the machine
 * as `dist/rcap`.
 *
 * @module
 */

import { Command } from "@commander-js/extra-typings";
import { compareInMachine } from "./support/auto_machine.ts";
import { compareOnHost } from "./support/auto_host.ts";
import { AUTO_WORKLOADS } from "./support/auto_options.ts";
import { count, list, names, seconds, size } from "./support/options.ts";

const MIB = 2 ** 20;

const kinds = AUTO_WORKLOADS.map((name) => ({ name }));
const {
  vm: isInMachine,
  workloads = kinds,
  size: bytes = (isInMachine ? 16 : 256) * MIB,
  ...options
} = new Command("bench:auto")
  .description(
    'idle = "auto" beside the best fixed idle time, or in a virtual machine beside a loop on memory.reclaim',
  )
  .option("--vm", "in a virtual machine, emulated; takes 15 minutes")
  .option("--faster <n>", "how much faster all times pass", count, 20)
  .option(
    "--settle <time>",
    "how long before measuring, in time that passes faster",
    seconds("--settle"),
    30 * 60,
  )
  .option(
    "--measure <time>",
    "how long to measure, likewise",
    seconds("--measure"),
    20 * 60,
  )
  .option("--size <size>", "of a workload", size("--size"))
  .option("--rate <n>", "requests a second with --vm", count, 500)
  .option("--workloads <names>", list(kinds), names(kinds))
  .parse(Deno.args, { from: "user" })
  .opts();

const compared = {
  ...options,
  size: bytes,
  workloads: workloads.map(({ name }) => name),
};
await (isInMachine ? compareInMachine(compared) : compareOnHost(compared));
