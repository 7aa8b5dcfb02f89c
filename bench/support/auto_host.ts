/**
 * Compares `idle = "auto"` with the best fixed idle time that is found by trying, on this
 * machine: what each saves, and how much slower it makes workloads than watching alone.
 *
 * @module
 */

import { HURRY } from "../../lib/platform/environment.ts";
import { formatSeconds } from "../../lib/report/units.ts";
import { TestDaemon } from "../../tests/support/daemon.ts";
import { complain, say } from "../../tests/support/say.ts";
import { zramSwap } from "../../tests/support/swap.ts";
import { type AutoOptions, workloadSizes } from "./auto_options.ts";
import type { Contestant } from "./contestants.ts";
import { type Figures, runOnce } from "./measure.ts";
import { markdown } from "./report.ts";
import { compileGenerators, WORKLOADS } from "./workloads.ts";

const MINUTE = 60;
/** The fixed idle times that are tried, in seconds of the daemon. */
const TRIED = [30, 60, 120, 300, 600];
/** What auto has to save of the best of them, and how fast it has to leave a workload. */
const LEAST_SAVED = 0.9;
const LEAST_SPEED = 0.99;

/** A daemon with an idle time, a text of the configuration. */
function idleFor(idle: string, faster: number): Contestant {
  return {
    name: idle,
    needsCgroup: false,
    hasLimit: false,
    start: ({ pid }) =>
      TestDaemon.start({
        env: { [HURRY]: `${faster}` },
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

/** Compares them, and prints a table; an interrupted run prints what it has. */
export async function compareOnHost(options: AutoOptions): Promise<void> {
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => stop.abort());
  }
  await using held = new AsyncDisposableStack();
  const swap = held.use(await zramSwap({ size: 4 * options.size }));
  const programs = await compileGenerators(held);
  const sizes = workloadSizes(options);
  const { faster } = options;
  const kinds = WORKLOADS.filter(({ name }) =>
    options.workloads.includes(name)
  );

  const rows: string[][] = [];
  try {
    for (const kind of kinds) {
      const run = async (idle: string): Promise<Figures> => {
        const figures = await runOnce(kind, idleFor(idle, faster), {
          sizes,
          programs,
          device: swap.path.replace("/dev/", ""),
          settle: options.settle / faster,
          measure: options.measure / faster,
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
    `All times of rcap ${faster} times as fast; learnt in ${
      formatSeconds(options.settle)
    }, measured for ${formatSeconds(options.measure)}, at least ${
      formatSeconds(5 * MINUTE)
    } of which are needed to learn.`,
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
}

function savedBy({ fullRss, meanRss }: Figures): number {
  return Math.max(0, 1 - meanRss / fullRss);
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}
