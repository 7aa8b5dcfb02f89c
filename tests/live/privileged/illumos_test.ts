/**
 * Tests of every command on the illumos platform with live Linux processes, through
 * the library of `fixtures/illumos.c`.
 *
 * @module
 */

import { say } from "../../support/say.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";
import * as structs from "../../../ffi/illumos_structs.ts";
import { fieldSize, type Struct } from "../../../ffi/struct.ts";
import type {
  InspectReport,
  PagesReport,
} from "../../../lib/oneshot/inspect.ts";
import type { ScanReport } from "../../../lib/oneshot/scan_once.ts";
import { VARIABLES } from "../../../lib/platform/environment.ts";
import type { Finding } from "../../../lib/platform/platform.ts";
import { cap, Place, QUICKLY, TestDaemon } from "../../support/daemon.ts";
import {
  assertFree,
  controlOf,
  illumosForTests,
  stopsIn,
} from "../../support/illumos.ts";
import {
  assertIntact,
  assertResident,
  KIB,
  MIB,
  requireRoot,
} from "../../support/live.ts";
import { rcap, rcapJson, type Run, startRcap } from "../../support/rcap.ts";
import { anySwap } from "../../support/swap.ts";
import { residentOf, rssOf, until, Workload } from "../../support/workload.ts";

requireRoot();

const illumos = await illumosForTests();

/** Runs rcap as on illumos. */
async function onIllumos(...args: string[]): Promise<Run> {
  return await rcap(args, { env: illumos.env() });
}

Deno.test("the structure layouts match a C compiler's", () => {
  const { symbols, close } = openLayouts();
  const size = new Int32Array(1);
  const offsetOf = (field: string) =>
    symbols.rcap_test_layout(
      new TextEncoder().encode(`${field}\0`),
      new Uint8Array(size.buffer),
    );
  const tables: Struct[] = [
    structs.PRPAGEHEADER,
    structs.PRASMAP,
    structs.PRXMAP,
    structs.PSINFO,
    { ...structs.STAT, name: "stat_t" },
    { ...structs.SIGACTION, name: "sigaction_t" },
    structs.SWAPENT,
    structs.FLOCK,
  ];
  for (const { name, size: all, fields } of tables) {
    assertEquals([offsetOf(name), size[0]], [0, all], name);
    for (const [field, [offset, kind]] of Object.entries(fields)) {
      const place = offsetOf(`${name}.${field}`);
      assertEquals([place, size[0]], [offset, fieldSize(kind)], field);
    }
  }
  close();
});

function openLayouts() {
  const library = Deno.dlopen(illumos.library, {
    rcap_test_layout: { parameters: ["buffer", "buffer"], result: "i32" },
  });
  return { symbols: library.symbols, close: () => library.close() };
}

/** Polls a process until disposed, and records when it was seen stopped. */
class Watch implements AsyncDisposable {
  /** The times between two moments at which it was seen stopped. */
  readonly stopped: { after: number; before: number }[] = [];
  readonly #end = new AbortController();
  readonly #done: Promise<void>;

  constructor(pid: number) {
    this.#done = this.#run(pid);
  }

  async #run(pid: number): Promise<void> {
    while (!this.#end.signal.aborted) {
      const after = Date.now();
      const { state } = controlOf(pid);
      const before = Date.now();
      if ("tT".includes(state)) this.stopped.push({ after, before });
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await this.#done;
  }
}

Deno.test("a process is brought under its cap; hot memory stays, and the process is stopped only while it is controlled", async () => {
  await using _swap = await anySwap({ size: 512 * MIB });
  await using workload = await Workload.start({ name: "victim" });
  const { pid } = workload;
  const cold = await workload.anon("cold", 96 * MIB);
  const hot = await workload.anon("hot", 16 * MIB);
  await workload.hot("hot");
  const log = illumos.newLog();
  const cap = rssOf(pid) - 64 * MIB;
  const watch = new Watch(pid);
  const { code, json, stderr } = await rcapJson<ScanReport>(
    ["scan", `pid:${pid}`, "--cap", `${cap}`],
    { env: illumos.env({ log }) },
  );
  await watch[Symbol.asyncDispose]();
  assertEquals(code, 0, stderr);
  const [report] = json.processes;
  assertEquals(
    [json.pagedata, json.capMet, json.workingSetToo, report.error],
    ["proc", true, false, null],
  );
  assert(rssOf(pid) <= cap + 4 * MIB, `${rssOf(pid)} is over ${cap}`);
  assertResident(workload, hot);
  assert(residentOf(pid, cold.start, cold.end) <= 36 * MIB);
  assertFree(pid, "after a scan");
  await assertIntact(workload);

  const stops = stopsIn(log);
  // Once to check whether it may be scanned, once to scan it.
  assertEquals(stops.length, 2);
  assert(watch.stopped.length > 0, "it was seen while it was controlled");
  // This clock has milliseconds, the other one microseconds.
  const strays = watch.stopped.filter(({ after, before }) =>
    !stops.some(({ from, to }) => from - 1 <= before && after <= to + 1)
  );
  assertEquals(strays, []);
  const longest = Math.max(...stops.map(({ from, to }) => to - from));
  say(
    `stopped for ${longest.toFixed(1)} ms at the longest, to page out ${
      json.effective! / MIB
    } MiB`,
  );
});

Deno.test("a dry run plans and stops no process", async () => {
  await using workload = await Workload.start();
  await workload.anon("cold", 8 * MIB);
  const log = illumos.newLog();
  const { pid } = workload;
  const { json, code } = await rcapJson<ScanReport>(
    ["scan", `${pid}`, "--excess", "4M", "--dry-run", "--observe", "200ms"],
    { env: illumos.env({ log }) },
  );
  assertEquals([code, json.dryRun, json.effective], [0, true, null]);
  assert(json.attempted >= 4 * MIB);
  assertEquals(stopsIn(log), []);
});

Deno.test("several processes count by their RSS, since proportional sizes are unknown", async () => {
  await using first = await Workload.start();
  await using second = await Workload.start();
  const { json } = await rcapJson<ScanReport>(
    ["scan", `${first.pid}`, `${second.pid}`, "--excess", "1M", "--dry-run"]
      .concat("--observe", "0"),
    { env: illumos.env() },
  );
  const sum = json.processes.reduce((sum, { rss }) => sum + (rss ?? 0), 0);
  assertEquals(json.accounting, "rss");
  // Each is read twice.
  assert(Math.abs(json.rss - sum) < MIB, `${json.rss} of ${sum}`);
});

Deno.test("a stopped process stays stopped", async () => {
  await using _swap = await anySwap({ size: 64 * MIB });
  await using workload = await Workload.start();
  await workload.anon("cold", 8 * MIB);
  const { pid } = workload;
  workload.kill("SIGSTOP");
  await until(() => controlOf(pid).state === "T", "it to stop");
  const { code } = await onIllumos("scan", `${pid}`, "--excess", "4M");
  assertEquals([code, controlOf(pid)], [0, { state: "T", tracer: 0 }]);
  workload.kill("SIGCONT");
  await assertIntact(workload);
});

Deno.test("inspect shows mappings, and pages on request", async () => {
  await using workload = await Workload.start();
  const cold = await workload.anon("cold", 4 * MIB);
  const hot = await workload.anon("hot", 4 * MIB);
  const empty = await workload.reserve("empty", 64 * KIB);
  const shared = await workload.shm("shared", 2 * MIB);
  await workload.lock("cold");
  await workload.hot("hot");
  const { pid } = workload;
  const env = illumos.env();
  const { json } = await rcapJson<InspectReport>(
    ["inspect", `${pid}`, "--observe", "500ms"],
    { env },
  );
  assertEquals([json.pid, json.pagedata], [pid, "proc"]);
  const at = ({ start }: { start: bigint }) =>
    json.mappings.find((mapping) => BigInt(mapping.start) === start)!;
  const figures = (region: { start: bigint }) => {
    const { size, rss, anon, referenced, locked, perm, verdict } = at(region);
    return { size, rss, anon, referenced, locked, perm, verdict };
  };
  const common = { size: 4 * MIB, rss: 4 * MIB, anon: 4 * MIB, perm: "rw-p" };
  assertEquals(figures(cold), {
    ...common,
    referenced: 0,
    locked: 4 * MIB,
    verdict: "cold",
  });
  assertEquals(figures(hot), {
    ...common,
    referenced: 4 * MIB,
    locked: 0,
    verdict: "hot",
  });
  assertEquals(at(empty).verdict, "nonresident");
  assertEquals(at(shared).perm, "rw-s");
  const names = json.mappings.map(({ name }) => name);
  assert(names.includes("[heap]") && names.includes("[stack]"));
  assert(names.some((name) => name.endsWith("/libc.so.6")), names.join());

  const pages = await rcapJson<PagesReport>(
    ["inspect", `${pid}`, "--observe", "500ms", "--pages"]
      .concat(hot.start.toString(16)),
    { env },
  );
  assertMatch(pages.json.pages, /^[rm]{1024}$/);
  const none = await rcapJson<PagesReport>(
    ["inspect", `${pid}`, "--observe", "500ms", "--pages"]
      .concat(empty.start.toString(16)),
    { env },
  );
  assertEquals(none.json.pages, ".".repeat(16));
});

Deno.test("projects and zones are selectors; cgroups are not", async () => {
  Deno.writeTextFileSync(
    illumos.projects,
    "system:0::::\nweb:54321::::rcap.max-rss=1048576\n",
  );
  await using workload = await Workload.start({ uid: 54_321 });
  const { pid } = workload;
  for (
    const selector of [
      "project:web",
      "project:54321",
      "zone:zone54321",
      "zone:54321",
      "user:54321",
      "exe:*/perl*",
      `tree:${pid}`,
    ]
  ) {
    const { stdout, stderr } = await onIllumos(
      ...["scan", selector, "--cap", "1P", "-H", "-o", "pid"],
    );
    assert(stdout.split("\n").includes(`${pid}`), `${selector}: ${stderr}`);
  }
  const cases: [selector: string, code: number, message: string][] = [
    [
      "project:no",
      2,
      `there is no project "no"; projects -l lists the projects`,
    ],
    [
      "zone:no",
      2,
      `there is no zone "no"; zoneadm list lists the running zones`,
    ],
    ["project:999", 5, `no process matches selector "project:999"`],
    ["cgroup:*", 2, "cgroups are a Linux feature"],
    ["unit:ssh", 2, "cgroups are a Linux feature"],
    ["web", 2, "exe:GLOB, project:NAME, zone:NAME"],
  ];
  for (const [selector, code, message] of cases) {
    const run = await onIllumos("scan", selector, "--cap", "1P");
    assertEquals([run.code, run.stdout], [code, ""], selector);
    assert(run.stderr.includes(message), run.stderr);
  }
});

Deno.test("system processes, zombies and rcap itself are never scanned", async () => {
  await using workload = await Workload.start();
  const zombie = await workload.zombie();
  const cases: [selector: string, message: string][] = [
    ["2", "process 2 (kthreadd) is a kernel thread"],
    [`${zombie}`, `process ${zombie} (perl) is a zombie`],
  ];
  for (const [selector, message] of cases) {
    const run = await onIllumos("scan", selector, "--cap", "1K");
    assertEquals([run.code, run.stdout], [5, ""], selector);
    assert(run.stderr.includes(message), run.stderr);
  }
  const all = await onIllumos(
    ...["scan", "user:0", "--cap", "1P", "-H", "-o", "pid,comm"],
  );
  const rows = all.stdout.trim().split("\n").map((row) => row.split("\t"));
  assert(rows.length > 1);
  const never = rows.filter(([pid, comm]) =>
    pid === "2" || pid === `${zombie}` || comm.startsWith("kworker")
  );
  assertEquals(never, []);
});

Deno.test("doctor knows the platform", async () => {
  Deno.writeTextFileSync(illumos.projects, "web:1::::rcap.max-rss=1G\n");
  const { code, json } = await rcapJson<{ capabilities: Finding[] }>(
    ["doctor"],
    { env: illumos.env() },
  );
  assertEquals(code, 0);
  const status = (name: string) =>
    json.capabilities.find((finding) => finding.name === name)?.status;
  for (
    const name of [
      "libc",
      "libproc",
      "privileges",
      "psinfo",
      "pagedata",
      "xmap",
      "descriptors",
    ]
  ) assertEquals(status(name), "ok", name);
  assertEquals(status("projects"), "degraded");
  const table = await onIllumos("doctor");
  assertMatch(
    table.stdout,
    /projects +degraded +0 caps in .*rcap\.max-rss=1G is not a valid cap/,
  );

  // A file that is not a library, and a library that lacks functions.
  for (const [library, name] of [["/no/such.so", "libc"], ["libm.so.6", ""]]) {
    const env = { ...illumos.env(), RCAP_ILLUMOS_LIBPROC: library };
    const broken = await rcap(["doctor", "-H", "-o", "name,status"], { env });
    assertEquals(broken.code, 4, name);
    assertMatch(broken.stdout, /libproc\tmissing/);
    const scan = await rcap(["scan", "1", "--cap", "1P"], { env });
    assertEquals(scan.code, 4);
    assertMatch(scan.stderr, /cannot be used: /);
  }
});

Deno.test("the environment chooses the platform, or a message says what is wrong", async () => {
  const cases: [env: Record<string, string>, message: string][] = [
    [
      { RCAP_PLATFORM: "solaris9" },
      `RCAP_PLATFORM: "solaris9" is not a platform; choose linux or illumos`,
    ],
    [
      { RCAP_PLATFORM: "illumos" },
      "RCAP_PLATFORM is illumos and RCAP_ILLUMOS_LIBC is not set",
    ],
  ];
  for (const [env, message] of cases) {
    const run = await rcap(["doctor"], { env });
    assertEquals([run.code, run.stdout], [2, ""]);
    assert(run.stderr.includes(message), run.stderr);
  }
  const linux = await rcap(["doctor", "-H", "-o", "name"], {
    env: { RCAP_PLATFORM: "linux" },
  });
  assert(linux.stdout.includes("pidfd"));
});

Deno.test("a program with file capabilities loads no libraries from its caller's environment", async () => {
  // A place where files may have capabilities: /tmp may be mounted nosuid.
  const folder = Deno.makeTempDirSync({ dir: "/var/tmp", prefix: "rcap-" });
  using cleanup = new DisposableStack();
  cleanup.defer(() => Deno.removeSync(folder, { recursive: true }));
  Deno.chmodSync(folder, 0o777);
  const program = `${folder}/deno`;
  Deno.copyFileSync(Deno.execPath(), program);
  const open = new URL("../../../lib/platform/open.ts", import.meta.url);
  const script = `import { operatingSystem } from "${open}";
try {
  operatingSystem();
} catch (error) {
  console.log(error.exitCode, error.message);
}`;
  const run = async (uid: number) => {
    const { stdout, stderr } = await new Deno.Command(program, {
      args: ["eval", "--no-lock", script],
      env: { ...illumos.env(), DENO_DIR: `${folder}/cache` },
      uid,
      gid: uid,
    }).output();
    const text = new TextDecoder().decode(stdout) +
      new TextDecoder().decode(stderr);
    // Its cache is empty.
    return text.replaceAll(/^Download .*\n/gm, "");
  };
  Deno.chmodSync(program, 0o4755);
  // Root gains nothing by it.
  assertEquals(await run(0), "");
  assertMatch(
    await run(54_321),
    /^4 RCAP_PLATFORM names libraries to load, which/,
  );
});

Deno.test("help and messages match the platform", async () => {
  const { stdout } = await onIllumos("scan", "--help");
  assert(stdout.includes("project:NAME") && !stdout.includes("cgroup:"));
  assertMatch(stdout, /stops one only while it is paged out/);
  assertMatch(stdout, /choices: "auto",\s+"proc"/);
  const { code, stderr } = await onIllumos(
    ...["scan", "1", "--cap", "1P", "--pagedata", "pte"],
  );
  assertEquals(code, 2);
  assert(stderr.includes("Allowed choices are auto, proc"), stderr);
});

Deno.test("every call goes through the libraries of the platform, those of the service too", async () => {
  Deno.writeTextFileSync(illumos.projects, "system:0::::\n");
  await using workload = await Workload.start();
  await workload.anon("cold", 4 * MIB);
  const { loaded, facts, error, findings } = await illumos.driven<{
    loaded: string[];
    facts: boolean[];
    error: string | null;
    findings: string[];
  }>("libraries", { pids: [workload.pid] });
  assertEquals(loaded, [illumos.library]);
  assertEquals(facts.indexOf(false), -1, facts.join());
  assertEquals(error, null);
  assert(!findings.includes("missing"));
  await assertIntact(workload);
});

Deno.test("without root, only a user's own processes are accessible", async () => {
  Deno.writeTextFileSync(illumos.projects, "");
  await using workload = await Workload.start();
  const options = { uid: 54_322, env: illumos.env() };
  const { pid } = workload;
  for (
    const args of [["scan", `${pid}`, "--cap", "1K"], ["inspect", `${pid}`]]
  ) {
    const { code, stderr } = await rcap(args, options);
    assertEquals(code, 4, stderr);
    assertMatch(
      stderr,
      /access denied .*; run as root, or with the privileges/,
    );
  }
});

Deno.test("the daemon runs unchanged on the platform", async () => {
  await using _swap = await anySwap({ size: 512 * MIB });
  await using workload = await Workload.start({ name: "capped", uid: 54_323 });
  const { pid } = workload;
  const cold = await workload.anon("cold", 64 * MIB);
  const folder = Deno.makeTempDirSync({ prefix: "rcap-" });
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => Deno.removeSync(folder, { recursive: true }));
  const config = `${folder}/rcap.toml`;
  Deno.writeTextFileSync(
    config,
    `[daemon]
sample_interval = "500ms"
[[cap]]
name = "capped"
select = ["project:54323"]
max_rss = "32M"
`,
  );
  const log = illumos.newLog();
  const daemon = startRcap(
    ["run", "--config", config, "--state-dir", `${folder}/state`],
    { env: illumos.env({ log }) },
  );
  cleanup.defer(async () => {
    await daemon.child.status;
  });
  await until(
    () => residentOf(pid, cold.start, cold.end) <= 32 * MIB,
    "the daemon to page out",
  );
  // It reads its configuration again and continues.
  daemon.child.kill("SIGHUP");
  await new Promise((resolve) => setTimeout(resolve, 500));
  daemon.child.kill("SIGTERM");
  const { code, stderr } = await daemon.end();
  assertEquals(code, 0, stderr);
  assertFree(pid, "after the daemon");
  assert(stopsIn(log).length > 0);
  await assertIntact(workload);
});

Deno.test("the daemon keeps caps of projects, and caps of its configuration win", async () => {
  await using _swap = await anySwap({ size: 512 * MIB });
  await using one = await Workload.start({ name: "one", uid: 54_324 });
  await using two = await Workload.start({ name: "two", uid: 54_325 });
  const cold = await one.anon("cold", 48 * MIB);
  await two.anon("cold", 16 * MIB);
  using place = new Place();
  const projects = `${place.folder}/project`;
  const lines = (size: number) =>
    `one:54324::::rcap.max-rss=${size}\ntwo:54325::::rcap.max-rss=${size}\n`;
  Deno.writeTextFileSync(projects, lines(2 ** 30));
  await using daemon = await TestDaemon.start({
    place,
    config: QUICKLY + cap("two", ["comm:two"], "1G"),
    env: { ...illumos.env(), [VARIABLES.projects]: projects },
  });
  const { groups } = daemon.state();
  assertEquals(groups.map(({ name }) => name), ["two", "one"]);
  // The file is read again when it changes.
  Deno.writeTextFileSync(projects, lines(24 * MIB));
  await until(
    () => residentOf(one.pid, cold.start, cold.end) <= 24 * MIB,
    "the cap of the project to be kept",
  );
  assertEquals(daemon.group("two").cap, 2 ** 30);
  const { code, stderr } = await daemon.stop();
  assertEquals(code, 0, stderr);
  assertMatch(
    stderr,
    /the cap of project "two" in \S+ does not count: cap "two" at \S+ wins/,
  );
  await assertIntact(one);
  await assertIntact(two);
});
