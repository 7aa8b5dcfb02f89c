/**
 * Live tests of what it costs a process to be observed and paged out, as rcap measures
 * it on memory of its own.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { libc } from "../../../ffi/libc.ts";
import { CostMeter } from "../../../lib/platform/linux/memory_costs.ts";
import { median } from "../../../lib/platform/linux/median.ts";
import { MemoryCalls } from "../../../lib/platform/linux/memory_calls.ts";
import { openPagedataSource } from "../../../lib/platform/linux/open_source.ts";
import type { PagedataSource } from "../../../lib/platform/linux/pagedata_source.ts";
import { readProcess } from "../../../lib/platform/linux/process_list.ts";
import { LinuxProcessMemory } from "../../../lib/platform/linux/process_memory.ts";
import { measureReference } from "../../../lib/platform/linux/reference_cost.ts";
import { SmapsSource } from "../../../lib/platform/linux/smaps_source.ts";
import type { PageInCost } from "../../../lib/platform/platform.ts";
import { CProcess } from "../../support/c_program.ts";
import { MIB, requireRoot } from "../../support/live.ts";
import {
  fileSwap,
  swapFree,
  withoutSwap,
  zramSwap,
} from "../../support/swap.ts";

requireRoot();

// Loaded once for all tests.
libc();

/** How often a measurement of rcap's is paired with one in another process. */
const PAIRS = 7;

/** How often the kernel had to wait for a disk for this process: proc_pid_stat(5). */
function majorFaults(): number {
  return readProcess(Deno.pid).majorFaults;
}

/** The descriptors of this process. */
function descriptors(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

function openMeter(source: PagedataSource = new SmapsSource()): CostMeter {
  return new CostMeter(source, new MemoryCalls());
}

function from(
  pageIns: readonly PageInCost[] | undefined,
  where: PageInCost["from"],
): PageInCost[] {
  return (pageIns ?? []).filter((cost) => cost.from === where);
}

Deno.test("the measured cost of a reference is that of another process, within a factor of four", async () => {
  using source = openPagedataSource("pte", () => {});
  const calls = new MemoryCalls();
  await using victim = await CProcess.start("references", "8192");
  const memory = new LinuxProcessMemory(readProcess(victim.pid), {
    source,
    calls,
  });
  const own: number[] = [];
  const its: number[] = [];
  for (let pair = 0; pair < PAIRS; pair++) {
    own.push(await measureReference(source, calls));
    await victim.ask("warm up");
    const usual = Number(await victim.ask("usual"));
    await memory.reset();
    its.push(Number(await victim.ask("after a reset")) - usual);
  }
  const [measured, direct] = [median(own), median(its)];
  assert(direct > 0, `${its}`);
  const ratio = measured / direct;
  assert(ratio > 1 / 4 && ratio < 4, `${own} and ${its}`);
});

Deno.test("it is measured without BPF, too, and nothing is left open", async () => {
  const meter = openMeter();
  assertEquals(meter.reference, undefined);
  const before = descriptors();
  const costs = await meter.measure({ ofPageIns: false });
  assert(costs && costs.reference >= 0 && costs.reference < 1e6);
  assertEquals(costs.pageIns, []);
  assertEquals(meter.reference, costs.reference);
  assertEquals(descriptors(), before);
});

Deno.test("page-ins of files are measured on pages that were read from the disk", async () => {
  await using _noSwap = await withoutSwap();
  const [faults, open] = [majorFaults(), descriptors()];
  const costs = await openMeter().measure({ ofPageIns: true });
  assertEquals(from(costs?.pageIns, "swap"), []);
  const [file] = from(costs?.pageIns, "file");
  assert(file && file.nanoseconds > 1000, JSON.stringify(costs));
  const path = `/sys/class/block/${file.device}`;
  assert(Deno.statSync(path).isDirectory, path);
  assert(majorFaults() - faults >= 8);
  assertEquals(descriptors(), open);
});

Deno.test("page-ins from the swap that is used first are measured, and from the next when that is", async () => {
  await using _noSwap = await withoutSwap();
  const meter = openMeter();
  const measured = async () =>
    from((await meter.measure({ ofPageIns: true }))?.pageIns, "swap");
  assertEquals(await measured(), []);
  const path = `/var/tmp/rcap-swap-${crypto.randomUUID()}`;
  await using _slow = await fileSwap(path, { size: 8 * MIB, priority: 1 });
  const before = swapFree();
  const faults = majorFaults();
  const slow = await measured();
  assertEquals(slow.map(({ device }) => device), [path]);
  assert(majorFaults() - faults >= 8, "pages were read from the disk");
  await using zram = await zramSwap({ size: 8 * MIB, priority: 2 });
  const both = await measured();
  const name = zram.path.slice("/dev/".length);
  assertEquals(both.map(({ device }) => device), [path, name]);
  for (const { nanoseconds } of both) {
    assert(nanoseconds > 1000 && nanoseconds < 1e9, JSON.stringify(both));
  }
  assertEquals(await measured(), both, "nothing new to measure");
  assertEquals(swapFree() - 8 * MIB >= before - MIB / 8, true, "swap is free");
});
