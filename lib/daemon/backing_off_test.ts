/**
 * Tests of groups whose caps cannot be met, on a simulated machine and clock: how often
 * they are scanned, what is warned of, and what is logged.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { POLICIES } from "../config/policy_names.ts";
import {
  type FakeProcess,
  hot,
  leak,
  PAGE,
  together,
} from "../platform/fake_testing.ts";
import { capOf, INTERVAL, SimulatedDaemon } from "./testing.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();

/** Pages of a MiB. */
const MIB = 2 ** 20 / PAGE;

/** What a group looked like from interval to interval. */
class Record {
  /** The warning after each second. */
  readonly warnings: (string | null)[] = [];
  /** When lines were logged, in seconds. */
  readonly lines: number[] = [];

  /** Runs a daemon for a number of seconds, looking every second. */
  async run(simulation: SimulatedDaemon, seconds: number): Promise<void> {
    for (let second = 0; second < seconds; second++) {
      const before = simulation.messages.length;
      await simulation.run(1);
      const count = simulation.messages.length - before;
      for (let line = 0; line < count; line++) {
        this.lines.push(this.warnings.length);
      }
      this.warnings.push(simulation.group("one").warning);
    }
  }

  /** When there was first a warning, in seconds; -1 if there was none. */
  get warnedAt(): number {
    return this.warnings.findIndex((warning) => warning !== null);
  }

  /** How often a warning came or went. */
  get changes(): number {
    return this.warnings.filter((warning, second) =>
      (warning !== null) !== ((this.warnings[second - 1] ?? null) !== null)
    ).length;
  }

  /** The most lines that were logged within a minute, from a time on, in seconds. */
  mostLinesAMinute(from: number): number {
    return Math.max(
      0,
      ...this.lines.filter((at) => at >= from).map((at) =>
        this.lines.filter((other) => other >= at && other < at + 60).length
      ),
    );
  }
}

/** A group under a cap of 60M that uses 153M of memory all the time. */
function thrashing(
  policy: typeof POLICIES[number],
  options: { level?: "debug" } = {},
) {
  const caps = [capOf("one", 60 * MIB)];
  const simulation = new SimulatedDaemon({ caps, policy, ...options });
  const process = simulation.platform.start("one", hot("hot"));
  process.fill("hot", 153 * MIB);
  return { simulation, process };
}

for (const policy of POLICIES) {
  const test = (what: string, run: () => Promise<void>) =>
    Deno.test(`${policy}: ${what}`, run);

  test("the warning about a group that thrashes stays, and it is left alone for longer each time", async () => {
    const { simulation } = thrashing(policy);
    await using _ = simulation;
    const record = new Record();
    await record.run(simulation, 600);
    const { effective, backedOff, scans, samples } =
      simulation.group("one").statistics;
    // A tenth to a fifth of the 3.6G that scans at every other interval would take.
    assert(effective <= 700 * MIB * PAGE, `${effective / MIB / PAGE}M`);
    await record.run(simulation, 600);
    const { statistics } = simulation.group("one");
    const later = statistics.effective - effective;
    assert(later <= 200 * MIB * PAGE, `${later / MIB / PAGE}M`);
    assert(record.warnedAt >= 0 && record.warnedAt <= 30, `${record.warnedAt}`);
    assertEquals(record.changes, 1);
    assert(backedOff > 0 && scans + backedOff <= samples);
    assert(record.mostLinesAMinute(30) <= 1, record.lines.join());
    assert(record.lines.length <= 20, record.lines.join());
    const warning = record.warnings.at(-1) ?? "";
    assertMatch(
      warning,
      /^one: 153\.0M cannot be brought under the cap of 60\.0M: .+; it may exceed it, and is left alone until \d\d:\d\d:\d\d$/,
    );
    assertMatch(
      simulation.said("cannot be brought under").join(),
      /^rcap: warning: one: 153\.0M cannot be brought under the cap of 60\.0M: .+; it may exceed it, and is left alone for \d+ s, then for longer each time until that changes\n$/,
    );
  });

  test("a group whose cap cannot be met costs nothing until shortly before it is scanned again", async () => {
    const { simulation, process } = thrashing(policy);
    await using _ = simulation;
    await simulation.run(900);
    /** How often the process was looked at in each second. */
    const accesses: number[] = [];
    for (let second = 0; second < 600; second++) {
      const before = process.accesses;
      await simulation.run(1);
      accesses.push(process.accesses - before);
    }
    const quiet = accesses.filter((count) => count === 0).length;
    assert(quiet >= 500, `${quiet} s of 600 without any access`);
    // The next scan knows what is idle, and growth is noticed at once.
    assert(accesses.some((count) => count > 0));
    for (let before = -1; before !== process.accesses;) {
      before = process.accesses;
      await simulation.run(2 * INTERVAL);
    }
    const { scans } = simulation.group("one").statistics;
    process.fill("more", 80 * MIB);
    await simulation.run(4 * INTERVAL);
    assert(simulation.group("one").statistics.scans > scans);
  });

  test("a cap far below what is in use draws a warning within a minute", async () => {
    const caps = [capOf("one", 10 * MIB)];
    await using simulation = new SimulatedDaemon({ caps, policy });
    const process = simulation.platform.start("one", hot("hot"));
    process.fill("hot", 570 * MIB);
    const record = new Record();
    await record.run(simulation, 300);
    assert(record.warnedAt >= 0 && record.warnedAt < 60, `${record.warnedAt}`);
    assertEquals(record.changes, 1);
  });

  test("a working set that is used round and round is backed off from", async () => {
    const caps = [capOf("one", 60 * MIB)];
    await using simulation = new SimulatedDaemon({ caps, policy });
    // All of it within 30 s, so that much of it is idle at any moment.
    const step = 153 * MIB / 120;
    let at = 0;
    const process = simulation.platform.start("one", (one) => {
      one.touch("hot", Math.floor(at * step), Math.floor((at + 1) * step));
      at = (at + 1) % 120;
    });
    process.fill("hot", 153 * MIB);
    const record = new Record();
    await record.run(simulation, 900);
    assert(record.warnedAt >= 0 && record.warnedAt < 120, `${record.warnedAt}`);
    assertEquals(record.changes, 1);
  });

  test("a group that just fits draws no warning", async () => {
    const caps = [capOf("one", 60 * MIB)];
    await using simulation = new SimulatedDaemon({ caps, policy });
    const process = simulation.platform.start("one", hot("hot"));
    process.fill("hot", 59 * MIB);
    process.fill("idle", 90 * MIB);
    const record = new Record();
    await record.run(simulation, 1200);
    assertEquals(record.changes, 0);
    assert(process.rss <= 60 * MIB * PAGE);
    assertEquals(simulation.group("one").statistics.backedOff, 0);
  });

  test("the warning goes a minute after the working set has shrunk so that the cap is met", async () => {
    const caps = [capOf("one", 140 * MIB)];
    await using simulation = new SimulatedDaemon({ caps, policy });
    let isLess = false;
    const process = simulation.platform.start("one", (one) => {
      one.touch("hot");
      if (!isLess) one.touch("more");
    });
    process.fill("hot", 130 * MIB);
    process.fill("more", 23 * MIB);
    const record = new Record();
    await record.run(simulation, 600);
    assertEquals(record.changes, 1);
    isLess = true;
    // The next scan is within five minutes.
    await record.run(simulation, 450);
    assertEquals(record.changes, 2);
    const metAt = record.warnings.findLastIndex((warning) => warning !== null);
    assert(process.rss <= 140 * MIB * PAGE);
    assert(metAt >= 660, `${metAt}`);
    assertEquals(
      simulation.said(
        "one: the warning no longer holds: it has met its cap for a minute",
      )
        .length,
      1,
    );
    await record.run(simulation, 150);
    assertEquals(record.changes, 2);
  });

  test("a warning goes at once when a higher cap is set", async () => {
    const { simulation } = thrashing(policy);
    await using _ = simulation;
    await simulation.run(120);
    assert(simulation.group("one").warning !== null);
    simulation.overrides.set("one", 200 * MIB * PAGE);
    simulation.daemon.askForRequests();
    await simulation.run(0);
    assertEquals(simulation.group("one").warning, null);
    const record = new Record();
    await record.run(simulation, 300);
    assertEquals(record.changes, 0);
  });

  test("a group whose pages come back is left alone for an interval at first", async () => {
    const { simulation } = thrashing(policy, { level: "debug" });
    await using _ = simulation;
    await simulation.run(3 * INTERVAL);
    assertEquals(simulation.group("one").statistics.backedOff, 1);
    assertMatch(
      simulation.said("left alone").join(),
      /^rcap: one: much of what was paged out came back; left alone for 5 s\n$/,
    );
  });

  test("memory that leaks is paged out while what is in use exceeds the cap", async () => {
    const caps = [capOf("one", 60 * MIB)];
    await using simulation = new SimulatedDaemon({ caps, policy });
    const process = simulation.platform.start(
      "one",
      together(hot("hot"), leak("leak", MIB / 2)),
    );
    process.fill("hot", 80 * MIB);
    process.map("leak", 0);
    const record = new Record();
    await record.run(simulation, 1200);
    assertEquals(record.changes, 1);
    assert(process.length("leak") > 500 * MIB);
    // An eighth more than what is in use, and the growth of two intervals.
    const most = Math.max(80 * 9 / 8, 80 + 60) * MIB;
    assert(process.rss <= most * PAGE, `${process.rss / MIB / PAGE}M`);
  });

  test("a group none of whose memory can go draws a warning", async () => {
    const caps = [capOf("one", 4 * MIB)];
    await using simulation = new SimulatedDaemon({ caps, policy });
    simulation.platform.totalSwap = 0;
    const process = simulation.platform.start("one");
    process.fill("idle", 16 * MIB);
    const record = new Record();
    await record.run(simulation, 600);
    assert(record.warnedAt >= 0 && record.warnedAt < 60, `${record.warnedAt}`);
    assertEquals(record.changes, 1);
  });
}

Deno.test("a warning ends when the group falls under its cap without a scan", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [capOf("one", 4 * MIB)],
  });
  simulation.platform.totalSwap = 0;
  const process = simulation.platform.start("one");
  process.fill("idle", 16 * MIB);
  await simulation.run(4 * INTERVAL);
  assert(simulation.group("one").warning !== null);
  process.free("idle");
  await simulation.run(2 * INTERVAL);
  assertEquals(simulation.group("one").warning, null);
  assertEquals(
    simulation.said("no longer holds: its size has fallen").length,
    1,
  );
});

Deno.test("a group whose cap cannot be met is scanned less often, with one warning that says why", async () => {
  await using simulation = new SimulatedDaemon({
    caps: [capOf("one", 4 * MIB)],
  });
  const { platform } = simulation;
  platform.totalSwap = 0;
  const process = platform.start("one");
  process.fill("idle", 16 * MIB);
  /** The times of its scans, in seconds. */
  const times: number[] = [];
  let scans = 0;
  for (let seconds = 0; seconds < 1000; seconds++) {
    await simulation.run(1);
    const { statistics } = simulation.group("one");
    if (statistics.scans > scans) times.push(seconds);
    scans = statistics.scans;
  }
  const pauses = times.slice(1).map((time, index) => time - times[index]);
  assertEquals(pauses, [5, 10, 20, 40, 80, 160, 300, 300]);
  assertMatch(
    simulation.group("one").warning ?? "",
    /^one: 16\.0M cannot be brought under the cap of 4\.0M: 16\.0M anonymous, and no swap is free: add swap or zram; it may exceed it, and is left alone until/,
  );
  assertEquals(simulation.said("cannot be brought under").length, 1);

  // It recovers as soon as there is room.
  platform.totalSwap = 2 ** 30;
  await simulation.run(INTERVAL * 3);
  assertEquals(simulation.group("one").warning, null);
  assert(simulation.group("one").rss <= 4 * MIB * PAGE);
  assertEquals(simulation.said("no longer holds: more swap is free").length, 1);
});

for (
  const [what, options, words] of [
    ["locked", { isLocked: true }, "16.0M locked in memory"],
    ["in use", {}, "its working set is larger than the cap"],
  ] as const
) {
  Deno.test(`the warning says that memory is ${what}`, async () => {
    await using simulation = new SimulatedDaemon({
      caps: [capOf("one", 4 * MIB)],
    });
    const process = simulation.platform.start("one", hot("memory"));
    process.fill("memory", 16 * MIB, options);
    // It comes back at once, so nothing is gained.
    process.afterPageOut = () => process.touch("memory");
    await simulation.run(INTERVAL * 12);
    assert(
      simulation.group("one").warning?.startsWith(
        `one: 16.0M cannot be brought under the cap of 4.0M: ${words}`,
      ),
    );
  });
}

for (
  const [what, change] of Object.entries<
    (simulation: SimulatedDaemon, victim: FakeProcess) => void
  >({
    "another size": (_, process) => process.fill("more", 2 * MIB),
    "another cap": ({ overrides, daemon }) => {
      overrides.set("one", 3 * MIB * PAGE);
      daemon.askForRequests();
    },
    "another large member": ({ platform }) =>
      platform.start("one").fill("a", 2 * MIB),
  })
) {
  Deno.test(`${what}: a group whose cap cannot be met is scanned again at once`, async () => {
    await using simulation = new SimulatedDaemon({
      caps: [capOf("one", 4 * MIB)],
    });
    simulation.platform.totalSwap = 0;
    const process = simulation.platform.start("one");
    process.fill("idle", 16 * MIB);
    // The next scan would be at 320 s.
    await simulation.run(200);
    const { scans } = simulation.group("one").statistics;
    await simulation.run(2 * INTERVAL);
    assertEquals(simulation.group("one").statistics.scans, scans);
    change(simulation, process);
    // A new member counts once its footprint is known.
    await simulation.run(5 * INTERVAL);
    assert(simulation.group("one").statistics.scans > scans);
  });
}

const setCap = (mib: number) => (simulation: SimulatedDaemon) =>
  void simulation.overrides.set("one", mib * MIB * PAGE);
const pause = ({ pauses, clock }: SimulatedDaemon) =>
  void pauses.set("one", clock.wallTime() + 60);

for (
  const [what, request, more] of [
    ["higher cap", setCap(24), 0],
    ["lower cap", setCap(3), 2],
    ["pause", pause, 0],
  ] as const
) {
  Deno.test(`a ${what} ${more ? "lets the scan go on" : "ends the scan in flight"}`, async () => {
    const caps = [capOf("one", 4 * MIB)];
    await using simulation = new SimulatedDaemon({ caps });
    const process = simulation.platform.start("one");
    // More ranges than one page-out takes.
    for (let count = 0; count < 160; count++) process.fill(`${count}`, 40);
    let pageOuts = 0;
    process.onPageOut = () => {
      pageOuts++;
      return simulation.clock.sleep(1000);
    };
    await simulation.run(2 * INTERVAL);
    const before = pageOuts;
    assert(before >= 1 && before < 5, `${before}`);
    request(simulation);
    simulation.daemon.askForRequests();
    await simulation.run(2);
    // The page-out in flight is the last.
    assertEquals(pageOuts - before, more);
    const { scans, completeScans, ineffectiveScans } =
      simulation.group("one").statistics;
    assertEquals([scans, completeScans, ineffectiveScans], [1, 0, 0]);
    assertEquals(simulation.said("one: paged out").length, more ? 0 : 1);
    process.onPageOut = () => {};
    await simulation.run(2);
  });
}
