/**
 * Measures what being watched costs a process: its speed while the daemon watches it,
 * as a share of its speed just before and after, while the daemon is stopped.
 *
 * Needs root, gcc and zram; for Redis, `redis-server`. `RCAP_BIN` names a binary to
 * run; by default rcap runs from source.
 *
 * @module
 */

import { Command } from "@commander-js/extra-typings";
import { POLICIES, type PolicyName } from "../lib/config/policy_names.ts";
import { statFields } from "../lib/platform/linux/stat.ts";
import { cap, TestDaemon } from "../tests/support/daemon.ts";
import { complain, say } from "../tests/support/say.ts";
import { zramSwap } from "../tests/support/swap.ts";
import { rssOf, until } from "../tests/support/workload.ts";
import {
  count,
  list,
  names,
  seconds,
  writableFile,
} from "./support/options.ts";
import { median } from "../lib/platform/linux/median.ts";
import { markdown } from "./support/report.ts";
import { NoHugePages, type Subject, subjects } from "./support/subjects.ts";
import { compileGenerators } from "./support/workloads.ts";

/** The aim: the least share of its unwatched speed that a watched process has. */
const AIM = 0.985;
const GROUP = "bench";
const GIB = 2 ** 30;

const ALL = subjects({ isQuick: false });

const options = new Command("bench:watch")
  .description(
    "What being watched costs a process. Needs root, gcc and zram; takes about 20 minutes.",
  )
  .option("--quick", "small processes, few pairs, no verdict: for CI", false)
  .option("--pairs <n>", "watched and unwatched times of each row", count)
  .option(
    "--settle <time>",
    "before the first pair, like 6s",
    seconds("--settle"),
  )
  .option("--watched <time>", "watched time of a pair", seconds("--watched"))
  .option(
    "--unwatched <time>",
    "unwatched time before and after it",
    seconds("--unwatched"),
  )
  .option("--interval <time>", "of the daemon", seconds("--interval"))
  .option("--subjects <names>", list(ALL), names(ALL))
  .option("--json <file>", "where all figures go", writableFile)
  .parse(Deno.args, { from: "user" })
  .opts();

const times = options.quick
  ? { pairs: 2, settle: 0.5, watched: 0.5, unwatched: 0.3, interval: 0.5 }
  : { pairs: 5, settle: 6, watched: 4.5, unwatched: 1, interval: 5 };
const { pairs, settle, watched, unwatched, interval } = {
  ...times,
  ...options,
};

/** Who watches, and how close to the cap. */
interface Watcher {
  /** `undefined`: nobody, which shows how far the ratios of two equal times differ. */
  readonly policy: PolicyName | undefined;
  /** The resident memory as a share of the cap. */
  readonly level: number;
}

const WATCHERS: readonly Watcher[] = [
  { policy: undefined, level: 1 },
  ...POLICIES.flatMap((policy) => [0.9, 1].map((level) => ({ policy, level }))),
];

/** What happened within a time. Counts are per second. */
interface Period {
  readonly speed: number;
  readonly minorFaults: number;
  readonly majorFaults: number;
  /** Pages that went to swap, on the whole machine. */
  readonly pagedOut: number;
}

/** One row of the report. */
interface Row {
  readonly subject: string;
  readonly watcher: Watcher;
  readonly watched: readonly Period[];
  /** One more than watched times. */
  readonly unwatched: readonly Period[];
  /** The speed of each watched time as a share of the mean of its neighbours. */
  readonly ratios: readonly number[];
  /**
   * What the daemon reckons that being watched cost the process, in milliseconds a
   * minute; `null` if it does not say.
   */
  readonly charged: number | null;
  /** Processor time of the daemon, as a share of one core, in watched times; `null` without one. */
  readonly daemonCpu: number | null;
}

const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(signal, () => stop.abort());
}

const rows: Row[] = [];
const skipped: string[] = [];
try {
  await using held = new AsyncDisposableStack();
  held.use(await zramSwap({ size: 8 * GIB }));
  const programs = await compileGenerators(held);
  const kinds = options.quick && !options.subjects
    ? subjects({ isQuick: true })
    : options.subjects ?? ALL;
  for (const kind of kinds) {
    const problem = kind.problem?.();
    if (problem !== undefined) {
      skipped.push(`${kind.name}: ${problem}`);
      continue;
    }
    try {
      await using subject = await kind.start(programs);
      for (const watcher of WATCHERS) {
        const row = await measure(kind.name, subject, watcher);
        rows.push(row);
        complain(describe(row).join("  "));
        save();
      }
    } catch (error) {
      if (!(error instanceof NoHugePages)) throw error;
      skipped.push(`${kind.name}: ${error.message}`);
    }
  }
} catch (error) {
  if (!stop.signal.aborted) throw error;
  complain("interrupted; what was measured so far:");
}
say(
  `Kernel ${Deno.osRelease()}, ${navigator.hardwareConcurrency} cores; medians of ${pairs} pairs of ${watched} s watched between ${unwatched} s unwatched, sampled every ${interval} s\n`,
);
say(markdown(header(), rows.map(describe)));
for (const one of skipped) say(`skipped: ${one}`);
if (!options.quick) { for (const line of verdicts()) say(line); }

/** Measures a subject under one watcher. */
async function measure(
  name: string,
  subject: Subject,
  watcher: Watcher,
): Promise<Row> {
  await using daemon = await startDaemon(subject.pid, watcher);
  await pause(settle);
  const watchedTimes: Period[] = [];
  const freeTimes: Period[] = [];
  let cpu = 0;
  const first = charge(daemon);
  const free = async () => {
    if (daemon) await freeze(daemon);
    await subject.recover();
    freeTimes.push(await period(subject, unwatched));
  };
  await free();
  for (let pair = 0; pair < pairs; pair++) {
    if (daemon) daemon.signal("SIGCONT");
    const before = daemon ? cpuOf(daemon.pid) : 0;
    watchedTimes.push(await period(subject, watched));
    cpu += daemon ? cpuOf(daemon.pid) - before : 0;
    await free();
  }
  const last = charge(daemon);
  return {
    subject: name,
    watcher,
    watched: watchedTimes,
    unwatched: freeTimes,
    ratios: watchedTimes.map(({ speed }, i) =>
      speed * 2 / (freeTimes[i].speed + freeTimes[i + 1].speed)
    ),
    charged: first && last && last.at > first.at
      ? (last.seconds - first.seconds) * 1000 / (last.at - first.at) * 60
      : null,
    daemonCpu: daemon ? cpu / (pairs * watched) : null,
  };
}

/** Starts a daemon that watches a process. */
async function startDaemon(
  pid: number,
  { policy, level }: Watcher,
): Promise<TestDaemon | undefined> {
  if (policy === undefined) return undefined;
  return await TestDaemon.start({
    config: `[daemon]
sample_interval = "${interval}s"
report_interval = "1s"
policy = "${policy}"

${cap(GROUP, [`pid:${pid}`], `${Math.ceil(rssOf(pid) / level)}`)}`,
  });
}

/** Stops a daemon as SIGSTOP does, and waits until it does nothing more. */
async function freeze(daemon: TestDaemon): Promise<void> {
  daemon.signal("SIGSTOP");
  await until(
    () => statFields(procFile(daemon.pid, "stat"))[0] === "T",
    "the daemon to be stopped",
  );
}

/** What the daemon has charged the process, in seconds, and when, in seconds; `undefined` if it does not say. */
function charge(
  daemon: TestDaemon | undefined,
): { seconds: number; at: number } | undefined {
  const state = daemon?.state();
  const group = state?.groups.find(({ name }) => name === GROUP);
  const seconds = group?.statistics.observationCost ?? null;
  return state && seconds !== null
    ? { seconds, at: state.monotonic }
    : undefined;
}

/** Lets time pass, and measures what happened meanwhile. */
async function period(subject: Subject, seconds: number): Promise<Period> {
  const before = snapshot(subject);
  await pause(seconds);
  const after = snapshot(subject);
  const took = (after.at - before.at) / 1000;
  return {
    speed: (after.operations - before.operations) / took,
    minorFaults: (after.minorFaults - before.minorFaults) / took,
    majorFaults: (after.majorFaults - before.majorFaults) / took,
    pagedOut: (after.pagedOut - before.pagedOut) / took,
  };
}

/** Counts so far: proc_pid_stat(5), and `pswpout` of proc_vmstat(5). */
function snapshot(subject: Subject) {
  const fields = statFields(procFile(subject.pid, "stat"));
  const vmstat = Deno.readTextFileSync("/proc/vmstat");
  return {
    minorFaults: Number(fields[10 - 3]),
    majorFaults: Number(fields[12 - 3]),
    pagedOut: Number(/^pswpout (\d+)$/m.exec(vmstat)?.[1]),
    operations: subject.operations(),
    at: performance.now(),
  };
}

/** Processor time of a process so far, in seconds. */
function cpuOf(pid: number): number {
  const fields = statFields(procFile(pid, "stat"));
  return (Number(fields[14 - 3]) + Number(fields[15 - 3])) / 100;
}

function procFile(pid: number, name: string): string {
  return Deno.readTextFileSync(`/proc/${pid}/${name}`);
}

/** @throws the signal's reason if the benchmark is to end. */
async function pause(seconds: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  stop.signal.throwIfAborted();
}

function save(): void {
  if (options.json === undefined) return;
  Deno.writeTextFileSync(
    options.json,
    JSON.stringify({
      version: 1,
      kernel: Deno.osRelease(),
      times: { pairs, settle, watched, unwatched, interval },
      rows,
      skipped,
    }),
  );
}

function header(): string[] {
  return [
    "process",
    "watched by",
    "of the cap",
    "minor faults/s",
    "major faults/s",
    "paged out/s",
    "charged ms/min",
    "daemon CPU",
    "unwatched Mop/s",
    "of unwatched",
    "spread",
  ];
}

function describe(row: Row): string[] {
  const { policy, level } = row.watcher;
  const middle = (value: (period: Period) => number) =>
    median(row.watched.map(value)).toFixed(0);
  const speed = median(row.unwatched.map(({ speed }) => speed));
  return [
    row.subject,
    policy ?? "nobody",
    policy ? percent(level, 0) : "-",
    middle(({ minorFaults }) => minorFaults),
    middle(({ majorFaults }) => majorFaults),
    middle(({ pagedOut }) => pagedOut),
    row.charged?.toFixed(1) ?? "-",
    row.daemonCpu === null ? "-" : percent(row.daemonCpu, 2),
    (speed / 1e6).toPrecision(3),
    percent(median(row.ratios), 1),
    `${percent(Math.min(...row.ratios), 1)} to ${
      percent(Math.max(...row.ratios), 1)
    }`,
  ];
}

function percent(share: number, digits: number): string {
  return `${(share * 100).toFixed(digits)} %`;
}

/** Whether the aim is met, for each row that misses it and for all. */
function verdicts(): string[] {
  const judged = rows.filter(({ watcher }) => watcher.policy !== undefined);
  const missed = judged.filter(({ ratios }) => median(ratios) < AIM);
  const wanted = `at least ${percent(AIM, 1)} of the unwatched speed`;
  return [
    ...missed.map(({ subject, watcher: { policy, level }, ratios }) =>
      `- MISSED: ${subject}, ${policy} at ${percent(level, 0)} of the cap: ${
        percent(median(ratios), 1)
      }`
    ),
    judged.length === 0
      ? `- not measured: ${wanted}`
      : `- ${
        missed.length === 0 ? "met" : "MISSED"
      }: ${wanted} everywhere: ${missed.length} of ${judged.length} rows are below`,
  ];
}
