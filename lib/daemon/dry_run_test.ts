/**
 * Tests of the daemon's dry run, on a simulated machine and clock.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { parseSelector } from "../collection/selectors.ts";
import { POLICIES } from "../config/policy_names.ts";
import { hot, PAGE } from "../platform/fake_testing.ts";
import { capOf, INTERVAL, SimulatedDaemon } from "./testing.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();

for (const policy of POLICIES) {
  Deno.test(`${policy}: a dry run plans what would go again and again, and pages out nothing`, async () => {
    await using simulation = new SimulatedDaemon({
      caps: [capOf("one", 1000)],
      policy,
      isDryRun: true,
      level: "debug",
    });
    const process = simulation.platform.start("one", hot("hot"));
    process.fill("hot", 300);
    process.fill("idle", 1200);
    process.onPageOut = () => assert(false, "paged out");
    await simulation.run(12 * INTERVAL);
    assert(process.resets > 0, "it is watched");
    for (let interval = 0; interval < 60; interval++) {
      await simulation.run(INTERVAL);
      const { planned, rss, statistics } = simulation.group("one");
      assertEquals(rss, 1500 * PAGE, "sizes are as measured");
      assert(planned !== null && planned >= 500 * PAGE, `${planned}`);
      assert(planned <= 550 * PAGE, `${planned}: as much as in the first scan`);
      assert(statistics.scans > 0);
      assertEquals([statistics.attempted, statistics.effective], [0, 0]);
    }
    assertEquals(simulation.state.dryRun, true);
    assertMatch(
      simulation.said("would page out")[0],
      /one: dry run: would page out 2\.\dM; 5\.9M of 3\.9M\n$/,
    );
    assertEquals(simulation.said("one: paged out"), []);
    assertEquals(simulation.said("RSS fell"), []);
    assert(simulation.said("RSS would fall by").length > 0);
    process.exit();
    await simulation.run(2 * INTERVAL);
    assertEquals(simulation.group("one").planned, 0);
  });
}

Deno.test("a dry run says what would still be too much, and is not backed off", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [capOf("one", 100)],
    isDryRun: true,
  });
  const process = simulation.platform.start("one");
  process.fill("idle", 1000, { isLocked: true });
  process.fill("more", 100);
  await simulation.run(600);
  assertMatch(
    simulation.said("would page out")[0],
    /would page out 400\.0K; 4\.3M of 400\.0K, 3\.5M would still be too much\n$/,
  );
  const { statistics, warning, planned } = simulation.group("one");
  assertEquals([statistics.backedOff, warning], [0, null]);
  assertEquals(planned, 100 * PAGE);
  // Idle memory would not suffice for this one.
  const other = simulation.platform.start("one", hot("hot"));
  other.fill("hot", 50);
  await simulation.run(600);
  assertMatch(
    simulation.said("would page out").at(-1)!,
    /would page out 600\.0K, \d+\.0K of it in use; /,
  );
  // At most one line a minute.
  assert(simulation.said("would page out").length <= 21);
});

Deno.test("a dry run by which nothing would go says so, at most once a minute", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [capOf("one", 100)],
    isDryRun: true,
  });
  const process = simulation.platform.start("one");
  process.fill("locked", 1000, { isLocked: true });
  await simulation.run(300);
  const said = simulation.said("would page out");
  assertMatch(
    said[0],
    /one: dry run: would page out 0; 3\.9M of 400\.0K, 3\.5M would still be too much\n$/,
  );
  assert(said.length >= 4 && said.length <= 6, `${said.length}`);
});

Deno.test("a dry run does not ask the kernel to reclaim, nor plans memory in use instead", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [{
      ...capOf("one", 1000),
      select: [parseSelector("cgroup:/one")],
      reclaim: "auto",
    }],
    policy: "coldest",
    isDryRun: true,
  });
  const { platform } = simulation;
  const process = platform.start("one", hot("hot"));
  process.cgroup = "/one";
  process.fill("hot", 800);
  process.fill("idle", 100);
  process.fill("shared", 4000, { sharers: 4 });
  platform.reclaimed = {
    path: "/one",
    children: [],
    reclaim: () => Promise.reject(new Error("asked the kernel")),
  };
  await simulation.run(120);
  const { planned, warning } = simulation.group("one");
  assertEquals([planned, warning], [100 * PAGE, null]);
});

Deno.test("what guard rails hold back is not planned", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [{ ...capOf("one", 1000), maxPressure: 0.1 }],
    isDryRun: true,
  });
  const { platform } = simulation;
  platform.start("one").fill("idle", 1500);
  await simulation.run(60);
  const { planned } = simulation.group("one");
  assert(planned !== null && planned >= 500 * PAGE, `${planned}`);
  platform.pressure = 0.5;
  await simulation.run(2 * INTERVAL);
  assertEquals(simulation.group("one").planned, 0);
  assertEquals(simulation.said("held back by memory pressure").length, 1);
});

Deno.test("what a guard rail lets go in part is planned, and the rest is said to be held back", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [{
      ...capOf("one", 1000),
      maxPageoutRate: { bytes: 64 << 10, per: 1000 },
    }],
    isDryRun: true,
  });
  simulation.platform.start("one").fill("idle", 4000);
  await simulation.run(60);
  const { planned } = simulation.group("one");
  assert(planned !== null && planned > 0 && planned <= 2 << 20, `${planned}`);
  assertEquals(simulation.said("held back by max_pageout_rate").length, 1);
});

Deno.test("a dry run plans what is idle for long enough, too, and does not count it twice", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [{ ...capOf("one", 1400), idle: 60_000 }],
    isDryRun: true,
  });
  const process = simulation.platform.start("one", hot("hot"));
  process.fill("hot", 300);
  process.fill("idle", 1200);
  process.onPageOut = () => assert(false, "paged out");
  await simulation.run(50);
  const { planned } = simulation.group("one");
  assert(planned !== null && planned >= 100 * PAGE, `${planned}`);
  assert(
    planned <= 600 * PAGE,
    `${planned}: for the cap, and whole large pages`,
  );
  for (let interval = 0; interval < 30; interval++) {
    await simulation.run(INTERVAL);
    if (interval > 6) {
      assertEquals(simulation.group("one").planned, 1200 * PAGE);
    }
  }
  assertEquals(simulation.said("one: paged out"), []);
  process.touch("idle");
  await simulation.run(4 * INTERVAL);
  const { planned: after } = simulation.group("one");
  assert(after !== null && after <= 600 * PAGE, `${after}: it was used`);
});
