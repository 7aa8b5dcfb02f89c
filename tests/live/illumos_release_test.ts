/**
 * On illumos, a controlled process is released however rcap ends: by signals and
 * exceptions during a scan.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import {
  assertFree,
  grabsIn,
  illumosForTests,
  stopsIn,
} from "../support/illumos.ts";
import { MIB, observed, requireRoot } from "../support/live.ts";
import { commandLine, startRcap } from "../support/rcap.ts";
import { until, Workload } from "../support/workload.ts";
import { say } from "../support/say.ts";

requireRoot();

const illumos = await illumosForTests();

/** The number of rounds for each signal and for exceptions. */
const ROUNDS = 60;

/** The number of concurrent scans. */
const LANES = 4;

const CODES = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/** Ends a scan with a signal while it controls a process; returns how long that took. */
async function interrupt(
  { pid }: Workload,
  signal: keyof typeof CODES,
): Promise<number> {
  const log = illumos.newLog();
  const faults = "delay=20000";
  const running = startRcap(
    ["scan", `${pid}`, "--excess", "64M", "--observe", "0"],
    { env: illumos.env({ faults, log }) },
  );
  // The first grab checks whether the process may be scanned.
  await until(() => grabsIn(log) === 2, `a scan of process ${pid}`);
  await new Promise((resolve) => setTimeout(resolve, Math.random() * 100));
  const sent = performance.now();
  running.child.kill(signal);
  const { code, stderr } = await running.end();
  assertFree(pid, `after ${signal}`);
  assertEquals(code, CODES[signal], `${signal}: ${stderr}`);
  assert(stderr.includes("interrupted"), stderr);
  const stops = stopsIn(log);
  assertEquals(stops.length, 2);
  return performance.now() - sent;
}

Deno.test(
  `a signal during a scan releases the process, in ${3 * ROUNDS} rounds`,
  async () => {
    const took: number[] = [];
    const signals = Array.from({ length: ROUNDS }, () => [
      "SIGHUP" as const,
      "SIGINT" as const,
      "SIGTERM" as const,
    ]).flat();
    await Promise.all(Array.from({ length: LANES }, async () => {
      await using workload = await Workload.start();
      // At 20 ms for 256 KiB, a scan takes more than 2 s.
      await workload.anon("memory", 32 * MIB);
      for (let signal; (signal = signals.pop());) {
        took.push(await interrupt(workload, signal));
      }
      assert(await workload.checksum());
    }));
    assertEquals(took.length, 3 * ROUNDS);
    say(
      `rcap ended within ${Math.max(...took).toFixed(0)} ms of the signal`,
    );
  },
);

Deno.test(`an exception during a scan releases the process, in ${ROUNDS} rounds`, async () => {
  await using workload = await Workload.start();
  await workload.anon("memory", 2 * MIB);
  const { pid } = workload;
  const counts = await illumos.driven<Record<string, number>>("exceptions", {
    pids: [pid],
    rounds: ROUNDS,
  });
  const each = ROUNDS / 3;
  assertEquals(counts, { event: each, sizes: each, "page-out": each });
  assertFree(pid, "after the rounds");
  assert(await workload.checksum());
});

Deno.test("an uncaught exception releases the process, and so does an exit", async () => {
  await using workload = await Workload.start();
  const { pid } = workload;
  for (const [mode, expected] of [["crash", 1], ["exit", 7]] as const) {
    const { code } = await illumos.drive(mode, { pids: [pid] });
    assertEquals(code, expected, mode);
    assertFree(pid, `after ${mode}`);
  }
});

Deno.test("Ctrl-Z does not leave a process stopped", async () => {
  await using workload = await Workload.start();
  await workload.anon("memory", 8 * MIB);
  const { pid } = workload;
  const log = illumos.newLog();
  const running = startRcap(
    ["scan", `${pid}`, "--excess", "64M", "--observe", "0"],
    { env: illumos.env({ faults: "delay=5000", log }) },
  );
  await until(() => grabsIn(log) === 2, "a scan");
  running.child.kill("SIGTSTP");
  const { code, stderr } = await running.end();
  assertEquals(code, 3, stderr);
  assertFree(pid, "after Ctrl-Z");
});

Deno.test("a scan under nohup survives SIGHUP, here and on Linux", async () => {
  await using workload = await Workload.start();
  const memory = await workload.anon("memory", 8 * MIB);
  const { pid } = workload;
  const log = illumos.newLog();
  const onLinux = () => observed(workload, memory);
  const onIllumos = () => until(() => grabsIn(log) > 0, "a scan");
  for (
    const { env, begun } of [
      { env: {}, begun: onLinux },
      { env: illumos.env({ log }), begun: onIllumos },
    ]
  ) {
    const args = ["scan", `${pid}`, "--excess", "64M", "--observe", "1s"];
    const { command, commandArgs } = commandLine(args);
    const child = new Deno.Command("nohup", {
      args: [command, ...commandArgs],
      env,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const output = child.output();
    await begun();
    child.kill("SIGHUP");
    const { code, stderr } = await output;
    assertEquals(code, 3, new TextDecoder().decode(stderr));
    assertFree(pid, "after SIGHUP");
  }
});
