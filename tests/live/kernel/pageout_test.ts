/**
 * Tests of page-outs, mostly of the test itself. Kernels before 6.13 require
 * CAP_SYS_NICE even for that.
 *
 * @module
 */

import { assertEquals, assertRejects } from "@std/assert";
import { memoryInfo } from "../../../ffi/system.ts";
import { OwnMemory, Sleeper, UnreapedSleeper } from "../../../ffi/testing.ts";
import { NoSuchProcess, ProcessError } from "../../../lib/errors.ts";
import type { PageRange } from "../../../lib/memory/process_memory.ts";
import { MemoryCalls } from "../../../lib/platform/linux/memory_calls.ts";
import { LinuxPageout } from "../../../lib/platform/linux/pageout.ts";
import { readProcess } from "../../../lib/platform/linux/process_list.ts";

const MIB = 2 ** 20;
const FILES = {
  calls: new MemoryCalls(),
  needsSwap: () => false,
  whyNoSwap: () => memoryInfo().freeSwap === 0 ? "no-swap" as const : undefined,
};

const self = readProcess(Deno.pid);

/** A range of pages, marked as resident. */
function range(memory: OwnMemory, page: number, pages: number): PageRange {
  const size = memory.pageSize;
  const start = memory.start + BigInt(page * size);
  const bytes = pages * size;
  const end = start + BigInt(bytes);
  return { start, end, bytes, mappingStart: memory.start };
}

Deno.test("an address space with another layout is not paged out", async () => {
  const { layout } = self;
  using _allowed = await LinuxPageout.open(self, { ...FILES, layout });
  await assertRejects(
    () => LinuxPageout.open(self, { ...FILES, layout: `${layout}0` }),
    ProcessError,
    `process ${self.pid} has started another program (exec)`,
  );
});

Deno.test("another process with the same pid is not paged out", async () => {
  const { pid, startTime, layout } = self;
  await assertRejects(
    () =>
      LinuxPageout.open({ pid, startTime: startTime - 1 }, {
        ...FILES,
        layout,
      }),
    NoSuchProcess,
    "another process now has its pid",
  );
});

Deno.test("every range has its own result", async () => {
  using memory = new OwnMemory(64);
  memory.write(0, 64);
  memory.lock(16, 8);
  using control = await LinuxPageout.open(self, {
    ...FILES,
    layout: self.layout,
  });
  const unmapped = range(memory, 64, 1);
  const results = await control.pageOut([
    range(memory, 0, 8),
    range(memory, 16, 8),
    { ...unmapped, start: 0x1000n, end: 0x2000n },
    range(memory, 32, 8),
  ]);
  assertEquals(results.map(({ result }) => result), [
    "done",
    "busy",
    "busy",
    "done",
  ]);
  assertEquals(results.map(({ message }) => message), [
    undefined,
    "process_madvise: Invalid argument (EINVAL)",
    "none of it is resident any more",
    undefined,
  ]);
});

Deno.test("more ranges than one call takes are paged out by several", async () => {
  using memory = new OwnMemory(5000);
  memory.write(0, memory.pages);
  using control = await LinuxPageout.open(self, {
    ...FILES,
    layout: self.layout,
  });
  assertEquals(control.maxRanges, 1024);
  const ranges = Array.from(
    { length: 2500 },
    (_, at) => range(memory, at * 2, 1),
  );
  const results = await control.pageOut(ranges);
  assertEquals(results, ranges.map(() => ({ result: "done" as const })));
});

Deno.test("memory that can only go to swap is busy while no swap is free", async () => {
  using memory = new OwnMemory(8);
  memory.write(0, 8);
  using control = await LinuxPageout.open(self, {
    ...FILES,
    layout: self.layout,
    needsSwap: (start) => start === memory.start,
  });
  const [result] = await control.pageOut([range(memory, 0, 8)]);
  assertEquals(
    result,
    memoryInfo().freeSwap === 0
      ? { result: "busy", reason: "no-swap", message: "no swap is free" }
      : { result: "done" },
  );
});

Deno.test("a signal stops page-outs between two calls", async () => {
  using memory = new OwnMemory(32 * MIB / 4096);
  memory.write(0, memory.pages);
  using control = await LinuxPageout.open(self, {
    ...FILES,
    layout: self.layout,
  });
  const quarter = memory.pages / 4;
  const ranges = [0, 1, 2, 3].map((at) => range(memory, at * quarter, quarter));
  const results = await control.pageOut(ranges, AbortSignal.abort());
  assertEquals(results, [{ result: "done" }]);
  assertEquals((await control.pageOut(ranges)).length, 4);
});

for (const Kind of [Sleeper, UnreapedSleeper]) {
  Deno.test(`page-outs of a process that exits fail (${Kind.name})`, async () => {
    await using sleeper = await Kind.start();
    const process = readProcess(sleeper.pid);
    using control = await LinuxPageout.open(process, {
      ...FILES,
      layout: process.layout,
    });
    await sleeper.end();
    using memory = new OwnMemory(8);
    const results = await control.pageOut([
      range(memory, 0, 4),
      range(memory, 4, 4),
    ]);
    assertEquals(results, [{
      result: "failed",
      message: `process ${process.pid} has exited`,
    }]);
  });
}
