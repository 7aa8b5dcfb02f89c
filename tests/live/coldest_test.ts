/**
 * Tests of the policy `coldest` and of page ages on live processes.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { POLICIES } from "../../lib/config/policy_names.ts";
import { endOffset, firstOffset } from "../../lib/memory/pagedata.ts";
import type { AgesReport } from "../../lib/oneshot/inspect.ts";
import type { ScanReport } from "../../lib/oneshot/scan_once.ts";
import { openPlatform } from "../../lib/platform/system_testing.ts";
import { IDLE_SECONDS, PageAges } from "../../lib/scanner/ages.ts";
import { scanColdest } from "../../lib/scanner/coldest.ts";
import { cap, quicklyBy, TestDaemon } from "../support/daemon.ts";
import {
  assertIntact,
  assertResident,
  KIB,
  MIB,
  requireRoot,
} from "../support/live.ts";
import { rcapJson } from "../support/rcap.ts";
import { zramSwap } from "../support/swap.ts";
import {
  AgedCollection,
  AgedProcess,
} from "../../lib/scanner/aged_collection.ts";
import {
  majorFaults,
  mappingFigures,
  pssOf,
  type Region,
  residentOf,
  rssOf,
  until,
  Workload,
} from "../support/workload.ts";

requireRoot();

// Opened before the first test, which would otherwise appear to leak it.
libc();

const PAGE = 4096;

/** A process with 96 idle MiB and 32 MiB in use. */
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

Deno.test("coldest keeps a cap, memory in use stays, and stat shows idle memory", async () => {
  await using _swap = await zramSwap({ size: 512 * MIB });
  await using victim = await startVictim();
  await using daemon = await TestDaemon.start({
    config: quicklyBy("coldest") +
      cap("old", [`pid:${victim.pid}`], "80M"),
  });
  const group = await daemon.untilGroup(
    "old",
    ({ rss, statistics, idle }) =>
      rss > 0 && rss <= 80 * MIB && statistics.effective > 0 && idle !== null,
    "the cap to be met",
  );
  assert(group.idle);
  const [first] = group.idle;
  assertEquals(first.seconds, 1);
  assert(first.bytes > 8 * MIB, `${first.bytes} idle`);
  assert(await victim.resident("hot") >= 31 * MIB, "the hot part stays");
  await assertIntact(victim);
});

Deno.test("scan --policy coldest pages out unused memory", async () => {
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
  await assertIntact(victim);
});

Deno.test("inspect --ages shows the working set", async () => {
  await using victim = await startVictim();
  const { code, json } = await rcapJson<AgesReport>([
    "inspect",
    `${victim.pid}`,
    "--ages",
    "--observe",
    "4s",
  ]);
  assertEquals(code, 0);
  assertEquals(json.ages.map(({ seconds }) => seconds), [0.25, 0.5, 1, 2, 4]);
  const longest = json.ages[4];
  assert(longest.idle >= 95 * MIB, `${longest.idle} idle`);
  assert(longest.used >= 31 * MIB, `${longest.used} used`);
});

/** Counts the pages of a region by age. */
function agesOf(
  ages: PageAges,
  { start, end }: Region,
): Record<number, number> {
  const { pagedata, used } = ages;
  assert(pagedata, "the process has been read");
  const counts: Record<number, number> = {};
  for (const mapping of pagedata.mappings) {
    if (mapping.start < start || mapping.start >= end) continue;
    const last = endOffset(pagedata, mapping);
    for (let at = firstOffset(pagedata, mapping); at < last; at++) {
      const age = ages.ageOf(used[at]);
      counts[age] = (counts[age] ?? 0) + 1;
    }
  }
  return counts;
}

/**
 * Asserts that a region has an age, except for single pages that something else has
 * looked at: DAMON resets references to see whether they return.
 */
function assertAge(ages: PageAges, region: Region, age: number): void {
  const counts = agesOf(ages, region);
  const pages = region.size / PAGE;
  assert(
    (counts[age] ?? 0) >= 0.98 * pages,
    `${region.name}: not ${age}, but ${JSON.stringify(counts)}`,
  );
}

/** Waits until all of a region has been referenced since the last reset. */
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
 * Uses a region and waits until rcap resets its references, at the end of an
 * interval. The next step then has nearly an interval of time.
 *
 * @param isOver whether rcap has stopped resetting, which also ends the wait.
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
    undefined,
    // Meanwhile nobody else can change its mappings.
    30,
  );
}

Deno.test("ages follow memory that mremap moves, and no other memory gets them", async () => {
  // A scan ignores memory that cannot be paged out.
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
    // One second each, however long it really took.
    ages.advance(await memory.read("scan"), 1);
  };
  for (let count = 0; count < 5; count++) await interval();
  await workload.checksum("younger");
  for (let count = 0; count < 4; count++) await interval();
  assertEquals(agesOf(ages, old), { 9: old.size / PAGE });
  assertAge(ages, younger, 3);

  // Both in one interval, with new memory of the same kind beside them.
  old = await workload.remap("old");
  younger = await workload.remap("younger");
  const fresh = await workload.anon("fresh", 12 * MIB);
  await interval();
  assertEquals(agesOf(ages, old), { 10: old.size / PAGE });
  assertAge(ages, younger, 4);
  assertEquals(agesOf(ages, fresh), { 0: fresh.size / PAGE });
  assertAge(ages, hot, 0);

  // Memory that is moved and used is in use.
  old = await workload.remap("old");
  await workload.checksum("old");
  await interval();
  assertAge(ages, old, 0);
});

Deno.test("inspect --ages shows the idle time of memory that moves constantly", async () => {
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
  assertEquals(longest.seconds, 4);
  assert(longest.idle >= 95 * MIB, `${longest.idle} idle`);
  assert(longest.used >= 31 * MIB, `${longest.used} used`);
});

/** Asserts that much of the longest idle memory went, and none that was used later. */
async function assertOldestWent(
  { later, data, sooner, idle }: {
    later: Workload;
    data: Region;
    sooner: Workload;
    idle: Region;
  },
): Promise<void> {
  assertResident(later, data);
  const left = residentOf(sooner.pid, idle.start, idle.end);
  assert(left <= idle.size - 24 * MIB, `${left} of the oldest are left`);
  await assertIntact(later);
  await assertIntact(sooner);
}

Deno.test("the longest idle memory goes first, whichever process owns it", async () => {
  await using _swap = await zramSwap({ size: 512 * MIB });
  // The first process in the list is the one with the shorter idle time.
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
  await assertOldestWent({ later, data, sooner, idle });
});

Deno.test("the daemon pages out the longest idle memory of all processes first", async () => {
  await using _swap = await zramSwap({ size: 512 * MIB });
  await using later = await Workload.start();
  await later.small();
  // So much that what is idle does not suffice: otherwise the daemon would not look for more.
  const data = await later.anon("data", 160 * MIB);
  await later.hot("data");
  await using sooner = await Workload.start();
  await sooner.small();
  const idle = await sooner.anon("idle", 40 * MIB);
  const config = (size: number) =>
    quicklyBy("coldest") +
    cap("both", [`pid:${later.pid}`, `pid:${sooner.pid}`], `${size}`);
  const size = rssOf(later.pid) + rssOf(sooner.pid);
  await using daemon = await TestDaemon.start({
    config: config(Math.ceil(size * 1.1)),
  });
  const untilIdle = (seconds: number, bytes: number) =>
    daemon.untilGroup(
      "both",
      ({ idle }) =>
        idle?.some((row) => row.seconds === seconds && row.bytes >= bytes) ??
          false,
      `${bytes} to be idle for ${seconds} s`,
    );
  await untilIdle(2, idle.size);
  await later.cold("data");
  await untilIdle(1, idle.size + data.size);
  await untilIdle(5, idle.size);
  assertEquals(daemon.group("both").statistics.scans, 0);
  const less = daemon.group("both").rss - 34 * MIB;
  Deno.writeTextFileSync(daemon.place.config, config(less));
  await daemon.untilGroup(
    "both",
    ({ cap, rss }) => cap === less && rss <= cap,
    "the cap to be met",
  );
  await assertOldestWent({ later, data, sooner, idle });
});

Deno.test("victims are cooled first, and go in the next pass unless they are used", async () => {
  await using _swap = await zramSwap({ size: 128 * MIB });
  await using workload = await Workload.start();
  await workload.small();
  const region = await workload.anon("region", 64 * MIB);
  using platform = openPlatform("auto", () => {});
  const memory = platform.open(platform.readProcess(workload.pid));
  const scanned = new AgedProcess(memory);
  const collection = new AgedCollection([scanned]);
  await memory.reset();
  scanned.ages.advance(await memory.readPagedata(), 1);
  scanned.residency = await memory.readResidency();
  const options = { excess: 16 * MIB, reserve: 32 * MIB };
  const first = await scanColdest(collection, options);
  assertEquals(first.excess, options.excess, "it can wait");
  assertEquals(collection.statistics.attempted, 0);
  assertResident(workload, region);

  // The region is cooled from its start; the pages there are used again.
  const used = { offset: 0, size: 8 * MIB };
  await workload.hot("region", used);
  await until(
    () => mappingFigures(workload.pid, region.start).referenced >= used.size,
    "its start to be referenced",
  );
  scanned.ages.look(await memory.read("glance"));
  const second = await scanColdest(collection, options);
  // Library pages shared with other processes are tried and stay.
  assert(second.excess <= 4 * MIB, `${second.excess} is left`);
  const behind = region.start + BigInt(used.size);
  const stays = residentOf(workload.pid, region.start, behind);
  // DAMON may have reset the references of single pages.
  assert(stays >= 0.98 * used.size, `${stays} of what is used`);
  const goes = region.size - used.size;
  const left = residentOf(workload.pid, behind, region.end);
  assert(left <= goes - 8 * MIB, `${left} of what is not`);
  await assertIntact(workload);
});

/** A process that constantly loops over its memory. */
interface Loop extends AsyncDisposable {
  readonly pid: number;
  /** The address of its memory. */
  readonly start: bigint;
  readonly end: bigint;
}

/**
 * Starts a loop over little memory. The TLB holds all its addresses, so the
 * processor may not read its page tables for a long time.
 */
async function startLoop(size: number): Promise<Loop> {
  const child = new Deno.Command("perl", {
    args: [
      "-e",
      `$| = 1;
       my ($memory, $sum) = ("x" x ${size}, 0);
       print unpack("Q", pack "P", $memory), "\\n";
       while (1) {
         for (my $at = 0; $at < ${size}; $at += ${PAGE}) {
           $sum ^= vec $memory, $at, 8;
         }
       }`,
    ],
    stdin: "null",
    stdout: "piped",
  }).spawn();
  await using held = new AsyncDisposableStack();
  held.defer(async () => {
    child.kill("SIGKILL");
    await child.status;
    await child.stdout.cancel();
  });
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  reader.releaseLock();
  const text = new TextDecoder().decode(value).trim();
  assert(/^\d+$/.test(text), `the loop tells its address: ${text}`);
  const start = BigInt(text) / BigInt(PAGE) * BigInt(PAGE);
  const moved = held.move();
  return {
    pid: child.pid,
    start,
    end: start + BigInt(size),
    [Symbol.asyncDispose]: () => moved.disposeAsync(),
  };
}

Deno.test("a small hot loop loses nothing while others have idle memory", async () => {
  await using _swap = await zramSwap({ size: 512 * MIB });
  await using loop = await startLoop(256 * KIB);
  await using idle = await Workload.start();
  await idle.small();
  await idle.anon("idle", 16 * MIB);
  // Counted like the daemon does: all perl processes share part of it.
  const size = pssOf(loop.pid) + pssOf(idle.pid);
  const resident = () => residentOf(loop.pid, loop.start, loop.end);
  assertEquals(resident(), 256 * KIB);
  await using daemon = await TestDaemon.start({
    config: quicklyBy("coldest").replace(`"1s"`, `"300ms"`) +
      cap("loop", [`pid:${loop.pid}`, `pid:${idle.pid}`], `${size}`),
  });
  const faults = majorFaults(loop.pid);
  let least = Infinity;
  for (let round = 0; round < 16; round++) {
    // More than any headroom, and enough that ages advance with every sample.
    await idle.anon(`more${round}`, 20 * MIB);
    const { effective } = daemon.group("loop").statistics;
    await daemon.untilGroup(
      "loop",
      ({ rss, statistics }) => {
        least = Math.min(least, resident());
        return statistics.effective >= effective + 6 * MIB && rss <= size;
      },
      "the cap to be met again",
    );
  }
  // Enough time for the loop to appear older than most memory.
  const { statistics } = daemon.group("loop");
  assert(statistics.scans >= 24, `${statistics.scans}`);
  const cameBack = majorFaults(loop.pid) - faults;
  // One pass of the loop would be 64 pages.
  assert(cameBack < 32, `${cameBack} pages came back`);
  assert(least >= 192 * KIB, `only ${least} resident`);
  await assertIntact(idle);
});

/** Returns the values of a metric family in the Prometheus text, by label. */
async function scrape(
  port: number,
  family: string,
): Promise<Map<string, number>> {
  const response = await fetch(`http://127.0.0.1:${port}/metrics`);
  assertEquals(response.status, 200);
  const text = await response.text();
  assertStringIncludes(text, `# TYPE ${family} gauge\n`);
  const samples = text.matchAll(
    new RegExp(`^${family}\\{(.*)\\} (\\S+)$`, "gm"),
  );
  return new Map(
    [...samples].map(([, labels, value]) => [labels, Number(value)]),
  );
}

Deno.test("metrics show idle memory by age in seconds, for coldest only", async () => {
  // No group is over its cap, so swap is needed only for looking at the memory.
  await using _swap = await zramSwap({ size: 64 * MIB });
  await using victim = await startVictim();
  const size = rssOf(victim.pid);
  for (const policy of POLICIES) {
    await using daemon = await TestDaemon.start({
      config: quicklyBy(policy) +
        cap("old", [`pid:${victim.pid}`], `${Math.ceil(size * 1.1)}`),
      args: ["--metrics", "0"],
    });
    const port = await daemon.listeningPort();
    const { idle } = await daemon.untilGroup(
      "old",
      ({ idle, statistics }) =>
        policy === "clock"
          ? statistics.samples >= 4
          : idle !== null && idle[1].bytes > 0,
      "ages, or some samples",
    );
    const found = await scrape(port, "rcap_idle_bytes");
    if (policy === "clock") {
      assertEquals(idle, null);
      assertEquals(found, new Map());
      continue;
    }
    assertEquals(
      [...found.keys()],
      IDLE_SECONDS.map((count) => `group="old",seconds="${count}"`),
    );
    const bytes = [...found.values()];
    assertEquals(bytes, bytes.toSorted((a, b) => b - a), "it only falls");
    // Memory that perl itself does not use is idle too.
    for (const some of bytes.slice(0, 2)) {
      assert(some >= 95 * MIB && some <= 112 * MIB, `${some} idle`);
    }
    assertEquals(bytes.at(-1), 0, "it does not run for so long yet");
  }
});
