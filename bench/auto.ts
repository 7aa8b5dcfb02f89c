/**
 * Compares an idle time that finds itself with the best fixed one that is found by trying:
 * what each saves, and how much slower it makes workloads than watching alone.
 *
 * Needs root, gcc and zram; workloads whose programs are not installed are named and left
 * out. Nothing else may use swap meanwhile.
 *
 * `RCAP_BIN` names a binary to run; by default rcap runs from source.
 *
 * @module
 */

import { Command } from "@commander-js/extra-typings";
import { HURRY } from "../lib/platform/environment.ts";
import { formatSeconds } from "../lib/report/units.ts";
import { TestDaemon } from "../tests/support/daemon.ts";
import { complain, say } from "../tests/support/say.ts";
import { zramSwap } from "../tests/support/swap.ts";
import type { Contestant } from "./support/contestants.ts";
import { type Figures, runOnce } from "./support/measure.ts";
import { count, list, names, seconds, size } from "./support/options.ts";
import { markdown } from "./support/report.ts";
import { compileGenerators, WORKLOADS } from "./support/workloads.ts";

const MINUTE = 60;
/** The fixed idle times that are tried, in seconds of the daemon. */
const TRIED = [30, 60, 120, 300, 600];
/** What auto has to save of the best of them, and how fast it has to leave a workload. */
const LEAST_SAVED = 0.9;
const LEAST_SPEED = 0.99;
/** Six workloads; the last three were not used while its constants were chosen. */
const CHOSEN = ["hotcold", "drift", "fleet", "skewed", "redis", "backup"];

const kinds = WORKLOADS.filter(({ name }) => CHOSEN.includes(name));
const options = new Command("bench:auto")
  .description(
    'idle = "auto" beside the best fixed idle time. Needs root, gcc and zram.',
  )
  .option("--faster <n>", "how much faster all times of rcap pass", count, 20)
  .option(
    "--settle <time>",
    "how long before measuring",
    seconds("--settle"),
    60,
  )
  .option("--measure <time>", "how long to measure", seconds("--measure"), 60)
  .option("--size <size>", "of a workload", size("--size"), 256 * 2 ** 20)
  .option("--workloads <names>", list(kinds), names(kinds))
  .parse(Deno.args, { from: "user" })
  .opts();

/** A daemon with an idle time, a text of the configuration. */
function idleFor(idle: string): Contestant {
  return {
    name: idle,
    needsCgroup: false,
    hasLimit: false,
    start: ({ pid }) =>
      TestDaemon.start({
        env: { [HURRY]: `${options.faster}` },
        config: `[daemon]
sample_interval = "10s"
report_interval = "10s"

[[cap]]
name = "bench"
select = ["tree:${pid}"]
idle = "${idle}"
`,
      }),
  };
}

const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(signal, () => stop.abort());
}
await using held = new AsyncDisposableStack();
const swap = held.use(await zramSwap({ size: 4 * options.size }));
const programs = await compileGenerators(held);
const sizes = {
  size: options.size,
  exponent: 0.99,
  redisKeys: Math.floor(options.size / 640),
  redisValue: 512,
  fleet: 8,
  fleetSize: Math.floor(options.size / 8),
  awake: 1000,
};

const rows: string[][] = [];
try {
  for (const kind of options.workloads ?? kinds) {
    const run = async (idle: string): Promise<Figures> => {
      const figures = await runOnce(kind, idleFor(idle), {
        sizes,
        programs,
        device: swap.path.replace("/dev/", ""),
        settle: options.settle,
        measure: options.measure,
        interval: 1,
        limitShare: 1,
        signal: stop.signal,
      });
      complain(
        `${kind.name}, idle ${idle}: saves ${percent(savedBy(figures))}, ${
          figures.majorFaults.toFixed(1)
        } major faults/s, ${Math.round(figures.speed)} operations/s`,
      );
      return figures;
    };
    // Nothing is idle for so long, so it only watches.
    const watched = await run("168h");
    const speedOf = ({ speed }: Figures) => speed / watched.speed;
    const fixed: { idle: number; figures: Figures }[] = [];
    for (const idle of TRIED) {
      fixed.push({ idle, figures: await run(`${idle}s`) });
    }
    const auto = await run("auto");
    const [best] = fixed
      .filter(({ figures }) => speedOf(figures) >= LEAST_SPEED)
      .sort((a, b) => savedBy(b.figures) - savedBy(a.figures));
    const isMet = best !== undefined && speedOf(auto) >= LEAST_SPEED &&
      savedBy(auto) >= savedBy(best.figures) * LEAST_SAVED;
    rows.push([
      kind.name,
      best === undefined
        ? "none within 1 %"
        : `${formatSeconds(best.idle)}: ${percent(savedBy(best.figures))}`,
      percent(savedBy(auto)),
      percent(speedOf(auto) - 1),
      `${watched.majorFaults.toFixed(1)} → ${auto.majorFaults.toFixed(1)}`,
      isMet ? "yes" : "no",
    ]);
  }
} catch (error) {
  if (!stop.signal.aborted) throw error;
  complain("interrupted; what was measured so far:");
}
say(
  `All times of rcap ${options.faster} times as fast; learnt in ${
    formatSeconds(options.settle * options.faster)
  }, measured for ${
    formatSeconds(options.measure * options.faster)
  }, at least ${formatSeconds(5 * MINUTE)} of which are needed to learn.`,
);
say(markdown(
  [
    "workload",
    "best fixed idle: saves",
    "auto saves",
    "speed",
    "major faults/s",
    "met",
  ],
  rows,
));

function savedBy({ fullRss, meanRss }: Figures): number {
  return Math.max(0, 1 - meanRss / fullRss);
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
