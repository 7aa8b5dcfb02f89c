/**
 * Tests of the policy `coldest` on simulated processes.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { MA_READ } from "../memory/mapping_flags.ts";
import { FakeMemory, PAGE } from "../memory/testing.ts";
import { scanColdest } from "./coldest.ts";
import { AgedCollection, AgedProcess } from "./aged_collection.ts";

/** Lets an interval end in which the drawn pages were referenced. */
async function age(process: AgedProcess): Promise<void> {
  process.ages.advance(await process.memory.readPagedata(), 5);
}

function processOf(memory: FakeMemory): AgedProcess {
  return new AgedProcess(memory);
}

Deno.test("the oldest pages of all processes are paged out first", async () => {
  const one = new FakeMemory(1, [{ start: 0x10000n, pages: "2000" }]);
  const two = new FakeMemory(2, [{ start: 0x10000n, pages: "0220" }]);
  const processes = [one, two].map(processOf);
  for (const process of processes) {
    await age(process);
    await age(process);
  }
  const { excess } = await scanColdest(new AgedCollection(processes), {
    excess: 5 * PAGE,
  });
  assertEquals(excess, 0);
  assertEquals(one.pageouts, ["11000-14000"]);
  assertEquals(two.pageouts, ["10000-11000", "13000-14000"]);
});

Deno.test("what a backup read once goes before what is used now and then", async () => {
  // A page in use, four that are used every minute, and four that are used once an hour.
  const memory = new FakeMemory(1, []);
  const process = processOf(memory);
  const use = async (pages: string, seconds: number) => {
    memory.mappings = [{ start: 0x10000n, pages }];
    process.ages.advance(await memory.readPagedata(), seconds);
  };
  await use("222222222", 5);
  for (let minute = 0; minute < 60; minute++) {
    await use("200000000", 55);
    await use("222220000", 5);
  }
  await use("200002222", 5);
  await use("200000000", 5);
  const collection = new AgedCollection([process]);
  await scanColdest(collection, { excess: 4 * PAGE });
  assertEquals(memory.pageouts, ["15000-19000"]);
});

Deno.test("how long a page was not used stays known while it is out", async () => {
  const memory = new FakeMemory(1, []);
  const process = processOf(memory);
  const use = async (pages: string) => {
    memory.mappings = [{ start: 0x10000n, pages }];
    process.ages.advance(await memory.readPagedata(), 60);
  };
  await use("20.22");
  await use("20.00");
  for (let minute = 0; minute < 30; minute++) {
    await use(minute % 2 === 0 ? "20..2" : "20..0");
  }
  await use("20222");
  await use("20000");
  const collection = new AgedCollection([process]);
  await scanColdest(collection, { excess: 2 * PAGE });
  // The third page is new, and the fourth was out for half an hour.
  assertEquals(memory.pageouts, ["11000-12000", "13000-14000"]);
});

Deno.test("among pages of one age, clean file pages go first, then long ranges", async () => {
  const memory = new FakeMemory(1, [
    { start: 0x10000n, pages: "020000" },
    { start: 0x40000n, pages: "0", flags: MA_READ },
  ]);
  const process = processOf(memory);
  await age(process);
  const collection = new AgedCollection([process]);
  await scanColdest(collection, { excess: PAGE });
  assertEquals(memory.pageouts, ["40000-41000"]);
  await scanColdest(collection, { excess: 4 * PAGE });
  assertEquals(memory.pageouts.slice(1), ["12000-16000"]);
});

Deno.test("a cooled page is paged out in the next pass if it was not referenced", async () => {
  const memory = new FakeMemory(1, [{ start: 0x10000n, pages: "000000" }]);
  const process = processOf(memory);
  const collection = new AgedCollection([process]);
  await age(process);
  const options = { excess: 2 * PAGE, reserve: 4 * PAGE };
  await scanColdest(collection, options);
  assertEquals(memory.pageouts, [], "a small excess can wait");
  assertEquals(
    collection.statistics.scanCount,
    0,
    "cooling does not count as a scan",
  );
  memory.mappings = [{ start: 0x10000n, pages: "020000" }];
  await age(process);
  const { excess } = await scanColdest(collection, options);
  assertEquals(excess, 0);
  assertEquals(memory.pageouts.length > 0, true);
  assertEquals(
    memory.pageouts.some((range) => range.startsWith("11000")),
    false,
    "referenced pages stay",
  );
  assertEquals(collection.statistics.scanCount, 1);
});

Deno.test("if the excess cannot wait, the oldest half is paged out at once", async () => {
  const memory = new FakeMemory(1, [
    { start: 0x10000n, pages: "00000000|22222222" },
  ]);
  const process = processOf(memory);
  await age(process);
  await age(process);
  const { excess } = await scanColdest(new AgedCollection([process]), {
    excess: 16 * PAGE,
    reserve: PAGE,
  });
  assertEquals(excess, 8 * PAGE);
  assertEquals(memory.pageouts, ["10000-18000"]);
});

Deno.test("memory in use is paged out last, or not at all", async () => {
  const draw = () => new FakeMemory(1, [{ start: 0x10000n, pages: "0222" }]);
  const spared = draw();
  const process = processOf(spared);
  await age(process);
  await scanColdest(new AgedCollection([process]), {
    excess: 3 * PAGE,
    spareReferenced: true,
  });
  assertEquals(spared.pageouts, ["10000-11000"]);
  const taken = draw();
  const other = processOf(taken);
  await age(other);
  const events: string[] = [];
  const { excess } = await scanColdest(new AgedCollection([other]), {
    excess: 3 * PAGE,
    onEvent: ({ type }) => events.push(type),
  });
  assertEquals(excess, 0);
  assertEquals(events.includes("insufficient"), true);
});

Deno.test("large pages are not split", async () => {
  const memory = new FakeMemory(1, [
    { start: 0x200000n, pages: "0".repeat(1024) },
  ]);
  const process = processOf(memory);
  await age(process);
  await scanColdest(new AgedCollection([process]), { excess: 5 * PAGE });
  assertEquals(memory.pageouts, ["200000-400000"]);
});

Deno.test("memory in use stays if the group shrinks by itself during a pass", async () => {
  const memory = new FakeMemory(1, [
    { start: 0x10000n, pages: "00000000" },
    { start: 0x40000n, pages: "2222" },
    { start: 0x80000n, pages: "2".repeat(64) },
  ]);
  const process = processOf(memory);
  await age(process);
  memory.onCall = (call) => {
    // It unmaps its last mapping, which is more than the excess.
    if (call.startsWith("pageOut")) {
      memory.mappings = memory.mappings.slice(0, 2);
    }
  };
  const events: string[] = [];
  const collection = new AgedCollection([process]);
  const { excess } = await scanColdest(collection, {
    excess: 24 * PAGE,
    reserve: PAGE,
    onEvent: ({ type }) => events.push(type),
  });
  assertEquals(memory.pageouts, ["10000-18000"]);
  assertEquals(events.includes("insufficient"), false);
  assertEquals(excess <= 0, true);
  assertEquals(
    collection.statistics.effective,
    8 * PAGE,
    "what it gave up itself was not paged out",
  );
});
