/**
 * The policy `coldest` and the ages of pages, on live processes.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { libc } from "../ffi/libc.ts";
import type { AgesReport } from "../lib/collection/inspect.ts";
import type { ScanReport } from "../lib/collection/scan_once.ts";
import { openPlatform } from "../lib/platform/open.ts";
import { PageAges } from "../lib/scanner/ages.ts";
import { endOffset, firstOffset } from "../lib/scanner/pagedata.ts";
import { cap, QUICKLY, TestDaemon } from "./daemon.ts";
import { KIB, MIB, requireRoot } from "./live.ts";
import { rcapJson } from "./rcap.ts";
import { zramSwap } from "./swap.ts";
import {
  mappingFigures,
  type Region,
  residentOf,
  rssOf,
  until,
  Workload,
} from "./workload.ts";

requireRoot();

// Opened before the first test, which would seem to leak it otherwise.
libc();

const PAGE = 4096;

/** A process with 96 MiB that nothing uses and 32 MiB in use. */
async function startVictim(): Promise<Workload> {
  await using held = new AsyncDisposableStack();
  const victim = held.use(await Workload.start());
  await victim.small();
  await victim.anon("idle", 96 * MIB);
  await victim.anon("hot", 32 * MIB);
  await victim.hot("hot");
  held.move();
  return victim;
}

Deno.test("coldest keeps a cap, what is in use stays, and stat tells what is idle", async () => {
  await using _swap = await zramSwap({ size: 512 * MIB });
  await using victim = await startVictim();
  await using daemon = await TestDaemon.start({
    config: `${QUICKLY}policy = "coldest"\n` +
      cap("old", [`pid:${victim.pid}`], "80M"),
  });
  const collection = await daemon.untilCollection(
    "old",
    ({ rss, statistics, idle }) =>
      rss > 0 && rss <= 80 * MIB && statistics.effective > 0 && idle !== null,
    "the cap to be met",
    60_000,
  );
  assert(collection.idle);
  const [first] = collection.idle;
  assertEquals(first.intervals, 1);
  assert(first.bytes > 8 * MIB, `${first.bytes} idle`);
  assert(await victim.resident("hot") >= 31 * MIB, "the hot part stays");
  assert(await victim.checksum(), "memory is as it was");
});

Deno.test("scan --policy coldest takes what was not used", async () => {
  await using _swap = await zramSwap({ size: 512 * MIB });
  await using victim = await startVictim();
  const { code, json } = await rcapJson<ScanReport>([
    "scan",
    `pid:${victim.pid}`,
    "--policy",
    "coldest",
    "--excess",
    "64M",
  ]);
  assertEquals(code, 0);
  assert(json.effective! >= 63 * MIB, `${json.effective} went`);
  assert(await victim.resident("hot") >= 31 * MIB, "the hot part stays");
  assert(await victim.checksum(), "memory is as it was");
});

Deno.test("inspect --ages tells the working set", async () => {
  await using victim = await startVictim();
  const { code, json } = await rcapJson<AgesReport>([
    "inspect",
    `${victim.pid}`,
    "--ages",
    "--observe",
    "4s",
  ]);
  assertEquals(code, 0);
  assertEquals(json.ages.map(({ intervals }) => intervals), [1, 2, 4, 8, 16]);
  const longest = json.ages[4];
  assert(longest.idle >= 95 * MIB, `${longest.idle} idle`);
  assert(longest.used >= 31 * MIB, `${longest.used} used`);
});

/** How many pages of a region have which age. */
function agesOf(
  { pagedata, ages }: PageAges,
  { start, end }: Region,
): Record<number, number> {
  assert(pagedata, "the process has been read");
  const counts: Record<number, number> = {};
  for (const mapping of pagedata.mappings) {
    if (mapping.start < start || mapping.start >= end) continue;
    const last = endOffset(pagedata, mapping);
    for (let at = firstOffset(pagedata, mapping); at < last; at++) {
      counts[ages[at]] = (counts[ages[at]] ?? 0) + 1;
    }
  }
  return counts;
}

/**
 * Asserts that a region has an age, but for a page here and there that somebody
 * else has looked at: DAMON resets references to see whether they come again.
 */
function assertAge(ages: PageAges, region: Region, age: number): void {
  const counts = agesOf(ages, region);
  const pages = region.size / PAGE;
  assert(
    (counts[age] ?? 0) >= 0.98 * pages,
    `${region.name}: not ${age}, but ${JSON.stringify(counts)}`,
  );
}

/** Waits until all of a region has been referenced since that was last reset. */
async function untilReferenced(
  { pid }: Workload,
  { name, start, size }: Region,
): Promise<void> {
  await until(
    () => mappingFigures(pid, start).referenced === size,
    `all of ${name} to be referenced`,
  );
}

/**
 * Uses a region, and waits until rcap resets its references: until an interval has
 * ended. Whatever is done next has nearly an interval of time.
 *
 * @param isOver whether rcap resets no more, which ends it too.
 */
async function untilReset(
  workload: Workload,
  { name, start }: Region,
  isOver: () => boolean,
): Promise<void> {
  await workload.checksum(name);
  await until(
    () => isOver() || mappingFigures(workload.pid, start).referenced === 0,
    `${name} to be reset`,
  );
}

Deno.test("ages go with what mremap moves, and nothing else gets them", async () => {
  // A scan looks at nothing that could go nowhere.
  await using _swap = await zramSwap({ size: 64 * MIB });
  await using workload = await Workload.start();
  await workload.small();
  let old = await workload.anon("old", 32 * MIB);
  let younger = await workload.anon("younger", 16 * MIB);
  const hot = await workload.anon("hot", 8 * MIB);
  using platform = openPlatform("auto", () => {});
  assertEquals(platform.granularity, "page", "ages are of pages");
  const memory = platform.open(platform.readProcess(workload.pid));
  const ages = new PageAges();
  await memory.reset();
  await workload.hot("hot");
  const interval = async () => {
    await untilReferenced(workload, hot);
    ages.advance(await memory.read("scan"));
  };
  for (let count = 0; count < 5; count++) await interval();
  await workload.checksum("younger");
  for (let count = 0; count < 4; count++) await interval();
  assertEquals(agesOf(ages, old), { 9: old.size / PAGE });
  assertAge(ages, younger, 3);

  // Both in one interval, and something new of the same kind beside them.
  old = await workload.remap("old");
  younger = await workload.remap("younger");
  const fresh = await workload.anon("fresh", 12 * MIB);
  await interval();
  assertEquals(agesOf(ages, old), { 10: old.size / PAGE });
  assertAge(ages, younger, 4);
  assertEquals(agesOf(ages, fresh), { 0: fresh.size / PAGE });
  assertAge(ages, hot, 0);

  // What is moved and used is in use.
  old = await workload.remap("old");
  await workload.checksum("old");
  await interval();
  assertAge(ages, old, 0);
});

Deno.test("inspect --ages tells how long memory is idle that moves all the time", async () => {
  await using victim = await startVictim();
  const probe = await victim.anon("probe", 64 * KIB);
  let isOver = false;
  const told = rcapJson<AgesReport>([
    "inspect",
    `${victim.pid}`,
    "--ages",
    "--observe",
    "5s",
  ]).finally(() => isOver = true);
  let moves = 0;
  for (; !isOver; moves++) {
    await untilReset(victim, probe, () => isOver);
    await victim.remap("idle");
  }
  const { code, json } = await told;
  assertEquals(code, 0);
  assert(moves >= 4, `${moves} moves`);
  const longest = json.ages.at(-1);
  assert(longest);
  assertEquals(longest.intervals, 16);
  assert(longest.idle >= 95 * MIB, `${longest.idle} idle`);
  assert(longest.used >= 31 * MIB, `${longest.used} used`);
});

Deno.test("what is idle for longest goes first, whoever's it is", async () => {
  await using _swap = await zramSwap({ size: 512 * MIB });
  // The first of the list is who is idle for a shorter time.
  await using later = await Workload.start();
  await later.small();
  const data = await later.anon("data", 64 * MIB);
  await later.hot("data");
  const probe = await later.anon("probe", 64 * KIB);
  await using sooner = await Workload.start();
  await sooner.small();
  const idle = await sooner.anon("idle", 64 * MIB);
  let isOver = false;
  const told = rcapJson<ScanReport>([
    "scan",
    `pid:${later.pid}`,
    `pid:${sooner.pid}`,
    "--policy",
    "coldest",
    "--excess",
    "40M",
    "--observe",
    "4s",
  ]).finally(() => isOver = true);
  // At the beginning, and at the end of each of 8 parts.
  for (let reset = 0; reset < 5; reset++) {
    await untilReset(later, probe, () => isOver);
  }
  assert(!isOver, "the observation still goes on");
  await later.cold("data");
  const { code, json, stderr } = await told;
  assertEquals(code, 0, stderr);
  assertEquals(json.workingSetToo, false);
  assertEquals(
    residentOf(later.pid, data.start, data.end),
    data.size,
    "what was used a little while ago stays",
  );
  const left = residentOf(sooner.pid, idle.start, idle.end);
  assert(left <= idle.size - 24 * MIB, `${left} of the oldest are left`);
  assert(await later.checksum(), "memory is as it was");
  assert(await sooner.checksum(), "memory is as it was");
});

Deno.test("the daemon takes first what is idle for longest, of all processes", async () => {
  await using _swap = await zramSwap({ size: 512 * MIB });
  await using later = await Workload.start();
  await later.small();
  const data = await later.anon("data", 48 * MIB);
  await later.hot("data");
  await using sooner = await Workload.start();
  await sooner.small();
  const idle = await sooner.anon("idle", 64 * MIB);
  const config = (size: number) =>
    `${QUICKLY}policy = "coldest"\n` +
    cap("both", [`pid:${later.pid}`, `pid:${sooner.pid}`], `${size}`);
  const size = rssOf(later.pid) + rssOf(sooner.pid);
  await using daemon = await TestDaemon.start({
    config: config(Math.ceil(size * 1.1)),
  });
  const untilIdle = (intervals: number, bytes: number) =>
    daemon.untilCollection(
      "both",
      ({ idle }) =>
        idle?.some((row) =>
          row.intervals === intervals && row.bytes >= bytes
        ) ?? false,
      `${bytes} to be idle for ${intervals} intervals`,
      40_000,
    );
  await untilIdle(2, idle.size);
  await later.cold("data");
  await untilIdle(1, idle.size + data.size);
  await untilIdle(4, idle.size);
  assertEquals(daemon.collection("both").statistics.scans, 0);
  const less = daemon.collection("both").rss - 40 * MIB;
  Deno.writeTextFileSync(daemon.place.config, config(less));
  await daemon.untilCollection(
    "both",
    ({ cap, rss }) => cap === less && rss <= cap,
    "the cap to be met",
  );
  assertEquals(residentOf(later.pid, data.start, data.end), data.size);
  const left = residentOf(sooner.pid, idle.start, idle.end);
  assert(left <= idle.size - 24 * MIB, `${left} of the oldest are left`);
  assert(await later.checksum(), "memory is as it was");
  assert(await sooner.checksum(), "memory is as it was");
});
