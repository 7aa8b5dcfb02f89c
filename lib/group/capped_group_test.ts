/**
 * Tests of who is a member of a group, and in which order.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { FakeClock, FakePlatform, PAGE } from "../platform/fake_testing.ts";
import { CappedGroup } from "./capped_group.ts";
import { Member } from "./member.ts";

/** A group of a machine, and who has left it, by pid and start. */
function makeGroup() {
  const platform = new FakePlatform(new FakeClock());
  const group = new CappedGroup(
    1,
    { name: "one", select: [], maxRss: 1000 * PAGE, place: "test:1" },
    (entry) => new Member(entry, platform.open(entry), () => {}),
  );
  const left: Member[] = [];
  group.onLeave = (member) => left.push(member);
  return { platform, group, left };
}

Deno.test("those that stay keep their place, those that join stand at the end", () => {
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

Deno.test("another process with the pid of a member stands at the end", () => {
  const { platform, group, left } = makeGroup();
  const [a, b] = ["a", "b"].map((name) => platform.start(name));
  group.update([a.entry, b.entry]);
  const heir = platform.reuse(a, "heir");
  assertEquals(group.update([heir.entry, b.entry]), { joined: 1, left: 1 });
  assertEquals(group.members.map(({ entry }) => entry.comm), ["b", "heir"]);
  assertEquals(left.map(({ entry }) => entry.comm), ["a"]);
});

Deno.test("a member that starts another program keeps its place and is another member", () => {
  const { platform, group, left } = makeGroup();
  const [a, b] = ["a", "b"].map((name) => platform.start(name));
  group.update([a.entry, b.entry]);
  const [before] = group.members;
  a.layout = "second";
  group.sample(platform, 0);
  assertEquals(group.members.map(({ entry }) => entry.comm), ["a", "b"]);
  assertEquals(group.members[0] === before, false);
  assertEquals(left, [before]);
  const { statistics } = group.state(null);
  assertEquals([statistics.processesIn, statistics.processesOut], [2, 0]);
});

Deno.test("a sample drops who has exited, and counts what came back", () => {
  const { platform, group } = makeGroup();
  const [a, b] = ["a", "b"].map((name) => platform.start(name));
  a.fill("idle", 300);
  b.fill("idle", 500);
  group.update([a.entry, b.entry]);
  assertEquals(group.sample(platform, 0).size, 800 * PAGE);
  group.statistics.effective += 40 * PAGE;
  a.majorFaults += 7;
  b.exit();
  const sample = group.sample(platform, 0);
  assertEquals(sample, {
    size: 300 * PAGE,
    accounting: "rss",
    wantsHistory: false,
    isOld: false,
    pagedOut: 40 * PAGE,
    cameBack: 7 * PAGE,
  });
  const { statistics } = group.state(null);
  assertEquals(statistics.minimumRss, 300 * PAGE);
  assertEquals(statistics.maximumRss, 800 * PAGE);
  assertEquals(statistics.processesOut, 1);
});
