/**
 * Tests of the dry run.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { PageRange } from "../memory/process_memory.ts";
import { DryRunMemory } from "./dry_run.ts";
import {
  FakeClock,
  FakePlatform,
  type FakeProcess,
  PAGE,
} from "./fake_testing.ts";

/** A process of a machine, and its memory in a dry run. */
function start({ swapPages = 10_000 } = {}) {
  const platform = new FakePlatform(new FakeClock());
  const process = platform.start("one");
  const memory = new DryRunMemory(platform.open(process.entry), {
    free: swapPages * PAGE,
  });
  return { process, memory };
}

/** Pages of the region that was mapped last. */
function range(process: FakeProcess, first: number, pages: number): PageRange {
  const { start: mappingStart } = process.regions.at(-1)!;
  const start = mappingStart + BigInt(first * PAGE);
  const bytes = pages * PAGE;
  return { start, end: start + BigInt(bytes), bytes, mappingStart };
}

const PLANNED = { result: "planned" as const };

Deno.test("a dry run plans everything that can go and pages out nothing", async () => {
  const { process, memory } = start();
  process.fill("anonymous", 2000);
  process.onPageOut = () => assert(false, "paged out");
  using control = await memory.control();
  const ranges = Array.from({ length: 2000 }, (_, at) => range(process, at, 1));
  assert(control.maxRanges >= ranges.length);
  assertEquals(await control.pageOut(ranges), ranges.map(() => PLANNED));
  assertEquals(memory.readSizes().rss, 0);
  assertEquals(process.resident("anonymous"), 2000);
});

Deno.test("planned pages count as gone, whatever the process does", async () => {
  const { process, memory } = start();
  process.fill("anonymous", 100);
  const { rss, image } = memory.readSizes();
  using control = await memory.control();
  await control.pageOut([range(process, 0, 2)]);
  process.fill("more", 100);
  assertEquals(memory.readSizes(), { rss: rss - 2 * PAGE, image });
});

Deno.test("memory that is mapped more than once is not planned", async () => {
  const { process, memory } = start();
  process.fill("shared", 100, { sharers: 3 });
  using control = await memory.control();
  const results = await control.pageOut([range(process, 0, 100)]);
  assertEquals(results, [{ ...PLANNED, reason: "shared" }]);
  assertEquals(memory.readSizes().rss, 100 * PAGE);
  const [{ rss, own, pageable }] = await memory.readMappingsAfter();
  assertEquals([rss, own, pageable], [100 * PAGE, 0, 0]);
});

Deno.test("no more is planned than is not pinned", async () => {
  const { process, memory } = start();
  process.fill("ring", 100, { isPinned: true });
  process.fill("anonymous", 50);
  using control = await memory.control();
  // Which pages are pinned is not known.
  const ranges = [range(process, 0, 30), range(process, 30, 20)];
  assertEquals(await control.pageOut(ranges), [PLANNED, PLANNED]);
  const [{ start: mappingStart }] = process.regions;
  const end = mappingStart + BigInt(100 * PAGE);
  const bytes = 100 * PAGE;
  assertEquals(
    await control.pageOut([{ start: mappingStart, end, bytes, mappingStart }]),
    [{ ...PLANNED, reason: "pinned" }],
  );
  assertEquals(memory.readSizes().rss, 100 * PAGE);
});

Deno.test("of a mapping no more is planned than its figures say", async () => {
  const { process, memory } = start();
  process.fill("anonymous", 100);
  using control = await memory.control();
  const twice = [range(process, 0, 80), range(process, 10, 80)];
  const results = await control.pageOut(twice);
  assertEquals(results, [PLANNED, PLANNED]);
  assertEquals(memory.readSizes().rss, 0);
});

Deno.test("no more is planned than there is swap for, by all processes", async () => {
  const platform = new FakePlatform(new FakeClock());
  const swap = { free: 120 * PAGE };
  const [one, two] = [1, 2].map(() => {
    const process = platform.start("one");
    process.fill("anonymous", 100);
    return {
      process,
      memory: new DryRunMemory(platform.open(process.entry), swap),
    };
  });
  for (const { process, memory } of [one, two]) {
    using control = await memory.control();
    const [{ reason }] = await control.pageOut([range(process, 0, 100)]);
    assertEquals(reason, process === one.process ? undefined : "no-swap");
  }
  assertEquals(one.memory.readSizes().rss, 0);
  assertEquals(two.memory.readSizes().rss, 80 * PAGE);
  const [{ pageable, reason }] = await two.memory.readMappingsAfter();
  assertEquals([pageable, reason], [0, "no-swap"]);
});

Deno.test("a file needs no swap", async () => {
  const { process, memory } = start({ swapPages: 0 });
  process.fill("file", 100, { isFile: true });
  using control = await memory.control();
  assertEquals(await control.pageOut([range(process, 0, 100)]), [PLANNED]);
  assertEquals(memory.readSizes().rss, 0);
});

Deno.test("everything else is read from the process", async () => {
  const { process, memory } = start();
  process.fill("anonymous", 10);
  assertEquals(memory.pid, process.pid);
  assertEquals((await memory.readPagedata()).bits.length, 10);
  assertEquals((await memory.readResidency())?.size, 1);
});
