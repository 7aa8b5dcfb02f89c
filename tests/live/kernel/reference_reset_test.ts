/**
 * Live tests of the ways to reset reference bits, both on any kernel: rcap uses
 * `MADV_COLD` where the kernel keeps soft-dirty bits.
 */

import { assert } from "@std/assert";
import { libc } from "../../../ffi/libc.ts";
import { countPages, REFERENCED } from "../../../lib/memory/pagedata.ts";
import { systemClock } from "../../../lib/platform/clock.ts";
import { MemoryCalls } from "../../../lib/platform/linux/memory_calls.ts";
import { PageTables } from "../../../lib/platform/linux/page_tables.ts";
import { readProcess } from "../../../lib/platform/linux/process_list.ts";
import { LinuxProcessMemory } from "../../../lib/platform/linux/process_memory.ts";
import { PteSource } from "../../../lib/platform/linux/pte_source.ts";
import {
  ClearRefs,
  Cooling,
} from "../../../lib/platform/linux/reference_reset.ts";
import { Spinner } from "../../support/spinner.ts";
import { type Region, Workload } from "../../support/workload.ts";

// Loaded once for all tests.
libc();

const MIB = 1 << 20;
const PAGE = 4096;

/**
 * So few pages that a TLB has room for all. Whether it keeps them depends on the
 * machine: under a hypervisor that shadows page tables, every reset flushes.
 */
const HOT = 32;

/** How long the process runs between a reset and a reading, in milliseconds. */
const RUN = 20;

/**
 * Memory, in bytes, whose references others may have reset meanwhile, such as a DAMON;
 * and those of pages that are still on their way to the lists of the kernel.
 */
const SLACK = MIB / 4;

for (const reset of [new ClearRefs(), new Cooling()]) {
  const { name } = reset.constructor;

  Deno.test(`after a reset by ${name}, pages that are never left are referenced, and others are not`, async () => {
    await using spinner = await Spinner.start({ pages: 2048, hot: HOT });
    using watched = watch(spinner.pid, reset);
    const { memory, referenced } = watched;
    assertMost(await referenced(spinner), 2048 * PAGE);
    await memory.reset();
    // As the daemon does, again and again.
    for (let interval = 0; interval < 5; interval++) {
      await memory.refresh();
      let most = 0;
      for (let look = 0; look < 3; look++) {
        await systemClock.sleep(RUN);
        most = Math.max(most, await referenced(spinner));
      }
      assert(most >= HOT * PAGE && most < HOT * PAGE + SLACK, `${most}`);
      await memory.read("scan");
    }
  });
}

Deno.test("Cooling leaves locked memory and memory of several processes referenced", async () => {
  await using workload = await Workload.start();
  using watched = watch(workload.pid, new Cooling());
  const { memory, referenced } = watched;
  const shared = await workload.anon("shared", 2 * MIB);
  await workload.fork();
  const before = await workload.anon("before", 2 * MIB);
  const locked = await workload.anon("locked", 2 * MIB);
  await workload.lock("locked");
  const behind = await workload.anon("behind", 2 * MIB);
  await memory.reset();
  assertMost(await referenced(shared), 2 * MIB);
  assertLittle(await referenced(before));
  assertMost(await referenced(locked), 2 * MIB);
  assertLittle(await referenced(behind));
});

/** Checks that nearly all of some bytes are referenced. */
function assertMost(referenced: number, bytes: number): void {
  assert(referenced <= bytes && referenced > bytes - SLACK, `${referenced}`);
}

function assertLittle(referenced: number): void {
  assert(referenced < SLACK, `${referenced}`);
}

function watch(pid: number, reset: ClearRefs | Cooling) {
  const source = new PteSource(PageTables.open(), reset);
  const calls = new MemoryCalls({ lookAtLock: source.lookAtLock.bind(source) });
  const memory = new LinuxProcessMemory(readProcess(pid), { source, calls });
  return {
    memory,
    /** How many bytes of a region are referenced now. */
    async referenced({ start }: Pick<Region, "start">): Promise<number> {
      const pagedata = await memory.read("inspect");
      const mapping = pagedata.mappings.find((it) => it.start === start);
      return mapping ? countPages(pagedata, mapping, REFERENCED) * PAGE : NaN;
    },
    [Symbol.dispose]: () => source[Symbol.dispose](),
  };
}
