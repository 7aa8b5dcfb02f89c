/**
 * Tests of the members of a group and their order.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { FakeClock, FakePlatform, PAGE } from "../platform/fake_testing.ts";
import { CappedGroup } from "./capped_group.ts";
import { Member } from "./member.ts";
import { MOST_MEMBERS } from "./state.ts";

/** A group, and the members that have left it, by pid and start time. */
function makeGroup() {
  const platform = new FakePlatform(new FakeClock());
  const group = new CappedGroup(
    1,
    { name: "one", select: [], maxRss: 1000 * PAGE, place: "test:1" },
    {
      platform,
      newMember: (entry) => new Member(entry, platform.open(entry), () => {}),
    },
  );
  const left: Member[] = [];
  group.onLeave = (member) => left.push(member);
  return { platform, group, left };
}

Deno.test("members that stay keep their place, new ones come last", () => {
  const { platform, group, left } = makeGroup();
  const [a, b, c] = ["a", "b", "c"].map((name) => platform.start(name));
  assertEquals(group.update([a, b].map(({ entry }) => entry)), {
    joined: 2,
    left: 0,
  });
  const [, second] = group.members;
  assertEquals(group.update([c, b].map(({ entry }) => entry)), {
    joined: 1,
    left: 1,
  });
  assertEquals(group.members.map(({ entry }) => entry.comm), ["b", "c"]);
  assertEquals(group.members[0], second);
  assertEquals(left.map(({ entry }) => entry.comm), ["a"]);
});

Deno.test("another process with the pid of a member comes last", () => {
  const { platform, group, left } = makeGroup();
  const [a, b] = ["a", "b"].map((name) => platform.start(name));
  group.update([a.entry, b.entry]);
  const heir = platform.reuse(a, "heir");
  assertEquals(group.update([heir.entry, b.entry]), { joined: 1, left: 1 });
  assertEquals(group.members.map(({ entry }) => entry.comm), ["b", "heir"]);
  assertEquals(left.map(({ entry }) => entry.comm), ["a"]);
});

Deno.test("a process that executes another program becomes a new member in the same place", () => {
  const { platform, group, left } = makeGroup();
  const [a, b] = ["a", "b"].map((name) => platform.start(name));
  group.update([a.entry, b.entry]);
  const [before] = group.members;
  a.layout = "second";
  group.sample(0);
  assertEquals(group.members.map(({ entry }) => entry.comm), ["a", "b"]);
  assertEquals(group.members[0] === before, false);
  assertEquals(left, [before]);
  const { statistics } = group.state(null, new FakeClock());
  assertEquals([statistics.processesIn, statistics.processesOut], [2, 0]);
});

Deno.test("a sample drops members that have exited, and counts what came back", () => {
  const { platform, group } = makeGroup();
  const [a, b] = ["a", "b"].map((name) => platform.start(name));
  a.fill("idle", 300);
  b.fill("idle", 500);
  group.update([a.entry, b.entry]);
  assertEquals(group.sample(0).size, 800 * PAGE);
  a.majorFaults += 7;
  b.exit();
  const sample = group.sample(0);
  assertEquals(sample, {
    size: 300 * PAGE,
    accounting: "rss",
    wantsHistory: false,
    needsReading: false,
    cameBack: 7 * PAGE,
  });
  const { statistics } = group.state(null, new FakeClock());
  assertEquals(statistics.minimumRss, 300 * PAGE);
  assertEquals(statistics.maximumRss, 800 * PAGE);
  assertEquals(statistics.processesOut, 1);
});

Deno.test("the state names the members, the first of very many", () => {
  const { platform, group } = makeGroup();
  const all = Array.from(
    { length: MOST_MEMBERS + 2 },
    (_, at) => platform.start(`${at}`).entry,
  );
  const namedOf = (entries: typeof all) => {
    group.update(entries);
    group.sample(platform.clock.now());
    const { members, processes } = group.state(null, platform.clock);
    assertEquals(processes, entries.length);
    return members;
  };
  const named = all.map(({ pid, startTime }) => ({ pid, startTime }));
  assertEquals(namedOf(all.slice(0, 2)), named.slice(0, 2));
  assertEquals(namedOf(all), named.slice(0, MOST_MEMBERS));
});
