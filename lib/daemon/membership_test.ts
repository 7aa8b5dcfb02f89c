import { assert, assertEquals } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import "../../tests/deadline.ts";
import { parseSelector } from "../collection/selectors.ts";
import { openPlatform } from "../platform/open.ts";
import type { Platform, ProcessEntry } from "../platform/platform.ts";
import { Membership } from "./membership.ts";

// Opened before the first test, which would seem to leak it otherwise.
libc();

/** A process that only waits; ended by disposal. */
function waiting(): AsyncDisposable & { pid: number } {
  let hasEnded = false;
  const child = new Deno.Command("sleep", { args: ["600"] }).spawn();
  return {
    pid: child.pid,
    async [Symbol.asyncDispose]() {
      if (!hasEnded) child.kill("SIGKILL");
      hasEnded = true;
      await child.status;
    },
  };
}

/** This machine's processes, with every closer look at one of them counted. */
function counting(platform: Platform): {
  platform: Platform;
  looks: Map<number, number>;
} {
  const looks = new Map<number, number>();
  const counted =
    <T>(look: (entry: ProcessEntry) => T) => (entry: ProcessEntry) => {
      looks.set(entry.pid, (looks.get(entry.pid) ?? 0) + 1);
      return look(entry);
    };
  return {
    looks,
    platform: {
      pagedata: platform.pagedata,
      granularity: platform.granularity,
      pageSize: platform.pageSize,
      listPids: () => platform.listPids(),
      listProcesses: () => platform.listProcesses(),
      readProcess: (pid) => platform.readProcess(pid),
      userOf: counted((entry) => platform.userOf(entry)),
      executableOf: counted((entry) => platform.executableOf(entry)),
      cgroupsOf: counted((entry) => platform.cgroupsOf(entry)),
      open: (entry) => platform.open(entry),
      memory: () => platform.memory(),
      [Symbol.dispose]: () => {},
    },
  };
}

function caps(...selectors: string[][]) {
  return selectors.map((select) => ({ select: select.map(parseSelector) }));
}

const pidsOf = (members: readonly ProcessEntry[]) =>
  members.map(({ pid }) => pid);

Deno.test("unchanged processes are not looked at again, but now and then", async () => {
  await using process = waiting();
  using real = openPlatform("smaps", () => {});
  const { platform, looks } = counting(real);
  const membership = new Membership(platform, caps([`user:${Deno.uid()}`]));
  const looksIn = async (passes: number) => {
    const before = looks.get(process.pid) ?? 0;
    for (let pass = 0; pass < passes; pass++) {
      const [members] = await membership.refresh();
      assert(pidsOf(members).includes(process.pid));
    }
    return (looks.get(process.pid) ?? 0) - before;
  };
  // It may still change its user or cgroup.
  assertEquals(await looksIn(4), 4);
  assertEquals(await looksIn(16), 2);
});

Deno.test("a process that belongs to two caps belongs to the first", async () => {
  await using process = waiting();
  using platform = openPlatform("smaps", () => {});
  const membership = new Membership(
    platform,
    caps(["comm:no-such-name"], [`pid:${process.pid}`], ["comm:sleep"]),
  );
  const [none, first, second] = await membership.refresh();
  assertEquals(none, []);
  assertEquals(pidsOf(first), [process.pid]);
  assert(!pidsOf(second).includes(process.pid));
});

Deno.test("a tree grows and shrinks", async () => {
  using platform = openPlatform("smaps", () => {});
  const membership = new Membership(platform, caps([`tree:${Deno.pid}`]));
  const process = waiting();
  const [grown] = await membership.refresh();
  // The tree is rcap's own here, which is never a member itself.
  assert(pidsOf(grown).includes(process.pid));
  assert(!pidsOf(grown).includes(Deno.pid));
  await process[Symbol.asyncDispose]();
  const [shrunk] = await membership.refresh();
  assert(!pidsOf(shrunk).includes(process.pid));
});

Deno.test("a pid in a selector means the process that has it now, and no later one", async () => {
  using platform = openPlatform("smaps", () => {});
  const first = waiting();
  const { pid } = first;
  const select = caps([`pid:${pid}`], ["comm:sleep"]);
  const membership = new Membership(platform, select);
  assertEquals(pidsOf((await membership.refresh())[0]), [pid]);
  await first[Symbol.asyncDispose]();
  assertEquals((await membership.refresh())[0], []);

  // Start times are in ticks of 10 ms: pids are never reused as fast as that.
  await new Promise((resolve) => setTimeout(resolve, 50));
  await using second = await processWithPid(pid);
  const [named, others] = await membership.refresh();
  assertEquals(named, []);
  assert(pidsOf(others).includes(second.pid));
  // A reload asks for the same, and gets the same.
  const reloaded = new Membership(platform, select, membership);
  assertEquals((await reloaded.refresh())[0], []);
  const anew = new Membership(platform, select);
  assertEquals(pidsOf((await anew.refresh())[0]), [pid]);
});

/** A process with a pid that is free: `ns_last_pid` of proc_sys_kernel(5). */
async function processWithPid(pid: number) {
  for (let attempt = 0; attempt < 200; attempt++) {
    Deno.writeTextFileSync("/proc/sys/kernel/ns_last_pid", `${pid - 1}`);
    const process = waiting();
    if (process.pid === pid) return process;
    // Somebody else was quicker.
    await process[Symbol.asyncDispose]();
  }
  throw new Error(`no process has got pid ${pid}`);
}
