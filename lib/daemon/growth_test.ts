/**
 * Tests of what the daemon says of processes that may leak, on a simulated machine and
 * clock.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { hot, leak, PAGE, together } from "../platform/fake_testing.ts";
import { capOf, SimulatedDaemon } from "./testing.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();

/** A group near its cap with one process that does something besides using memory. */
function start(script: Parameters<typeof together>[0]) {
  const simulation = new SimulatedDaemon({
    caps: [capOf("one", 12_000)],
    policy: "coldest",
    observationBudget: 1,
  });
  const process = simulation.platform.start(
    "one",
    together(hot("hot"), script),
  );
  process.fill("hot", 9700);
  process.map("grows", 0);
  return { simulation, process };
}

Deno.test("a process that grows by what it does not use again may leak", async () => {
  const { simulation, process } = start(leak("grows", 4));
  await using _stopped = simulation;
  await simulation.run(240);
  assertEquals(simulation.group("one").growth, [], "too early to say");
  await simulation.run(260);
  const [growth, ...others] = simulation.group("one").growth;
  assertEquals(others, []);
  assertEquals([growth.pid, growth.comm], [process.pid, "one"]);
  const perSecond = growth.bytes / PAGE / growth.seconds;
  assert(perSecond > 3 && perSecond <= 4, `${perSecond} pages a second`);
  assertEquals(growth.mapping.bytes, growth.bytes);
  const { start: address } = process.regions.at(-1)!;
  assertEquals(BigInt(growth.mapping.start), address);
  const said = simulation.said("may leak");
  assertEquals(said.length, 1);
  assertMatch(
    said[0],
    /one: process \d+ \(one\) may leak, at least \d\d\d\.\dK a minute: in \d+ minutes \d\.\dM was added that was not used again, /,
  );
});

Deno.test("a process that grows once, or uses what it has, does not", async () => {
  const once = start((process, seconds) => {
    if (seconds > 60 && process.length("grows") === 0) {
      process.grow("grows", 1000);
      process.touch("grows");
    }
  });
  {
    await using simulation = once.simulation;
    await simulation.run(500);
    assertEquals(once.process.resident("grows"), 1000);
    assertEquals(simulation.group("one").growth, []);
  }
  const uses = start(together(leak("grows", 4), hot("grows")));
  await using simulation = uses.simulation;
  await simulation.run(500);
  assert(uses.process.resident("grows") > 1500);
  assertEquals(simulation.group("one").growth, []);
});
