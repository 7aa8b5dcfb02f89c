/**
 * Tests of what the daemon does beside other observers, on a simulated machine and
 * clock: it judges nothing that others reset, and lends what it observes.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { POLICIES } from "../config/policy_names.ts";
import { type DaemonLocks, DaemonRights } from "../observer/daemon_rights.ts";
import { keyOf } from "../observer/reset_rights.ts";
import { PAGE } from "../platform/fake_testing.ts";
import type { ProcessId } from "../platform/platform.ts";
import { capOf, INTERVAL, SimulatedDaemon } from "./testing.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();

/** Locks, some of which another rcap holds. */
class FakeLocks implements DaemonLocks {
  readonly held = new Set<string>();
  /** The pids of other rcaps, by process. */
  readonly others = new Map<string, number>();

  take(id: ProcessId): number | undefined {
    const holder = this.others.get(keyOf(id));
    if (holder === undefined) this.held.add(keyOf(id));
    return holder;
  }

  holds(id: ProcessId): boolean {
    return this.held.has(keyOf(id));
  }

  release(id: ProcessId): void {
    this.held.delete(keyOf(id));
  }
}

for (const policy of POLICIES) {
  const start = (pages: number) => {
    const locks = new FakeLocks();
    const rights = new DaemonRights(locks);
    const caps = [capOf("one", pages)];
    const simulation = new SimulatedDaemon({ caps, policy, rights });
    return { locks, rights, simulation, daemon: simulation.daemon };
  };

  Deno.test(`${policy}: a process that another rcap observes is neither reset nor judged, and the warning says so`, async () => {
    const { locks, simulation } = start(1000);
    await using _ = simulation;
    const [mine, theirs] = [
      simulation.platform.start("one"),
      simulation.platform.start("one"),
    ];
    mine.fill("idle", 900);
    theirs.fill("idle", 900);
    locks.others.set(keyOf(theirs.entry), 77);
    await simulation.run(12 * INTERVAL);
    assertEquals(theirs.resets, 0);
    assertEquals(theirs.resident("idle"), 900, "it loses nothing");
    assert(mine.resident("idle") <= 100, "the others are judged");
    const { warning } = simulation.group("one");
    assertMatch(
      warning ?? "",
      /rcap \(process 77\) observes process \d+, which is not judged/,
    );
    assertEquals(simulation.said("rcap (process 77)").length, 1, "told once");
    locks.others.clear();
    theirs.fill("more", 500);
    await simulation.run(12 * INTERVAL);
    assert(theirs.resets > 0);
    assert(theirs.resident("idle") < 900, "it is judged now");
    assertEquals(simulation.group("one").warning, null);
  });

  Deno.test(`${policy}: what was used before references were lent is known to have been used`, async () => {
    // A command that resets the references by itself blinds clock. coldest knows when it
    // last saw a page in use.
    for (const isLent of policy === "clock" ? [true, false] : [true]) {
      const { rights, simulation, daemon } = start(2000);
      await using _ = simulation;
      const process = simulation.platform.start("one");
      // Whatever goes first of what looks idle, one of them does.
      process.fill("first", 500);
      process.fill("idle", 900);
      process.fill("last", 500);
      await simulation.run(2 * INTERVAL + 1);
      for (let times = 0; times < 6; times++) {
        process.touch("first");
        process.touch("last");
        // It is lent as soon as the task for its group has ended.
        const answer = isLent
          ? daemon.lend(process.entry, rights)
          : process.resetReferences();
        await simulation.run(INTERVAL / 2);
        assertEquals(await answer, isLent ? "granted" : undefined);
        rights.takeBack(process.entry);
        if (times === 4) process.fill("new", 600);
        await simulation.run(INTERVAL / 2);
      }
      const left = process.resident("first") + process.resident("last");
      const idle = simulation.group("one").idle
        ?.find(({ seconds }) => seconds === 8)?.bytes ?? 0;
      const isKnown = left === 1000 && idle <= 900 * PAGE;
      assertEquals(isKnown, isLent, `${left} left, ${idle / PAGE} idle`);
    }
  });

  Deno.test(`${policy}: what is lent is reset by nobody, and only when asked for`, async () => {
    const { rights, simulation, daemon } = start(1000);
    await using _ = simulation;
    const process = simulation.platform.start("one");
    process.fill("memory", 950);
    await simulation.run(2 * INTERVAL);
    assertEquals(await daemon.lend(process.entry, rights), "granted");
    const { resets } = process;
    process.fill("more", 500);
    await simulation.run(40 * INTERVAL);
    assertEquals(process.resets, resets);
    assertEquals(await daemon.lend(process.entry, rights), "granted");
    assertEquals(process.resets, resets + 1);
    rights.takeBack(process.entry);
    for (let times = 0; times < 10; times++) {
      process.touch("memory");
      await simulation.run(4 * INTERVAL);
    }
    assert(process.resets > resets + 1);
  });

  Deno.test(`${policy}: the lock is held while references are recorded, and no longer`, async () => {
    const { locks, rights, simulation, daemon } = start(1000);
    await using _ = simulation;
    const process = simulation.platform.start("one");
    process.fill("memory", 700);
    await simulation.run(2 * INTERVAL);
    assertEquals([...locks.held], [], "far from the cap");
    assertEquals(await daemon.lend(process.entry, rights), "free");
    process.fill("more", 200);
    await simulation.run(2 * INTERVAL);
    assertEquals([...locks.held], [keyOf(process.entry)]);
    assertEquals(await daemon.lend(process.entry, rights), "granted");
    process.free("more");
    await simulation.run(2 * INTERVAL);
    assertEquals([...locks.held], [keyOf(process.entry)], "it is lent");
    rights.takeBack(process.entry);
    await simulation.run(2 * INTERVAL);
    assertEquals([...locks.held], []);
    process.fill("more", 200);
    await simulation.run(2 * INTERVAL);
    process.exit();
    const other = simulation.platform.reuse(process, "one");
    other.fill("memory", 950);
    await simulation.run(3 * INTERVAL);
    assertEquals([...locks.held], [keyOf(other.entry)], "the pid is reused");
    assertEquals(await daemon.lend(process.entry, rights), "free");
    assertEquals(await daemon.lend(other.entry, rights), "granted");
  });
}

Deno.test("what was used before references were lent is known after history was renewed", async () => {
  const rights = new DaemonRights(new FakeLocks());
  const caps = [capOf("one", 2000)];
  await using simulation = new SimulatedDaemon({ caps, rights });
  const { daemon, platform } = simulation;
  const process = platform.start("one");
  process.fill("used", 1000);
  process.fill("idle", 900);
  await simulation.run(45);
  process.touch("used");
  const { resets } = process;
  assertEquals(await daemon.lend(process.entry, rights), "granted");
  await simulation.run(1);
  rights.takeBack(process.entry);
  await simulation.run(24);
  assertEquals(process.resets, resets + 2, "lent, and renewed");
  process.fill("new", 600);
  await simulation.run(4 * INTERVAL);
  assertEquals(process.resident("used"), 1000);
});

Deno.test("a process that cannot be read is not lent", async () => {
  const rights = new DaemonRights(new FakeLocks());
  await using simulation = new SimulatedDaemon({
    caps: [capOf("one", 1000)],
    rights,
  });
  const process = simulation.platform.start("one");
  process.fill("memory", 950);
  await simulation.run(2 * INTERVAL);
  process.failure = "it cannot be read";
  const { daemon } = simulation;
  assertEquals(await daemon.lend(process.entry, rights), "failed");
  assert(rights.owns(process.entry));
});
