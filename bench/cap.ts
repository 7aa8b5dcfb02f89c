/**
 * The contest: workloads under a cap enforced by rcap, by a memory cgroup, or by
 * paging out without knowledge of what is in use, compared at equal mean RSS.
 *
 * Needs root, gcc, zram and a memory cgroup. Redis comes from Debian's packages, if it is
 * not installed; workloads whose programs are not installed are left out.
 *
 * `RCAP_BIN` names a binary to run; by default rcap runs from source.
 *
 * @module
 */

import { Command, InvalidArgumentError } from "@commander-js/extra-typings";
import { zramSwap } from "../tests/support/swap.ts";
import { Cgroup, type Contestant, CONTESTANTS } from "./support/contestants.ts";
import { type Figures, runOnce, WorkloadEnded } from "./support/measure.ts";
import {
  count,
  list,
  names,
  seconds,
  size,
  writableFile,
} from "./support/options.ts";
import { type Killed, report, type Run, TOLERANCE } from "./support/report.ts";
import {
  compileGenerators,
  type WorkloadKind,
  WORKLOADS,
  type WorkloadSizes,
} from "./support/workloads.ts";
import { complain, say } from "../tests/support/say.ts";

/** How often a limit is adjusted to reach the wanted mean RSS. */
const ADJUSTMENTS = 3;

const exponent = (text: string) => {
  if (/^0?\.\d+$/.test(text) && Number(text) > 0) return Number(text);
  throw new InvalidArgumentError(`"${text}" is not between 0 and 1.`);
};
const options = new Command("bench:cap")
  .description(
    "Workloads under a cap, held by rcap and by others. Needs root, gcc, zram and a memory cgroup; a repetition takes about 30 minutes.",
  )
  .option("--repeats <n>", "number of repetitions", count, 1)
  .option(
    "--settle <time>",
    "how long before measuring, like 10s",
    seconds("--settle"),
    10,
  )
  .option(
    "--measure <time>",
    "how long to measure, like 15s",
    seconds("--measure"),
    15,
  )
  .option("--interval <time>", "of rcap and naive", seconds("--interval"), 1)
  .option(
    "--size <size>",
    "of hotcold, drift, skewed, backup and jvm, in bytes",
    size("--size"),
    2 ** 30,
  )
  .option("--exponent <n>", "of Zipf's law, between 0 and 1", exponent, 0.99)
  .option("--redis-keys <n>", "keys of Redis", count, 1_000_000)
  .option("--redis-value <size>", "bytes a key", size("--redis-value"), 512)
  .option("--fleet <n>", "processes of the fleet", count, 50)
  .option("--fleet-size <size>", "of each", size("--fleet-size"), 32 * 2 ** 20)
  .option("--awake <time>", "of one of the fleet", seconds("--awake"), 1)
  .option(
    "--hurry <n>",
    "by which factor the minutes of backup, jvm and bgsave are shorter",
    count,
    6,
  )
  .option("--workloads <names>", list(WORKLOADS), names(WORKLOADS))
  .option("--contestants <names>", list(CONTESTANTS), names(CONTESTANTS))
  .option(
    "--refaults",
    "count page faults by how long the page had not been used, which slows the workloads",
    false,
  )
  .option(
    "--json <file>",
    "where all figures go",
    writableFile,
    "bench_cap.json",
  )
  .parse(Deno.args, { from: "user" })
  .opts();

const { contestants = CONTESTANTS.filter(({ name }) => name !== "naive") } =
  options;
const workloads = (options.workloads ?? WORKLOADS).filter(
  ({ name, problem }) => {
    const why = problem?.();
    if (why !== undefined) complain(`${name} is left out: ${why}`);
    return why === undefined;
  },
);
const sizes: WorkloadSizes = { ...options, awake: options.awake * 1000 };
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(signal, () => stop.abort());
}
const runs: Run[] = [];
/** The runs in which the workload was killed. */
const killed: Killed[] = [];
/** Limits that resulted in the wanted mean RSS, as shares of the cap. */
const limits = new Map<string, number>();

await using held = new AsyncDisposableStack();
// A key of Redis takes more than its value, and every workload must fit three
// times.
const largest = Math.max(
  sizes.size,
  sizes.redisKeys * (sizes.redisValue + 128),
  sizes.fleet * sizes.fleetSize,
);
const swap = held.use(await zramSwap({ size: 3 * largest }));
const programs = await compileGenerators(held);

try {
  for (let repeat = 1; repeat <= options.repeats; repeat++) {
    for (const workload of workloads) {
      let wanted: number | undefined;
      for (const contestant of contestants) {
        const found = await runMatched(workload, contestant, wanted);
        if (!found) continue;
        const { figures, isMatched } = found;
        if (contestant.hasLimit) wanted ??= figures.meanRss / figures.cap;
        const relative = figures.speed / figures.freeSpeed;
        runs.push({
          workload: workload.name,
          contestant: contestant.name,
          repeat,
          figures,
          relative,
          isMatched,
        });
        Deno.writeTextFileSync(
          options.json,
          JSON.stringify({
            version: 1,
            machine: machine(),
            options,
            runs,
            killed,
          }),
        );
      }
    }
  }
} catch (error) {
  if (!stop.signal.aborted) throw error;
  complain("interrupted; what was measured so far:");
}
say(machine());
say(report(runs, killed, workloads, sizes));

/**
 * Runs a contestant and adjusts its limit until the mean RSS is as wanted.
 *
 * @returns `undefined` if the workload was killed repeatedly.
 */
async function runMatched(
  workload: WorkloadKind,
  contestant: Contestant,
  wanted: number | undefined,
): Promise<{ figures: Figures; isMatched: boolean } | undefined> {
  const key = `${workload.name} ${contestant.name}`;
  for (let adjustment = 0;; adjustment++) {
    // A cgroup is at its limit, rcap around its cap.
    const limitShare = limits.get(key) ??
      (contestant.needsCgroup ? wanted ?? 1 : 1);
    let figures: Figures;
    try {
      figures = await runOnce(workload, contestant, {
        sizes,
        programs,
        device: swap.path.replace("/dev/", ""),
        settle: options.settle,
        measure: options.measure,
        interval: options.interval,
        limitShare,
        signal: stop.signal,
      });
    } catch (error) {
      if (!(error instanceof WorkloadEnded)) throw error;
      killed.push({ workload: workload.name, contestant: contestant.name });
      complain(`${key}: ${error.message}: it was killed (see dmesg)`);
      if (adjustment === ADJUSTMENTS) return undefined;
      continue;
    }
    const share = figures.meanRss / figures.cap;
    const off = wanted === undefined ? 1 : share / wanted;
    const isMatched = wanted === undefined || Math.abs(off - 1) <= TOLERANCE;
    complain(
      `${key}: ${Math.round(figures.majorFaults)} major faults/s` +
        (figures.faultsPerJob === null
          ? ""
          : `, ${
            Math.round(figures.faultsPerJob)
          } for each of ${figures.jobs}`) +
        `, ${Math.round(figures.pagesOut)} pages to swap/s, RSS ${
          (share * 100).toFixed(1)
        } % of the cap, limit ${(limitShare * 100).toFixed(1)} %, ${
          Math.round(figures.speed)
        } operations/s (${
          (figures.speed / figures.freeSpeed * 100).toFixed(1)
        } %), p99 ${figures.p99.toFixed(2)} µs, rcap ${
          ((figures.enforcerCpu ?? 0) * 100).toFixed(2)
        } % and system ${(figures.systemCpu * 100).toFixed(1)} % of a core`,
    );
    if (isMatched || !contestant.hasLimit || adjustment === ADJUSTMENTS) {
      return { figures, isMatched };
    }
    limits.set(key, limitShare / off);
  }
}

/** Describes the machine. */
function machine(): string {
  const model = /^model name\s*: (.*)$/m.exec(
    Deno.readTextFileSync("/proc/cpuinfo"),
  )?.[1];
  return `${navigator.hardwareConcurrency} cores of ${model}, kernel ${Deno.osRelease()}; cgroup: ${Cgroup.kind}; swap: zram`;
}
