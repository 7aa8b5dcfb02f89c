import { assertEquals } from "@std/assert";
import { collectionState, daemonState } from "../group/testing.ts";
import { areCapsMet, statReport, statRows } from "./stat.ts";

/** A daemon with one collection that has paged out so much in so many scans. */
function state(effective: number, scans: number, startTime = 1) {
  const { statistics, ...rest } = collectionState({ id: 7, name: "one" });
  return daemonState({
    pid: 10,
    startTime,
    collections: [{
      ...rest,
      statistics: { ...statistics, effective, attempted: effective * 2, scans },
    }],
  });
}

Deno.test("the first row tells of everything since the daemon started", () => {
  const [{ id, name, at, avgat, pg, avgpg }] = statRows(
    state(300, 3),
    undefined,
  );
  assertEquals({ id, name, at, avgat, pg, avgpg }, {
    id: 7,
    name: "one",
    at: 600,
    avgat: 200,
    pg: 300,
    avgpg: 100,
  });
});

Deno.test("later rows tell of what was done in between", () => {
  const [{ pg, avgpg }] = statRows(state(700, 5), state(300, 3));
  assertEquals({ pg, avgpg }, { pg: 400, avgpg: 200 });
});

Deno.test("an interval without a scan has averages of 0", () => {
  const [{ at, avgat, pg, avgpg }] = statRows(state(300, 3), state(300, 3));
  assertEquals([at, avgat, pg, avgpg], [0, 0, 0, 0]);
});

Deno.test("totals of another daemon do not count", () => {
  const [{ pg }] = statRows(state(100, 1, 2), state(300, 3, 1));
  assertEquals(pg, 100);
});

Deno.test("for scripts, a row also has what else the state says", () => {
  const now = { ...state(700, 5), updatedAt: 12 };
  const before = { ...state(300, 3), updatedAt: 10 };
  const { seconds, collections: [entry] } = statReport(now, before);
  assertEquals(seconds, 2);
  assertEquals(
    { id: entry.id, pg: entry.pg, statistics: entry.statistics },
    { id: 7, pg: 400, statistics: now.collections[0].statistics },
  );
  assertEquals(statReport(now, undefined).seconds, null);
});

Deno.test("caps are met when no collection is over its cap", () => {
  const collections = [
    collectionState({ rss: 10, cap: 10 }),
    collectionState({ rss: 9, cap: 10 }),
  ];
  assertEquals(areCapsMet(daemonState({ collections })), true);
  collections.push(collectionState({ rss: 11, cap: 10 }));
  assertEquals(areCapsMet(daemonState({ collections })), false);
});
