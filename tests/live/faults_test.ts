/**
 * Tests of `rcap scan` under faults: processes that exit, stop or change, swap that
 * is missing or fills up, output without a reader, signals. In every case a message
 * and an exit code report the fault, and no process is harmed.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import type { PolicyName } from "../../lib/config/policy_names.ts";
import type { ScanReport } from "../../lib/oneshot/scan_once.ts";
import {
  assertIntact,
  assertResident,
  assertScanReport,
  BRIEFLY,
  diskFile,
  falling,
  KIB,
  MIB,
  observed,
  processOf,
  requireRoot,
  scanJson,
  skipReasonOf,
  stateOf,
  testEachPolicy,
} from "../support/live.ts";
import { cannotShow } from "../support/machine.ts";
import { commandLine, rcap, type Run, startRcap } from "../support/rcap.ts";
import { anySwap, type Swap, withoutSwap } from "../support/swap.ts";
import {
  isRunning,
  mappingFigures,
  pssOf,
  type Region,
  residentOf,
  rssOf,
  until,
  Workload,
} from "../support/workload.ts";
import { say } from "../support/say.ts";

requireRoot();

/** Long enough to act after the observation has begun. */
const OBSERVE = ["--observe", "1500ms"];

/** A victim whose page-out takes long enough to act during it. */
interface LargeVictim extends AsyncDisposable {
  readonly workload: Workload;
  readonly cold: Region;
}

async function largeVictim(): Promise<LargeVictim> {
  await using cleanup = new AsyncDisposableStack();
  cleanup.use<Swap>(await anySwap({ size: 1024 * MIB }));
  const workload = cleanup.use(await Workload.start());
  const cold = await workload.anon("cold", 768 * MIB);
  const moved = cleanup.move();
  return {
    workload,
    cold,
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}

/** Starts a scan that pages out all of a large victim, and lets it get under way. */
async function startPageout({ workload }: LargeVictim, policy: PolicyName) {
  const { pid } = workload;
  const args = ["scan", `pid:${pid}`, "--cap", "16M", ...BRIEFLY, "--json"];
  args.push("--policy", policy);
  const running = startRcap(args);
  const end = running.end();
  await falling(workload, 64 * MIB);
  return { child: running.child, end };
}

/** The report of a scan, if the run printed one. */
function reportOf({ code, stdout, stderr }: Run): ScanReport {
  assert(stdout !== "", `exit ${code}, and nothing printed: ${stderr}`);
  const report: ScanReport = JSON.parse(stdout);
  assertScanReport(report);
  assertEquals(code, report.capMet ? 0 : 3);
  return report;
}

Deno.test("a process that exited before the scan is reported, exit 5", async () => {
  let pid: number;
  {
    await using workload = await Workload.start();
    pid = workload.pid;
  }
  const { code, stdout, stderr } = await rcap([
    "scan",
    `pid:${pid}`,
    "--cap",
    "1M",
  ]);
  assertEquals({ code, stdout }, { code: 5, stdout: "" });
  assertEquals(stderr, `rcap: no process has pid ${pid}\n`);
});

Deno.test("a process that exits during the observation is reported, exit 5", async () => {
  await using workload = await Workload.start();
  const cold = await workload.anon("cold", 8 * MIB);
  const args = ["scan", `pid:${workload.pid}`, "--cap", "1M", ...OBSERVE];
  const end = startRcap(args).end();
  await observed(workload, cold);
  workload.kill("SIGKILL");
  const { code, stdout, stderr } = await end;
  assertEquals({ code, stdout }, { code: 5, stdout: "" });
  assertMatch(stderr, new RegExp(`process ${workload.pid} has exited`));
});

testEachPolicy(
  "a process that exits while it is paged out is reported",
  async (policy) => {
    await using victim = await largeVictim();
    const { end } = await startPageout(victim, policy);
    victim.workload.kill("SIGKILL");
    const run = await end;
    const report = reportOf(run);
    const { pid } = victim.workload;
    const { error, pageouts } = processOf(report, victim.workload);
    assertEquals(error, `process ${pid} has exited`);
    assertEquals(pageouts.at(-1)?.result, "failed");
    // It has no memory any more, so it is under any cap.
    assertEquals({ code: run.code, rss: report.rssAfter }, { code: 0, rss: 0 });
  },
);

testEachPolicy(
  "a stopped process is scanned and stays stopped",
  async (policy) => {
    await using _swap = await anySwap({ size: 128 * MIB });
    await using workload = await Workload.start();
    const { pid } = workload;
    const cold = await workload.anon("cold", 64 * MIB);
    workload.kill("SIGSTOP");
    await until(() => stateOf(pid) === "T", `process ${pid} to stop`);

    const { code } = await scanJson([
      `pid:${pid}`,
      "--cap",
      "16M",
      ...BRIEFLY,
      "--policy",
      policy,
    ]);
    assertEquals(code, 0);
    assertEquals(stateOf(pid), "T");
    assert(residentOf(pid, cold.start, cold.end) <= 16 * MIB);

    workload.kill("SIGCONT");
    await assertIntact(workload);
    assertResident(workload, cold);
  },
);

testEachPolicy(
  "a process that execs during the observation is left alone",
  async (policy) => {
    await using _swap = await anySwap({ size: 256 * MIB });
    await using workload = await Workload.start();
    const cold = await workload.anon("cold", 64 * MIB);
    const args = ["scan", `pid:${workload.pid}`, "--cap", "1M", ...OBSERVE];
    const end = startRcap([...args, "--policy", policy, "--json"]).end();
    await observed(workload, cold);
    await workload.exec();
    const fresh = await workload.anon("fresh", 16 * MIB);

    const report = reportOf(await end);
    const { error, pageouts } = processOf(report, workload);
    // The observed program no longer runs.
    assertStringIncludes(`${error}`, "has started another program (exec)");
    assertEquals(pageouts, []);
    assert(report.rss < 64 * MIB, "what it was before counts no more");
    await assertIntact(workload);
    assertResident(workload, fresh);
  },
);

testEachPolicy(
  "a process that execs during its page-out is left alone afterwards",
  async (policy) => {
    await using victim = await largeVictim();
    const { workload } = victim;
    const { end } = await startPageout(victim, policy);
    await workload.exec();
    const fresh = await workload.anon("fresh", 8 * MIB);
    const resident = rssOf(workload.pid);

    const report = reportOf(await end);
    const { error } = processOf(report, workload);
    assertStringIncludes(`${error}`, "has started another program (exec)");
    // None of the new program was paged out.
    assert(rssOf(workload.pid) >= resident);
    assertEquals(mappingFigures(workload.pid, fresh.start).swap, 0);
    assertResident(workload, fresh);
    await assertIntact(workload);
  },
);

testEachPolicy(
  "a process may unmap memory that is being paged out",
  async (policy) => {
    await using victim = await largeVictim();
    const { workload } = victim;
    const other = await workload.anon("other", 8 * MIB);
    const { end } = await startPageout(victim, policy);
    await workload.unmap("cold");

    const report = reportOf(await end);
    const { error, pageouts } = processOf(report, workload);
    assertEquals(error, null);
    assertEquals(pageouts[0].result, "busy");
    assertEquals(pageouts.filter(({ result }) => result === "failed"), []);
    await assertIntact(workload);
    assertResident(workload, other);
  },
);

testEachPolicy(
  "a process may map other memory over memory that is being paged out",
  async (policy) => {
    await using victim = await largeVictim();
    const { workload } = victim;
    const { end } = await startPageout(victim, policy);
    await workload.remap("cold");
    reportOf(await end);
    await assertIntact(workload);
  },
);

Deno.test("if swap fills up halfway, the scan exits with 3 and says why", async () => {
  await using _none = await withoutSwap();
  await using _swap = await anySwap({ size: 64 * MIB });
  await using workload = await Workload.start();
  const { pid } = workload;
  const cold = await workload.anon("cold", 256 * MIB);
  const args = [`pid:${pid}`, "--cap", "64M", ...BRIEFLY];

  const { code, report, stderr } = await scanJson([
    ...args,
    "--log-level",
    "debug",
  ]);
  assertEquals(code, 3);
  assertEquals(skipReasonOf(report, workload, cold), "no-swap");
  assertMatch(stderr, /busy: no swap is free/);
  const { swap, rss } = mappingFigures(pid, cold.start);
  assert(swap > 48 * MIB && swap <= 64 * MIB, `${swap} in swap`);
  assertEquals(rss, 256 * MIB - swap);

  const { code: again, stdout } = await rcap(["scan", ...args]);
  assertEquals(again, 3);
  assertMatch(
    stdout,
    /^Stayed: 1\d\d\.\dM anonymous, and no swap is free: add swap or zram\.$/m,
  );
  await assertIntact(workload);
});

Deno.test("without swap, a scan of anonymous memory exits with 3 and names the remedy", async () => {
  await using _none = await withoutSwap();
  await using workload = await Workload.start();
  const regions = [
    await workload.anon("anonymous", 32 * MIB),
    await workload.shm("shm", 8 * MIB),
    await workload.memfd("memfd", 8 * MIB),
  ];
  const args = [`pid:${workload.pid}`, "--cap", "8M", ...BRIEFLY];
  const { code, report } = await scanJson(args);
  assertEquals(code, 3);
  assertEquals(
    regions.map((region) => skipReasonOf(report, workload, region)),
    ["no-swap", "no-swap", "no-swap"],
  );
  for (const region of regions) assertResident(workload, region);

  const dry = await rcap(["scan", ...args, "--dry-run"]);
  assertEquals(dry.code, 3);
  assertStringIncludes(dry.stdout, "no swap is free: add swap or zram.\n");
  assertMatch(dry.stdout, /the cap would not be met\.\n$/);
  await assertIntact(workload);
});

Deno.test("a mapped file may have any name and may be deleted", async () => {
  const name = "a b\nc (deleted)";
  using file = await diskFile(32 * MIB, name);
  await using workload = await Workload.start();
  const { pid } = workload;
  const cold = await workload.file("cold", { path: file.path });
  Deno.removeSync(file.path);
  assertStringIncludes(
    Deno.readTextFileSync(`/proc/${pid}/maps`),
    "/a b\\012c (deleted) (deleted)\n",
  );
  const { code, report } = await scanJson([
    `pid:${pid}`,
    "--cap",
    "16M",
    ...BRIEFLY,
  ]);
  assertEquals(code, 0);
  const [{ start, result }] = processOf(report, workload).pageouts;
  assertEquals(
    { start, result },
    { start: `0x${cold.start.toString(16)}`, result: "done" },
  );
  assert(residentOf(pid, cold.start, cold.end) <= 16 * MIB);
  await assertIntact(workload);
});

/** Runs rcap with its output redirected by a shell. */
async function redirected(args: string[], redirection: string): Promise<Run> {
  const { command, commandArgs } = commandLine(args);
  const { code, stdout, stderr } = await new Deno.Command("sh", {
    args: ["-c", `exec "$@" ${redirection}`, "sh", command, ...commandArgs],
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return {
    code,
    stdout: decoder.decode(stdout),
    stderr: decoder.decode(stderr),
  };
}

/** Runs rcap with output that nothing reads. */
async function unread(
  args: string[],
  stream: "stdout" | "stderr",
): Promise<Run> {
  const { command, commandArgs } = commandLine(args);
  await using child = new Deno.Command(command, {
    args: commandArgs,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  await child[stream].cancel();
  const { code } = await child.status;
  const text = async (name: "stdout" | "stderr") =>
    name === stream ? "" : await child[name].text();
  return { code, stdout: await text("stdout"), stderr: await text("stderr") };
}

/** A victim that a scan down to 24 MiB brings under the cap each time. */
async function smallVictim(): Promise<
  AsyncDisposable & { workload: Workload; args: string[] }
> {
  await using cleanup = new AsyncDisposableStack();
  const file = cleanup.use(await diskFile(32 * MIB));
  const workload = cleanup.use(await Workload.start());
  await workload.file("cold", { path: file.path });
  const moved = cleanup.move();
  return {
    workload,
    args: ["scan", `pid:${workload.pid}`, "--cap", "24M", ...BRIEFLY],
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}

Deno.test("output to a closed pipe is dropped, and the exit code is that of the scan", async () => {
  await using victim = await smallVictim();
  const { workload, args } = victim;
  for (const form of [[], ["--json"]]) {
    const { code, stderr } = await unread([...args, ...form], "stdout");
    assertEquals(code, 0);
    assertEquals(
      stderr,
      "rcap: warning: observing for 0.3 s only: memory that is in use, if not at this moment, looks idle; 2 s or more are better\n",
    );
    assert(pssOf(workload.pid) <= 25 * MIB);
    await assertIntact(workload);
  }
  await workload.anon("locked", 32 * MIB);
  await workload.lock("locked");
  const { code } = await unread([...args, "--json"], "stdout");
  assertEquals(code, 3);
  await assertIntact(workload);
});

Deno.test("messages that cannot be read do not end a scan", async () => {
  await using victim = await smallVictim();
  const { workload, args } = victim;
  const verbose = [...args, "--log-level", "debug"];
  for (
    const run of [
      () => unread(verbose, "stderr"),
      () => redirected(verbose, "2>/dev/full"),
      () => redirected(verbose, "2>&-"),
    ]
  ) {
    const { code, stdout } = await run();
    assertEquals(code, 0);
    assertMatch(stdout, /^Now \d+\.\dM: the cap is met\.$/m);
    assert(pssOf(workload.pid) <= 25 * MIB);
    await assertIntact(workload);
  }
});

Deno.test("output to a full disk fails with a message and exit 1, after the scan", async () => {
  await using victim = await smallVictim();
  const { workload, args } = victim;
  for (const form of [[], ["--json"]]) {
    const quiet = [...args, ...form, "--log-level", "error"];
    const { code, stderr } = await redirected(quiet, ">/dev/full");
    assertEquals(code, 1);
    assertMatch(
      stderr,
      /^rcap: cannot write to standard output: No space left on device.*\n$/,
    );
    assert(pssOf(workload.pid) <= 25 * MIB);
    await assertIntact(workload);
  }
});

const SIGNALS = [
  { signal: "SIGINT", exit: 130 },
  { signal: "SIGTERM", exit: 143 },
] as const;

/** How soon after a signal rcap must end, in milliseconds. */
const PROMPTLY = 250;
/** The same on a slow or busy machine; the work itself would take far longer. */
const GENEROUSLY = 30_000;

/** Measures the duration of a step, in milliseconds. */
async function timed(step: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await step();
  return performance.now() - began;
}

for (const { signal, exit } of SIGNALS) {
  Deno.test(`${signal} ends an observation at once, exit ${exit}`, async () => {
    await using workload = await Workload.start();
    const cold = await workload.anon("cold", 8 * MIB);
    const args = ["scan", `pid:${workload.pid}`, "--cap", "1M"];
    const running = startRcap([...args, "--observe", "10m"]);
    const { child } = running;
    const end = running.end();
    await observed(workload, cold);
    const took = await timed(async () => {
      child.kill(signal);
      await child.status;
    });
    const stderr = "rcap: warning: interrupted; nothing was paged out\n";
    assertEquals(await end, { code: exit, stdout: "", stderr });
    assert(took < GENEROUSLY, `it took ${took} ms`);
    assertResident(workload, cold);
    await assertIntact(workload);
  });
}

/**
 * How long an idle program takes on this machine from a signal to its end, in
 * milliseconds.
 */
async function timeToEnd(): Promise<number> {
  const program = 'Deno.addSignalListener("SIGTERM", () => Deno.exit(0));' +
    'setInterval(() => {}, 60_000); console.log("ready");';
  let best = Infinity;
  for (let turn = 0; turn < 3; turn++) {
    await using child = new Deno.Command(Deno.execPath(), {
      args: ["eval", program],
      stdout: "piped",
    }).spawn();
    const reader = child.stdout.getReader();
    await reader.read();
    const took = await timed(async () => {
      child.kill("SIGTERM");
      await child.status;
    });
    await reader.cancel();
    best = Math.min(best, took);
  }
  return best;
}

/**
 * How rcap may end while it pages out; the second applies if a call takes very long
 * on a busy machine.
 */
const ENDED_WHILE_PAGING_OUT =
  /rcap: (?:warning: interrupted; \S+ had been paged out, every process runs on|waiting for a page-out of process \d+, which nothing can end: .+; all else has ended)\n$/;

testEachPolicy(
  "a signal during a page-out ends rcap within 250 ms, and the victim keeps running",
  async (policy) => {
    const idleBefore = await timeToEnd();
    await using victim = await largeVictim();
    const { workload, cold } = victim;
    const times: number[] = [];
    // The best of several attempts, since the machine may be busy.
    for (const { signal, exit } of [...SIGNALS, SIGNALS[0]]) {
      const { child, end } = await startPageout(victim, policy);
      times.push(
        await timed(async () => {
          child.kill(signal);
          await child.status;
        }),
      );
      const { code, stdout, stderr } = await end;
      assertEquals({ code, stdout }, { code: exit, stdout: "" }, stderr);
      assertMatch(stderr, ENDED_WHILE_PAGING_OUT);
      const left = residentOf(workload.pid, cold.start, cold.end);
      assert(left > 0, "the page-out was over before the signal came");
      assertEquals(stateOf(workload.pid), "S");
      assert(isRunning(workload.pid));
    }
    const shown = times.map((time) => `${Math.round(time)} ms`).join(", ");
    say(`rcap ended ${shown} after the signal`);
    // Subtract the time that the machine itself takes.
    const idle = Math.max(idleBefore, await timeToEnd());
    const promptly = Math.max(PROMPTLY, 10 * idle);
    if (promptly > PROMPTLY) {
      cannotShow(`${PROMPTLY} ms: a program that does nothing takes ${idle}`);
    }
    assert(Math.min(...times) < promptly, shown);
    assert(Math.max(...times) < GENEROUSLY, shown);
    await assertIntact(workload);
  },
);

testEachPolicy(
  "a scan of many processes continues if some of them exit",
  async (policy) => {
    await using _swap = await anySwap({ size: 256 * MIB });
    await using cleanup = new AsyncDisposableStack();
    const workloads: Workload[] = [];
    const cold: Region[] = [];
    for (let i = 0; i < 8; i++) {
      const workload = cleanup.use(await Workload.start());
      cold.push(await workload.anon("cold", 8 * MIB + i * 4 * KIB));
      workloads.push(workload);
    }
    const [one, two, ...others] = workloads;
    const end = startRcap([
      "scan",
      ...workloads.map(({ pid }) => `pid:${pid}`),
      "--cap",
      "24M",
      "--policy",
      policy,
      "--json",
      ...OBSERVE,
    ]).end();
    for (const [i, workload] of workloads.entries()) {
      await observed(workload, cold[i]);
    }
    one.kill("SIGKILL");
    two.kill("SIGKILL");

    const run = await end;
    const report = reportOf(run);
    for (const { pid } of [one, two]) {
      const process = report.processes.find((process) => process.pid === pid);
      assertEquals(process?.error, `process ${pid} has exited`);
      assertEquals(process?.pageouts, []);
    }
    assertEquals(run.code, 0);
    assert(report.rssAfter <= 26 * MIB, `${report.rssAfter} after`);
    for (const workload of others) {
      assertEquals(processOf(report, workload).error, null);
      await assertIntact(workload);
    }
  },
);
