import { assertEquals } from "@std/assert";
import { daemonState, groupState } from "../group/testing.ts";
import { areCapsMet, statReport, type StatRow, statRows } from "./stat.ts";

/** A daemon with one group that has paged out this much in this many scans. */
function state(effective: number, scans: number, startTime = 1) {
  const { statistics, ...rest } = groupState({ id: 7, name: "one" });
  return daemonState({
    pid: 10,
    startTime,
    groups: [{
      ...rest,
      statistics: { ...statistics, effective, attempted: effective * 2, scans },
    }],
  });
}

/** The figures of scans in a row. */
function doneIn(
  { attempted, attemptedPerScan, effective, effectivePerScan }: Pick<
    StatRow,
    "attempted" | "attemptedPerScan" | "effective" | "effectivePerScan"
  >,
) {
  return { attempted, attemptedPerScan, effective, effectivePerScan };
}

Deno.test("the first row covers the time since the daemon started", () => {
  const [{ id, name, ...row }] = statRows(state(300, 3), undefined);
  assertEquals({ id, name, ...doneIn(row) }, {
    id: 7,
    name: "one",
    attempted: 600,
    attemptedPerScan: 200,
    effective: 300,
    effectivePerScan: 100,
  });
});

Deno.test("later rows cover the time between two states", () => {
  const [row] = statRows(state(700, 5), state(300, 3));
  assertEquals(doneIn(row), {
    attempted: 800,
    attemptedPerScan: 400,
    effective: 400,
    effectivePerScan: 200,
  });
});

Deno.test("an interval without a scan has averages of 0", () => {
  const [row] = statRows(state(300, 3), state(300, 3));
  assertEquals(doneIn(row), {
    attempted: 0,
    attemptedPerScan: 0,
    effective: 0,
    effectivePerScan: 0,
  });
});

Deno.test("totals of another daemon do not count", () => {
  const [{ effective }] = statRows(state(100, 1, 2), state(300, 3, 1));
  assertEquals(effective, 100);
});

Deno.test("in a dry run, a cap is met if what is planned would meet it", () => {
  const metBy = (planned: number | null) =>
    areCapsMet(
      daemonState({ groups: [groupState({ rss: 300, cap: 200, planned })] }),
    );
  assertEquals([null, 99, 100].map(metBy), [false, false, true]);
});

Deno.test("for scripts, a row has more of the state", () => {
  const now = { ...state(700, 5), updatedAt: 12 };
  const before = { ...state(300, 3), updatedAt: 10 };
  const { seconds, groups: [entry] } = statReport(now, before);
  assertEquals(seconds, 2);
  assertEquals(
    {
      id: entry.id,
      effective: entry.effective,
      statistics: entry.statistics,
    },
    { id: 7, effective: 400, statistics: now.groups[0].statistics },
  );
  assertEquals(statReport(now, undefined).seconds, null);
});

Deno.test("caps are met if no group is over its cap", () => {
  const groups = [
    groupState({ rss: 10, cap: 10 }),
    groupState({ rss: 9, cap: 10 }),
  ];
  assertEquals(areCapsMet(daemonState({ groups })), true);
  groups.push(groupState({ rss: 11, cap: 10 }));
  assertEquals(areCapsMet(daemonState({ groups })), false);
});
