/**
 * Tests of the policy `coldest` while others reset references, too.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { CappedGroup } from "../group/capped_group.ts";
import { Member } from "../group/member.ts";
import { Log } from "../platform/output.ts";
import { FakeClock, FakePlatform, PAGE } from "../platform/fake_testing.ts";
import { coldest } from "./coldest.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();

/** A group with one process, as `coldest` observes it. */
function observed(
  clock: FakeClock,
  { hot, idle, cap, time }: {
    hot: number;
    idle: number;
    cap: number;
    /** The time idle of the group, in milliseconds. */
    time?: number;
  },
) {
  const platform = new FakePlatform(clock);
  const process = platform.start("one");
  process.fill("hot", hot);
  if (idle > 0) process.fill("idle", idle);
  const group = new CappedGroup(
    1,
    {
      name: "one",
      select: [],
      maxRss: cap * PAGE,
      idle: time,
      place: "test:1",
    },
    {
      platform,
      newMember: (entry) => new Member(entry, platform.open(entry), () => {}),
    },
  );
  const policy = coldest.forGroup(group, {
    clock,
    log: new Log("error"),
    signal: new AbortController().signal,
  });
  group.update([process.entry]);
  group.sample(clock.now());
  return { process, group, policy };
}

/** How often the references of a group of 1,000 pages are reset, minute by minute. */
async function resetsOf(
  idle: number,
  { cap = 1000, time }: { cap?: number; time?: number } = {},
): Promise<number[]> {
  const clock = new FakeClock();
  const { process, policy } = observed(clock, {
    hot: 1000 - idle,
    idle,
    cap,
    time,
  });
  let resets = 0;
  process.onRefresh = () => resets++;
  const minutes: number[] = [];
  for (let sample = 0; sample < 120; sample++) {
    if (sample % 12 === 0) {
      minutes.push(resets);
      resets = 0;
    }
    process.touch("hot");
    await policy.observe({ interval: 5000 });
    await clock.advance(5000);
  }
  // The first minute is that of the start.
  return minutes.slice(1);
}

Deno.test("the older what goes next is, the less often references are reset", async () => {
  // More than a quarter of the cap is idle: nothing has to be found.
  const [, ...enough] = await resetsOf(300);
  assert(enough.every((count) => count === 0), `${enough}`);
  // A tenth of the cap grows old.
  const [first, ...later] = await resetsOf(150);
  assert(first >= 7 && later.at(-1)! <= 3, `${first}, ${later}`);
  // Hardly anything is idle: what is used least has to be found.
  const [, ...always] = await resetsOf(50);
  assert(always.every((count) => count === 12), `${always}`);
});

Deno.test("with a time idle, references are reset as often as it or the cap needs", async () => {
  const average = ([, ...minutes]: number[]) =>
    minutes.reduce((sum, count) => sum + count, 0) / minutes.length;
  // Every ten seconds, near a cap for which enough is idle, and far from one.
  for (const cap of [1000, 5000]) {
    const often = average(await resetsOf(300, { cap, time: 160_000 }));
    assert(often > 5 && often < 7, `${often}`);
  }
  // What is used least has to be found for the cap.
  assertEquals(average(await resetsOf(50, { time: 3_600_000 })), 12);
  const seldom = await resetsOf(50, { cap: 5000, time: 3_600_000 });
  assert(average(seldom) < 1, `${seldom}`);
});

Deno.test("memory in use stays, even if others reset references before each read", async () => {
  const clock = new FakeClock();
  const { process, policy } = observed(clock, { hot: 8, idle: 8, cap: 12 });
  // Its references are visible after a refresh, until others reset them.
  process.onRefresh = () => process.touch("hot");
  const interval = 5000;
  for (let count = 0; count < 4; count++) {
    process.resetReferences();
    await policy.observe({ interval });
    await clock.advance(interval);
  }
  process.resetReferences();
  const enforced = policy.enforce(
    4 * PAGE,
    { interval, isOnlyScan: true },
    new AbortController().signal,
  );
  await clock.advance(1000);
  const outcome = await enforced;
  assert(outcome && outcome.attempted >= 4 * PAGE);
  assertEquals(process.resident("hot"), 8);
  assert(process.resident("idle") <= 4);
});
