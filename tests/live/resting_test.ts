/**
 * Tests of processes that do not run: they are recognized, and lose their memory first.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { openPlatform } from "../../lib/platform/system_testing.ts";
import { AddressSpaces } from "../support/address_spaces.ts";
import { Cgroup, cgroupMounts, uniqueWord } from "../support/cgroups.ts";
import { cap, quicklyBy, TestDaemon } from "../support/daemon.ts";
import { assertIntact, MIB, requireRoot, stateOf } from "../support/live.ts";
import { zramSwap } from "../support/swap.ts";
import { residentOf, until, Workload } from "../support/workload.ts";

requireRoot();

// Opened before the first test, which would otherwise appear to leak it.
libc();

/** Page tables are read, or nothing is. */
function fail(why: string): never {
  throw new Error(why);
}

/** Stops a process; disposal continues it. */
async function stopped(pid: number): Promise<Disposable> {
  Deno.kill(pid, "SIGSTOP");
  await until(() => stateOf(pid) === "T", "it to be stopped");
  return { [Symbol.dispose]: () => Deno.kill(pid, "SIGCONT") };
}

/** How cgroups are frozen, by version, and how it shows that they are. */
const FREEZERS = {
  1: {
    file: "freezer.state",
    freeze: "FROZEN",
    thaw: "THAWED",
    shown: ["freezer.state", /^FROZEN$/m],
  },
  2: {
    file: "cgroup.freeze",
    freeze: "1",
    thaw: "0",
    shown: ["cgroup.events", /^frozen 1$/m],
  },
} as const;

/** Freezes a cgroup; disposal thaws it. */
async function frozen(
  { path }: Cgroup,
  version: 1 | 2,
): Promise<Disposable> {
  const { file, freeze, thaw, shown: [name, pattern] } = FREEZERS[version];
  const write = (text: string) =>
    Deno.writeTextFileSync(`${path}/${file}`, text);
  write(freeze);
  await until(
    () => pattern.test(Deno.readTextFileSync(`${path}/${name}`)),
    "it to be frozen",
  );
  return { [Symbol.dispose]: () => write(thaw) };
}

/** The hierarchies in which cgroups can be frozen. */
function freezers() {
  return cgroupMounts().filter(({ version, options }) =>
    version === 2 || options.includes("freezer")
  );
}

Deno.test("a process that is stopped or frozen is halted", async () => {
  await using workload = await Workload.start();
  using platform = openPlatform("pte", fail);
  const entry = platform.readProcess(workload.pid);
  const memory = platform.open(entry);
  const isHalted = () => memory.isHalted?.();
  assertEquals([memory.isAlone?.(), isHalted()], [true, false]);
  {
    using _stopped = await stopped(workload.pid);
    assertEquals(isHalted(), true);
  }
  await until(() => stateOf(workload.pid) !== "T", "it to go on");
  assertEquals(isHalted(), false);
  assert(freezers().length > 0);
  for (const { path, version } of freezers()) {
    const word = uniqueWord();
    await using outer = new Cgroup(path, word);
    await using inner = new Cgroup(path, `${word}/inner`);
    inner.put(workload);
    assertEquals(isHalted(), false);
    for (const cgroup of [inner, outer]) {
      using _frozen = await frozen(cgroup, version);
      assertEquals(isHalted(), true, cgroup.path);
    }
    assertEquals(isHalted(), false);
    Deno.writeTextFileSync(`${path}/cgroup.procs`, `${workload.pid}`);
  }
  await assertIntact(workload);
});

Deno.test("a process is known not to have run, whatever it is that keeps it", async () => {
  await using workload = await Workload.start();
  await workload.anon("all", 4 * MIB);
  await workload.hot("all");
  using platform = openPlatform("pte", fail);
  const memory = platform.open(platform.readProcess(workload.pid));
  const wait = () => new Promise((resolve) => setTimeout(resolve, 400));
  await memory.read("glance");
  await wait();
  assertEquals(memory.hasRun(), true);
  {
    using _stopped = await stopped(workload.pid);
    await wait();
    await memory.read("glance");
    await wait();
    assertEquals(memory.hasRun(), false);
  }
  await wait();
  assertEquals(memory.hasRun(), true);
});

Deno.test("a process whose address space another one has is not alone", async () => {
  await using spaces = await AddressSpaces.start("clone", 1);
  await using alone = await AddressSpaces.start("views", 1);
  using platform = openPlatform("pte", fail);
  const isAlone = (pid: number) =>
    platform.open(platform.readProcess(pid)).isAlone?.();
  assertEquals(
    [spaces.pid, spaces.other, alone.pid].map(isAlone),
    [false, false, true],
  );
});

for (const how of ["stopped", "frozen"] as const) {
  Deno.test(`memory of a process that is ${how} goes first`, async () => {
    await using _swap = await zramSwap({ size: 512 * MIB });
    await using running = await Workload.start();
    await running.small();
    await running.anon("idle", 64 * MIB);
    await running.anon("hot", 8 * MIB);
    await running.hot("hot");
    await using resting = await Workload.start();
    await resting.small();
    const { start, end } = await resting.anon("all", 64 * MIB);
    await resting.hot("all");
    const [freezer] = freezers().toSorted((a, b) => b.version - a.version);
    await using cgroup = new Cgroup(freezer.path, uniqueWord());
    cgroup.put(resting);
    {
      using _rest = how === "stopped"
        ? await stopped(resting.pid)
        : await frozen(cgroup, freezer.version);
      await using daemon = await TestDaemon.start({
        config: quicklyBy("coldest") +
          cap("two", [`pid:${resting.pid}`, `pid:${running.pid}`], "100M"),
      });
      await daemon.untilGroup(
        "two",
        ({ rss, statistics }) => rss <= 100 * MIB && statistics.effective > 0,
        "the cap to be met",
      );
      assert(await running.resident("idle") === 64 * MIB, "what runs keeps");
      assert(await running.resident("hot") === 8 * MIB);
      const left = residentOf(resting.pid, start, end);
      assert(left < 40 * MIB, `${left}`);
    }
    Deno.writeTextFileSync(
      `${freezer.path}/cgroup.procs`,
      `${resting.pid}`,
    );
    await assertIntact(resting);
    await assertIntact(running);
  });
}
