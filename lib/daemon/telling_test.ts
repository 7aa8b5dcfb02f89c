/**
 * Tests of what the daemon logs about groups, troubles and requests.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { libc, systemError } from "../../ffi/libc.ts";
import type { CapConfig } from "../config/config.ts";
import { POLICIES } from "../config/policy_names.ts";
import { hot, leak, PAGE } from "../platform/fake_testing.ts";
import type { PageInCost } from "../platform/platform.ts";
import { capOf, INTERVAL, SimulatedDaemon } from "./testing.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();

/** The messages without their times and levels. */
function words({ messages }: SimulatedDaemon): string[] {
  return messages.map((line) => line.trim().replace(/^\S+: /, ""));
}

for (const policy of POLICIES) {
  Deno.test(`${policy}: a scan is logged with its result`, async () => {
    await using simulation = new SimulatedDaemon({
      caps: [capOf("one", 20_000)],
      policy,
    });
    const process = simulation.platform.start("one");
    process.fill("idle", 30_000);
    await simulation.run(2 * INTERVAL);
    const [first] = simulation.said("one: paged out");
    const { effective } = simulation.group("one").statistics;
    assert(effective > 0);
    assertMatch(
      first,
      /one: paged out \d+\.\dM in \d\.\d\d s; \d+\.\dM of 78\.1M(, \d+\.\dM too much)?\n?$/,
    );
  });
}

Deno.test("a scan that covers only part of the excess logs what is left", async () => {
  await using simulation = new SimulatedDaemon({ caps: [capOf("one", 1024)] });
  const process = simulation.platform.start("one");
  process.fill("locked", 2048, { isLocked: true });
  process.fill("idle", 512);
  await simulation.run(2 * INTERVAL);
  assertEquals(simulation.said("one: paged out").map(lastWords), [
    "8.0M of 4.0M, 4.0M too much",
  ]);
});

Deno.test("scans that follow one another are summed up once a minute", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [capOf("one", 15_360)],
  });
  const process = simulation.platform.start("one", leak("leak", 100));
  process.fill("leak", 15_000);
  await simulation.run(20 * 60);
  const { scans, effective } = simulation.group("one").statistics;
  assert(scans > 60, `${scans}`);
  const said = simulation.said("one: paged out").map((line) => line.trim());
  assertMatch(said[0], /in \d\.\d\d s; /);
  const sums = said.filter((line) => / within a minute; /.test(line));
  for (const line of sums) {
    assertMatch(
      line,
      /one: paged out \d+\.\dM in \d+ scans? within a minute; now \d\d\.\dM of 60\.0M$/,
    );
  }
  assert(sums.length >= 15 && sums.length <= 20, `${sums.length}`);
  // New results are logged at once: that a scan meets the cap, and that the process has
  // grown beyond it by the end of one.
  assert(said.length <= 20 + 2, `${said.length}`);
  // Nothing is left out of the sums, but for the last minute.
  const sum = said.reduce(
    (sum, line) => sum + Number(/out (\d+\.\d)M/.exec(line)?.[1]),
    0,
  );
  const all = effective / 2 ** 20;
  assert(sum <= all + 1 && sum >= all - 30, `${sum} of ${all}`);
});

Deno.test("each scan is logged at the level debug", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [capOf("one", 15_360)],
    level: "debug",
  });
  const process = simulation.platform.start("one", leak("leak", 100));
  process.fill("leak", 15_000);
  await simulation.run(300);
  const { scans } = simulation.group("one").statistics;
  const said = simulation.said("one: paged out")
    .filter((line) => / s; /.test(line));
  // The state may have been reported before the last scan.
  assert(said.length - scans === 0 || said.length - scans === 1);
});

Deno.test("a result that is new is logged at once", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [capOf("one", 15_360)],
  });
  const process = simulation.platform.start("one", leak("leak", 100));
  process.fill("leak", 15_000);
  await simulation.run(100);
  const before = simulation.said("too much").length;
  assertEquals(before, 0);
  process.fill("locked", 20_000, { isLocked: true });
  await simulation.run(2 * INTERVAL);
  assertEquals(simulation.said("too much").length, 1);
});

/** The text that follows the duration of a scan. */
function lastWords(line: string): string {
  return line.trim().split("; ")[1];
}

Deno.test("a daemon without work logs nothing", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [capOf("one", 1000)],
    level: "debug",
  });
  simulation.platform.start("one", hot("hot")).fill("hot", 900);
  await simulation.run(300);
  assertEquals(words(simulation), ["one: 1 process in, 0 out"]);
});

Deno.test("a group without processes is logged once", async () => {
  await using simulation = new SimulatedDaemon({ caps: [capOf("one", 1000)] });
  await simulation.run(10 * INTERVAL);
  assertEquals(simulation.messages.length, 1);
  assertMatch(
    simulation.messages[0],
    /one: no process matches its selectors yet/,
  );
});

Deno.test("caps of pods come and go without a word", async () => {
  await using simulation = new SimulatedDaemon({ caps: [capOf("one", 1000)] });
  simulation.platform.start("one", hot("hot")).fill("hot", 900);
  await simulation.run(INTERVAL);
  const pod: CapConfig = { ...capOf("pod:shop/web-0", 1000), isOfPod: true };
  for (const caps of [[capOf("one", 1000), pod], [capOf("one", 1000)]]) {
    simulation.reloaded = {
      config: { ...simulation.config, caps },
      problems: [],
      isOfPods: true,
    };
    simulation.daemon.askForReload();
    await simulation.run(3 * INTERVAL);
    assertEquals(simulation.state.groups.length, caps.length);
  }
  assertEquals(simulation.messages, []);
});

Deno.test("processes that join and leave are counted", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [capOf("one", 1000)],
    level: "debug",
  });
  const { platform } = simulation;
  const first = platform.start("one");
  first.fill("a", 100);
  await simulation.run(1);
  assertEquals(simulation.group("one").processes, 1);
  platform.start("one").fill("a", 50);
  platform.start("other").fill("a", 50);
  await simulation.run(2 * INTERVAL);
  assertEquals(simulation.group("one").processes, 2);
  assertEquals(simulation.group("one").rss, 150 * PAGE);
  first.exit();
  await simulation.run(INTERVAL + 1);
  const { processes, statistics } = simulation.group("one");
  assertEquals(processes, 1);
  assertEquals(statistics.processesIn, 2);
  assertEquals(statistics.processesOut, 1);
  assertEquals(simulation.said("1 process in, 0 out").length, 2);
});

Deno.test("a process that reuses the pid of an exited member is a new member", async () => {
  await using simulation = new SimulatedDaemon({ caps: [capOf("one", 1000)] });
  const { platform } = simulation;
  const first = platform.start("one");
  first.fill("idle", 900);
  await simulation.run(4 * INTERVAL);
  const heir = platform.reuse(first, "one");
  heir.fill("idle", 1100);
  await simulation.run(3);
  // Its references have to be recorded for an interval first.
  assertEquals(heir.rss, 1100 * PAGE);
  await simulation.run(4 * INTERVAL);
  const { statistics } = simulation.group("one");
  assertEquals([statistics.processesIn, statistics.processesOut], [2, 1]);
  assert(heir.rss <= 1000 * PAGE);
});

Deno.test("a process that executes another program keeps its place, with a new history", async () => {
  await using simulation = new SimulatedDaemon({ caps: [capOf("one", 1000)] });
  const process = simulation.platform.start("one");
  process.fill("idle", 950);
  await simulation.run(3 * INTERVAL);
  assertEquals(process.resets, 1);
  process.layout = "second";
  await simulation.run(2 * INTERVAL);
  assertEquals(process.resets, 2);
  const { statistics } = simulation.group("one");
  assertEquals([statistics.processesIn, statistics.processesOut], [1, 0]);
});

for (const policy of POLICIES) {
  Deno.test(`${policy}: a paused group is left alone until the pause ends`, async () => {
    await using simulation = new SimulatedDaemon({
      caps: [capOf("one", 100)],
      policy,
    });
    const { daemon, pauses, clock } = simulation;
    const process = simulation.platform.start("one");
    process.fill("idle", 90);
    await simulation.run(INTERVAL);
    pauses.set("one", clock.wallTime() + 600);
    daemon.askForRequests();
    await simulation.run(1);
    const { resets } = process;
    assert(resets > 0, "it was observed before");
    process.fill("more", 110);
    await simulation.run(500);
    assertEquals(process.resets, resets, "nothing is reset");
    const { rss, pausedUntil, statistics } = simulation.group("one");
    assertEquals(rss, 200 * PAGE, "sizes are read");
    assertEquals(pausedUntil, pauses.get("one"));
    assertEquals([statistics.scans, statistics.unenforcedSamples], [0, 0]);
    await simulation.run(600);
    assertEquals(simulation.group("one").pausedUntil, null);
    assert(simulation.group("one").rss <= 100 * PAGE);
    assertMatch(
      simulation.said("paused until")[0],
      /one: paused until [\d :-]+\n$/,
    );
    assertEquals(simulation.said("one: the pause has ended").length, 1);
  });
}

Deno.test("other groups do not give more for one that is paused", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [capOf("one", 100), capOf("two", 100)],
    threshold: 0.5,
  });
  const { daemon, pauses, platform } = simulation;
  platform.totalMemory = platform.otherMemory * 2;
  pauses.set("two", simulation.clock.wallTime() + 3600);
  daemon.askForRequests();
  const one = platform.start("one");
  const two = platform.start("two");
  one.fill("idle", 200);
  two.fill("idle", 200);
  await simulation.run(120);
  // The excess over the threshold is more than what one has over its cap.
  assert(simulation.group("one").rss <= 100 * PAGE);
  assertEquals(two.resident("idle"), 200);
});

Deno.test("caps set by hand stay in force until they are removed", async () => {
  await using simulation = new SimulatedDaemon({ caps: [capOf("one", 1024)] });
  const process = simulation.platform.start("one");
  process.fill("idle", 1000);
  const { overrides, daemon } = simulation;
  await simulation.run(2 * INTERVAL);
  overrides.set("one", 512 * PAGE);
  overrides.set("nobody", 1);
  await simulation.run(INTERVAL);
  assertEquals(process.rss, 1000 * PAGE, "nobody has asked for it");
  daemon.askForRequests();
  await simulation.run(2 * INTERVAL);
  const { cap, configuredCap } = simulation.group("one");
  assertEquals([cap, configuredCap], [512 * PAGE, 1024 * PAGE]);
  assert(process.rss <= 512 * PAGE);
  // Another request without a change logs nothing.
  daemon.askForRequests();
  await simulation.run(1);
  overrides.clear();
  daemon.askForRequests();
  await simulation.run(1);
  assertEquals(simulation.group("one").cap, 1024 * PAGE);
  const told = simulation.said("the cap is").map((line) => line.trim());
  assertEquals(told.length, 2);
  assertMatch(told[0], /one: the cap is 2\.0M now, set by hand$/);
  assertMatch(told[1], /one: the cap is 4\.0M now$/);
});

Deno.test("reloading the configuration keeps groups of which only the cap differs", async () => {
  const [one, two] = [capOf("one", 1000), capOf("two", 1000)];
  await using simulation = new SimulatedDaemon({ caps: [one, two] });
  const { platform, config, overrides } = simulation;
  platform.start("one").fill("idle", 900);
  platform.start("two").fill("idle", 900);
  const third = platform.start("three");
  third.fill("idle", 100);
  overrides.set("three", 50 * PAGE);
  await simulation.run(2 * INTERVAL);
  const { id, statistics } = simulation.group("one");
  simulation.reloaded = {
    config: {
      ...config,
      sampleInterval: 1000,
      caps: [capOf("three", 200), { ...one, maxRss: 950 * PAGE }],
    },
    problems: [],
  };
  simulation.daemon.askForReload();
  await simulation.run(1);
  assertEquals(
    simulation.state.groups.map(({ name }) => name),
    ["three", "one"],
  );
  const { configuration } = simulation.state;
  assertEquals([configuration.serial, configuration.problems], [2, []]);
  assertEquals(configuration.loadedAt, 1_700_000_010);
  const after = simulation.group("one");
  assertEquals(after.id, id);
  assertEquals(after.configuredCap, 950 * PAGE);
  assert(after.statistics.samples > statistics.samples);
  const fresh = simulation.group("three");
  assertEquals(fresh.id, 3);
  assertEquals(fresh.processes, 1, "it has its members at once");
  assertEquals(fresh.cap, 50 * PAGE, "with the cap set by hand");
  assertEquals(
    simulation.said("configuration loaded again: 2 caps").length,
    1,
  );
  // From now on there is a sample every second.
  const { samples } = after.statistics;
  await simulation.run(10);
  assertEquals(simulation.group("one").statistics.samples, samples + 10);
});

Deno.test("costs are measured beside the loop, and reported as soon as they are known", async () => {
  await using simulation = new SimulatedDaemon({ caps: [capOf("one", 1000)] });
  const { platform } = simulation;
  platform.start("one").fill("idle", 900);
  const slow = Promise.withResolvers<PageInCost>();
  let pageIns: PageInCost[] = [];
  platform.costs = async ({ ofPageIns = true } = {}) => {
    if (ofPageIns) pageIns = [await slow.promise];
    return { reference: 9700, pageIns };
  };
  await simulation.run(10 * INTERVAL);
  assertEquals(simulation.state.costs, { reference: 9700, pageIns: [] });
  assert(simulation.group("one").statistics.samples >= 10, "the loop goes on");
  const cost = { from: "swap", device: "sda2", nanoseconds: 8e6 } as const;
  slow.resolve(cost);
  await simulation.run(1);
  assertEquals(simulation.state.costs, { reference: 9700, pageIns: [cost] });
  await simulation.run(300);
  assertEquals(
    simulation.said("takes").map((line) => line.trim().replace(/^.*?: /, "")),
    [
      "the first reference to a page takes 9.7 µs longer after a reset",
      "a page-in takes 8.0 ms from sda2",
    ],
    "each is logged once",
  );
});

Deno.test("a daemon that cannot measure costs says so in its state, and goes on", async () => {
  await using simulation = new SimulatedDaemon({ caps: [capOf("one", 1000)] });
  const { platform } = simulation;
  platform.start("one").fill("idle", 900);
  platform.costs = () => Promise.reject(new Error("out of luck"));
  await simulation.run(2 * INTERVAL);
  assertEquals(simulation.state.costs, null);
  assertMatch(
    simulation.said("costs")[0],
    /costs cannot be measured: internal error: out of luck/,
  );
  assertEquals(simulation.group("one").processes, 1);
});

Deno.test("the daemon measures again when another swap is used first", async () => {
  await using simulation = new SimulatedDaemon({ caps: [capOf("one", 1000)] });
  const { platform } = simulation;
  platform.start("one").fill("idle", 900);
  const pageIns: PageInCost[] = [];
  platform.costs = () =>
    Promise.resolve({ reference: 30, pageIns: [...pageIns] });
  await simulation.run(INTERVAL);
  for (const device of ["zram0", "sda2"]) {
    pageIns.push({ from: "swap", device, nanoseconds: 1e4 });
    await simulation.run(61);
    assertEquals(simulation.state.costs, { reference: 30, pageIns });
  }
  assertEquals(simulation.said("a page-in takes").length, 2);
});

Deno.test("a new observation budget applies to processes that are observed already", async () => {
  await using simulation = new SimulatedDaemon({ caps: [capOf("one", 1000)] });
  const { platform, config } = simulation;
  const process = platform.start("one");
  process.fill("idle", 900);
  await simulation.run(2 * INTERVAL);
  const { openedWith } = process;
  assertEquals(openedWith.observationBudget, 0.01);
  const { id } = simulation.group("one");
  simulation.reloaded = {
    config: { ...config, observationBudget: 0.05 },
    problems: [],
  };
  simulation.daemon.askForReload();
  await simulation.run(INTERVAL);
  assertEquals(openedWith.observationBudget, 0.05);
  assertEquals(process.openedWith, openedWith, "it was not opened again");
  assertEquals(simulation.group("one").id, id);
});

for (
  const [isPassing, why] of [
    [false, "is invalid"],
    [true, "cannot be checked at the moment"],
  ] as const
) {
  Deno.test(`a configuration that ${why} is logged and changes nothing`, async () => {
    await using simulation = new SimulatedDaemon({
      caps: [capOf("one", 1000)],
    });
    simulation.platform.start("one").fill("idle", 500);
    await simulation.run(1);
    simulation.reloaded = { problems: ["rcap.toml:3: no cap"], isPassing };
    simulation.daemon.askForReload();
    await simulation.run(INTERVAL);
    const { configuration, groups } = simulation.state;
    assertEquals(configuration.serial, 2);
    assertEquals(configuration.problems, ["rcap.toml:3: no cap"]);
    assertEquals(configuration.isPassing, isPassing);
    assertEquals(configuration.loadedAt, 1_700_000_000);
    assertEquals(groups.length, 1);
    assertEquals(simulation.said("rcap.toml:3: no cap").length, 1);
    assertMatch(
      simulation.said("the configuration")[0],
      new RegExp(`the configuration ${why}; the running one stays in force`),
    );
  });
}

Deno.test("a reload requested during a read reads the configuration again", async () => {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  let readings = 0;
  await using simulation = new SimulatedDaemon({
    caps: [capOf("one", 1000)],
    reload: () => ++readings === 1 ? promise : Promise.resolve(undefined),
  });
  await simulation.run(1);
  simulation.daemon.askForReload();
  await simulation.run(0);
  simulation.daemon.askForReload();
  await simulation.run(0);
  assertEquals(readings, 1);
  resolve(undefined);
  await simulation.run(0);
  assertEquals(readings, 2);
});

Deno.test("a process that does not answer is logged once, and again when it answers", async () => {
  await using simulation = new SimulatedDaemon({ caps: [capOf("one", 1000)] });
  const process = simulation.platform.start("one");
  process.fill("idle", 900);
  await simulation.run(INTERVAL);
  process.silence = `process ${process.pid} (one) does not answer`;
  await simulation.run(4 * INTERVAL);
  assertEquals(simulation.group("one").warning, process.silence);
  process.silence = undefined;
  await simulation.run(2 * INTERVAL);
  assertEquals(simulation.group("one").warning, null);
  const told = words(simulation);
  assertEquals(told.length, 2, told.join("\n"));
  assertMatch(
    told[0],
    /does not answer; it is set aside, and tried again less and less often$/,
  );
  assertMatch(told[1], new RegExp(`process ${process.pid} answers again$`));
});

for (const policy of POLICIES) {
  Deno.test(`${policy}: a process that cannot be read is part of the warning until it can`, async () => {
    await using simulation = new SimulatedDaemon({
      caps: [capOf("one", 1000)],
      policy,
    });
    const process = simulation.platform.start("one");
    process.fill("idle", 2000);
    const failure = `process ${process.pid}: its files make no sense`;
    process.failure = failure;
    await simulation.run(12 * INTERVAL);
    assertEquals(process.resident("idle"), 2000);
    assertEquals(simulation.group("one").warning, failure);
    assertEquals(simulation.said(failure).length, 1);
    assertMatch(
      simulation.said(failure)[0],
      /one: process \d+: its files make no sense; it keeps its memory while it cannot be read\n?$/,
    );
    process.failure = undefined;
    await simulation.run(6 * INTERVAL);
    assertEquals(simulation.group("one").warning, null);
    assert(process.resident("idle") <= 1000);
  });
}

Deno.test("the daemon has a problem while no process can be reached", async () => {
  await using simulation = new SimulatedDaemon({ caps: [capOf("one", 1000)] });
  simulation.platform.start("one").fill("idle", 100);
  await simulation.run(1);
  assertEquals(simulation.daemon.problem(), undefined);
  simulation.platform.overload = "too many calls hang";
  await simulation.run(3 * INTERVAL);
  assertEquals(simulation.daemon.problem(), "too many calls hang");
  simulation.platform.overload = undefined;
  await simulation.run(2 * INTERVAL);
  assertEquals(simulation.daemon.problem(), undefined);
  assertEquals(simulation.said("too many calls hang").length, 1);
  assertEquals(simulation.said("all processes can be reached again").length, 1);
});

Deno.test("groups keep their members while processes cannot be listed", async () => {
  await using simulation = new SimulatedDaemon({ caps: [capOf("one", 1000)] });
  simulation.platform.start("one").fill("idle", 100);
  await simulation.run(1);
  const EMFILE = 24;
  simulation.platform.listFailure = systemError("open", EMFILE);
  await simulation.run(3 * INTERVAL);
  assertEquals(simulation.group("one").processes, 1);
  assertMatch(
    simulation.daemon.problem() ?? "",
    /^it is not known which processes belong to which cap \(/,
  );
  simulation.platform.listFailure = undefined;
  await simulation.run(2 * INTERVAL);
  assertEquals(simulation.daemon.problem(), undefined);
  assertEquals(simulation.said("every process stays in its group").length, 1);
  assertEquals(
    simulation.said("it is known again which process belongs to which cap")
      .length,
    1,
  );
});

Deno.test("a process that is to be left alone is logged once, and is not a member", async () => {
  await using simulation = new SimulatedDaemon({ caps: [capOf("one", 1000)] });
  const process = simulation.platform.start("one");
  process.fill("idle", 2000);
  simulation.platform.avoided.set(process.pid, "/sys/fs/cgroup/theirs");
  await simulation.run(5 * INTERVAL);
  const { processes, avoided } = simulation.group("one");
  assertEquals([processes, avoided], [0, 1]);
  assertEquals(process.rss, 2000 * PAGE);
  assertEquals(simulation.said("/sys/fs/cgroup/theirs").length, 1);
});

Deno.test("an unreadable member is skipped, and the others are scanned", async () => {
  for (const policy of POLICIES) {
    await using simulation = new SimulatedDaemon({
      caps: [capOf("one", 1000)],
      policy,
      level: "debug",
    });
    const [broken, sound] = [1, 2].map(() => simulation.platform.start("one"));
    for (const process of [broken, sound]) process.fill("idle", 800);
    broken.failure = "its memory cannot be read";
    await simulation.run(8 * INTERVAL);
    assertEquals(broken.rss, 800 * PAGE);
    assert(sound.rss < 800 * PAGE, policy);
    const said = simulation.said(
      `process ${broken.pid} (one) passed over: its memory cannot be read`,
    );
    assert(said.length > 0, policy);
  }
});

Deno.test("an error in a step is logged once until the step succeeds or the error changes", async () => {
  await using simulation = new SimulatedDaemon({ caps: [capOf("one", 1000)] });
  const { platform } = simulation;
  simulation.platform.start("one").fill("idle", 100);
  await simulation.run(1);
  const fail = async (message: string | undefined) => {
    platform.listFailure = message === undefined
      ? undefined
      : new Error(message);
    await simulation.run(4 * INTERVAL);
  };
  await fail("first");
  await fail("second");
  await fail(undefined);
  await fail("second");
  assertEquals(words(simulation), [
    "warning: members: internal error: first; rcap goes on",
    "warning: members: internal error: second; rcap goes on",
    "warning: members: internal error: second; rcap goes on",
  ]);
});

Deno.test("a loop that takes no samples is not healthy", async () => {
  await using simulation = new SimulatedDaemon({ caps: [capOf("one", 1000)] });
  await simulation.run(1);
  // No timer fires, as when the machine has no time for rcap.
  simulation.clock.stall(16_000);
  assertEquals(simulation.daemon.problem(), "no sample for 17.0 s");
  await simulation.run(1);
  assertEquals(simulation.daemon.problem(), undefined);
});
