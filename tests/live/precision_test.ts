/**
 * Tests of processes beyond the limits of what rcap keeps of one process: the
 * records stay limited, and the processes are still paged out.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { recordedBytes } from "../../lib/memory/pagedata.ts";
import { Budget } from "../../lib/platform/linux/budget.ts";
import { MemoryCalls } from "../../lib/platform/linux/memory_calls.ts";
import { openPagedataSource } from "../../lib/platform/linux/open_source.ts";
import { BLOCK } from "../../lib/platform/linux/page_recorder.ts";
import type { PrecisionBudgets } from "../../lib/platform/linux/precision.ts";
import { readProcess } from "../../lib/platform/linux/process_list.ts";
import { LinuxProcessMemory } from "../../lib/platform/linux/process_memory.ts";
import { openPlatform } from "../../lib/platform/system_testing.ts";
import type { PagedataSourceName } from "../../lib/platform/platform.ts";
import { cap, quicklyBy, TestDaemon } from "../support/daemon.ts";
import {
  assertIntact,
  BRIEFLY,
  MIB,
  requireRoot,
  testEachPolicy,
} from "../support/live.ts";
import { rcap } from "../support/rcap.ts";
import { anySwap } from "../support/swap.ts";
import { rssOf, Workload } from "../support/workload.ts";

requireRoot();

const PAGE = 4096;

/** As many mappings as Linux allows by default, minus those that every program has. */
const MANY = 65_000;

/** The most mappings of a process that are kept, except for `inspect`. */
const MOST = 16_384;

/** Time limit of every step, in milliseconds. */
const PATIENCE = 120_000;

// Opened before the first test, which would otherwise appear to leak it.
libc();

/** A process with as many mappings as possible, of one page each. */
async function crowded(pages = MANY): Promise<Workload> {
  const workload = await Workload.start({ timeout: PATIENCE });
  await workload.small();
  await workload.anon("many", pages * PAGE);
  await workload.split("many", 1);
  return workload;
}

const SOURCES: PagedataSourceName[] = ["pte", "smaps"];
for (const source of SOURCES) {
  Deno.test(`of 65,000 mappings, a limited number is kept (${source})`, async () => {
    // Memory that can only go to swap is not recorded without swap.
    await using _swap = await anySwap({ size: 16 * MIB });
    await using workload = await crowded();
    using platform = openPlatform(source, () => {});
    const memory = platform.open(platform.readProcess(workload.pid));
    const pagedata = await memory.read("glance");
    assert(
      pagedata.mappings.length <= MOST,
      `${pagedata.mappings.length} mappings`,
    );
    const residency = await memory.readResidency();
    assert(residency && residency.size <= MOST, `${residency?.size} mappings`);
    // All of its memory is still known, and how much of it can go.
    const recorded = pagedata.mappings.reduce(
      (sum, mapping) => sum + recordedBytes(pagedata, mapping),
      0,
    );
    assert(recorded >= MANY * PAGE, `${recorded} bytes`);
    for (const { start, pages, pageSize } of pagedata.mappings) {
      assertEquals(residency.get(start)?.bytes, pages * pageSize);
    }
    assertStringIncludes(
      memory.coarseness ?? "",
      `process ${workload.pid} is known more coarsely: it has 65`,
    );
    // `inspect` shows each mapping.
    const shown = await memory.readMappings();
    assert(shown.length > MANY, `${shown.length} mappings`);
  });

  Deno.test(`without room, memory is recorded in blocks and can still go (${source})`, async () => {
    await using _swap = await anySwap({ size: 128 * MIB });
    await using workload = await Workload.start();
    const region = await workload.anon("large", 96 * MIB + 3 * PAGE);
    await workload.anon("small", MIB);
    using pagedataSource = openPagedataSource(source, () => {});
    const budgets: PrecisionBudgets = {
      mappings: new Budget(1000),
      pages: new Budget(8 * MIB / PAGE),
    };
    const memory = new LinuxProcessMemory(readProcess(workload.pid), {
      source: pagedataSource,
      calls: new MemoryCalls(),
      budgets,
    });
    const pagedata = await memory.read("glance");
    const [blocks, rest] = pagedata.mappings.filter(({ start }) =>
      region.start <= start && start < region.end
    );
    assertEquals(
      [blocks.pageSize, blocks.pages, rest.pageSize],
      [BLOCK, 48, PAGE],
    );
    assertEquals(recordedBytes(pagedata, blocks), 96 * MIB);
    assert(pagedata.bits.length <= 8 * MIB / PAGE, `${pagedata.bits.length}`);
    assertStringIncludes(memory.coarseness ?? "", "known in blocks of 2.0M");
    const residency = await memory.readResidency();
    assertEquals(residency.get(blocks.start)?.bytes, 96 * MIB);
    using control = await memory.control();
    const start = blocks.start;
    const results = await control.pageOut([{
      start,
      end: start + BigInt(96 * MIB),
      bytes: 96 * MIB,
      mappingStart: start,
    }]);
    assertEquals(results.map(({ result }) => result), ["done"]);
    assert(await workload.resident("large") < 4 * MIB);
    await assertIntact(workload);
  });
}

Deno.test("mappings joined over holes are paged out on both sides of each hole", async () => {
  await using _swap = await anySwap({ size: 128 * MIB });
  await using workload = await Workload.start();
  await workload.small();
  const regions = [];
  for (const name of ["a", "hole", "b", "gap", "c"]) {
    regions.push(await workload.anon(name, MIB));
  }
  await workload.unmap("hole");
  await workload.unmap("gap");
  const kept = regions.filter((_, index) => index % 2 === 0);
  const starts = kept.map(({ start }) => start).sort((a, b) => a < b ? -1 : 1);
  const [start, , last] = starts;
  using source = openPagedataSource("pte", () => {});
  const memory = new LinuxProcessMemory(readProcess(workload.pid), {
    source,
    calls: new MemoryCalls(),
  });
  await memory.read("glance");
  using control = await memory.control();
  const range = { start, end: last + BigInt(MIB), bytes: 3 * MIB };
  const [result] = await control.pageOut([
    { ...range, mappingStart: start, isResident: true },
  ]);
  // The kernel reports the holes afterwards.
  assert(["done", "busy"].includes(result.result), JSON.stringify(result));
  for (const name of ["a", "b", "c"]) {
    assertEquals(await workload.resident(name), 0, name);
  }
  await assertIntact(workload);
});

Deno.test("a scan pages out a process of 65,000 mappings and says how precisely it is known", async () => {
  await using _swap = await anySwap({ size: 512 * MIB });
  await using workload = await crowded();
  const before = rssOf(workload.pid);
  const args = ["scan", `pid:${workload.pid}`, "--cap", "64M", ...BRIEFLY];
  const { code, stderr } = await rcap(args);
  assertEquals(code, 0, stderr);
  assertStringIncludes(
    stderr,
    `process ${workload.pid} is known more coarsely`,
  );
  const after = rssOf(workload.pid);
  // The cap is on the proportional size; all perl processes share part of it.
  assert(after <= 72 * MIB, `${before} bytes became ${after}`);
  await assertIntact(workload);
});

testEachPolicy(
  "a daemon keeps processes of 65,000 mappings under their cap and stays small",
  async (policy) => {
    await using _swap = await anySwap({ size: 1024 * MIB });
    await using first = await crowded();
    await using second = await crowded();
    await using third = await crowded();
    const workloads = [first, second, third];
    const selectors = workloads.map(({ pid }) => `pid:${pid}`);
    await using daemon = await TestDaemon.start({
      config: quicklyBy(policy) + cap("many", selectors, "300M"),
    });
    const before = rssOf(daemon.pid);
    await daemon.untilGroup(
      "many",
      ({ rss }) => rss <= 310 * MIB,
      "the processes to be under their cap",
      PATIENCE,
    );
    const after = rssOf(daemon.pid);
    assert(after < before + 96 * MIB, `${before} bytes became ${after}`);
    for (const workload of workloads) await assertIntact(workload);
  },
);
