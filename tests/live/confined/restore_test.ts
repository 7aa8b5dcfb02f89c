/**
 * Tests of `rcap restore` on live processes: what comes back, what it then costs the
 * process to use it, and what is refused.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import type { RestoreReport } from "../../../lib/oneshot/restore_once.ts";
import { Cgroup, cgroupMounts, uniqueWord } from "../../support/cgroups.ts";
import {
  assertIntact,
  BRIEFLY,
  MIB,
  requireRoot,
  scanJson,
} from "../../support/live.ts";
import { LockHolder } from "../../support/lock_holder.ts";
import { rcap, rcapJson } from "../../support/rcap.ts";
import { anySwap } from "../../support/swap.ts";
import { majorFaults, Workload } from "../../support/workload.ts";

requireRoot();

/** Pages of a mebibyte. */
const PAGES = 256;

/** What of a process is in swap by its page tables, in bytes. */
function swapOf({ pid }: { pid: number }): number {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return Number(/^VmSwap:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

/** Pages all of a process out that can go. */
async function pageOut({ pid }: { pid: number }): Promise<void> {
  await scanJson([`pid:${pid}`, "--cap", "1M", ...BRIEFLY]);
}

/** How many reads from swap it takes a process to use a region. */
async function readsOfUse(workload: Workload, name: string): Promise<number> {
  const before = majorFaults(workload.pid);
  assert(await workload.checksum(name), `${name} is intact`);
  return majorFaults(workload.pid) - before;
}

function restore(...args: string[]) {
  return rcapJson<RestoreReport>(["restore", ...args]);
}

Deno.test("what is out comes back, and its use takes no read", async () => {
  await using _swap = await anySwap({ size: 512 * MIB });
  await using restored = await Workload.start();
  await using other = await Workload.start();
  for (const workload of [restored, other]) {
    await workload.anon("cold", 64 * MIB);
    await workload.shm("shared", 16 * MIB);
    await pageOut(workload);
    assert(swapOf(workload) >= 64 * MIB, `${swapOf(workload)}`);
  }
  const { code, json, stderr } = await restore(`pid:${restored.pid}`);
  assertEquals(code, 0, stderr);
  const [{ out, requested, outOfReach, error, pid }] = json.processes;
  assertEquals([pid, error, json.isComplete], [restored.pid, null, true]);
  assert(out !== null && out >= 80 * MIB, `${out}`);
  assertEquals(requested + outOfReach, out);
  assert(outOfReach < 4 * MIB, `${outOfReach}`);
  const { swapCachedBefore, swapCachedAfter } = json;
  const grown = (swapCachedAfter ?? 0) - (swapCachedBefore ?? 0);
  assert(grown >= requested * 0.95, `the swap cache grew by ${grown}`);

  for (const [name, mib] of [["cold", 64], ["shared", 16]] as const) {
    const reads = await readsOfUse(restored, name);
    const readsOfOther = await readsOfUse(other, name);
    // Others fault, too: the workload's own code, for instance.
    assert(reads <= mib * PAGES / 50, `${name}: ${reads} reads`);
    assert(readsOfOther >= mib * PAGES / 20, `${name}: only ${readsOfOther}`);
  }
  await assertIntact(restored);
  assert(swapOf(restored) < 4 * MIB, `${swapOf(restored)}`);
});

Deno.test("on a terminal, progress says how much of what is out was asked for", async () => {
  await using _swap = await anySwap({ size: 256 * MIB });
  await using workload = await Workload.start();
  await workload.anon("cold", 32 * MIB);
  await pageOut(workload);
  // script(1) gives it a terminal.
  const { stdout } = await rcap(["restore", `pid:${workload.pid}`], {
    prefix: ["sh", "-c", 'exec script -qec "$*" /dev/null', "sh"],
  });
  assertMatch(stdout, /[\d.]+[KM] of [\d.]+M asked for…\r/);
  assertMatch(stdout, /M was out; the kernel was asked to read /);
});

Deno.test("a limit leaves the rest out, and the exit code says so", async () => {
  await using _swap = await anySwap({ size: 256 * MIB });
  await using workload = await Workload.start();
  await workload.anon("cold", 64 * MIB);
  await pageOut(workload);
  const args = [`pid:${workload.pid}`, "--limit", "16M"];
  const { code, json } = await restore(...args);
  assertEquals(code, 1);
  assert(json.requested <= 16 * MIB, `${json.requested}`);
  assert(json.requested >= 12 * MIB, `${json.requested}`);
  assertEquals(json.isComplete, false);
  assertEquals(json.processes[0].error, "the limit is reached");
  const { stdout } = await rcap(["restore", `pid:${workload.pid}`]);
  assertMatch(
    stdout,
    /^6\d\.\dM was out; the kernel was asked to read 6\d\.\dM\.$/m,
  );
});

Deno.test("nothing is read of processes of which nothing is out", async () => {
  await using workload = await Workload.start();
  await workload.anon("hot", 8 * MIB);
  const { code, json } = await restore(`pid:${workload.pid}`);
  assertEquals(code, 0);
  assertEquals([json.requested, json.processes[0].error], [0, null]);
  assertEquals((await rcap(["restore", "comm:rcap-nobody"])).code, 5);
});

Deno.test("a cgroup at its limit is not pushed beyond it", async () => {
  const mount = cgroupMounts().find(({ version, options }) =>
    version === 1 && options.includes("memory")
  );
  assert(mount, "this test needs the memory controller of cgroup version 1");
  await using _swap = await anySwap({ size: 256 * MIB });
  await using cgroup = new Cgroup(mount.path, uniqueWord());
  const read = (name: string) =>
    Number(Deno.readTextFileSync(`${cgroup.path}/${name}`));
  await using workload = await Workload.start();
  cgroup.put(workload);
  await workload.anon("cold", 64 * MIB);
  await pageOut(workload);
  const limit = read("memory.usage_in_bytes") + 24 * MIB;
  Deno.writeTextFileSync(`${cgroup.path}/memory.limit_in_bytes`, `${limit}`);
  const { code, json } = await restore(`pid:${workload.pid}`);
  assertEquals(code, 1);
  assertMatch(json.processes[0].error!, /cgroup may not use more memory/);
  assert(json.requested >= 8 * MIB, `${json.requested}`);
  assert(json.requested <= 24 * MIB, `${json.requested}`);
  assertEquals(read("memory.failcnt"), 0, "the kernel had to reclaim");
  Deno.writeTextFileSync(`${cgroup.path}/memory.limit_in_bytes`, "-1");
  await assertIntact(workload);
});

Deno.test("a process that holds its lock does not keep restore from ending", async () => {
  await using _swap = await anySwap({ size: 256 * MIB });
  await using holder = await LockHolder.start({ size: 16 * MIB });
  await using workload = await Workload.start();
  await workload.anon("cold", 16 * MIB);
  await pageOut(workload);
  await holder.lock();
  const { code, json } = await restore(
    `pid:${holder.pid}`,
    `pid:${workload.pid}`,
  );
  assertEquals(code, 1);
  const errorOf = (pid: number) =>
    json.processes.find((one) => one.pid === pid)?.error;
  assertMatch(errorOf(holder.pid) ?? "", /does not answer/);
  assertEquals(errorOf(workload.pid), null);
  assert(json.requested >= 16 * MIB, `${json.requested}`);
  await holder.unlock();
});
