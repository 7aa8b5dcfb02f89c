/**
 * Tests of `rcap size` on a simulated machine and clock.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { parseSelector } from "../collection/selectors.ts";
import { NoMatch, ProcessError } from "../errors.ts";
import type { RefaultLimit } from "../report/rates.ts";
import {
  FakeClock,
  FakePlatform,
  type FakeProcess,
  hot,
  PAGE,
  rounds,
  type Script,
  TICK,
  together,
} from "../platform/fake_testing.ts";
import { findSizes, type SizeOptions } from "./size.ts";
import { groupsBy } from "./size_groups.ts";
import { chosenCaps, type SizeReport, sizeReport } from "./size_report.ts";

// Opened before the first test, which would otherwise seem to leak it.
libc();

const SHARE: RefaultLimit = { sharePerMinute: 0.002 };

/** Finds the sizes of the processes named `one` while the clock runs. */
async function sizeOf(
  platform: FakePlatform,
  { limit = SHARE, ...options }: Partial<SizeOptions> & {
    limit?: RefaultLimit;
  } = {},
): Promise<SizeReport & { messages: string[] }> {
  const messages: string[] = [];
  const note = (message: string) => messages.push(message);
  const { clock } = platform;
  const findings = await clock.finish(
    findSizes({
      selectors: [parseSelector("comm:one")],
      observation: 10 * 60_000,
      signal: new AbortController().signal,
      log: { warn: note, info: note, debug() {} },
      platform,
      clock,
      ...options,
    }),
    TICK,
  );
  const report = sizeReport(findings, {
    limit,
    pagedata: "pte",
    memory: platform.memory(),
  });
  return { ...report, messages };
}

/** A process with 1000 pages in use, 600 used in rounds of 30 s, and 2000 never. */
function startOne(platform: FakePlatform): FakeProcess {
  const process = platform.start(
    "one",
    together(hot("hot"), rounds("warm", 30)),
  );
  process.fill("hot", 1000);
  process.fill("warm", 600);
  process.fill("cold", 2000);
  return process;
}

/** The refaults a second under a cap, in pages. */
function at({ groups: [{ curve }] }: SizeReport, pages: number): number {
  const row = curve.find(({ cap }) => cap >= pages * PAGE);
  assert(row, `no cap of ${pages} pages`);
  return row.refaults;
}

Deno.test("a cap that cuts into what is used in rounds costs all of it, another nothing", async () => {
  const platform = new FakePlatform(new FakeClock());
  const process = startOne(platform);
  const report = await sizeOf(platform);
  assertEquals(report.observedSeconds, 600);
  assertEquals(report.interval, 5);
  const [group] = report.groups;
  assertEquals(group.size, 3600 * PAGE);
  // 600 pages in 30 s.
  assert(Math.abs(at(report, 1300) - 20) < 2, `${at(report, 1300)}`);
  assert(at(report, 1800) < 0.5, `${at(report, 1800)}`);
  assertEquals(group.neverUsed, 2000 * PAGE);
  assert(Math.abs(group.workingSet / PAGE - 1600) < 50);
  // What is used within five seconds: the hot pages, and a sixth of the round.
  assert(Math.abs(group.least / PAGE - 1100) < 20, `${group.least / PAGE}`);
  const { recommended } = group;
  assert(recommended);
  assert(recommended.cap >= 1600 * PAGE && recommended.cap < 2100 * PAGE);
  assert(recommended.worstMinute <= group.budget);
  assertEquals(process.rss, 3600 * PAGE);
  assertEquals(process.majorFaults, 0);
});

Deno.test("the budget is at least one refault a second, and as large as was asked for", async () => {
  const platform = new FakePlatform(new FakeClock());
  startOne(platform);
  const small = await sizeOf(platform);
  assertEquals(small.groups[0].budget, 60);
  const large = await sizeOf(platform, { limit: { perSecond: 50 } });
  const [group] = large.groups;
  assertEquals(group.budget, 3000);
  // The smallest cap that is predicted, and 5 %.
  const cap = group.recommended?.cap ?? 0;
  assert(cap < group.least * 1.05 + 2 ** 20 + 1, `${cap / PAGE}`);
});

Deno.test("the working set of a short observation is what was used, not what was not", async () => {
  const platform = new FakePlatform(new FakeClock());
  startOne(platform);
  const { groups: [group] } = await sizeOf(platform, { observation: 60_000 });
  assertEquals(group.workingSetSeconds, 60);
  assertEquals(group.workingSet, 1600 * PAGE);
});

Deno.test("what cannot go is in every cap, and has its reasons", async () => {
  const platform = new FakePlatform(new FakeClock());
  const process = startOne(platform);
  process.fill("locked", 500, { isLocked: true });
  process.fill("shared", 400, { sharers: 4 });
  const { groups: [group] } = await sizeOf(platform, {
    observation: 120_000,
  });
  assertEquals(group.size, (3600 + 500 + 100) * PAGE);
  assertEquals(group.fixed, 600 * PAGE);
  assertEquals(group.cannotGo, [
    { reason: "locked", bytes: 500 * PAGE },
    { reason: "shared", bytes: 100 * PAGE },
  ]);
  assert(group.least >= 1600 * PAGE);
});

Deno.test("refaults from files and from swap are told apart, and cost what was measured", async () => {
  const platform = new FakePlatform(new FakeClock());
  platform.costs = () =>
    Promise.resolve({
      reference: 200,
      pageIns: [
        { from: "swap", device: "zram0", nanoseconds: 10_000 },
        { from: "file", device: "vda", nanoseconds: 100_000 },
      ],
    });
  const process = platform.start(
    "one",
    together(hot("hot"), rounds("warm", 30), rounds("file", 30)),
  );
  process.fill("hot", 1000);
  process.fill("warm", 600);
  process.fill("file", 300, { isFile: true });
  const { groups: [{ curve, toFiles, toSwap }] } = await sizeOf(platform);
  const row = curve.find(({ cap }) => cap >= 1350 * PAGE);
  assert(row);
  assert(Math.abs(row.fromSwap - 20) < 3, `${row.fromSwap}`);
  assert(Math.abs(row.fromFiles - 10) < 2, `${row.fromFiles}`);
  const stalled = row.fromSwap * 1e-5 + row.fromFiles * 1e-4;
  assert(Math.abs((row.stalled ?? 0) - stalled) < 1e-5);
  assertEquals([toFiles, toSwap], [300 * PAGE, 1600 * PAGE]);
});

Deno.test("a machine without swap is predicted, and how much swap is needed is reported", async () => {
  const platform = new FakePlatform(new FakeClock());
  platform.totalSwap = 0;
  startOne(platform);
  const report = await sizeOf(platform, { observation: 120_000 });
  assertEquals(report.swapTotal, 0);
  const [{ recommended, swapNeeded }] = report.groups;
  assert(recommended);
  assertEquals(swapNeeded, recommended.saved);
});

Deno.test("growth that was seen is added to the recommended cap", async () => {
  const platform = new FakePlatform(new FakeClock());
  const grows: Script = (process) => {
    const before = process.length("log");
    process.grow("log", 5);
    process.touch("log", before);
  };
  const process = platform.start(
    "one",
    together(hot("hot"), rounds("warm", 30), grows),
  );
  process.fill("hot", 1000);
  process.fill("warm", 600);
  process.fill("cold", 9000);
  process.map("log", 0);
  const { groups: [group] } = await sizeOf(platform, {
    observation: 300_000,
  });
  const growth = group.size - group.startSize;
  assert(growth > 5000 * PAGE, `${growth / PAGE} pages`);
  assert(group.recommended);
  assert(group.recommended.cap > growth + 1600 * PAGE);
});

Deno.test("an interruption ends the observation with what is known", async () => {
  const platform = new FakePlatform(new FakeClock());
  startOne(platform);
  const interruption = new AbortController();
  platform.clock.sleep(130_000).then(() => interruption.abort());
  const report = await sizeOf(platform, { signal: interruption.signal });
  assertEquals(report.interrupted, true);
  const { observedSeconds } = report;
  assert(observedSeconds >= 125 && observedSeconds <= 130);
  assert(Math.abs(at(report, 1300) - 20) < 3);
});

Deno.test("processes are grouped by what they have in common, and each has its cap", async () => {
  const platform = new FakePlatform(new FakeClock());
  for (const name of ["one", "one", "t*o"]) {
    const process = platform.start(name, hot("hot"));
    process.fill("hot", 1000);
    process.fill("idle", 3000);
  }
  const report = await sizeOf(platform, {
    selectors: [],
    groupOf: groupsBy("comm", platform),
    observation: 60_000,
  });
  assertEquals(
    report.groups.map(({ name, processes, size }) => [name, processes, size]),
    [["comm:one", 2, 8000 * PAGE], ["comm:t\\*o", 1, 4000 * PAGE]],
  );
  for (const { recommended, size } of report.groups) {
    assert(recommended && recommended.saved > size / 2);
  }
});

Deno.test("processes that come are watched, those that exit are not, and the others count", async () => {
  const platform = new FakePlatform(new FakeClock());
  const first = startOne(platform);
  const leaves = platform.start("one", hot("hot"));
  leaves.fill("hot", 5000);
  platform.clock.sleep(60_000).then(() => {
    leaves.exit();
    platform.start("one").fill("late", 700);
  });
  const { groups: [group], messages } = await sizeOf(platform, {
    observation: 240_000,
  });
  assertEquals(messages, []);
  assertEquals(group.processes, 2);
  assertEquals(group.size, first.rss + 700 * PAGE);
});

Deno.test("a process that cannot be read counts as what cannot go, with a warning", async () => {
  const platform = new FakePlatform(new FakeClock());
  startOne(platform);
  const other = platform.start("one");
  other.fill("memory", 500);
  other.readFailure = "its files make no sense";
  const { groups: [group], messages } = await sizeOf(platform, {
    observation: 60_000,
  });
  assertEquals(messages, ["its files make no sense"]);
  assertEquals(group.fixed, 500 * PAGE);
});

Deno.test("without a process that can be watched, the reason is reported", async () => {
  const platform = new FakePlatform(new FakeClock());
  await assertRejects(() => sizeOf(platform), NoMatch);
  const process = platform.start("one");
  process.fill("memory", 10);
  process.failure = "access denied";
  await assertRejects(() => sizeOf(platform), ProcessError, "access denied");
});

Deno.test("the table shows the size, the recommendation, and ends with what is in use", async () => {
  const platform = new FakePlatform(new FakeClock());
  startOne(platform);
  const { groups: [group] } = await sizeOf(platform);
  const rows = chosenCaps(group);
  assertEquals(rows[0].cap, group.size);
  assertEquals(rows.at(-1)?.cap, group.least);
  assert(rows.some(({ cap }) => cap === group.recommended?.cap));
  assert(rows.length <= 8);
  for (const [index, { refaults }] of rows.entries()) {
    assert(index === 0 || refaults >= rows[index - 1].refaults);
  }
});
