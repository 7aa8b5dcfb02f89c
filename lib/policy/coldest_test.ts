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

Deno.test("memory in use stays, even if others reset references before each read", async () => {
  const clock = new FakeClock();
  const platform = new FakePlatform(clock);
  const process = platform.start("one");
  process.fill("hot", 8);
  process.fill("idle", 8);
  // Its references are visible after a refresh, until others reset them.
  process.onRefresh = () => process.touch("hot");
  const group = new CappedGroup(
    1,
    { name: "one", select: [], maxRss: 12 * PAGE, place: "test:1" },
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
