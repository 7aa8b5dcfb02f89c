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
import { residentSize, sizeBy } from "./accounting.ts";

/** The memory of a process that only sleeps, which does not change. */
function memoryOf({ pid }: Sleeper): LinuxProcessMemory {
  return new LinuxProcessMemory(readProcess(pid), {
    source: new SmapsSource(),
    calls: new MemoryCalls(),
  });
}

Deno.test("one process counts by its RSS, over the limit or not", async () => {
  await using sleeper = await Sleeper.start();
  const memory = memoryOf(sleeper);
  const { rss } = memory.readSizes();
  for (const limit of [0, rss, Infinity]) {
    assertEquals(await residentSize([memory], limit), {
      bytes: rss,
      accounting: "rss",
    });
  }
});

Deno.test("several processes over the limit count proportionally, so that shared pages count once", async () => {
  await using first = await Sleeper.start();
  await using second = await Sleeper.start();
  const memories = [first, second].map(memoryOf);
  const rss = await sizeBy("rss", memories);
  const pss = await sizeBy("pss", memories);
  // They share the program and its libraries.
  assert(0 < pss && pss < rss, `${pss} of ${rss}`);
  assertEquals(await residentSize(memories, rss), {
    bytes: rss,
    accounting: "rss",
  });
  const { accounting, bytes } = await residentSize(memories, rss - 1);
  assertEquals(accounting, "pss");
  assert(bytes < rss, `${bytes} of ${rss}`);
});

Deno.test("a process that has exited does not count", async () => {
  await using first = await Sleeper.start();
  await using second = await Sleeper.start();
  const memories = [first, second].map(memoryOf);
  await second.end();
  const { rss } = memories[0].readSizes();
  assertEquals((await residentSize(memories, Infinity)).bytes, rss);
  const left = await sizeBy("pss", memories.slice(0, 1));
  assertEquals(await sizeBy("pss", memories), left);
});
