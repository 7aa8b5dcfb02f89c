/**
 * Tests of the resident size of several processes.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { Sleeper } from "../../ffi/testing.ts";
import { MemoryCalls } from "../platform/linux/memory_calls.ts";
import { LinuxProcessMemory } from "../platform/linux/process_memory.ts";
import { readProcess } from "../platform/linux/process_list.ts";
import { SmapsSource } from "../platform/linux/smaps_source.ts";
import { ProcessError } from "../errors.ts";
import { FakeClock, FakePlatform, PAGE } from "../platform/fake_testing.ts";
import { FakeProcessMemory } from "../platform/process_testing.ts";
import { residentSize } from "./accounting.ts";

/** The memory of a process that only sleeps, which does not change. */
function memoryOf({ pid }: Sleeper): LinuxProcessMemory {
  return new LinuxProcessMemory(readProcess(pid), {
    source: new SmapsSource(),
    calls: new MemoryCalls(),
  });
}

Deno.test("up to the limit, processes count by RSS, of which no page tables are read", async () => {
  await using sleeper = await Sleeper.start();
  const memory = memoryOf(sleeper);
  const { rss, rssError = 0 } = memory.readSizes();
  memory.readFootprint = () => Promise.reject(new Error("it was read"));
  for (const limit of [rss + rssError, Infinity]) {
    assertEquals(await residentSize([memory], limit), {
      bytes: rss,
      accounting: "rss",
    });
  }
});

for (const count of [1, 2]) {
  Deno.test(`over the limit, ${count} of them count proportionally, so that each page counts once`, async () => {
    await using first = await Sleeper.start();
    await using second = await Sleeper.start();
    const memories = [first, second].slice(0, count).map(memoryOf);
    const rss = memories.reduce(
      (sum, memory) => sum + memory.readSizes().rss,
      0,
    );
    const { accounting, bytes } = await residentSize(memories, rss - 1);
    assertEquals(accounting, "pss");
    // Both share the program and its libraries.
    assert(0 < bytes && bytes < rss, `${bytes} of ${rss}`);
  });
}

Deno.test("where RSS is not exact, a sum near the limit counts by the page tables", async () => {
  const process = new FakePlatform(new FakeClock()).start("one");
  process.fill("idle", 1000);
  process.rssOffset = -20 * PAGE;
  process.rssError = 32 * PAGE;
  const memory = new FakeProcessMemory({ usedSwap: 0, freeSwap: 0 }, process);
  const bytes = 1000 * PAGE;
  assertEquals(await residentSize([memory], 1012 * PAGE), {
    bytes: bytes - 20 * PAGE,
    accounting: "rss",
  });
  assertEquals(process.footprints, 0);
  assertEquals(await residentSize([memory], 990 * PAGE), {
    bytes,
    accounting: "pss",
  });
});

Deno.test("a process that has exited does not count", async () => {
  await using first = await Sleeper.start();
  await using second = await Sleeper.start();
  const memories = [first, second].map(memoryOf);
  await second.end();
  const { rss } = memories[0].readSizes();
  assertEquals((await residentSize(memories, Infinity)).bytes, rss);
  assertEquals(
    await residentSize(memories, 0),
    await residentSize(memories.slice(0, 1), 0),
  );
});

Deno.test("a process that does not answer counts by its RSS", async () => {
  const platform = new FakePlatform(new FakeClock());
  const process = platform.start("one");
  process.fill("shared", 1000, { sharers: 2 });
  const memory = platform.open(process.entry);
  memory.readFootprint = () =>
    Promise.reject(new ProcessError(process.pid, "it does not answer"));
  assertEquals((await residentSize([memory], 0)).bytes, 1000 * PAGE);
});
