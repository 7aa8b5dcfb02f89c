/**
 * Tests of idle memory that goes, and of guard rails, on live processes.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import type { StatReport } from "../../lib/service/stat.ts";
import { Cgroup, cgroupMounts, uniqueWord } from "../support/cgroups.ts";
import { quicklyBy, TestDaemon } from "../support/daemon.ts";
import { assertIntact, diskFile, MIB, requireRoot } from "../support/live.ts";
import { rcap, rcapJson } from "../support/rcap.ts";
import { zramSwap } from "../support/swap.ts";
import { majorFaults, rssOf, until, Workload } from "../support/workload.ts";

requireRoot();

// Opened before the first test, which would otherwise appear to leak it.
libc();

/** The policy is `clock`, which a cap with `idle` does not use. */
const QUICKLY = quicklyBy("clock");

/** The configuration of a cap that has these keys, in TOML. */
function capWith({ pid }: Workload, ...keys: string[]): string {
  return `${QUICKLY}[[cap]]
name = "one"
select = ["pid:${pid}"]
${keys.join("\n")}
`;
}

/** A process with a cold part of 96 MiB and a hot one of 32 MiB. */
async function startVictim(): Promise<Workload> {
  await using held = new AsyncDisposableStack();
  const victim = held.use(await Workload.start());
  await victim.small();
  await victim.anon("cold", 96 * MIB);
  await victim.anon("hot", 32 * MIB);
  await victim.hot("hot");
  held.move();
  return victim;
}

/** Waits until next to nothing of a region is in memory. */
async function untilGone(victim: Workload, name: string): Promise<void> {
  const began = performance.now();
  while (await victim.resident(name) >= MIB) {
    assert(performance.now() - began < 60_000, `${name} stays`);
    await wait(0.2);
  }
}

const wait = (seconds: number) =>
  new Promise((resolve) => setTimeout(resolve, seconds * 1000));

Deno.test("what was not used for the time goes without a cap, and nothing else; set gives it one", async () => {
  await using _swap = await zramSwap({ size: 512 * MIB });
  await using victim = await startVictim();
  await using daemon = await TestDaemon.start({
    config: capWith(victim, 'idle = "2s"'),
  });
  await untilGone(victim, "cold");
  await wait(5);
  assert(await victim.resident("hot") >= 31 * MIB, "the hot part stays");
  const { cap, warning } = daemon.group("one");
  assertEquals([cap, warning], [null, null]);

  const { json } = await rcapJson<StatReport>([
    "stat",
    "1",
    "1",
    "--json",
    ...daemon.place.stateArgs,
  ]);
  assertEquals(json.groups[0].cap, null);
  const stat = (...args: string[]) =>
    rcap(["stat", "1", "1", ...args, ...daemon.place.stateArgs]);
  const bare = await stat("-H", "-o", "name,cap");
  assertEquals(bare.stdout, "one\t-\n");

  const set = await rcap(["set", "one", "24M", ...daemon.place.stateArgs]);
  assertEquals(set.code, 0, set.stderr);
  assertStringIncludes(
    set.stdout,
    "one: the cap is 24.0M now, there was none;",
  );
  assertEquals(daemon.group("one").cap, 24 * MIB);
  const back = await rcap(["set", "one", "default", ...daemon.place.stateArgs]);
  assertStringIncludes(back.stdout, "one: there is no cap now, it was 24.0M;");
  assertEquals(daemon.group("one").cap, null);
  await assertIntact(victim);
});

Deno.test("the group never gets smaller than min_rss, and stat says why it stays", async () => {
  await using _swap = await zramSwap({ size: 512 * MIB });
  await using victim = await startVictim();
  await using daemon = await TestDaemon.start({
    config: capWith(victim, 'idle = "2s"', 'min_rss = "80M"'),
  });
  await daemon.untilGroup(
    "one",
    ({ rss, heldBack }) => rss < 86 * MIB && heldBack.length > 0,
    "the group to be nearly as small as it may get",
  );
  for (let second = 0; second < 5; second++) {
    await wait(1);
    // The kernel's cheap counters are off by some pages for each processor.
    assert(rssOf(victim.pid) >= 79.5 * MIB, `${rssOf(victim.pid) / MIB} MiB`);
  }
  const { rss, heldBack, warning } = daemon.group("one");
  assert(rss >= 80 * MIB, `${rss / MIB} MiB`);
  assertEquals(heldBack.map(({ by }) => by), ["min_rss"]);
  assertStringIncludes(warning ?? "", "one: held back by min_rss: 8");
  const { stdout } = await rcap(["stat", "1", "1", ...daemon.place.stateArgs]);
  assertStringIncludes(stdout, heldBack[0].why);
  await assertIntact(victim);
});

for (const only of ["anon", "file"] as const) {
  Deno.test(`with only = "${only}" nothing else goes`, async () => {
    await using _swap = await zramSwap({ size: 512 * MIB });
    await using victim = await startVictim();
    using file = await diskFile(48 * MIB);
    await victim.file("mapped", { path: file.path, shared: true });
    await using _daemon = await TestDaemon.start({
      config: capWith(victim, 'idle = "2s"', `only = "${only}"`),
    });
    const [goes, stays, size] = only === "anon"
      ? ["cold", "mapped", 48 * MIB]
      : ["mapped", "cold", 96 * MIB];
    await untilGone(victim, goes);
    await wait(5);
    assertEquals(await victim.resident(stays), size);
    if (only === "file") {
      assertEquals(swapOf(victim.pid), 0, "nothing is in swap");
    }
    await assertIntact(victim);
  });
}

/** How much of a process is in swap, in bytes: `VmSwap` of proc_pid_status(5). */
function swapOf(pid: number): number {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return Number(/^VmSwap:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

Deno.test("a rate of page-outs is kept, counted in bytes of swap", async () => {
  await using _swap = await zramSwap({ size: 512 * MIB });
  await using victim = await startVictim();
  const RATE = 8;
  await using daemon = await TestDaemon.start({
    config: capWith(victim, 'idle = "2s"', `max_pageout_rate = "${RATE}M/s"`),
  });
  await until(() => swapOf(victim.pid) > 0, "the first page-out");
  const [began, first] = [performance.now(), swapOf(victim.pid)];
  assert(first <= 2 * RATE * MIB, `${first / MIB} MiB at once`);
  let last = first;
  const seen = new Set<string>();
  while (last < 90 * MIB) {
    await wait(0.5);
    last = swapOf(victim.pid);
    const seconds = (performance.now() - began) / 1000;
    const most = RATE * (seconds + 2) * MIB;
    assert(last - first <= most, `${(last - first) / MIB} MiB in ${seconds} s`);
    for (const { by } of daemon.group("one").heldBack) seen.add(by);
    assert(seconds < 60, `only ${last / MIB} MiB in ${seconds} s`);
  }
  assertEquals([...seen], ["max_pageout_rate"]);
  assert(await victim.resident("hot") >= 31 * MIB);
  await assertIntact(victim);
});

Deno.test("swap writes stop at their limit, and files still go", async () => {
  await using _swap = await zramSwap({ size: 512 * MIB });
  await using victim = await startVictim();
  await using daemon = await TestDaemon.start({
    config: capWith(victim, 'idle = "2s"', 'max_swap_writes = "40M/day"'),
  });
  await daemon.untilGroup(
    "one",
    ({ heldBack }) => heldBack.some(({ by }) => by === "max_swap_writes"),
    "the limit to be reached",
  );
  using file = await diskFile(48 * MIB);
  await victim.file("mapped", { path: file.path, shared: true });
  await untilGone(victim, "mapped");
  const swapped = swapOf(victim.pid);
  assert(swapped > 30 * MIB && swapped <= 40 * MIB, `${swapped / MIB} MiB`);
  await assertIntact(victim);
});

Deno.test("a process that uses its memory again every few seconds is left alone, for longer each time", async () => {
  await using _swap = await zramSwap({ size: 512 * MIB });
  await using victim = await startVictim();
  await using daemon = await TestDaemon.start({
    config: capWith(victim, 'idle = "2s"'),
  });
  const { heldBack, warning } = await (async () => {
    for (let use = 0; use < 20; use++) {
      await wait(4);
      await victim.checksum("cold");
      await wait(1.5);
      const group = daemon.group("one");
      if (group.heldBack.length > 0) return group;
    }
    throw new Error(`never held back: ${JSON.stringify(daemon.group("one"))}`);
  })();
  assertEquals(heldBack.map(({ by }) => by), ["refaults"]);
  assertStringIncludes(heldBack[0].why, "held back by refaults: ");
  assertStringIncludes(warning ?? "", "; it is left alone until ");
  // From now on its memory stays, although it is idle for long enough.
  const faults = majorFaults(victim.pid);
  for (let use = 0; use < 4; use++) {
    await wait(4);
    assert(await victim.resident("cold") >= 95 * MIB, "it is left alone");
    await victim.checksum("cold");
  }
  assert(majorFaults(victim.pid) - faults < 64);
  await assertIntact(victim);
});

const mounts = cgroupMounts();
const unified = mounts.find(({ version }) => version === 2);
const memory = mounts.find(({ version, options }) =>
  version === 1 && options.includes("memory")
);

Deno.test({
  name:
    "while a process of its cgroup waits for memory, nothing of a group goes, and others are not held back",
  // The process that waits has another cgroup for its limit than for the pressure. With
  // one for both, the kernel would page out its neighbour, too.
  ignore: !unified || !memory,
  async fn() {
    await using _swap = await zramSwap({ size: 512 * MIB });
    const word = uniqueWord();
    await using own = new Cgroup(unified!.path, word);
    await using limited = new Cgroup(memory!.path, word);
    Deno.writeTextFileSync(
      `${limited.path}/memory.limit_in_bytes`,
      `${24 * MIB}`,
    );
    await using victim = await Workload.start();
    await victim.small();
    await victim.anon("cold", 32 * MIB);
    own.put(victim);
    await using other = await Workload.start();
    await other.small();
    await other.anon("cold", 32 * MIB);
    const stalled = await Workload.start();
    await using held = new AsyncDisposableStack();
    held.use(stalled);
    await stalled.small();
    own.put(stalled);
    limited.put(stalled);
    await stalled.anon("all", 64 * MIB);
    await stalled.hot("all");
    await until(
      () => pressureOf(own) > 10,
      "the process to wait for its memory",
    );
    await using daemon = await TestDaemon.start({
      config: `${QUICKLY}
[[cap]]
name = "one"
select = ["cgroup:/${word}"]
idle = "2s"
max_pressure = "2%"

[[cap]]
name = "two"
select = ["pid:${other.pid}"]
idle = "2s"
`,
    });
    await untilGone(other, "cold");
    const { heldBack } = await daemon.untilGroup(
      "one",
      ({ heldBack }) => heldBack.length > 0,
      "the pressure to hold rcap back",
    );
    assertMatch(
      heldBack[0].why,
      new RegExp(
        `^held back by memory pressure of cgroup /${word}: [0-9.]+ %, at most 2 %$`,
      ),
    );
    await wait(5);
    assertEquals(await victim.resident("cold"), 32 * MIB, "nothing goes");
    assertEquals(daemon.group("two").heldBack, []);
    await held.disposeAsync();
    // The kernel forgets the pressure in less than a minute.
    await untilGone(victim, "cold");
    await daemon.untilGroup(
      "one",
      ({ warning }) => warning === null,
      "the warning to go",
    );
    await assertIntact(victim);
  },
});

/** The share of ten seconds in which some process of a cgroup waited for memory, in percent. */
function pressureOf({ path }: Cgroup): number {
  const text = Deno.readTextFileSync(`${path}/memory.pressure`);
  return Number(/^some avg10=([\d.]+) /.exec(text)?.[1]);
}
