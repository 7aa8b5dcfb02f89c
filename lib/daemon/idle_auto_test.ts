/**
 * Tests of an idle time that finds itself, on a simulated machine and clock.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { parseSelector } from "../collection/selectors.ts";
import type { CapConfig } from "../config/config.ts";
import type { LearntGroup, LearntPlace } from "../group/learnt_group.ts";
import {
  bursts,
  hot,
  PAGE,
  type Script,
  together,
} from "../platform/fake_testing.ts";
import { capOf, SimulatedDaemon } from "./testing.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();

const MINUTE = 60;

/** A cap that has only an idle time, which finds itself. */
function auto(more: Partial<CapConfig> = {}): CapConfig {
  const { maxRss: _, ...cap } = capOf("one", 0);
  return { ...cap, idle: "auto", ...more };
}

/** Keeps what is learnt in memory. */
class Memory implements LearntPlace {
  groups: readonly LearntGroup[] = [];

  of(name: string, select: string): LearntGroup | undefined {
    return this.groups.find((one) =>
      one.name === name && one.select === select
    );
  }

  keep(groups: readonly LearntGroup[]): void {
    // As a file does.
    this.groups = JSON.parse(JSON.stringify(groups));
  }
}

function start(script: Script, more: {
  cap?: Partial<CapConfig>;
  learnt?: Memory;
  program?: { path: string; file: string };
} = {}) {
  const simulation = new SimulatedDaemon({
    caps: [auto(more.cap)],
    policy: "coldest",
    learnt: more.learnt,
  });
  const process = simulation.platform.start("one", script);
  process.program = more.program;
  process.fill("hot", 2000);
  process.fill("warm", 1000);
  process.fill("cold", 8000);
  const idleTime = () => simulation.group("one").idleTime!;
  return { simulation, process, idleTime };
}

Deno.test("the time that memory needs is found: what is used every two minutes stays, the rest goes", async () => {
  const { simulation, process, idleTime } = start(
    together(hot("hot"), bursts("warm", 120)),
  );
  await using daemon = simulation;
  await daemon.run(4.5 * MINUTE);
  assertEquals(process.resident("cold"), 8000, "it learns");
  assertEquals(idleTime().seconds, null);
  assertEquals(idleTime().minutes, 4);
  await daemon.run(25 * MINUTE);
  assertEquals(process.resident("cold"), 0);
  const { seconds } = idleTime();
  assert(seconds! > 120 && seconds! < 260, `${seconds}`);
  const faults = process.majorFaults;
  await daemon.run(60 * MINUTE);
  assertEquals(process.majorFaults, faults, "nothing comes back any more");
  assertEquals(process.resident("warm"), 1000);
  assertEquals(process.resident("hot"), 2000);
});

Deno.test("when the use changes, refaults lengthen the time at once, and then it stays", async () => {
  let every = 40;
  const { simulation, process, idleTime } = start(
    together(
      hot("hot"),
      (victim, seconds) => {
        if (seconds % every < 1) victim.touch("warm");
      },
    ),
  );
  await using daemon = simulation;
  await daemon.run(40 * MINUTE);
  const before = idleTime().seconds!;
  assert(before < 110, `${before}`);
  every = 300;
  await daemon.run(12 * MINUTE);
  const { seconds, raisedBy } = idleTime();
  assertEquals(raisedBy, "refaults");
  assert(seconds! > before, `${seconds}`);
  assert(daemon.said("refaults lengthened it").length > 0);
  // The next hour has seen enough of it.
  await daemon.run(30 * MINUTE);
  const faults = process.majorFaults;
  await daemon.run(25 * MINUTE);
  const later = idleTime().seconds!;
  assert(later > 300, `${later}`);
  assert(process.majorFaults - faults <= 1000, "at most once");
});

Deno.test("pressure of its own cgroup lengthens the time, that of the machine only by a limit", async () => {
  for (const kind of ["own", "machine", "limit"]) {
    const select = kind === "own"
      ? { select: [parseSelector("cgroup:/one")] }
      : {};
    const limit = kind === "limit" ? { maxPressure: 0.05 } : {};
    const { simulation, process, idleTime } = start(hot("hot"), {
      cap: { ...select, ...limit },
    });
    await using daemon = simulation;
    process.cgroup = "/one";
    await daemon.run(20 * MINUTE);
    assertEquals(process.resident("cold"), 0);
    const before = idleTime().seconds!;
    if (kind === "own") daemon.platform.pressures.set("/one", 0.03);
    else daemon.platform.pressure = 0.2;
    await daemon.run(20);
    const { seconds, raisedBy } = idleTime();
    if (kind === "machine") {
      assert(seconds! <= before);
      assertEquals(raisedBy, null);
    } else {
      assert(seconds! > before * 1.5, `${kind}: ${seconds}`);
      assertEquals(raisedBy, "pressure");
    }
  }
});

Deno.test("a restart keeps what was learnt, another program does not", async () => {
  const program = { path: "/usr/bin/one", file: "8 1 1" };
  const learnt = new Memory();
  const script = together(hot("hot"), bursts("warm", 120));
  let found: number;
  {
    const { simulation, idleTime } = start(script, { learnt, program });
    await using daemon = simulation;
    await daemon.run(30 * MINUTE);
    found = idleTime().seconds!;
  }
  assertEquals(learnt.groups[0].programs, [program]);
  {
    const { simulation, idleTime } = start(script, { learnt, program });
    await using daemon = simulation;
    await daemon.run(20);
    assertEquals(idleTime().minutes, 29);
    assert(Math.abs(idleTime().seconds! / found - 1) < 0.2);
  }
  for (
    const other of [
      { ...program, file: "8 2 1" },
      { ...program, path: "/usr/bin/two" },
    ]
  ) {
    const { simulation, idleTime } = start(script, { learnt, program: other });
    await using daemon = simulation;
    await daemon.run(20);
    assertEquals(idleTime().minutes, 0);
    assertEquals(idleTime().seconds, null);
    assertEquals(daemon.said("is found anew").length, 1);
  }
});

Deno.test("an upgrade while it runs begins anew, another process of the program does not", async () => {
  const program = { path: "/usr/bin/one", file: "8 1 1" };
  const { simulation, process, idleTime } = start(hot("hot"), { program });
  await using daemon = simulation;
  await daemon.run(10 * MINUTE);
  const same = daemon.platform.start("one");
  same.program = program;
  await daemon.run(MINUTE);
  assert(idleTime().minutes >= 9);
  process.exit();
  const upgraded = daemon.platform.start("one");
  upgraded.program = { ...program, file: "8 1 2" };
  await daemon.run(30);
  assertEquals(idleTime().minutes, 0);
});

Deno.test("with a cap, the time idle is learnt beside it; a dry run takes nothing", async () => {
  const { simulation, process } = start(hot("hot"), {
    cap: { maxRss: 20_000 * PAGE },
  });
  await using daemon = simulation;
  await daemon.run(20 * MINUTE);
  assertEquals(process.resident("cold"), 0);
  assertEquals(daemon.group("one").cap, 20_000 * PAGE);

  await using dry = new SimulatedDaemon({
    caps: [auto()],
    policy: "coldest",
    isDryRun: true,
  });
  const other = dry.platform.start("one", hot("hot"));
  other.fill("hot", 2000);
  other.fill("cold", 8000);
  await dry.run(20 * MINUTE);
  assertEquals(other.resident("cold"), 8000);
  assertEquals(dry.group("one").planned, 8000 * PAGE);
});
