/**
 * Tests of the policy `coldest` on processes that do not run.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import type { CapConfig } from "../config/config.ts";
import { capOf, SimulatedDaemon } from "./testing.ts";
import { type FakeProcess, hot, PAGE } from "../platform/fake_testing.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();

/** A MiB in pages. */
const MIB = 2 ** 20 / PAGE;

/** A daemon, one process that runs and one that is to rest. */
class Scene implements AsyncDisposable {
  readonly simulation: SimulatedDaemon;
  /** Uses its region `hot` all the time, and `idle` never. */
  readonly runner: FakeProcess;
  readonly sleeper: FakeProcess;

  /** @param pages the cap; each of the three regions has 8 MiB. */
  constructor(pages: number, more: Partial<CapConfig> = {}) {
    this.simulation = new SimulatedDaemon({
      caps: [{ ...capOf("one", pages), ...more }],
      policy: "coldest",
    });
    const { platform } = this.simulation;
    this.runner = platform.start("one", hot("hot"));
    this.runner.fill("hot", 8 * MIB);
    this.runner.fill("idle", 8 * MIB);
    this.sleeper = platform.start("one");
    this.sleeper.fill("all", 8 * MIB);
  }

  run(seconds: number): Promise<void> {
    return this.simulation.run(seconds);
  }

  /** How much was not used for so many seconds or longer, in pages. */
  idleFor(seconds: number): number {
    const { idle } = this.simulation.group("one");
    return (idle?.find((row) => row.seconds === seconds)?.bytes ?? 0) / PAGE;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.simulation[Symbol.asyncDispose]();
  }
}

Deno.test("a stopped process goes first, without having been observed", async () => {
  await using scene = new Scene(20 * MIB);
  const { sleeper, runner } = scene;
  sleeper.isHalted = true;
  await scene.run(30);
  const { rss, cap } = scene.simulation.group("one");
  assert(cap !== null && rss <= cap, `${rss} of ${cap}`);
  assertEquals([sleeper.resets, runner.resident("idle")], [0, 8 * MIB]);
  assert(sleeper.resident("all") < 5 * MIB, `${sleeper.resident("all")}`);
});

Deno.test("a stopped process that others use memory of is observed like others", async () => {
  for (const isAlone of [true, false]) {
    await using scene = new Scene(20 * MIB);
    const { sleeper } = scene;
    sleeper.isHalted = true;
    sleeper.isAlone = isAlone;
    await scene.run(30);
    assertEquals(sleeper.resets === 0, isAlone);
  }
});

Deno.test("a process that has run since is read before it counts as stopped", async () => {
  await using scene = new Scene(25 * MIB);
  const { sleeper } = scene;
  scene.simulation.clock.repeat(250, () => {
    if (!sleeper.isHalted) sleeper.touch("all", 0, 4 * MIB);
  });
  await scene.run(30);
  const { resets } = sleeper;
  assert(resets > 0);
  sleeper.isHalted = true;
  await scene.run(60);
  // The reading after it has stopped, and none after that.
  assert(sleeper.resets <= resets + 1, `${sleeper.resets} after ${resets}`);
});

Deno.test("what has not run ages without being read or reset", async () => {
  await using scene = new Scene(25 * MIB);
  const { sleeper } = scene;
  await scene.run(30);
  const { readings, resets } = sleeper;
  await scene.run(120);
  assertEquals(
    { readings: sleeper.readings, resets: sleeper.resets },
    { readings, resets },
  );
  // It is as old as the memory that was read all the time.
  assertEquals(scene.idleFor(60), 16 * MIB);
});

Deno.test("what a process uses that had not run for a while is seen", async () => {
  await using scene = new Scene(25 * MIB);
  const { sleeper } = scene;
  // While so much is idle, references are read once a minute.
  await scene.run(75);
  assertEquals(scene.idleFor(30), 16 * MIB);
  // It runs again.
  sleeper.touch("all", 0, 4 * MIB);
  await scene.run(65);
  assertEquals(scene.idleFor(30), 12 * MIB);
});

Deno.test("what has not run for ten minutes goes before older memory of what runs", async () => {
  for (const [seconds, goesFirst] of [[60, false], [660, true]] as const) {
    await using scene = new Scene(25 * MIB);
    const { sleeper, runner } = scene;
    await scene.run(30);
    // Its memory is the youngest from now on.
    sleeper.touch("all");
    await scene.run(seconds);
    scene.simulation.overrides.set("one", 18 * MIB * PAGE);
    scene.simulation.daemon.askForRequests();
    await scene.run(30);
    const [slept, ran] = [sleeper.resident("all"), runner.resident("idle")];
    assertEquals(slept < ran, goesFirst, `${slept} and ${ran}`);
    assertEquals(Math.max(slept, ran), 8 * MIB);
  }
});

Deno.test("what could not go when a process was last read goes once it can", async () => {
  for (const isHalted of [true, false]) {
    await using scene = new Scene(25 * MIB);
    const { sleeper, runner, simulation } = scene;
    const { platform } = simulation;
    platform.usedSwap = platform.totalSwap;
    sleeper.isHalted = isHalted;
    simulation.clock.repeat(250, () => runner.touch("idle"));
    await scene.run(60);
    platform.usedSwap = 0;
    await scene.run(300);
    simulation.overrides.set("one", 20 * MIB * PAGE);
    simulation.daemon.askForRequests();
    await scene.run(30);
    assert(sleeper.resident("all") < 5 * MIB, `${sleeper.resident("all")}`);
    assertEquals(runner.resident("idle"), 8 * MIB);
  }
});

Deno.test("the time idle of the group takes the place of ten minutes", async () => {
  await using scene = new Scene(25 * MIB, { idle: 3_600_000 });
  const { sleeper, runner } = scene;
  await scene.run(450);
  sleeper.touch("all");
  await scene.run(610);
  scene.simulation.overrides.set("one", 18 * MIB * PAGE);
  scene.simulation.daemon.askForRequests();
  await scene.run(30);
  assertEquals(sleeper.resident("all"), 8 * MIB);
  assert(runner.resident("idle") < 8 * MIB);
});

Deno.test("of what is idle for the time, that of processes that have not run for it goes first", async () => {
  await using scene = new Scene(25 * MIB, {
    idle: 120_000,
    // Two MiB go at once, then no more for half a minute.
    maxPageoutRate: { bytes: 64 << 10, per: 1000 },
  });
  const { sleeper, runner } = scene;
  await scene.run(30);
  // Its memory is the youngest from now on.
  sleeper.touch("all");
  await scene.run(110);
  assertEquals(sleeper.resident("all"), 8 * MIB);
  const before = runner.resident("idle");
  assert(before < 8 * MIB);
  await scene.run(60);
  assertEquals(runner.resident("idle"), before);
  assert(sleeper.resident("all") < 8 * MIB);
});

Deno.test("a process that rested is watched again once it runs", async () => {
  await using scene = new Scene(20 * MIB);
  const { sleeper } = scene;
  sleeper.isHalted = true;
  await scene.run(30);
  assertEquals(sleeper.resets, 0);
  sleeper.isHalted = false;
  scene.simulation.clock.repeat(250, () => sleeper.touch("all"));
  await scene.run(60);
  assert(sleeper.resets > 0);
  // It has the memory that it uses, and the idle one has gone instead.
  assertEquals(sleeper.resident("all"), 8 * MIB);
});
