/**
 * Tests of idle memory that goes, and of guard rails, on a simulated machine and clock.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import type { CapConfig } from "../config/config.ts";
import { POLICIES } from "../config/policy_names.ts";
import { bursts, hot, PAGE, together } from "../platform/fake_testing.ts";
import { capOf, INTERVAL, SimulatedDaemon } from "./testing.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();

const SECOND = 1000;
const MINUTE = 60 * SECOND;

/** A cap that has only a time. */
function idleOf(name: string, idle: number, more: Partial<CapConfig> = {}) {
  const { maxRss: _, ...cap } = capOf(name, 0);
  return { ...cap, idle, ...more };
}

for (const policy of POLICIES) {
  Deno.test(`${policy} is configured: what was not used for the time goes, and nothing else`, async () => {
    await using simulation = new SimulatedDaemon({
      caps: [idleOf("one", MINUTE)],
      policy,
    });
    const process = simulation.platform.start(
      "one",
      together(hot("hot"), bursts("warm", 40)),
    );
    process.fill("hot", 500);
    process.fill("warm", 300);
    process.fill("cold", 4000);
    await simulation.run(55);
    assertEquals(
      process.resident("cold"),
      4000,
      "it is not idle for long enough",
    );
    await simulation.run(40);
    assertEquals(process.resident("cold"), 0);
    await simulation.run(300);
    assertEquals(process.resident("hot"), 500);
    assertEquals(process.resident("warm"), 300);
    const { cap, configuredCap, rss, warning, heldBack } = simulation.group(
      "one",
    );
    assertEquals([cap, configuredCap, rss], [null, null, 800 * PAGE]);
    assertEquals([warning, heldBack], [null, []]);
    assertEquals(simulation.said("paged out 15.6M in").length, 1);
    assertStringIncludes(simulation.said("paged out 15.6M")[0], "resident");
  });
}

Deno.test("a cap set by hand holds beside idle, and can be removed", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [idleOf("one", 3600 * SECOND)],
  });
  const process = simulation.platform.start("one", hot("hot"));
  process.fill("hot", 500);
  process.fill("cold", 500);
  await simulation.run(30);
  simulation.overrides.set("one", 700 * PAGE);
  simulation.daemon.askForRequests();
  await simulation.run(30);
  assertEquals(simulation.group("one").cap, 700 * PAGE);
  assert(process.rss <= 700 * PAGE, `${process.rss / PAGE}`);
  assertEquals(process.resident("hot"), 500);
  simulation.overrides.clear();
  simulation.daemon.askForRequests();
  await simulation.run(INTERVAL);
  assertEquals(simulation.group("one").cap, null);
  assertEquals(simulation.said("there is no cap now").length, 1);
});

Deno.test("a cap is enforced before memory is idle for the time", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [{ ...idleOf("one", 3600 * SECOND), maxRss: 800 * PAGE }],
  });
  const process = simulation.platform.start("one", hot("hot"));
  process.fill("hot", 500);
  process.fill("cold", 500);
  await simulation.run(60);
  assert(process.rss <= 800 * PAGE);
  assertEquals(process.resident("hot"), 500);
});

Deno.test("below the enforcement threshold idle memory goes all the same", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [idleOf("one", 20 * SECOND)],
    threshold: 0.99,
  });
  const process = simulation.platform.start("one");
  process.fill("cold", 1000);
  await simulation.run(60);
  assertEquals(process.resident("cold"), 0);
});

Deno.test("above the enforcement threshold, groups of a higher priority give first", async () => {
  const caps = [
    { ...capOf("one", 1000), priority: 80 },
    capOf("two", 1000),
    { ...capOf("three", 1000), priority: 1 },
  ];
  await using simulation = new SimulatedDaemon({ caps, threshold: 0.5 });
  const { platform } = simulation;
  platform.totalMemory = 20_000 * PAGE;
  // 700 pages lie above.
  platform.otherMemory = 4700 * PAGE;
  const all = ["one", "two", "three"].map((name) => platform.start(name));
  all.forEach((process) => process.fill("idle", 2000));
  await simulation.run(4 * INTERVAL);
  assertEquals(all.map(({ rss }) => rss / PAGE), [1300, 2000, 2000]);
  platform.otherMemory += 500 * PAGE;
  await simulation.run(4 * INTERVAL);
  const left = all.map(({ rss }) => rss / PAGE);
  assert(left[0] <= 1000, "it gives all of its excess first");
  assert(left[1] >= 1790 && left[1] < 2000, `${left}`);
  assertEquals(left[2], 2000);
});

Deno.test("the group never gets smaller than min_rss, also by its cap", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [
      idleOf("one", 20 * SECOND, { minRss: 3000 * PAGE }),
      { ...capOf("two", 1000), minRss: 995 * PAGE },
    ],
    policy: "coldest",
  });
  const [one, two] = ["one", "two"].map((name) =>
    simulation.platform.start(name)
  );
  one.fill("cold", 6000);
  two.fill("cold", 900);
  await simulation.run(30);
  two.fill("more", 300);
  await simulation.run(300);
  const left = one.rss / PAGE;
  assert(left >= 3000 && left < 3512, `${left}`);
  const { heldBack, warning } = simulation.group("one");
  assertEquals(heldBack.map(({ by }) => by), ["min_rss"]);
  assertStringIncludes(warning ?? "", "one: held back by min_rss: ");
  assert(two.rss >= 995 * PAGE && two.rss <= 1000 * PAGE, `${two.rss / PAGE}`);
});

Deno.test("min_rss counts shared memory in proportion", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [idleOf("one", 20 * SECOND, { minRss: 2000 * PAGE })],
  });
  const process = simulation.platform.start("one");
  process.fill("shared", 2000, { sharers: 2 });
  process.fill("cold", 3000);
  await simulation.run(120);
  const left = process.resident("cold");
  assert(left >= 1000 && left < 1512, `1000 pages are shared, ${left} are not`);
  assertEquals(simulation.group("one").accounting, "pss");
});

Deno.test("only one kind of memory goes, if that is configured", async () => {
  for (const only of ["anon", "file"] as const) {
    await using simulation = new SimulatedDaemon({
      caps: [idleOf("one", 20 * SECOND, { only })],
    });
    const process = simulation.platform.start("one");
    process.fill("anon", 700);
    process.fill("file", 800, { isFile: true });
    await simulation.run(120);
    assertEquals(process.resident(only), 0);
    assertEquals(process.rss, (only === "anon" ? 800 : 700) * PAGE);
  }
});

Deno.test("only one kind of memory goes for a cap, with either policy", async () => {
  for (const policy of POLICIES) {
    await using simulation = new SimulatedDaemon({
      caps: [{ ...capOf("one", 1200), only: "file" }],
      policy,
    });
    const process = simulation.platform.start("one");
    process.fill("anon", 700);
    process.fill("file", 800, { isFile: true });
    await simulation.run(120);
    assertEquals(process.resident("anon"), 700);
    assert(process.rss <= 1200 * PAGE);
  }
});

Deno.test("a rate of page-outs is kept over every minute", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [
      idleOf("one", 20 * SECOND, {
        maxPageoutRate: { bytes: 600 * PAGE, per: SECOND },
      }),
    ],
  });
  const process = simulation.platform.start("one");
  process.fill("cold", 60_000);
  await simulation.run(30);
  let before = process.resident("cold");
  for (let step = 0; step < 8; step++) {
    await simulation.run(10);
    const now = process.resident("cold");
    assert(before - now <= 600 * 15, `${before - now}`);
    before = now;
  }
  assert(before <= 60_000 - 600 * 60, `${before} left`);
  assertStringIncludes(
    simulation.group("one").warning ?? "",
    "held back by max_pageout_rate: 2400K/s",
  );
});

Deno.test("once the swap writes of an hour are used up, files go, and nothing else", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [
      idleOf("one", 20 * SECOND, {
        maxSwapWrites: { bytes: 2000 * PAGE, per: 3600 * SECOND },
      }),
    ],
  });
  const { platform } = simulation;
  const process = platform.start("one");
  process.fill("anon", 5000);
  await simulation.run(120);
  assert(process.resident("anon") >= 3000, `${process.resident("anon")}`);
  assert(process.resident("anon") < 3600, `${process.resident("anon")}`);
  process.fill("file", 4000, { isFile: true });
  await simulation.run(120);
  assertEquals(process.resident("file"), 0);
  assert(process.resident("anon") >= 3000);
  assertEquals(
    simulation.group("one").heldBack.map(({ by }) => by),
    ["max_swap_writes"],
  );
  await simulation.run(3600 + 600);
  assert(process.resident("anon") >= 1000, "another hour, as much again");
  assert(process.resident("anon") < 3000, `${process.resident("anon")}`);
  assertEquals(simulation.said("held back by max_swap_writes").length, 2);
});

Deno.test("swap writes count even of a process that grows while it is paged out", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [
      idleOf("one", 20 * SECOND, {
        maxSwapWrites: { bytes: 4000 * PAGE, per: 3600 * SECOND },
      }),
    ],
  });
  const { platform } = simulation;
  const process = platform.start("one", hot("hot"));
  process.fill("cold", 20_000);
  process.fill("hot", 1);
  process.onPageOut = () => {
    process.grow("hot", 8000);
    process.touch("hot");
  };
  await simulation.run(300);
  assert(platform.usedSwap <= 4000 * PAGE, `${platform.usedSwap / PAGE}`);
  assert(platform.usedSwap >= 3000 * PAGE, `${platform.usedSwap / PAGE}`);
});

Deno.test("a process that uses its memory again every half minute is left alone, for longer each time", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [idleOf("one", 10 * SECOND)],
  });
  const process = simulation.platform.start("one", bursts("data", 30));
  process.fill("data", 60_000);
  await simulation.run(60);
  const { heldBack, warning } = simulation.group("one");
  assertEquals(heldBack.map(({ by }) => by), ["refaults"]);
  assertStringIncludes(heldBack[0].why, "% a minute, at most 0.2 %");
  assertStringIncludes(warning ?? "", "; it is left alone until ");
  const scansIn = async (seconds: number) => {
    const before = simulation.group("one").statistics.scans;
    await simulation.run(seconds);
    return simulation.group("one").statistics.scans - before;
  };
  await simulation.run(1800);
  assert(await scansIn(1800) <= 2, "it is nearly always left alone");
  assertEquals(simulation.said("held back by refaults").length >= 1, true);
  assert(process.resident("data") >= 0);
});

Deno.test("refaults do not hold the cap back, unless that is configured", async () => {
  const scans = async (more: Partial<CapConfig>) => {
    await using simulation = new SimulatedDaemon({
      caps: [{ ...capOf("one", 15_000), ...more }],
      policy: "coldest",
    });
    const process = simulation.platform.start("one", bursts("data", 30));
    process.fill("data", 20_000);
    await simulation.run(120);
    const { statistics: { scans } } = simulation.group("one");
    return { scans, said: simulation.said("held back").length };
  };
  const [free, idle, held] = [
    await scans({}),
    await scans({ idle: 3600 * SECOND }),
    await scans({ maxRefaults: { perSecond: 1 } }),
  ];
  assertEquals(free.said, 0);
  assertEquals(idle, free);
  assert(held.scans < free.scans, `${held.scans} of ${free.scans}`);
  assertEquals(held.said, 1);
});

Deno.test("above the pressure of its own cgroup nothing of a group goes", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [
      idleOf("one", 20 * SECOND, {
        select: [{
          kind: "cgroup",
          matches: (path) => path === "/one",
          text: "cgroup:/one",
        }],
        maxPressure: 0.01,
      }),
      idleOf("two", 20 * SECOND, { maxPressure: 0.5 }),
    ],
  });
  const { platform } = simulation;
  const [one, two] = ["one", "two"].map((name) => platform.start(name));
  one.cgroup = "/one";
  platform.pressures.set("/one", 0.032);
  platform.pressure = 0.2;
  one.fill("cold", 1000);
  two.fill("cold", 1000);
  await simulation.run(60);
  assertEquals(one.resident("cold"), 1000);
  assertEquals(
    two.resident("cold"),
    0,
    "the stall of one group does not hold another back",
  );
  assertEquals(simulation.group("one").heldBack, [{
    by: "pressure",
    why: "held back by memory pressure of cgroup /one: 3.2 %, at most 1 %",
  }]);
  assertEquals(
    simulation.group("one").warning,
    `one: ${simulation.group("one").heldBack[0].why}`,
  );
  platform.pressures.set("/one", 0.01);
  await simulation.run(60);
  assertEquals(one.resident("cold"), 0);
  assertEquals(simulation.group("one").warning, null);
});

Deno.test("the pressure of the machine counts for a group without a cgroup, and the group that stalls is named", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [
      idleOf("one", 20 * SECOND, { maxPressure: 0.01 }),
      idleOf("two", 20 * SECOND, { maxRefaults: { perSecond: 1e6 } }),
    ],
  });
  const { platform } = simulation;
  const one = platform.start("one");
  const two = platform.start("two", bursts("data", 60));
  platform.pressure = 0.02;
  one.fill("cold", 1000);
  two.fill("data", 6000);
  await simulation.run(90);
  assertEquals(one.resident("cold"), 1000);
  assertStringIncludes(
    simulation.group("one").warning ?? "",
    "held back by memory pressure of the machine: 2.0 %, at most 1 %; group two has the most refaults, ",
  );
});

Deno.test("a limit on pressure that is not known is said to have no effect", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [idleOf("one", 20 * SECOND, { maxPressure: 0.01 })],
  });
  const process = simulation.platform.start("one");
  process.fill("cold", 1000);
  await simulation.run(60);
  assertEquals(process.resident("cold"), 0);
  assertStringIncludes(
    simulation.group("one").warning ?? "",
    "one: max_pressure has no effect",
  );
});

Deno.test("idle memory goes slowly if swap is on a disk", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [idleOf("one", 20 * SECOND)],
  });
  const { platform } = simulation;
  platform.swapDisk = "/dev/sda2";
  const process = platform.start("one");
  process.fill("cold", 60_000);
  // Between two samples.
  await simulation.run(22);
  let before = process.resident("cold");
  for (let step = 0; step < 4; step++) {
    await simulation.run(INTERVAL);
    const now = process.resident("cold");
    assert((before - now) * PAGE <= 17 * 2 ** 20 * INTERVAL, `${before - now}`);
    before = now;
  }
  assert(before < 60_000);
});

Deno.test("a group whose time changes keeps its ages, one that gets a time begins anew", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [idleOf("one", 3600 * SECOND)],
  });
  const process = simulation.platform.start("one");
  process.fill("cold", 1000);
  await simulation.run(120);
  const reload = async (cap: CapConfig) => {
    simulation.reloaded = {
      config: { ...simulation.config, caps: [cap] },
      problems: [],
    };
    await simulation.run(2 * INTERVAL);
    return simulation.group("one").id;
  };
  const { id } = simulation.group("one");
  assertEquals(await reload(idleOf("one", 90 * SECOND)), id);
  await simulation.run(20);
  assertEquals(process.resident("cold"), 0, "it was known to be idle");
  assert(await reload(capOf("one", 1000)) !== id);
});
