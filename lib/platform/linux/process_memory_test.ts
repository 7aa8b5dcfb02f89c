/**
 * Tests of reading the memory of a process: the test itself.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { memoryInfo, pageSize } from "../../../ffi/system.ts";
import { OwnMemory, Sleeper, UnreapedSleeper } from "../../../ffi/testing.ts";
import { NoSuchProcess } from "../../errors.ts";
import { PAGE_ABSENT, PAGE_PRESENT } from "../../memory/page_states.ts";
import { countPages, REFERENCED } from "../../memory/pagedata.ts";
import { MemoryCalls } from "./memory_calls.ts";
import { MemoryFiles } from "./memory_files.ts";
import { ProcDir } from "./proc_dir.ts";
import { readProcess } from "./process_list.ts";
import { LinuxProcessMemory, parseHeld } from "./process_memory.ts";
import { SmapsSource } from "./smaps_source.ts";

const MIB = 2 ** 20;
const ACCESS = { source: new SmapsSource(), calls: new MemoryCalls() };
const self = new LinuxProcessMemory(readProcess(Deno.pid), ACCESS);

Deno.test("sizes grow with resident and with mapped memory", () => {
  const before = self.readSizes();
  using memory = new OwnMemory(64 * MIB / pageSize());
  memory.write(0, memory.pages / 2);
  const { rss, image } = self.readSizes();
  // The process itself changes its size a little.
  assert(rss - before.rss > 28 * MIB, `RSS grew by ${rss - before.rss}`);
  assert(image - before.image >= 64 * MIB);
});

Deno.test("the proportional size of unshared memory is close to its RSS", async () => {
  const { proportional } = await self.readFootprint();
  const { rss } = self.readSizes();
  assert(proportional > 0.3 * rss, `${proportional} of ${rss}`);
  assert(proportional < 1.1 * rss, `${proportional} of ${rss}`);
});

Deno.test("pinned and locked memory is what the status says", () => {
  const status =
    "Name:\tVmPin: 1 kB\nVmLck:\t      12 kB\nVmPin:\t   65536 kB\n";
  assertEquals(parseHeld(status), { pinned: 64 * MIB, locked: 12 * 1024 });
  // A kernel thread has no memory.
  assertEquals(parseHeld("Name:\tkthreadd\n"), { pinned: 0, locked: 0 });
  using memory = new OwnMemory(4);
  const before = self.readHeld().locked;
  memory.lock(0, 4);
  assertEquals(self.readHeld().locked - before, 4 * pageSize());
});

Deno.test("page states are those of the span", async () => {
  using memory = new OwnMemory(5);
  memory.write(1);
  memory.write(3);
  const [o, x] = [PAGE_ABSENT, PAGE_PRESENT];
  assertEquals([...await self.readPageStates(memory.span)], [o, x, o, x, o]);
});

Deno.test("residency says for each mapping how much can go, or why none", async () => {
  using memory = new OwnMemory(8);
  memory.write(2, 3);
  using locked = new OwnMemory(4);
  locked.lock(0, 4);
  using untouched = new OwnMemory(4);
  const residency = await self.readResidency();
  const { start } = memory;
  const bytes = memory.pages * memory.pageSize;
  assertEquals(
    residency.get(start),
    memoryInfo().freeSwap > 0
      ? { start, bytes, pageable: 3, toSwap: 3, reason: undefined }
      : { start, bytes, pageable: 0, toSwap: 0, reason: "no-swap" },
  );
  assertEquals(residency.get(locked.start)?.reason, "locked");
  assertEquals(residency.get(untouched.start)?.reason, "nonresident");
});

Deno.test("reading for a scan starts the next observation, reading for inspect does not", async () => {
  using memory = new OwnMemory(16 * MIB / pageSize());
  memory.write(0, memory.pages);
  const referenced = async () => {
    const pagedata = await self.read("inspect");
    const mapping = pagedata.mappings.find(({ start }) =>
      start === memory.start
    );
    assert(mapping);
    return countPages(pagedata, mapping, REFERENCED);
  };
  assertEquals(await referenced(), memory.pages);
  assertEquals(await referenced(), memory.pages);
  await self.readPagedata();
  assertEquals(await referenced(), 0);
  memory.read(0, memory.pages);
  // The processor may not record some references for a while.
  assert(await referenced() > 0);
});

Deno.test("a process that has exited cannot be read", async () => {
  await using sleeper = await Sleeper.start();
  const memory = new LinuxProcessMemory(readProcess(sleeper.pid), ACCESS);
  await sleeper.end();
  await assertRejects(() => memory.readPagedata(), NoSuchProcess);
  await assertRejects(() => memory.readResidency(), NoSuchProcess);
  await assertRejects(() => memory.reset(), NoSuchProcess);
  await assertRejects(() => memory.control(), NoSuchProcess);
});

Deno.test("a process that exits has exited as soon as its memory is released", async () => {
  await using sleeper = await UnreapedSleeper.start();
  const process = readProcess(sleeper.pid);
  const memory = new LinuxProcessMemory(process, ACCESS);
  await memory.reset();
  using directory = ProcDir.open(process);
  await sleeper.end();
  const readings: (() => Promise<unknown>)[] = [
    () => memory.reset(),
    () => memory.read("scan"),
    () => memory.refresh(),
    () => memory.readResidency(),
    () => memory.readFootprint(),
    () => memory.readMappings(),
    () => memory.control(),
    () => Promise.try(() => memory.readSizes()),
    // As if it had been opened just before.
    () =>
      ACCESS.calls.patiently(
        process,
        (attempt) => new MemoryFiles(directory, attempt).readMemoryDevices(),
      ),
  ];
  for (const reading of readings) {
    await assertRejects(
      reading,
      NoSuchProcess,
      `process ${sleeper.pid} has exited`,
    );
  }
  // It is nothing to warn of.
  assertEquals(memory.unreadable, undefined);
});
