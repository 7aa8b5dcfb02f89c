/**
 * Live tests of the ways to reset reference bits, both on any kernel: rcap uses
 * `MADV_COLD` where the kernel keeps soft-dirty bits.
 */

import { assertEquals } from "@std/assert";
import { systemClock } from "../../../lib/platform/clock.ts";
import { SOON } from "../../../lib/collection/observe.ts";
import { countPages, REFERENCED } from "../../../lib/memory/pagedata.ts";
import { MemoryCalls } from "../../../lib/platform/linux/memory_calls.ts";
import { PageTables } from "../../../lib/platform/linux/page_tables.ts";
import { LinuxProcessMemory } from "../../../lib/platform/linux/process_memory.ts";
import { readProcess } from "../../../lib/platform/linux/process_list.ts";
import { PteSource } from "../../../lib/platform/linux/pte_source.ts";
import {
  ClearRefs,
  Cooling,
} from "../../../lib/platform/linux/reference_reset.ts";
import { Workload } from "../../support/workload.ts";

const MIB = 1 << 20;

for (const reset of [new ClearRefs(), new Cooling()]) {
  const name = reset.constructor.name;

  Deno.test(`${name} resets references to idle memory, and those in use come back`, async () => {
    await using workload = await Workload.start();
    const { memory, source } = open(workload.pid, reset);
    using _source = source;
    const idle = await workload.anon("idle", 8 * MIB);
    const hot = await workload.anon("hot", 4 * MIB);
    await workload.hot("hot");
    const referenced = async () => {
      const pagedata = await memory.read("inspect");
      return [idle, hot].map(({ start }) => {
        const mapping = pagedata.mappings.find((it) => it.start === start)!;
        return countPages(pagedata, mapping, REFERENCED) * mapping.pageSize;
      });
    };
    assertEquals(await referenced(), [8 * MIB, 4 * MIB]);
    await memory.reset();
    // As after a scan, again and again: no reference may hide in a TLB.
    for (let round = 0; round < 5; round++) {
      await memory.refresh();
      await systemClock.sleep(2 * SOON);
      assertEquals(await referenced(), [0, 4 * MIB]);
      await memory.read("scan");
    }
  });
}

Deno.test("Cooling leaves locked memory and memory of several processes referenced", async () => {
  await using workload = await Workload.start();
  const { memory, source } = open(workload.pid, new Cooling());
  using _source = source;
  const shared = await workload.anon("shared", 2 * MIB);
  await workload.fork();
  const before = await workload.anon("before", 2 * MIB);
  const locked = await workload.anon("locked", 2 * MIB);
  await workload.lock("locked");
  const behind = await workload.anon("behind", 2 * MIB);
  await memory.reset();
  const pagedata = await memory.read("inspect");
  const referenced = [shared, before, locked, behind].map(({ start }) => {
    const mapping = pagedata.mappings.find((it) => it.start === start)!;
    return countPages(pagedata, mapping, REFERENCED) * mapping.pageSize;
  });
  assertEquals(referenced, [2 * MIB, 0, 2 * MIB, 0]);
});

function open(pid: number, reset: ClearRefs | Cooling) {
  const source = new PteSource(PageTables.open(), reset);
  const calls = new MemoryCalls({ lookAtLock: source.lookAtLock.bind(source) });
  const memory = new LinuxProcessMemory(readProcess(pid), { source, calls });
  return { memory, source };
}
