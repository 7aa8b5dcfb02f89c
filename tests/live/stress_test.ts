/**
 * Stress tests: processes map, unmap, move, fork, exec and exit at random while
 * they are inspected and scanned. Nothing may crash, no other process may be
 * touched, and all memory must keep its contents.
 *
 * `RCAP_STRESS_SECONDS` sets the duration; 60 if `CI` is set, otherwise 10.
 *
 * @module
 */

import { say } from "../support/say.ts";
import { assert, assertEquals } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { parseSelector } from "../../lib/collection/selectors.ts";
import { POLICIES, type PolicyName } from "../../lib/config/policy_names.ts";
import { NoMatch, ProcessError, UsageError } from "../../lib/errors.ts";
import { inspect } from "../../lib/oneshot/inspect.ts";
import { scanOnce } from "../../lib/oneshot/scan_once.ts";
import { openPlatform } from "../../lib/platform/system_testing.ts";
import type { Platform } from "../../lib/platform/platform.ts";
import { cap, Place, quicklyBy, TestDaemon } from "../support/daemon.ts";
import { allow, DEADLINE_SECONDS } from "../support/deadline.ts";
import { stateOf, testEachPolicy } from "../support/live.ts";
import { rcap } from "../support/rcap.ts";
import { anySwap } from "../support/swap.ts";
import {
  majorFaults,
  residentOf,
  until,
  Workload,
} from "../support/workload.ts";

const MIB = 1024 * 1024;
const PAGE = 4096;

const SECONDS = Number(
  Deno.env.get("RCAP_STRESS_SECONDS") ?? (Deno.env.has("CI") ? 60 : 10),
);

/** The number of processes under stress at any time. */
const PROCESSES = 5;
const MOST_REGIONS = 6;
const LARGEST_REGION = 12 * MIB;

// Opened before the first test, which would otherwise appear to leak it.
libc();

const LOG = { warn() {}, info() {}, debug() {} };

/** A random integer below a bound. */
function random(below: number): number {
  return Math.floor(Math.random() * below);
}

const delay = (milliseconds: number) =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

function pick<T>(from: readonly T[]): T {
  return from[random(from.length)];
}

/** Counts of what happened, to detect a test that tests nothing. */
interface Counts {
  steps: number;
  lives: number;
  checks: number;
  inspected: number;
  scanned: number;
  pagedOut: number;
  refused: number;
}

/**
 * One process that does random things until it exits or the signal is aborted.
 *
 * @param pause the longest rest between two of them, in milliseconds.
 */
async function live(
  signal: AbortSignal,
  { pids, counts, pause }: {
    pids: Set<number>;
    counts: Counts;
    pause: number;
  },
): Promise<void> {
  await using workload = await Workload.start({ name: "rcap-stress" });
  const { pid } = workload;
  counts.lives++;
  const family = [pid];
  pids.add(pid);
  // Before they end: afterwards other processes may have their pids.
  using _gone = {
    [Symbol.dispose]: () => family.forEach((pid) => pids.delete(pid)),
  };
  /**
   * Regions by name. Split regions are not moved any more: they consist of many
   * mappings.
   */
  const regions = new Map<string, { isWhole: boolean }>();
  let made = 0;
  const map = async () => {
    if (regions.size >= MOST_REGIONS) return;
    const name = `r${made++}`;
    const kind = pick(["anon", "anon", "anon", "shm", "memfd"] as const);
    await workload[kind](name, PAGE + random(LARGEST_REGION));
    regions.set(name, { isWhole: true });
  };
  const onAny = (step: (name: string) => Promise<unknown>) => async () => {
    if (regions.size > 0) await step(pick([...regions.keys()]));
  };
  const check = async () => {
    assertEquals(await workload.checksum(), true, `contents of ${pid}`);
    counts.checks++;
  };
  const steps: (() => Promise<unknown>)[] = [
    map,
    map,
    map,
    onAny(async (name) => {
      await workload.unmap(name);
      regions.delete(name);
    }),
    onAny(async (name) => {
      if (regions.get(name)?.isWhole) await workload.remap(name);
    }),
    onAny((name) => workload.hot(name)),
    onAny((name) => workload.cold(name)),
    onAny(async (name) => {
      if (regions.get(name)?.isWhole) await workload.write(name);
    }),
    onAny(async (name) => {
      // Writing to a read-only region would fail.
      await workload.cold(name);
      await workload.split(name, 1 + random(64));
      regions.set(name, { isWhole: false });
    }),
    onAny((name) => workload.pageout(name)),
    onAny((name) => workload.advise(name, "hugepage")),
    onAny((name) => workload.advise(name, "nohugepage")),
    async () => {
      const child = await workload.fork({ touching: Math.random() < 0.5 });
      family.push(child);
      pids.add(child);
    },
    () => workload.zombie(),
    async () => {
      workload.kill("SIGSTOP");
      await until(() => stateOf(pid) === "T", `process ${pid} to stop`);
      await delay(random(200));
      assertEquals(stateOf(pid), "T", "who is stopped stays so");
      workload.kill("SIGCONT");
    },
    check,
    async () => {
      if (Math.random() < 0.8) return;
      await workload.exec();
      regions.clear();
    },
  ];
  while (!signal.aborted) {
    await pick(steps)();
    counts.steps++;
    if (pause > 0) await delay(random(pause));
    if (Math.random() < 0.02) break;
  }
  await check();
}

/** Runs a step on a process; it may fail if the process exits or changes too fast. */
async function attempt(
  step: () => Promise<unknown>,
  counts: Counts,
): Promise<void> {
  try {
    await step();
  } catch (error) {
    const isExpected = error instanceof ProcessError ||
      error instanceof NoMatch || error instanceof UsageError;
    if (!isExpected) throw error;
    counts.refused++;
  }
}

/** Inspects and scans processes in a loop. */
async function scanAll(
  signal: AbortSignal,
  { pids, counts, platform }: {
    pids: ReadonlySet<number>;
    counts: Counts;
    platform: Platform;
  },
): Promise<void> {
  const never = new AbortController().signal;
  const common = { signal: never, log: LOG, platform };
  while (!signal.aborted) {
    // Also yields to others if the step below fails at once.
    await delay(1);
    const pid = pick([...pids]);
    if (pid === undefined) continue;
    await attempt(async () => {
      await inspect({ pid, observation: random(50), ...common });
      counts.inspected++;
    }, counts);
    const members = [...pids].filter(() => Math.random() < 0.5);
    if (members.length === 0) continue;
    await attempt(async () => {
      const report = await scanOnce({
        policy: pick(POLICIES),
        selectors: members.map((pid) => parseSelector(`pid:${pid}`)),
        goal: { excess: random(64) * MIB + 1 },
        dryRun: Math.random() < 0.2,
        observation: random(100),
        ...common,
      });
      counts.scanned++;
      counts.pagedOut += report.effective ?? 0;
      const strangers = report.processes.filter(({ pid }) =>
        !members.includes(pid)
      );
      assertEquals(strangers, []);
    }, counts);
  }
}

/** Runs the command in a loop; `rcap()` asserts that no stack trace is printed. */
async function commandAll(
  signal: AbortSignal,
  { pids, counts }: { pids: ReadonlySet<number>; counts: Counts },
): Promise<void> {
  const commands = [
    ["inspect", "--observe", "100ms", "--json"],
    ["scan", "--excess", "20M", "--observe", "100ms", "--json"],
  ];
  while (!signal.aborted) {
    const [pid] = [...pids].toSorted(() => Math.random() - 0.5);
    if (pid === undefined) {
      await delay(10);
      continue;
    }
    const [name, ...options] = [...pick(commands)];
    if (name === "scan") options.push("--policy", pick(POLICIES));
    const { code, stderr } = await rcap([name, `${pid}`, ...options]);
    // Done, cap not met, or the process has exited or changed.
    assert([0, 1, 3, 5].includes(code), `rcap ${name}: ${code}: ${stderr}`);
    counts[name === "scan" ? "scanned" : "inspected"]++;
  }
}

/** What runs beside the processes under stress. */
interface Surroundings {
  readonly pids: ReadonlySet<number>;
  readonly counts: Counts;
}

/**
 * Lets processes do random things for a while, until everything required was tried.
 * Nothing that runs beside them may fail or touch other processes.
 *
 * @param tries what must be tried.
 */
async function stress(
  beside: (
    signal: AbortSignal,
    surroundings: Surroundings,
  ) => Promise<void>[],
  { tries, seconds = SECONDS, pause = 0 }: {
    tries: readonly (keyof Counts)[];
    seconds?: number;
    pause?: number;
  },
): Promise<void> {
  await allow(seconds + DEADLINE_SECONDS);
  await using _swap = await anySwap({ size: 1024 * MIB });
  await using bystander = await Workload.start({ name: "bystander" });
  const region = await bystander.anon("memory", 64 * MIB);
  const { pid } = bystander;
  const faults = majorFaults(pid);

  const pids = new Set<number>();
  const counts: Counts = {
    steps: 0,
    lives: 0,
    checks: 0,
    inspected: 0,
    scanned: 0,
    pagedOut: 0,
    refused: 0,
  };
  const stop = new AbortController();
  const { signal } = stop;
  // Continue if the machine has not tried everything yet.
  const began = performance.now();
  const timer = setInterval(() => {
    const isOver = performance.now() - began > seconds * 1000;
    if (isOver && untried(counts, tries).length === 0) stop.abort();
  }, 100);
  const again = async () => {
    while (!signal.aborted) await live(signal, { pids, counts, pause });
  };
  const work = [
    ...Array.from({ length: PROCESSES }, again),
    ...beside(signal, { pids, counts }),
  ].map((work) => work.finally(() => stop.abort()));
  // Wait for all of them, so that none is left behind if one fails.
  const ends = await Promise.allSettled(work);
  clearInterval(timer);
  const failures = ends.filter((end) => end.status === "rejected");
  if (failures.length > 0) {
    throw new AggregateError(
      failures.map(({ reason }) => reason),
      `${failures[0].reason}`,
    );
  }

  assertEquals(residentOf(pid, region.start, region.end), region.size);
  assertEquals(majorFaults(pid), faults);
  assertEquals(await bystander.checksum(), true);
  say(`stress: ${JSON.stringify(counts)}`);
  assertEquals(untried(counts, tries), [], "not everything was tried");
}

/** Returns what was not tried yet. */
function untried(
  counts: Counts,
  what: readonly (keyof Counts)[],
): (keyof Counts)[] {
  return what.filter((name) => counts[name] === 0);
}

Deno.test(`stress for ${SECONDS} s: nothing crashes, and no other process is touched`, async () => {
  using platform = openPlatform("pte", () => {});
  await stress((signal, around) => [
    scanAll(signal, { ...around, platform }),
    scanAll(signal, { ...around, platform }),
    commandAll(signal, around),
  ], {
    tries: ["steps", "lives", "checks", "inspected", "scanned", "pagedOut"],
  });
});

/** Keeps processes under a cap by a series of daemons, some of which are killed. */
async function capAll(
  signal: AbortSignal,
  { counts, policy }: { counts: Counts; policy: PolicyName },
): Promise<void> {
  using place = new Place();
  const config = quicklyBy(policy).replaceAll("1s", "200ms") +
    cap("stress", ["comm:rcap-stress"], "48M");
  while (!signal.aborted) {
    await using daemon = await TestDaemon.start({ place, config });
    const end = performance.now() + 3000 + random(3000);
    const hasScanned = () => daemon.group("stress").statistics.scans > 0;
    while (!signal.aborted && !(performance.now() > end && hasScanned())) {
      await delay(20);
    }
    const { statistics, warning } = daemon.group("stress");
    counts.scanned += statistics.scans;
    counts.pagedOut += statistics.effective;
    if (Math.random() < 0.5) {
      daemon.signal("SIGKILL");
      await daemon.ended;
      continue;
    }
    const { code, stderr } = await daemon.stop();
    assertEquals(code, 0, stderr);
    // The only warning allowed is that memory in use exceeds the cap.
    const warnings = stderr.split("\n").filter((line) =>
      line.includes("warning:") && !line.includes("cannot be brought under")
    );
    assertEquals(warnings, [], `${warning}`);
  }
}

/** How long each policy is tested. */
const UNDER_A_DAEMON = Math.max(10, SECONDS / 3);

testEachPolicy(
  `stress for ${UNDER_A_DAEMON} s under a daemon, which is killed occasionally`,
  async (policy) => {
    // The clock never scans a process that lives for less than 2 s.
    await stress((signal, { counts }) => [
      capAll(signal, { counts, policy }),
    ], {
      tries: ["steps", "lives", "checks", "scanned", "pagedOut"],
      seconds: UNDER_A_DAEMON,
      pause: 100,
    });
  },
);
