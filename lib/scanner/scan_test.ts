/**
 * Tests of the scan loop on simulated processes.
 *
 * @module
 */

import { assertEquals, assertRejects } from "@std/assert";
import { NoSuchProcess, ProcessError } from "../errors.ts";
import type { Residency } from "../memory/process_memory.ts";
import { drawingOf, FakeMemory, PAGE } from "../memory/testing.ts";
import { ScanCollection, ScannedProcess } from "./collection.ts";
import { scan, type ScanEvent } from "./scan.ts";

function collectionOf(...memories: FakeMemory[]): ScanCollection {
  return new ScanCollection(
    memories.map((memory) => new ScannedProcess(memory)),
  );
}

/** Scans for an excess in pages. Returns the remaining excess in pages. */
async function scanned(
  collection: ScanCollection,
  excessPages: number,
  signal?: AbortSignal,
): Promise<{ excessPages: number; complete: boolean; events: ScanEvent[] }> {
  const events: ScanEvent[] = [];
  const { excess, complete } = await scan(collection, {
    excess: excessPages * PAGE,
    signal,
    onEvent: (event) => events.push(event),
  });
  return { excessPages: excess / PAGE, complete, events };
}

/** The statistics in pages. */
function pagesOf({ statistics }: ScanCollection) {
  const { attempted, effective, scanCount, ineffective } = statistics;
  return {
    attempted: attempted / PAGE,
    effective: effective / PAGE,
    scanCount,
    ineffective,
  };
}

/** The place where the next scan begins. */
function placeOf({ victim, resumeAddress }: ScanCollection) {
  return { pid: victim?.pid, resumeAddress };
}

function residencyOf(...entries: Residency[]): ReadonlyMap<bigint, Residency> {
  return new Map(entries.map((entry) => [entry.start, entry]));
}

/** The events of one type. */
function eventsOf<T extends ScanEvent["type"]>(
  type: T,
  events: readonly ScanEvent[],
): Extract<ScanEvent, { type: T }>[] {
  return events.filter((event): event is Extract<ScanEvent, { type: T }> =>
    event.type === type
  );
}

/** Throws an error at the n-th call that matches a pattern. */
function failing(pattern: RegExp, nth: number, error: Error) {
  let count = 0;
  return (call: string) => {
    if (pattern.test(call) && ++count === nth) throw error;
  };
}

Deno.test("unreferenced pages are paged out, and the hand clears the bits that it passes", async () => {
  const memory = new FakeMemory(1, [
    { start: 0x10000n, pages: "2.00.1" },
    { start: 0x20000n, pages: "0.30|02" },
  ]);
  const collection = collectionOf(memory);
  const result = await scanned(collection, 4);
  assertEquals(memory.pageouts, ["12000-14000", "20000-21000", "23000-24000"]);
  assertEquals(
    drawingOf(collection.processes[0].pagedata!),
    ["0.00.0", "0.0002"],
  );
  assertEquals(result.excessPages, 0);
  assertEquals(result.complete, true);
  assertEquals(pagesOf(collection), {
    attempted: 4,
    effective: 4,
    scanCount: 1,
    ineffective: 0,
  });
  assertEquals(placeOf(collection), { pid: 1, resumeAddress: 0x24000n });
});

Deno.test("a scan resumes where the last one ended", async () => {
  const memory = new FakeMemory(1, [{ start: 0x10000n, pages: "00.00000" }]);
  const collection = collectionOf(memory);
  for (const excess of [3, 2, 1]) await scanned(collection, excess);
  assertEquals(memory.pageouts, ["10000-14000", "14000-16000", "16000-17000"]);
  assertEquals(placeOf(collection), { pid: 1, resumeAddress: 0x17000n });
});

Deno.test("a page is spared if it was referenced since the hand passed", async () => {
  const memory = new FakeMemory(1, [{ start: 0x10000n, pages: "2222000000" }]);
  const collection = collectionOf(memory);
  await scanned(collection, 5);
  assertEquals(memory.pageouts, ["14000-19000"]);
  memory.mappings = [{ start: 0x10000n, pages: "0200.....0" }];
  // The walk resumes at the last page and ends. The next one starts from the
  // beginning.
  await scanned(collection, 1);
  await scanned(collection, 3);
  assertEquals(memory.pageouts.slice(1), [
    "19000-1a000",
    "10000-11000",
    "12000-14000",
  ]);
});

Deno.test("if the mapping to resume in is gone, the next one above it is scanned", async () => {
  const memory = new FakeMemory(1, [
    { start: 0x10000n, pages: "0" },
    { start: 0x20000n, pages: "0000" },
    { start: 0x40000n, pages: "00" },
  ]);
  const collection = collectionOf(memory);
  await scanned(collection, 3);
  assertEquals(placeOf(collection), { pid: 1, resumeAddress: 0x22000n });
  memory.mappings = [
    { start: 0x10000n, pages: "0" },
    { start: 0x40000n, pages: "00" },
  ];
  await scanned(collection, 1);
  assertEquals(memory.pageouts.at(-1), "40000-41000");
});

Deno.test("if unreferenced pages do not suffice, the working set is paged out too", async () => {
  const low = new FakeMemory(1, [{ start: 0x10000n, pages: "2.0" }]);
  const high = new FakeMemory(2, [{ start: 0x10000n, pages: "30|3" }]);
  const collection = collectionOf(low, high);
  const { events } = await scanned(collection, 3);
  assertEquals(low.pageouts, ["10000-13000"]);
  assertEquals(high.pageouts, ["10000-11000"]);
  assertEquals(events[0], {
    type: "insufficient",
    unreferenced: 2 * PAGE,
    excess: 3 * PAGE,
  });
  for (const { calls } of [low, high]) {
    assertEquals(calls.slice(0, 2), ["readPagedata", "closePagedata"]);
  }
  assertEquals(placeOf(collection), { pid: 2, resumeAddress: 0x11000n });
});

Deno.test("if unreferenced pages just suffice, the working set stays", async () => {
  const low = new FakeMemory(1, [{ start: 0x10000n, pages: "2.0" }]);
  const high = new FakeMemory(2, [{ start: 0x10000n, pages: "30|3" }]);
  const { excessPages } = await scanned(collectionOf(low, high), 2);
  assertEquals([...low.pageouts, ...high.pageouts], [
    "12000-13000",
    "11000-12000",
  ]);
  assertEquals(excessPages, 0);
  assertEquals(low.calls.includes("closePagedata"), false);
});

Deno.test("a scan that has covered its excess does not touch later processes", async () => {
  const memories = [1, 2].map((pid) =>
    new FakeMemory(pid, [{ start: 0x10000n, pages: "00" }])
  );
  const collection = collectionOf(...memories);
  const first = await scanned(collection, 2);
  assertEquals(first.complete, false);
  assertEquals(memories[1].calls, ["readPagedata"]);
  assertEquals(placeOf(collection), { pid: 2, resumeAddress: undefined });
  assertEquals(pagesOf(collection).scanCount, 0);
  const second = await scanned(collection, 2);
  assertEquals(second.complete, true);
  assertEquals(memories[1].pageouts, ["10000-12000"]);
  // This scan does not touch the process before the victim.
  assertEquals(memories[0].calls.filter((call) => call === "readPagedata"), [
    "readPagedata",
  ]);
  assertEquals(placeOf(collection), {
    pid: 1,
    resumeAddress: undefined,
  });
});

Deno.test("a complete scan that was not resumed and leaves some excess is ineffective", async () => {
  const memory = new FakeMemory(1, [{ start: 0x10000n, pages: "0000" }]);
  const collection = collectionOf(memory);
  await scanned(collection, 1);
  assertEquals(pagesOf(collection).ineffective, 0);
  await scanned(collection, 9);
  assertEquals(pagesOf(collection).ineffective, 0);
  assertEquals(placeOf(collection), {
    pid: 1,
    resumeAddress: undefined,
  });
  const { excessPages } = await scanned(collection, 9);
  assertEquals(excessPages, 9);
  assertEquals(pagesOf(collection), {
    attempted: 4,
    effective: 4,
    scanCount: 3,
    ineffective: 1,
  });
});

Deno.test("the time of complete scans is recorded", async () => {
  const memories = [1, 2].map((pid) =>
    new FakeMemory(pid, [{ start: 0x10000n, pages: "0" }])
  );
  const collection = collectionOf(...memories);
  await scanned(collection, 1);
  const { scanTime, completedScanTime } = collection.statistics;
  assertEquals(scanTime > 0, true);
  assertEquals(completedScanTime, 0);
  await scanned(collection, 1);
  assertEquals(collection.statistics.scanTime > scanTime, true);
  assertEquals(
    collection.statistics.completedScanTime,
    collection.statistics.scanTime,
  );
});

Deno.test("growth of the resident set during the scan adds to the excess", async () => {
  const memory = new FakeMemory(1, [
    { start: 0x10000n, pages: "0000" },
    { start: 0x20000n, pages: "...." },
  ]);
  memory.onCall = (call) => {
    if (call !== "pageOut 10000-12000") return;
    memory.mappings = [memory.mappings[0], { start: 0x20000n, pages: "111." }];
  };
  const collection = collectionOf(memory);
  const { excessPages } = await scanned(collection, 2);
  // 2 pages went and 3 came, so 3 more are needed; 2 are available.
  assertEquals(memory.pageouts, ["10000-12000", "12000-14000"]);
  assertEquals(excessPages, 1);
  assertEquals(pagesOf(collection).effective, 2);
});

Deno.test("growth after the last page-out is noticed", async () => {
  const memory = new FakeMemory(1, [
    { start: 0x10000n, pages: "0" },
    { start: 0x20000n, pages: "2" },
    { start: 0x30000n, pages: "..." },
  ]);
  const collection = collectionOf(memory);
  const result = await scan(collection, {
    excess: PAGE,
    onEvent: ({ type }) => {
      if (type !== "pageout") return;
      const grown = { start: 0x30000n, pages: "222" };
      memory.mappings = [...memory.mappings.slice(0, 2), grown];
    },
  });
  assertEquals(result.excess, 3 * PAGE);
  assertEquals(pagesOf(collection).effective, 1);
});

Deno.test("mappings that residency shows to be unpageable are left out", async () => {
  const memory = new FakeMemory(1, [
    { start: 0x10000n, pages: "00" },
    { start: 0x20000n, pages: "00" },
    { start: 0x30000n, pages: "00" },
  ]);
  memory.residency = residencyOf(
    { start: 0x10000n, bytes: 2 * PAGE, pageable: 0, reason: "shared" },
    { start: 0x20000n, bytes: 3 * PAGE, pageable: 0 },
    { start: 0x30000n, bytes: 2 * PAGE, pageable: 0 },
  );
  const collection = collectionOf(memory);
  const { events } = await scanned(collection, 4);
  assertEquals(memory.pageouts, ["20000-22000"]);
  assertEquals(
    eventsOf("skip", events).map(({ reason }) => reason),
    ["shared", "nonresident"],
  );
  assertEquals(pagesOf(collection).attempted, 2);
});

Deno.test("one page-out takes many small ranges", async () => {
  const memory = new FakeMemory(1, [
    { start: 0x10000n, pages: "0202.020" },
    { start: 0x20000n, pages: "00" },
    { start: 0x30000n, pages: "2..0" },
  ]);
  memory.maxRanges = 1024;
  const collection = collectionOf(memory);
  const { excessPages, events } = await scanned(collection, 7);
  assertEquals(memory.pageouts, [
    "10000-11000 12000-13000 15000-16000 17000-18000 20000-22000 33000-34000",
  ]);
  assertEquals(excessPages, 0);
  const [pageout] = eventsOf("pageout", events);
  assertEquals(pageout.ranges.map(({ bytes }) => bytes / PAGE), [
    1,
    1,
    1,
    1,
    2,
    1,
  ]);
  assertEquals(pageout.results.map(({ result }) => result), [
    "done",
    "done",
    "done",
    "done",
    "done",
    "done",
  ]);
  assertEquals({ fell: pageout.fell, excess: pageout.excess }, {
    fell: 7 * PAGE,
    excess: 0,
  });
  assertEquals(pagesOf(collection).attempted, 7);
});

Deno.test("a page-out takes no more ranges than the platform allows", async () => {
  const memory = new FakeMemory(1, [{
    start: 0x10000n,
    pages: "02".repeat(7),
  }]);
  memory.maxRanges = 3;
  await scanned(collectionOf(memory), 7);
  assertEquals(
    memory.pageouts.map((ranges) => ranges.split(" ").length),
    [3, 3, 1],
  );
});

Deno.test("a page-out takes no more than the excess requires", async () => {
  const memory = new FakeMemory(1, [
    { start: 0x10000n, pages: "02002" },
    { start: 0x20000n, pages: "0000" },
  ]);
  memory.maxRanges = 1024;
  const collection = collectionOf(memory);
  await scanned(collection, 5);
  assertEquals(memory.pageouts, ["10000-11000 12000-14000 20000-22000"]);
  assertEquals(placeOf(collection), { pid: 1, resumeAddress: 0x22000n });
});

Deno.test("a batch that frees less than it should is followed by another", async () => {
  const memory = new FakeMemory(1, [
    { start: 0x10000n, pages: "00", outcome: "busy" },
    { start: 0x20000n, pages: "0" },
    { start: 0x30000n, pages: "0000" },
  ]);
  memory.maxRanges = 1024;
  const { excessPages } = await scanned(collectionOf(memory), 3);
  assertEquals(memory.pageouts, ["10000-12000 20000-21000", "30000-32000"]);
  assertEquals(excessPages, 0);
});

Deno.test("a failure inside a batch ends the turn at the range that failed", async () => {
  const failed = new FakeMemory(1, [
    { start: 0x10000n, pages: "020" },
    { start: 0x20000n, pages: "0.00", outcome: "failed" },
    { start: 0x30000n, pages: "0" },
  ]);
  failed.maxRanges = 1024;
  const other = new FakeMemory(2, [{ start: 0x10000n, pages: "000" }]);
  const collection = collectionOf(failed, other);
  const { excessPages, events } = await scanned(collection, 4);
  assertEquals(failed.pageouts, ["10000-11000 12000-13000 20000-23000"]);
  assertEquals(failed.controlled, false);
  assertEquals(collection.processes[0].unscannable, true);
  assertEquals(other.pageouts, ["10000-12000"]);
  assertEquals(excessPages, 0);
  // The range that failed and those after it do not count as attempted.
  assertEquals(pagesOf(collection), {
    attempted: 4,
    effective: 4,
    scanCount: 1,
    ineffective: 0,
  });
  const [pageout] = eventsOf("pageout", events);
  assertEquals(pageout.results.map(({ result }) => result), [
    "done",
    "done",
    "failed",
  ]);
  assertEquals(pageout.ranges.length, 3);
});

Deno.test("a process that failed is left alone from then on", async () => {
  const failed = new FakeMemory(1, [
    { start: 0x10000n, pages: "0" },
    { start: 0x20000n, pages: "0", outcome: "failed" },
  ]);
  const collection = collectionOf(failed);
  await scanned(collection, 2);
  assertEquals(placeOf(collection), { pid: 1, resumeAddress: 0x20000n });
  const calls = failed.calls.length;
  const { excessPages, complete } = await scanned(collection, 2);
  assertEquals({ excessPages, complete }, { excessPages: 2, complete: false });
  assertEquals(failed.calls.length, calls);
});

Deno.test("the pages of a process that failed do not count as available", async () => {
  const memories = [1, 2, 3].map((pid) =>
    new FakeMemory(pid, [{ start: 0x10000n, pages: "020" }])
  );
  const collection = collectionOf(...memories);
  collection.processes[1].unscannable = true;
  const { events } = await scanned(collection, 5);
  assertEquals(memories[1].calls, []);
  const [insufficient] = eventsOf("insufficient", events);
  assertEquals(insufficient.unreferenced, 4 * PAGE);
  assertEquals(memories[2].pageouts, ["10000-12000"]);
});

Deno.test("mappings of a batch that frees nothing are all ignored", async () => {
  const memory = new FakeMemory(1, [
    { start: 0x10000n, pages: "0.0", outcome: "busy" },
    { start: 0x20000n, pages: "02", outcome: "busy" },
    { start: 0x30000n, pages: "0", outcome: "busy" },
  ]);
  memory.maxRanges = 1024;
  const collection = collectionOf(memory);
  const [process] = collection.processes;
  const { events } = await scanned(collection, 4);
  assertEquals(memory.pageouts, ["10000-13000 20000-21000 30000-31000"]);
  // Only a part of the second mapping was tried.
  assertEquals(process.ignored.entries(), [
    [0x10000n, 3 * PAGE],
    [0x30000n, PAGE],
  ]);
  assertEquals(
    eventsOf("ignore", events).map(({ mapping }) => mapping.start),
    [0x10000n, 0x30000n],
  );
  assertEquals(pagesOf(collection).attempted, 4);
});

Deno.test("ignored mappings are passed over and count as attempted", async () => {
  const memory = new FakeMemory(1, [
    { start: 0x10000n, pages: "0.0", outcome: "busy" },
    { start: 0x20000n, pages: "0" },
  ]);
  const collection = collectionOf(memory);
  await scanned(collection, 3);
  assertEquals(memory.pageouts, ["10000-13000", "20000-21000"]);
  const { events } = await scanned(collection, 2);
  assertEquals(memory.pageouts.length, 2);
  assertEquals(
    eventsOf("skip", events).map(({ reason }) => reason),
    ["ignored"],
  );
  assertEquals(pagesOf(collection).attempted, 3 + 2);
});

Deno.test("if a batch frees anything, none of its mappings is ignored", async () => {
  const memory = new FakeMemory(1, [
    { start: 0x10000n, pages: "00", outcome: "busy" },
    { start: 0x20000n, pages: "0" },
  ]);
  memory.maxRanges = 2;
  const collection = collectionOf(memory);
  await scanned(collection, 3);
  assertEquals(memory.pageouts, ["10000-12000 20000-21000"]);
  assertEquals(collection.processes[0].ignored.size, 0);
});

Deno.test("a mapping that is used again or changes is no longer ignored", async () => {
  const mappings = [
    { start: 0x10000n, pages: "00", outcome: "busy" as const },
    { start: 0x20000n, pages: "00", outcome: "busy" as const },
  ];
  const memory = new FakeMemory(1, mappings);
  const collection = collectionOf(memory);
  const [{ ignored }] = collection.processes;
  await scanned(collection, 4);
  assertEquals(ignored.size, 2);
  memory.mappings = [mappings[0], { ...mappings[1], pages: "02" }];
  await scanned(collection, 1);
  assertEquals(ignored.entries(), [[0x10000n, 2 * PAGE]]);
  memory.mappings = [...mappings, { start: 0x30000n, pages: "2" }];
  await scanned(collection, 0);
  assertEquals(ignored.size, 0);
});

Deno.test("every tenth completed scan tries ignored mappings again", async () => {
  const memory = new FakeMemory(1, [
    { start: 0x10000n, pages: "00", outcome: "busy" },
  ]);
  const collection = collectionOf(memory);
  for (let completed = 1; completed <= 21; completed++) {
    await scanned(collection, 2);
    assertEquals(pagesOf(collection).scanCount, completed);
    assertEquals(memory.pageouts.length, Math.ceil(completed / 10));
  }
});

Deno.test("a scan that is stopped before it begins touches nothing", async () => {
  const memory = new FakeMemory(1, [{ start: 0x10000n, pages: "00" }]);
  const result = await scanned(collectionOf(memory), 2, AbortSignal.abort());
  assertEquals(memory.calls, []);
  assertEquals(result, {
    excessPages: 2,
    complete: false,
    events: [{ type: "end", excess: 2 * PAGE, complete: false }],
  });
});

Deno.test("a scan that is stopped while it merges pages nothing out", async () => {
  const memories = [1, 2].map((pid) =>
    new FakeMemory(pid, [{ start: 0x10000n, pages: "20" }])
  );
  const controller = new AbortController();
  memories[0].onCall = () => controller.abort();
  await scanned(collectionOf(...memories), 4, controller.signal);
  assertEquals(memories[0].calls, ["readPagedata"]);
  assertEquals(memories[1].calls, []);
});

Deno.test("a scan that is stopped between batches keeps its place", async () => {
  const memory = new FakeMemory(1, [{
    start: 0x10000n,
    pages: "02".repeat(6),
  }]);
  memory.maxRanges = 2;
  const other = new FakeMemory(2, [{ start: 0x10000n, pages: "0" }]);
  const collection = collectionOf(memory, other);
  const controller = new AbortController();
  const { excess } = await scan(collection, {
    excess: 6 * PAGE,
    signal: controller.signal,
    onEvent: ({ type }) => type === "pageout" && controller.abort(),
  });
  assertEquals(memory.pageouts, ["10000-11000 12000-13000"]);
  assertEquals(memory.controlled, false);
  assertEquals(other.calls, ["readPagedata"]);
  assertEquals(excess, 4 * PAGE);
  assertEquals(placeOf(collection), { pid: 1, resumeAddress: 0x13000n });
  await scanned(collection, 1);
  assertEquals(memory.pageouts.at(-1), "14000-15000");
});

Deno.test("a scan that is stopped within a batch keeps its place", async () => {
  const memory = new FakeMemory(1, [{
    start: 0x10000n,
    pages: "02".repeat(6),
  }]);
  memory.maxRanges = 1024;
  const collection = collectionOf(memory);
  const controller = new AbortController();
  memory.onCall = (call) =>
    call === "pageOut 12000-13000" && controller.abort();
  const { excessPages, events } = await scanned(
    collection,
    6,
    controller.signal,
  );
  assertEquals(memory.pageouts, ["10000-11000 12000-13000"]);
  const [pageout] = eventsOf("pageout", events);
  assertEquals(pageout.ranges.map(({ start }) => start), [0x10000n, 0x12000n]);
  assertEquals(memory.controlled, false);
  assertEquals(excessPages, 4);
  const { attempted, scanCount, ineffective } = pagesOf(collection);
  assertEquals([attempted, scanCount, ineffective], [2, 0, 0]);
  assertEquals(placeOf(collection), { pid: 1, resumeAddress: 0x14000n });
  assertEquals(collection.processes[0].unscannable, false);
});

Deno.test("pagedata that cannot be read is reopened and read again", async () => {
  const memory = new FakeMemory(1, [{ start: 0x10000n, pages: "00" }]);
  memory.onCall = failing(/readPagedata/, 1, new ProcessError(1, "stale"));
  const { excessPages, events } = await scanned(collectionOf(memory), 2);
  assertEquals(memory.calls.slice(0, 3), [
    "readPagedata",
    "closePagedata",
    "readPagedata",
  ]);
  assertEquals(excessPages, 0);
  assertEquals(eventsOf("error", events), []);
});

Deno.test("if pagedata stays unreadable, the accumulated pagedata stays", async () => {
  const memory = new FakeMemory(1, [{ start: 0x10000n, pages: "00200" }]);
  const collection = collectionOf(memory);
  const [process] = collection.processes;
  await scanned(collection, 1);
  const error = new ProcessError(1, "denied");
  memory.onCall = (call) => {
    if (call === "readPagedata") throw error;
  };
  memory.calls.length = 0;
  const { events } = await scanned(collection, 0);
  assertEquals(memory.calls, [
    "readPagedata",
    "closePagedata",
    "readPagedata",
  ]);
  assertEquals(events[0], { type: "error", process, error });
  assertEquals(drawingOf(process.pagedata!), ["00200"]);
});

Deno.test("a process that was never read does not become the victim", async () => {
  const unread = new FakeMemory(1, [{ start: 0x10000n, pages: "00" }]);
  unread.onCall = () => {
    throw new NoSuchProcess(1, "gone");
  };
  const other = new FakeMemory(2, [{ start: 0x10000n, pages: "00" }]);
  await scanned(collectionOf(unread, other), 2);
  assertEquals(
    unread.calls,
    [
      "readPagedata",
      "closePagedata",
      "readPagedata",
      "closePagedata",
    ].slice(0, 3),
  );
  assertEquals(other.pageouts, ["10000-12000"]);
});

for (const call of ["readSizes", "control"]) {
  Deno.test(`a process that fails at ${call} is passed over`, async () => {
    const failed = new FakeMemory(1, [{ start: 0x10000n, pages: "2000" }]);
    const error = new NoSuchProcess(1, "gone");
    failed.onCall = failing(new RegExp(call), 1, error);
    const other = new FakeMemory(2, [{ start: 0x10000n, pages: "000" }]);
    const collection = collectionOf(failed, other);
    const { events } = await scanned(collection, 3);
    assertEquals(failed.pageouts, []);
    assertEquals(failed.controlled, false);
    assertEquals(other.pageouts, ["10000-13000"]);
    const [process] = collection.processes;
    assertEquals(
      eventsOf("error", events),
      [{ type: "error", process, error }],
    );
    assertEquals(process.unscannable, false);
  });
}

Deno.test("a process whose residency cannot be read is scanned without it", async () => {
  const memory = new FakeMemory(1, [{ start: 0x10000n, pages: "00" }]);
  const error = new ProcessError(1, "denied");
  memory.onCall = failing(/readResidency/, 1, error);
  const collection = collectionOf(memory);
  const { excessPages, events } = await scanned(collection, 2);
  assertEquals(excessPages, 0);
  assertEquals(
    eventsOf("error", events),
    [{ type: "error", process: collection.processes[0], error }],
  );
});

Deno.test("a resident set that cannot be read during the scan changes nothing", async () => {
  const memory = new FakeMemory(1, [
    { start: 0x10000n, pages: "00" },
    { start: 0x20000n, pages: "00" },
  ]);
  memory.onCall = failing(/readSizes/, 2, new ProcessError(1, "denied"));
  const collection = collectionOf(memory);
  const { excessPages } = await scanned(collection, 4);
  // The second reading includes what the first would have shown.
  assertEquals(memory.pageouts, ["10000-12000", "20000-22000"]);
  assertEquals(excessPages, 0);
  assertEquals(pagesOf(collection).effective, 4);
});

for (
  const call of [
    "readPagedata",
    "readResidency",
    "readSizes",
    "control",
    "pageOut",
  ]
) {
  Deno.test(`an error of another kind at ${call} ends the scan`, async () => {
    const memory = new FakeMemory(1, [{ start: 0x10000n, pages: "00" }]);
    memory.onCall = failing(new RegExp(call), 1, new TypeError("a bug"));
    await assertRejects(
      () => scanned(collectionOf(memory), 2),
      TypeError,
      "a bug",
    );
    assertEquals(memory.controlled, false);
    assertEquals(memory.calls.at(-1), call === "pageOut" ? "release" : call);
  });
}

Deno.test("an error of another kind at the second readPagedata ends the scan", async () => {
  const memory = new FakeMemory(1, [{ start: 0x10000n, pages: "00" }]);
  const errors = [new ProcessError(1, "stale"), new TypeError("a bug")];
  memory.onCall = () => {
    throw errors.shift();
  };
  await assertRejects(() => scanned(collectionOf(memory), 2), TypeError);
});

Deno.test("control is released whatever is thrown while it is held", async () => {
  const memory = new FakeMemory(1, [{ start: 0x10000n, pages: "00" }]);
  memory.onCall = failing(/readSizes/, 2, new TypeError("a bug"));
  await assertRejects(() => scanned(collectionOf(memory), 2), TypeError);
  assertEquals(memory.controlled, false);

  const told = new FakeMemory(2, [{ start: 0x10000n, pages: "00" }]);
  const onEvent = ({ type }: ScanEvent) => {
    if (type === "pageout") throw new TypeError("a listener's bug");
  };
  await assertRejects(
    () => scan(collectionOf(told), { excess: PAGE, onEvent }),
    TypeError,
  );
  assertEquals(told.controlled, false);
});

Deno.test("if the victim has left the collection, the first process takes over", async () => {
  const memories = [1, 2, 3].map((pid) =>
    new FakeMemory(pid, [{ start: 0x10000n, pages: "00" }])
  );
  const collection = collectionOf(...memories);
  await scanned(collection, 3);
  assertEquals(placeOf(collection), { pid: 2, resumeAddress: 0x11000n });
  const [first, , third] = collection.processes;
  first.unscannable = true;
  collection.processes = [first, third];
  // The third process takes over, from its beginning.
  await scanned(collection, 1);
  assertEquals(memories[2].pageouts, ["10000-11000"]);
  assertEquals(memories[1].pageouts, ["10000-11000"]);
});

Deno.test("a scan of a collection without processes does nothing", async () => {
  const collection = collectionOf();
  const { events, ...result } = await scanned(collection, 1);
  assertEquals(result, { excessPages: 1, complete: false });
  assertEquals(events, [{ type: "end", excess: PAGE, complete: false }]);
  assertEquals(pagesOf(collection).scanCount, 0);
});
