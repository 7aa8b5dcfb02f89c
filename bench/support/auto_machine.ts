/**
 * Compares `idle = "auto"` with a loop on `memory.reclaim` that pressure steers, in one
 * virtual machine, by counts: what each saves, and how many pages come back for it. See
 * `auto_guest.sh` and `pressure_reclaim.pl`.
 *
 * @module
 */

import { formatSeconds, formatSize } from "../../lib/report/units.ts";
import { complain, say } from "../../tests/support/say.ts";
import { binary } from "../../tests/vm/choice.ts";
import { type Guest, runGuest } from "../../tests/vm/guest.ts";
import { type AutoOptions, workloadSizes } from "./auto_options.ts";
import { markdown } from "./report.ts";
import { compileGenerators, RECORD_WORDS } from "./workloads.ts";

/** What to measure. */
export interface MachineOptions extends AutoOptions {
  /** Requests a second of the machine. */
  readonly rate: number;
}

/** From which share of time spent waiting on the loop reclaims nothing: Senpai's default. */
const THRESHOLDS = [0.001];

/** What a workload had and did while it was measured. */
interface Measured {
  /** The mean of its cgroup's memory, in bytes. */
  readonly size: number;
  readonly majorFaults: number;
  readonly operations: number;
  readonly seconds: number;
}

/** All workloads under one contestant. */
interface ContestantResult {
  readonly name: string;
  readonly workloads: ReadonlyMap<string, Measured>;
  /** The processor time of the contestant, as a share of the machine's one processor. */
  readonly cpu: number;
}

/** How long the machine may run; that of a busy host takes its time. */
const TIMEOUT_SECONDS = 7200;
const TICKS = 100;

/** Compares them, and prints a table. */
export async function compareInMachine(options: MachineOptions): Promise<void> {
  const { faster, settle, measure, rate, size } = options;
  const { kernel, results } = await measureInMachine(options);
  const [uncapped, auto, ...loops] = results;
  say(
    `Linux ${kernel}, emulated; workloads of ${
      formatSize(size)
    }, ${rate} requests a second; all times ${faster} times as fast; ${
      formatSeconds(settle)
    } to settle, ${formatSeconds(measure)} measured.\n`,
  );
  const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
  const won = loops.map(() => 0);
  const rows = options.workloads.map((name) => {
    const alone = uncapped.workloads.get(name)!;
    const under = ({ workloads }: ContestantResult) => {
      const { size, majorFaults, operations, seconds } = workloads.get(name)!;
      return {
        saved: 1 - size / alone.size,
        refaults: (majorFaults - alone.majorFaults) / seconds * 60 / faster,
        served: operations / alone.operations,
      };
    };
    const ours = under(auto);
    const theirs = loops.map(under);
    theirs.forEach(({ saved, refaults }, index) => {
      if (ours.saved > saved && ours.refaults <= refaults) won[index]++;
    });
    return [
      name,
      formatSize(alone.size),
      ...[ours, ...theirs].map(({ saved, refaults, served }) =>
        `${percent(saved)}, ${refaults.toFixed(0)}/min, ${percent(served)}`
      ),
    ];
  });
  say(markdown(
    ["workload", "has", "auto: saves, refaults, served"].concat(
      THRESHOLDS.map((it) => `loop, ${percent(it)}`),
    ),
    [
      ...rows,
      [
        "processor time",
        "",
        ...[auto, ...loops].map(({ cpu }) => percent(cpu)),
      ],
    ],
  ));
  won.forEach((count, index) =>
    say(
      `auto saves more at no more refaults than the loop at ${
        percent(THRESHOLDS[index])
      }: ${count} of ${rows.length}`,
    )
  );
}

/** Runs all contestants; the first is the baseline, without any. */
async function measureInMachine(
  options: MachineOptions,
): Promise<{ kernel: string; results: ContestantResult[] }> {
  await using held = new AsyncDisposableStack();
  const programs = await compileGenerators(held, ["-static"]);
  const settings = await Deno.makeTempFile({ prefix: "rcap-bench-" });
  held.defer(() => Deno.remove(settings));
  await Deno.writeTextFile(settings, settingsOf(options));
  const folder = new URL(".", import.meta.url).pathname;
  const contestants = ["uncapped", "auto"].concat(
    THRESHOLDS.map((it) => `pressure_${it}`),
  );
  complain(
    `emulates ${
      formatSeconds(
        contestants.length * (options.settle + options.measure) /
          options.faster,
      )
    } of a machine of one processor, which takes several times as long`,
  );
  const guest = await runGuest({
    release: "trixie",
    cpu: "max,-la57",
    rcap: binary(),
    init: `${folder}auto_guest.sh`,
    scripts: new Map([
      ["settings.sh", settings],
      ["pressure_reclaim.pl", `${folder}pressure_reclaim.pl`],
      ...["memory_workload", "redis_driver"].map((name) =>
        [`bin/${name}`, `${programs}/${name}`] as const
      ),
    ]),
    program: "redis-server",
    // Otherwise the load of this machine would delay all that is measured.
    countsInstructions: true,
    timeoutSeconds: TIMEOUT_SECONDS,
  });
  try {
    guest.output("done");
    return {
      kernel: guest.output("kernel").split("\n")[0],
      results: contestants.map((name) => resultOf(guest, name)),
    };
  } catch (error) {
    throw guest.explain(error);
  }
}

/** What `auto_guest.sh` reads. */
function settingsOf(options: MachineOptions): string {
  const { workloads, faster, rate, settle, measure } = options;
  const commands = commandsOf(options);
  return [
    `export RCAP_BENCH_RATE=${rate}`,
    `workloads="${workloads.join(" ")}"`,
    `thresholds="${THRESHOLDS.join(" ")}"`,
    `faster=${faster}`,
    `settle=${Math.round(settle / faster)}`,
    `measure=${Math.round(measure / faster)}`,
    `record_words=${RECORD_WORDS}`,
    ...workloads.flatMap((name) => {
      const { command, driver = "" } = commands[name];
      return [`command_${name}="${command}"`, `driver_${name}="${driver}"`];
    }),
  ].map((line) => `${line}\n`).join("");
}

/** The commands of workloads, and that of what sends requests to a server. */
function commandsOf(
  options: MachineOptions,
): Record<string, { command: string; driver?: string }> {
  const sizes = workloadSizes(options);
  const { size, exponent, redisKeys, redisValue } = sizes;
  const generator = (name: string, ...args: (string | number)[]) => ({
    command: `exec memory_workload /tmp/records/${name} ${args.join(" ")}`,
  });
  return {
    hotcold: generator("hotcold", "hotcold", size),
    drift: generator("drift", "drift", size, sizes.move),
    fleet: generator(
      "fleet",
      ...["fleet", sizes.fleetSize, sizes.fleet, sizes.awake],
    ),
    skewed: generator("skewed", "zipf", size, exponent),
    redis: {
      command:
        "exec redis-server --save '' --appendonly no --port 0 --unixsocket /tmp/socket --dir /tmp",
      driver:
        `exec redis_driver /tmp/records/redis /tmp/socket ${redisKeys} ${redisValue} 20 ${exponent}`,
    },
    backup: generator("backup", "backup", size, 60_000 / options.faster),
  };
}

/** Reads what `measure` of `auto_guest.sh` prints. */
function resultOf(guest: Guest, name: string): ContestantResult {
  const sizes = new Map<string, number[]>();
  const counters = new Map<string, [faults: number, operations: number]>();
  let [seconds, ticks] = [0, 0];
  for (const line of guest.output(name).trim().split("\n")) {
    const [what, ...words] = line.split(" ");
    const [workload, first, second] = words;
    if (what === "size") {
      sizes.set(workload, [...sizes.get(workload) ?? [], Number(first)]);
    } else if (what === "begin") {
      counters.set(workload, [-Number(first), -Number(second)]);
    } else if (what === "end") {
      const [faults, operations] = counters.get(workload)!;
      counters.set(workload, [
        faults + Number(first),
        operations + Number(second),
      ]);
    } else if (what === "seconds") seconds = Number(words[0]);
    else if (what === "saver") ticks = Number(words[0]);
  }
  return {
    name,
    workloads: new Map(Array.from(counters, ([workload, [faults, count]]) => {
      const sampled = sizes.get(workload)!;
      return [workload, {
        size: sampled.reduce((sum, one) => sum + one, 0) / sampled.length,
        majorFaults: faults,
        operations: count,
        seconds,
      }];
    })),
    cpu: ticks / TICKS / seconds,
  };
}
