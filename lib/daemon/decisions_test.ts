/**
 * Tests of the daemon's decisions about groups, on a simulated machine and clock.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { POLICIES } from "../config/policy_names.ts";
import { hot, leak, PAGE } from "../platform/fake_testing.ts";
import { capOf, INTERVAL, SimulatedDaemon } from "./testing.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();

/** A warning without the time until which the group is left alone. */
function withoutTime(warning: string | null): string | undefined {
  return warning?.split("; it may exceed it")[0];
}

/** Pages of a mebibyte. */
const MIB = 2 ** 20 / PAGE;

for (const policy of POLICIES) {
  Deno.test(`${policy}: references are recorded from 80 % of the cap on, and not below`, async () => {
    await using simulation = new SimulatedDaemon({
      caps: [capOf("one", 1000)],
      policy,
    });
    const process = simulation.platform.start("one");
    process.fill("idle", 799);
    await simulation.run(60);
    assertEquals(process.resets, 0, "below, nothing is reset");
    process.fill("more", 1);
    await simulation.run(INTERVAL);
    assertEquals(process.resets, 1, "from there on it is");
    assertEquals(simulation.group("one").statistics.scans, 0);
  });
}

Deno.test("history is renewed after a minute, or after twelve intervals", async () => {
  await using simulation = new SimulatedDaemon({ caps: [capOf("one", 1000)] });
  const process = simulation.platform.start("one");
  process.fill("idle", 900);
  await simulation.run(INTERVAL);
  assertEquals(process.resets, 1);
  await simulation.run(50);
  assertEquals(process.resets, 1, "it is kept");
  await simulation.run(10);
  assertEquals(process.resets, 2, "it is renewed");
  await simulation.run(60);
  assertEquals(process.resets, 3);
  // With a longer interval it is kept for longer.
  simulation.reloaded = {
    config: { ...simulation.config, sampleInterval: 10_000 },
    problems: [],
  };
  await simulation.run(100);
  assertEquals(process.resets, 3);
  await simulation.run(40);
  assertEquals(process.resets, 4);
});

Deno.test("memory used only before history was renewed counts as idle", async () => {
  await using simulation = new SimulatedDaemon({ caps: [capOf("one", 1000)] });
  const process = simulation.platform.start("one");
  process.fill("once", 500);
  process.fill("idle", 450);
  await simulation.run(10);
  process.touch("once");
  await simulation.run(130);
  process.touch("idle");
  process.fill("new", 400);
  await simulation.run(4 * INTERVAL);
  assertEquals(process.resident("idle"), 450);
  assert(process.resident("once") <= 150, `${process.resident("once")}`);
});

Deno.test("no process is judged before references were recorded for an interval", async () => {
  await using simulation = new SimulatedDaemon({ caps: [capOf("one", 1000)] });
  const process = simulation.platform.start("one", hot("hot"));
  process.fill("hot", 500);
  process.fill("idle", 1500);
  // There is a sample at once, one after the first interval, and a second of looking.
  await simulation.run(INTERVAL - 0.1);
  assertEquals(simulation.group("one").statistics.scans, 0);
  await simulation.run(3);
  const { statistics } = simulation.group("one");
  assertEquals(statistics.scans, 1);
  assertEquals(process.resident("hot"), 500);
});

Deno.test("a scan leaves headroom of a hundredth of the cap if idle memory suffices", async () => {
  const left = async (idle: number) => {
    await using simulation = new SimulatedDaemon({
      caps: [capOf("one", 2000)],
    });
    const process = simulation.platform.start("one", hot("hot"));
    process.fill("hot", 1900);
    process.fill("idle", idle);
    await simulation.run(3 * INTERVAL);
    assertEquals(process.resident("hot"), 1900);
    return process.rss / PAGE;
  };
  assertEquals(await left(600), 1980);
  assertEquals(await left(100), 2000, "no excess, nothing to do");
  // An excess of 120, of 130 idle pages: 10 remain for headroom.
  assertEquals(await left(130), 1980);
});

for (const policy of POLICIES) {
  Deno.test(`${policy}: a virtual machine counts and is left alone, and the warning says so`, async () => {
    await using simulation = new SimulatedDaemon({
      caps: [capOf("one", 4 * MIB)],
      policy,
    });
    const { platform } = simulation;
    const [machine, other] = [platform.start("one"), platform.start("one")];
    machine.fill("guest", 16 * MIB);
    machine.hasSecondaryMmu = true;
    other.fill("idle", 8 * MIB);
    await simulation.run(INTERVAL * 12);
    assertEquals(machine.resident("guest"), 16 * MIB);
    assertEquals(other.resident("idle"), 0);
    const { rss, warning } = simulation.group("one");
    assertEquals(rss, machine.rss);
    assertMatch(
      warning ?? "",
      /16\.0M in use by a virtual machine or device, whose references are not visible/,
    );
  });

  Deno.test(`${policy}: a process that becomes a virtual machine loses nothing more`, async () => {
    await using simulation = new SimulatedDaemon({
      caps: [capOf("one", 4 * MIB)],
      policy,
    });
    const process = simulation.platform.start("one");
    process.fill("memory", 4 * MIB);
    await simulation.run(INTERVAL * 4);
    process.hasSecondaryMmu = true;
    process.fill("guest", 4 * MIB);
    await simulation.run(INTERVAL * 4);
    assertEquals(process.rss, 8 * MIB * PAGE);
  });

  Deno.test(`${policy}: a virtual machine is paged out if its cap says so`, async () => {
    await using simulation = new SimulatedDaemon({
      caps: [{ ...capOf("one", 4 * MIB), secondaryMmu: "scan" }],
      policy,
    });
    const machine = simulation.platform.start("one");
    machine.fill("guest", 16 * MIB);
    machine.hasSecondaryMmu = true;
    await simulation.run(INTERVAL * 12);
    assert(machine.rss <= 4 * MIB * PAGE);
    // The setting applies to processes that are known already.
    simulation.reloaded = {
      config: { ...simulation.config, caps: [capOf("one", 2 * MIB)] },
      problems: [],
    };
    const { rss } = machine;
    simulation.daemon.askForReload();
    await simulation.run(INTERVAL * 12);
    assertEquals(machine.rss, rss);
  });

  Deno.test(`${policy}: references are forgotten far from the cap`, async () => {
    await using simulation = new SimulatedDaemon({
      caps: [capOf("one", 1000)],
      policy,
    });
    const process = simulation.platform.start("one");
    process.fill("idle", 700);
    process.fill("more", 200);
    await simulation.run(4 * INTERVAL);
    assertEquals(simulation.group("one").idle !== null, policy === "coldest");
    process.free("more");
    await simulation.run(INTERVAL);
    assertEquals(simulation.group("one").idle, null);
    const { resets } = process;
    process.touch("more");
    await simulation.run(INTERVAL);
    assertEquals(process.resets, resets + 1, "recording starts again");
  });
}

for (const [cap, what] of [[1500, "far from"], [1200, "near"]] as const) {
  Deno.test(`proportional sizes are read again after a minute (${what} the cap)`, async () => {
    await using simulation = new SimulatedDaemon({ caps: [capOf("one", cap)] });
    const processes = [1, 2].map(() => simulation.platform.start("one"));
    for (const process of processes) {
      process.fill("shared", 1000, { sharers: 2 });
    }
    await simulation.run(6 * INTERVAL);
    assertEquals(simulation.group("one").rss, 1000 * PAGE);
    for (const process of processes) process.unshare("shared");
    await simulation.run(100);
    assert(simulation.group("one").statistics.effective > 0);
    const rss = processes.reduce((sum, process) => sum + process.rss, 0);
    assert(rss <= cap * PAGE, `${rss / PAGE} pages`);
  });
}

for (const policy of POLICIES) {
  for (
    const [what, options, swapLimit, words] of [
      [
        "pinned",
        { isPinned: true },
        undefined,
        "16.0M pinned by a device or the kernel",
      ],
      [
        "in a cgroup that may not swap",
        {},
        "cgroup /x may not swap (memory.swap.max is 0)",
        "16.0M anonymous: cgroup /x may not swap (memory.swap.max is 0)",
      ],
      [
        "idle, and stays all the same",
        { isStubborn: true },
        undefined,
        "the cause is not known",
      ],
    ] as const
  ) {
    Deno.test(`${policy}: memory that is ${what} is not called a working set`, async () => {
      await using simulation = new SimulatedDaemon({
        caps: [capOf("one", 4 * MIB)],
        policy,
      });
      const process = simulation.platform.start("one");
      process.swapLimit = swapLimit;
      process.fill("idle", 16 * MIB, options);
      await simulation.run(INTERVAL * 20);
      const { warning, statistics } = simulation.group("one");
      assertEquals(
        withoutTime(warning),
        `one: 16.0M cannot be brought under the cap of 4.0M: ${words}`,
      );
      if (swapLimit) assertEquals(statistics.attempted, 0);
    });
  }

  Deno.test(`${policy}: memory in use is called a working set`, async () => {
    await using simulation = new SimulatedDaemon({
      caps: [capOf("one", 4 * MIB)],
      policy,
    });
    const process = simulation.platform.start("one", hot("memory"));
    process.fill("memory", 16 * MIB);
    process.afterPageOut = () => process.touch("memory");
    await simulation.run(INTERVAL * 20);
    assertEquals(
      withoutTime(simulation.group("one").warning),
      "one: 16.0M cannot be brought under the cap of 4.0M: its working set is larger than the cap",
    );
  });
}

Deno.test("no cap is enforced below the threshold, and groups share what lies above it", async () => {
  const caps = [capOf("one", 1000), capOf("two", 1000), capOf("three", 1000)];
  await using simulation = new SimulatedDaemon({ caps, threshold: 0.5 });
  const { platform } = simulation;
  platform.totalMemory = 20_000 * PAGE;
  platform.otherMemory = 0;
  const [one, two, three] = ["one", "two", "three"].map((name) =>
    platform.start(name)
  );
  one.fill("idle", 3000);
  two.fill("idle", 5000);
  three.fill("idle", 900);
  await simulation.run(4 * INTERVAL);
  assertEquals(one.rss, 3000 * PAGE);
  assertEquals(two.rss, 5000 * PAGE);
  const { unenforcedSamples, scans } = simulation.group("one").statistics;
  assert(unenforcedSamples >= 4, `${unenforcedSamples}`);
  assertEquals(scans, 0);
  assertEquals(simulation.group("three").statistics.unenforcedSamples, 0);

  // 600 pages lie above: 200 of an excess of 2000, and 400 of one of 4000.
  platform.otherMemory = 1700 * PAGE;
  await simulation.run(4 * INTERVAL);
  assertEquals(one.rss, 2800 * PAGE);
  assertEquals(two.rss, 4600 * PAGE);
  assertEquals(three.rss, 900 * PAGE);
});

Deno.test("a group that grows steadily is kept at its cap", async () => {
  for (const policy of POLICIES) {
    await using simulation = new SimulatedDaemon({
      caps: [capOf("one", 20_000)],
      policy,
    });
    const process = simulation.platform.start("one", leak("leak", 100));
    process.fill("leak", 15_000);
    await simulation.run(300);
    const { rss, warning } = simulation.group("one");
    assert(process.length("leak") > 40_000);
    assert(rss <= 21_000 * PAGE, `${policy}: ${rss / PAGE} pages`);
    assertEquals(warning, null);
  }
});

Deno.test("memory that members share counts once", async () => {
  await using simulation = new SimulatedDaemon({ caps: [capOf("one", 1500)] });
  const processes = [1, 2].map(() => simulation.platform.start("one"));
  for (const process of processes) process.fill("shared", 1000, { sharers: 2 });
  await simulation.run(6 * INTERVAL);
  const { rss, accounting, statistics } = simulation.group("one");
  assertEquals(accounting, "pss");
  assertEquals(rss, 1000 * PAGE);
  assertEquals(statistics.effective, 0);
  // Proportional sizes, which change as others exit, are read again after a minute.
  for (const process of processes) process.fill("own", 450);
  await simulation.run(90);
  assert(simulation.group("one").rss <= 1500 * PAGE);
  assert(simulation.group("one").statistics.effective > 0);
});

Deno.test("a single scan takes no more than lies above the threshold", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [capOf("one", 1000)],
    threshold: 0.5,
  });
  const { platform, daemon } = simulation;
  platform.totalMemory = 20_000 * PAGE;
  platform.otherMemory = 7300 * PAGE;
  const process = platform.start("one");
  process.fill("idle", 3000);
  const done = daemon.once(4000);
  await simulation.clock.advance(10_000);
  await done;
  assertEquals(process.rss, 2700 * PAGE);
});

for (const isDryRun of [false, true]) {
  const what = isDryRun ? "the plan of a single scan" : "a single scan";
  Deno.test(`${what} that does not meet the cap says why`, async () => {
    await using simulation = new SimulatedDaemon({
      caps: [capOf("one", 1000), capOf("two", 1000)],
      isDryRun,
    });
    const one = simulation.platform.start("one");
    one.fill("locked", 2000, { isLocked: true });
    simulation.platform.start("two").fill("idle", 1500);
    const done = simulation.daemon.once(4000);
    await simulation.clock.advance(10_000);
    const { groups } = await done;
    assertEquals(groups.map(({ warning }) => warning), [
      "one: 7.8M cannot be brought under the cap of 3.9M: 7.8M locked in memory",
      null,
    ]);
  });
}

for (const policy of POLICIES) {
  Deno.test(`${policy}: a single scan meets caps, and spares what is in use`, async () => {
    await using simulation = new SimulatedDaemon({
      caps: [capOf("one", 1500), capOf("two", 1000)],
      policy,
    });
    const one = simulation.platform.start("one", hot("hot"));
    one.fill("hot", 1000);
    one.fill("idle", 2000);
    const two = simulation.platform.start("two");
    two.fill("idle", 100);
    const done = simulation.daemon.once(4000);
    await simulation.clock.advance(10_000);
    const state = await done;
    assert(state.groups[0].rss <= 1500 * PAGE);
    assertEquals(state.groups[0].statistics.scans, 1);
    assertEquals(one.resident("hot"), 1000);
    assertEquals(two.resets, 0, "what is far from its cap is not observed");
  });
}
