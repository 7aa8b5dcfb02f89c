/**
 * Compares what `rcap size` and `rcap replay` predict of workloads with what caps cost
 * them: page faults under five caps, held by the daemon, and the speed under the
 * recommended one.
 *
 * Needs root, gcc, zram, and the programs of the workloads; those that are not installed
 * are named and left out. Nothing else may use swap meanwhile.
 *
 * `RCAP_BIN` names a binary to run; by default rcap runs from source.
 *
 * @module
 */

import { Command, Option } from "@commander-js/extra-typings";
import { POLICIES } from "../lib/config/policy_names.ts";
import type {
  CapCost,
  GroupSizeReport,
  SizeReport,
} from "../lib/oneshot/size_report.ts";
import type { ReplayReport } from "../lib/oneshot/replay.ts";
import { systemClock } from "../lib/platform/clock.ts";
import { statFields } from "../lib/platform/linux/stat.ts";
import { linux } from "../lib/platform/linux/system.ts";
import { TestDaemon } from "../tests/support/daemon.ts";
import { treeOf } from "../tests/support/prediction.ts";
import { rcapJson } from "../tests/support/rcap.ts";
import { complain, say } from "../tests/support/say.ts";
import { zramSwap } from "../tests/support/swap.ts";
import { pssOf } from "../tests/support/workload.ts";
import {
  count,
  list,
  names,
  seconds,
  size,
  writableFile,
} from "./support/options.ts";
import { isOnPath } from "./support/programs.ts";
import { markdown } from "./support/report.ts";
import {
  type Service,
  type ServiceOptions,
  startDatabase,
  startMemcached,
} from "./support/services.ts";
import {
  compileGenerators,
  RunningWorkload,
  WORKLOADS,
} from "./support/workloads.ts";

const PAGE = 4096;
const MIB = 2 ** 20;
/** A prediction counts from so many refaults a second on. */
const LEAST_PREDICTED = 10;
/** By which factor most predictions, and all, may be off. */
const MOST_OFF = 1.3;
const EVER_OFF = 2;
const SHARE_WITHIN = 0.8;
/** How much slower a workload may become under the recommended cap. */
const MOST_SLOWED = 0.01;

/** A workload with a fixed rate of requests. */
interface Subject {
  readonly name: string;
  /** Requests a second, of each process. */
  readonly rate: number;
  readonly program?: string;
  readonly start: (options: ServiceOptions) => Promise<Service>;
}

/** A workload of the contest. */
function ofContest(name: string, rate: number, program?: string): Subject {
  return {
    name,
    rate,
    program,
    async start({ programs, rate, size, exponent }) {
      const kind = WORKLOADS.find((one) => one.name === name)!;
      const workload = await RunningWorkload.start(kind, {
        size,
        exponent,
        redisKeys: Math.floor(size / 640),
        redisValue: 512,
        fleet: 20,
        fleetSize: Math.floor(size / 20 / PAGE) * PAGE,
        awake: 1000,
        rate,
      }, { programs });
      return {
        pid: workload.pid,
        buckets: () => workload.operations().buckets,
        [Symbol.asyncDispose]: () => workload[Symbol.asyncDispose](),
      };
    },
  };
}

const SUBJECTS: readonly Subject[] = [
  ofContest("hotcold", 400_000),
  ofContest("drift", 400_000),
  ofContest("skewed", 20_000),
  ofContest("fleet", 50_000),
  ofContest("redis", 5000),
  {
    name: "memcached",
    rate: 5000,
    program: "memcached",
    start: startMemcached,
  },
  { name: "mariadb", rate: 500, program: "mariadbd", start: startDatabase },
  ofContest("jvm", 20_000, "java"),
];

const options = new Command("bench:size")
  .description(
    "What rcap size predicts, and what caps cost. Needs root, gcc and zram; takes about 90 minutes.",
  )
  .option("--quick", "small and short: whether all of it works", false)
  .option(
    "--observe <time>",
    "how long rcap size watches",
    seconds("--observe"),
    180,
  )
  .option(
    "--settle <time>",
    "how long a cap is held before measuring",
    seconds("--settle"),
    45,
  )
  .option("--measure <time>", "how long to measure", seconds("--measure"), 60)
  .option("--caps <n>", "how many caps to hold", count, 5)
  .option("--size <size>", "memory of a workload", size("--size"), 2 ** 29)
  .option(
    "--as-is",
    "leave vm.page-cluster and transparent huge pages as they are, for rows apart",
    false,
  )
  .addOption(
    new Option("--policy <policy>", "of the daemon that holds the caps")
      .choices(POLICIES).default(linux.defaultPolicy),
  )
  .option("--workloads <names>", list(SUBJECTS), names(SUBJECTS))
  .option(
    "--json <file>",
    "where all figures go",
    writableFile,
    "bench_size.json",
  )
  .parse(Deno.args, { from: "user" })
  .opts();

const QUICK = { observe: 20, settle: 8, measure: 10, caps: 2, size: 96 * MIB };
const sizes = options.quick ? { ...options, ...QUICK } : options;

/** A cap that was held. */
interface Held {
  readonly workload: string;
  readonly cap: number;
  /** For how long the pages that went had not been used, in seconds. */
  readonly idle: number | null;
  readonly meanRss: number;
  /** Refaults a second, at the mean RSS. */
  readonly predicted: number;
  /** The same by a replay of a recording under the cap, and the mean size in it. */
  readonly replayed: number;
  readonly replayedSize: number;
  readonly measured: number;
  /** In how many intervals the daemon left the workload alone. */
  readonly backedOff: number;
}

/** A recommended cap that was held. */
interface Recommended {
  readonly workload: string;
  readonly cap: number | null;
  readonly saved: number;
  /** How much longer requests took than while they were only watched; null if not known. */
  readonly slowed: number | null;
}

const held: Held[] = [];
const recommended: Recommended[] = [];
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(signal, () => stop.abort());
}
const wait = async (seconds: number) => {
  await systemClock.sleep(seconds * 1000, stop.signal);
  stop.signal.throwIfAborted();
};

{
  await using place = new AsyncDisposableStack();
  place.use(await zramSwap({ size: 4 * sizes.size, priority: 1000 }));
  if (!options.asIs) {
    set(place, "/proc/sys/vm/page-cluster", "0");
    set(place, "/sys/kernel/mm/transparent_hugepage/enabled", "never");
  }
  const programs = await compileGenerators(place);
  for (const subject of options.workloads ?? SUBJECTS) {
    const { name, program } = subject;
    if (program !== undefined && !isOnPath(program)) {
      complain(`${name} is left out: ${program} is not installed`);
      continue;
    }
    try {
      await examine(subject, programs);
    } catch (error) {
      if (stop.signal.aborted) {
        complain("interrupted; what was measured so far:");
        break;
      }
      throw error;
    }
    Deno.writeTextFileSync(
      options.json,
      JSON.stringify({ version: 1, options: sizes, held, recommended }),
    );
  }
}
report();

/** Writes a setting of the kernel, which is as before in the end. */
function set(place: AsyncDisposableStack, path: string, value: string): void {
  const text = Deno.readTextFileSync(path);
  // A choice is shown in brackets: `always [madvise] never`.
  const before = /\[(\w+)\]/.exec(text)?.[1] ?? text.trim();
  Deno.writeTextFileSync(path, value);
  place.defer(() => Deno.writeTextFileSync(path, before));
}

/** Predicts, and holds caps. */
async function examine(subject: Subject, programs: string): Promise<void> {
  const { name, rate } = subject;
  await using service = await subject.start({
    programs,
    rate,
    size: sizes.size,
    exponent: 0.9,
  });
  const { pid } = service;
  await wait(options.quick ? 2 : 15);
  complain(`${name}: watching for ${sizes.observe} s`);
  const before = takeStock(service);
  const { json: found } = await rcapJson<SizeReport>(
    ["size", `tree:${pid}`, "--observe", `${sizes.observe}s`],
  );
  const watched = since(service, before);
  const [group] = found.groups;
  if (!group || group.curve.length === 0) {
    complain(`${name}: nothing is predicted`);
    return;
  }
  complain(`${name}: recording for ${sizes.observe} s`);
  using recording = await record(pid);
  for (const cap of chosen(group, found.interval)) {
    await using daemon = await hold(pid, cap.cap);
    await wait(sizes.settle);
    const stock = takeStock(service);
    const rss: number[] = [];
    const began = performance.now();
    while (performance.now() - began < sizes.measure * 1000) {
      rss.push(sizeOf(pid));
      await wait(0.5);
    }
    const { faults } = since(service, stock);
    const meanRss = rss.reduce((sum, one) => sum + one, 0) / rss.length;
    const row: Held = {
      workload: name,
      ...await replay(recording.path, cap.cap),
      cap: cap.cap,
      idle: cap.idleSeconds,
      meanRss,
      predicted: predictedAt(group, meanRss),
      // What it has without a cap is not due to the cap.
      measured: Math.max(0, faults - watched.faults),
      backedOff: daemon.group("bench").statistics.backedOff,
    };
    held.push(row);
    complain(
      `${name}: cap ${mib(row.cap)}, mean RSS ${mib(meanRss)}: predicted ${
        row.predicted.toFixed(1)
      }/s, replayed ${row.replayed.toFixed(1)}/s, measured ${
        row.measured.toFixed(1)
      }/s${row.backedOff > 0 ? `, backed off ${row.backedOff} times` : ""}`,
    );
  }
  const cap = group.recommended;
  if (!cap) {
    recommended.push({ workload: name, cap: null, saved: 0, slowed: null });
    return;
  }
  await using _daemon = await hold(pid, cap.cap);
  await wait(sizes.settle);
  const stock = takeStock(service);
  await wait(sizes.measure);
  const { time } = since(service, stock);
  recommended.push({
    workload: name,
    cap: cap.cap,
    saved: cap.saved / group.size,
    slowed: time === undefined || watched.time === undefined
      ? null
      : time / watched.time - 1,
  });
}

/** Caps whose prediction can be compared: idle for two intervals at least. */
function chosen({ curve, size }: GroupSizeReport, interval: number): CapCost[] {
  const able = curve.filter(({ cap, idleSeconds }) =>
    cap < size && idleSeconds !== null && idleSeconds >= 2 * interval
  );
  const some = able.filter(({ refaults }) => refaults > 0.5);
  const from = some.length >= sizes.caps ? some : able;
  const picked = Array.from(
    { length: sizes.caps },
    (_, index) => from[Math.floor((index + 0.5) * from.length / sizes.caps)],
  ).filter((one) => one !== undefined);
  // The largest first, so that less has to come back in between.
  return [...new Set(picked)].sort((a, b) => b.cap - a.cap);
}

/** Records a workload as often as the daemon samples it; disposing removes the file. */
async function record(
  pid: number,
): Promise<Disposable & { readonly path: string }> {
  const folder = Deno.makeTempDirSync({ prefix: "rcap-" });
  const path = `${folder}/recording`;
  const times = ["--for", `${sizes.observe}s`, "--every", "1s"];
  const { code, stderr } = await rcapJson(
    ["record", `tree:${pid}`, "-o", path, ...times],
  );
  if (code !== 0) throw new Error(stderr);
  return {
    path,
    [Symbol.dispose]: () => Deno.removeSync(folder, { recursive: true }),
  };
}

/** What a replay has under a cap, in the time after it has settled. */
async function replay(
  path: string,
  cap: number,
): Promise<Pick<Held, "replayed" | "replayedSize">> {
  const { json } = await rcapJson<ReplayReport>([
    ...["replay", path, "--cap", `${Math.round(cap)}`],
    ...["--policy", options.policy],
  ]);
  const [{ timeline }] = json.policies;
  const settled = Math.min(sizes.settle, json.seconds / 2);
  const rows = timeline.filter(({ seconds }) => seconds > settled);
  const mean = (figure: (row: typeof rows[number]) => number) =>
    rows.reduce((sum, row) => sum + figure(row), 0) / rows.length;
  return {
    replayed: mean(({ refaults }) => refaults),
    replayedSize: mean(({ size }) => size),
  };
}

function hold(pid: number, cap: number): Promise<TestDaemon> {
  return TestDaemon.start({
    config: `[daemon]
sample_interval = "1s"
report_interval = "1s"
policy = "${options.policy}"

[[cap]]
name = "bench"
select = ["tree:${pid}"]
max_rss = "${Math.round(cap)}"
`,
  });
}

/** The predicted refaults at a size, between those of the caps beside it. */
function predictedAt({ curve }: GroupSizeReport, size: number): number {
  const above = curve.findIndex(({ cap }) => cap >= size);
  if (above < 0) return 0;
  if (above === 0) return curve[0].refaults;
  const [low, high] = [curve[above - 1], curve[above]];
  const part = (size - low.cap) / (high.cap - low.cap);
  return low.refaults * (1 - part) + high.refaults * part;
}

/** The proportional size of a process and its descendants, in bytes. */
function sizeOf(pid: number): number {
  return treeOf(pid).reduce((sum, one) => {
    try {
      return sum + pssOf(one);
    } catch {
      // It has exited.
      return sum;
    }
  }, 0);
}

interface Stock {
  readonly at: number;
  readonly faults: number;
  readonly buckets: Float64Array | undefined;
}

function takeStock({ pid, buckets }: Service): Stock {
  const faults = treeOf(pid).reduce((sum, one) => {
    try {
      const stat = Deno.readTextFileSync(`/proc/${one}/stat`);
      // Field 12 of proc_pid_stat(5); the list begins with field 3.
      return sum + Number(statFields(stat)[12 - 3]);
    } catch {
      return sum;
    }
  }, 0);
  return { at: performance.now(), faults, buckets: buckets() };
}

/** Major faults a second since, and the mean time of a request, in nanoseconds. */
function since(
  service: Service,
  before: Stock,
): { faults: number; time: number | undefined } {
  const now = takeStock(service);
  const seconds = (now.at - before.at) / 1000;
  return {
    faults: (now.faults - before.faults) / seconds,
    time: now.buckets && before.buckets
      ? meanTime(now.buckets, before.buckets)
      : undefined,
  };
}

/** The mean of durations in buckets of operations.h. */
function meanTime(now: Float64Array, before: Float64Array): number {
  let [sum, operations] = [0, 0];
  for (let bucket = 0; bucket < now.length; bucket++) {
    const some = now[bucket] - before[bucket];
    const [exponent, part] = [Math.floor(bucket / 16), bucket % 16];
    sum += some * (part + 16.5) * 2 ** exponent;
    operations += some;
  }
  return operations === 0 ? 0 : sum / operations;
}

/** By which factor a prediction is off. */
function offBy(
  { predicted, measured }: Pick<Held, "predicted" | "measured">,
): number {
  // As if few more or less were the same.
  const [a, b] = [predicted + 1, measured + 1];
  return Math.max(a / b, b / a);
}

/** By which factor a replay is off. */
function offByReplay({ replayed, measured }: Held): number {
  return offBy({ predicted: replayed, measured });
}

function mib(bytes: number): string {
  return `${(bytes / MIB).toFixed(1)} MiB`;
}

function report(): void {
  say(markdown(
    ["workload", "cap", "idle for", "mean RSS", "predicted/s", "measured/s"]
      .concat(["off by", "replayed/s", "at", "off by", "backed off"]),
    held.map((row) => [
      row.workload,
      mib(row.cap),
      row.idle === null ? "-" : `${row.idle} s`,
      mib(row.meanRss),
      row.predicted.toFixed(1),
      row.measured.toFixed(1),
      row.predicted > LEAST_PREDICTED ? offBy(row).toFixed(2) : "-",
      row.replayed.toFixed(1),
      mib(row.replayedSize),
      row.measured > LEAST_PREDICTED ? offByReplay(row).toFixed(2) : "-",
      `${row.backedOff}`,
    ]),
  ));
  say(markdown(
    ["workload", "recommended", "saves", "slower by"],
    recommended.map(({ workload, cap, saved, slowed }) => [
      workload,
      cap === null ? "none" : mib(cap),
      `${(saved * 100).toFixed(0)} %`,
      slowed === null ? "not measured" : `${(slowed * 100).toFixed(2)} %`,
    ]),
  ));
  const counted = held.filter(({ predicted }) => predicted > LEAST_PREDICTED);
  if (counted.length > 0) {
    const within = counted.filter((row) => offBy(row) <= MOST_OFF).length;
    const worst = Math.max(...counted.map(offBy));
    const share = within / counted.length;
    aim(
      share >= SHARE_WITHIN,
      `${within} of ${counted.length} predictions of more than ${LEAST_PREDICTED} a second within a factor of ${MOST_OFF}; aim: ${
        SHARE_WITHIN * 100
      } %`,
    );
    aim(
      worst <= EVER_OFF,
      `the worst is off by ${worst.toFixed(2)}; aim: ${EVER_OFF} at the most`,
    );
  }
  const replays = held.filter(({ measured }) => measured > LEAST_PREDICTED);
  if (replays.length > 0) {
    const within = replays.filter((row) => offByReplay(row) <= MOST_OFF).length;
    aim(
      within === replays.length,
      `${within} of ${replays.length} replays of more than ${LEAST_PREDICTED} refaults a second within a factor of ${MOST_OFF}; aim: all`,
    );
  }
  const slowed = recommended.flatMap(({ slowed }) => slowed ?? []);
  if (slowed.length > 0) {
    const most = Math.max(...slowed);
    aim(
      most <= MOST_SLOWED,
      `recommended caps slow requests by ${
        (most * 100).toFixed(2)
      } % at the most, beyond watching; aim: ${MOST_SLOWED * 100} %`,
    );
  }
}

function aim(isMet: boolean, what: string): void {
  say(`- ${isMet ? "met" : "MISSED"}: ${what}\n`);
}
