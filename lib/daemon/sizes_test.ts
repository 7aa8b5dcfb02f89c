/**
 * Tests of the sizes that the daemon decides by and reports, on a simulated machine and
 * clock.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { POLICIES } from "../config/policy_names.ts";
import { type FakeProcess, hot, PAGE } from "../platform/fake_testing.ts";
import { capOf, INTERVAL, SimulatedDaemon } from "./testing.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();

const MIB = 2 ** 20 / PAGE;

for (const policy of POLICIES) {
  Deno.test(`${policy}: what is logged after a scan was read after it`, async () => {
    await using simulation = new SimulatedDaemon({
      caps: [capOf("one", 100 * MIB)],
      policy,
    });
    const process = simulation.platform.start("one");
    process.fill("idle", 300 * MIB);
    // Half of what is paged out comes back before the scan ends.
    process.afterPageOut = () => process.touch("idle", 0, 150 * MIB);
    await simulation.run(4 * INTERVAL);
    const said = simulation.said("paged out");
    assert(said.length > 0);
    for (const line of said) {
      const [, size, rest] = /; (\d+\.\dM) of 100\.0M(.*)/.exec(line) ?? [];
      assert(parseFloat(size) >= 150, line);
      assertMatch(rest, /, \d+\.\dM too much/);
      const left = /, (\d+\.\d)M too much/.exec(rest)?.[1];
      assertEquals(parseFloat(size) - 100, Number(left), line);
    }
  });

  Deno.test(`${policy}: a group whose memory came back has not met its cap`, async () => {
    await using simulation = new SimulatedDaemon({
      caps: [capOf("one", 4 * MIB)],
      policy,
    });
    const process = simulation.platform.start("one", hot("memory"));
    process.fill("memory", 16 * MIB);
    process.afterPageOut = () => process.touch("memory");
    await simulation.run(12 * INTERVAL);
    assertEquals(simulation.said("no longer holds"), []);
    assert(simulation.group("one").warning !== null);
    assertEquals(simulation.group("one").rss, 16 * MIB * PAGE);
  });

  Deno.test(`${policy}: a single scan reports what is measured at its end`, async () => {
    await using simulation = new SimulatedDaemon({
      caps: [capOf("one", 100 * MIB)],
      policy,
    });
    const process = simulation.platform.start("one");
    process.fill("idle", 200 * MIB);
    process.afterPageOut = () => process.touch("idle");
    const done = simulation.daemon.once(4000);
    await simulation.clock.advance(10_000);
    const { groups: [{ rss }] } = await done;
    assertEquals(rss, 200 * MIB * PAGE);
  });
}

Deno.test("a single scan goes by the page tables where the counter of RSS is not exact", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [capOf("one", 1000)],
  });
  const process = simulation.platform.start("one");
  process.fill("idle", 990);
  process.rssOffset = 20 * PAGE;
  process.rssError = 96 * PAGE;
  const done = simulation.daemon.once(4000);
  await simulation.clock.advance(10_000);
  const { groups: [{ rss, statistics }] } = await done;
  assertEquals(rss, 990 * PAGE);
  assertEquals(statistics.effective, 0);
});

Deno.test("a counter that says too little hides no excess", async () => {
  await using simulation = new SimulatedDaemon({ caps: [capOf("one", 1000)] });
  const process = simulation.platform.start("one");
  process.fill("idle", 1050);
  process.rssOffset = -80 * PAGE;
  process.rssError = 96 * PAGE;
  await simulation.run(4 * INTERVAL);
  assert(process.rss <= 1000 * PAGE, `${process.rss / PAGE}`);
});

Deno.test("no page tables are read up to the cap, and once a minute beyond", async () => {
  await using simulation = new SimulatedDaemon({ caps: [capOf("one", 1500)] });
  const processes = [1, 2].map(() => simulation.platform.start("one"));
  const [first] = processes;
  for (const process of processes) {
    process.fill("shared", 700, { sharers: 2, isFile: true });
  }
  await simulation.run(120);
  assertEquals(first.footprints, 0);
  for (const process of processes) process.fill("own", 100);
  await simulation.run(INTERVAL + 1);
  assertEquals(simulation.group("one").rss, 900 * PAGE);
  assertEquals(first.footprints, 1);
  await simulation.run(295);
  assert(first.footprints <= 6, `${first.footprints}`);
  assertEquals(simulation.group("one").statistics.scans, 0);
});

/** Lets time pass, and returns the sizes that were reported every quarter of a second, in pages. */
async function sizes(
  simulation: SimulatedDaemon,
  seconds: number,
): Promise<number[]> {
  const found: number[] = [];
  for (let quarter = 0; quarter < seconds * 4; quarter++) {
    await simulation.run(0.25);
    found.push(simulation.group("one").rss / PAGE);
  }
  return found;
}

Deno.test("a new member does not make the size jump before its share is known", async () => {
  await using simulation = new SimulatedDaemon({ caps: [capOf("one", 2000)] });
  const { platform } = simulation;
  const workers: FakeProcess[] = [];
  const join = () => {
    const worker = platform.start("one");
    worker.fill("shared", 1000, { isFile: true });
    worker.fill("own", 20);
    workers.push(worker);
    for (const one of workers) one.share("shared", workers.length);
  };
  for (let count = 0; count < 4; count++) join();
  await simulation.run(2 * INTERVAL);
  assertEquals(simulation.group("one").rss, 1080 * PAGE);
  for (let count = 0; count < 6; count++) {
    join();
    for (const size of await sizes(simulation, INTERVAL)) {
      // Until they are read again, the others count a larger share of it.
      assert(size <= 1800, `${size} pages`);
    }
  }
  await simulation.run(70);
  assertEquals(Math.round(simulation.group("one").rss / PAGE), 1200);
  const { maximumRss } = simulation.group("one").statistics;
  assert(maximumRss !== null && maximumRss <= 2000 * PAGE, `${maximumRss}`);
});

Deno.test("workers that join and share what others have are no reason to page out", async () => {
  for (const policy of POLICIES) {
    await using simulation = new SimulatedDaemon({
      caps: [capOf("one", 1500)],
      policy,
    });
    const workers: FakeProcess[] = [];
    for (let count = 0; count < 12; count++) {
      const worker = simulation.platform.start("one");
      worker.fill("shared", 1000, { isFile: true });
      worker.fill("own", 20);
      workers.push(worker);
      for (const one of workers) one.share("shared", workers.length);
      await simulation.run(INTERVAL);
    }
    await simulation.run(2 * INTERVAL);
    const { statistics } = simulation.group("one");
    assertEquals(statistics.effective, 0, policy);
  }
});

Deno.test("when sharers exit, the size is right within a minute", async () => {
  await using simulation = new SimulatedDaemon({ caps: [capOf("one", 1500)] });
  const workers = [1, 2, 3, 4].map(() => simulation.platform.start("one"));
  for (const worker of workers) {
    worker.fill("shared", 1000, { isFile: true, sharers: 4 });
    worker.fill("own", 100);
  }
  await simulation.run(2 * INTERVAL);
  assertEquals(simulation.group("one").rss, 1400 * PAGE);
  for (const worker of workers.slice(0, 2)) {
    worker.exit();
    for (const one of workers) one.share("shared", 2);
  }
  await simulation.run(60 + INTERVAL);
  assertEquals(simulation.group("one").rss, 1200 * PAGE);
});

Deno.test("a single process that maps its memory several times counts it once", async () => {
  for (const policy of POLICIES) {
    await using simulation = new SimulatedDaemon({
      caps: [capOf("one", 1500)],
      policy,
    });
    const process = simulation.platform.start("one", hot("heap"));
    // Three views of one memfd.
    process.fill("heap", 3000, { sharers: 3, isFile: true });
    await simulation.run(10 * INTERVAL);
    const { rss, accounting, statistics, warning } = simulation.group("one");
    assertEquals([rss, accounting, warning], [1000 * PAGE, "pss", null]);
    assertEquals([statistics.effective, process.majorFaults], [0, 0], policy);
  }
});

/** Starts a process, and one that has the same address space. */
function startPair(
  { platform }: SimulatedDaemon,
  other = "one",
): [FakeProcess, FakeProcess] {
  const process = platform.start("one");
  process.fill("memory", 1000);
  const child = platform.start(other);
  child.memoryOf = process;
  return [process, child];
}

for (const policy of POLICIES) {
  Deno.test(`${policy}: an address space of two processes counts once, and is observed once`, async () => {
    await using simulation = new SimulatedDaemon({
      caps: [capOf("one", 1200)],
      policy,
    });
    const [process, child] = startPair(simulation);
    await simulation.run(4 * INTERVAL);
    const { rss, processes, statistics } = simulation.group("one");
    assertEquals([rss, processes], [1000 * PAGE, 2]);
    assertEquals(statistics.effective, 0);
    assert(process.resets > 0);
    assertEquals(child.resets, 0);
    // Over the cap, it is paged out by the first.
    process.fill("more", 500);
    await simulation.run(3 * INTERVAL);
    assert(process.rss <= 1200 * PAGE);
    assertEquals(simulation.group("one").rss, process.rss);
    assertEquals(child.resets, 0);
  });
}

Deno.test("an address space counts in the first cap only, and in the second once the first process is gone", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [capOf("one", 2000), capOf("two", 2000)],
  });
  const [process, child] = startPair(simulation, "two");
  await simulation.run(2 * INTERVAL);
  assertEquals(simulation.group("one").rss, 1000 * PAGE);
  assertEquals(simulation.group("two").rss, 0);
  assertEquals(simulation.group("two").processes, 1);
  process.exit();
  await simulation.run(INTERVAL);
  assertEquals(simulation.group("one").rss, 0);
  assertEquals(simulation.group("two").rss, 1000 * PAGE);
  assertEquals(child.rss, 1000 * PAGE);
});

Deno.test("a process that executes a program counts on its own again", async () => {
  await using simulation = new SimulatedDaemon({ caps: [capOf("one", 5000)] });
  const [, child] = startPair(simulation);
  await simulation.run(2 * INTERVAL);
  assertEquals(simulation.group("one").rss, 1000 * PAGE);
  child.memoryOf = undefined;
  child.layout = "second";
  child.fill("own", 300);
  await simulation.run(INTERVAL);
  assertEquals(simulation.group("one").rss, 1300 * PAGE);
});

for (const policy of POLICIES) {
  Deno.test(`${policy}: a process whose main thread has exited counts, is left alone, and is the reason`, async () => {
    await using simulation = new SimulatedDaemon({
      caps: [capOf("one", 40 * MIB)],
      policy,
    });
    const stuck = simulation.platform.start("one");
    stuck.fill("idle", 30 * MIB);
    stuck.mainThreadExited = true;
    await simulation.run(3 * INTERVAL);
    assertEquals(simulation.group("one").rss, 30 * MIB * PAGE);
    assertEquals(simulation.group("one").warning, null);
    stuck.fill("more", 20 * MIB);
    await simulation.run(3 * INTERVAL);
    assertEquals(stuck.resets, 0, "nothing of it is observed");
    const words =
      `50.0M of it cannot be paged out, since the main thread of process ${stuck.pid} has exited while others run`;
    assertEquals(simulation.group("one").warning, words);
    assertEquals(simulation.said(`one: ${words}`).length, 1);
    // What can go of others goes.
    const sound = simulation.platform.start("one");
    sound.fill("idle", 10 * MIB);
    await simulation.run(4 * INTERVAL);
    assertEquals(sound.rss, 0);
    assertEquals(stuck.rss, 50 * MIB * PAGE);
  });
}
