import { assertEquals } from "@std/assert";
import { type RowOptions, rowsOf } from "./rows.ts";
import { figuresOf, MIB, processFigures } from "./testing.ts";

const OPTIONS: RowOptions = {
  by: "process",
  sort: "idle",
  isReversed: false,
  filter: "",
  tree: false,
};
const namesOf = (rows: readonly { name: string }[]) =>
  rows.map(({ name }) => name);

Deno.test("rows are sorted by what is idle, then by size", () => {
  const figures = figuresOf([
    processFigures(1),
    processFigures(2, { idleMinute: 50 * MIB }),
    processFigures(3, { rss: 200 * MIB }),
    processFigures(4, { idleMinute: 60 * MIB }),
    processFigures(5, { ages: undefined, rss: 900 * MIB, error: "denied" }),
  ]);
  const rows = rowsOf(figures, OPTIONS);
  assertEquals(namesOf(rows), ["p4", "p2", "p3", "p1", "p5"]);
  assertEquals(rows[0].inUse, 20 * MIB);
  assertEquals(rows[4].problem, "denied");
  assertEquals(
    namesOf(rowsOf(figures, { ...OPTIONS, sort: "rss" })),
    ["p5", "p3", "p1", "p2", "p4"],
  );
  assertEquals(
    namesOf(rowsOf(figures, { ...OPTIONS, sort: "name", isReversed: true })),
    ["p5", "p4", "p3", "p2", "p1"],
  );
});

Deno.test("what is in use within a minute is not known before a minute was observed", () => {
  const young = processFigures(1);
  const ages = { ...young.ages!, seconds: 59 };
  const figures = figuresOf([
    { ...young, ages, group: "a" },
    processFigures(2, { group: "a" }),
  ]);
  assertEquals(rowsOf(figures, OPTIONS).map(({ inUse }) => inUse), [
    null,
    80 * MIB,
  ]);
  assertEquals(rowsOf(figures, { ...OPTIONS, by: "user" })[0].inUse, null);
});

Deno.test("groups add up what is known of their processes", () => {
  const figures = figuresOf([
    processFigures(1, { group: "a", idleMinute: 10 * MIB, swap: null }),
    processFigures(2, { group: "a", idleMinute: 30 * MIB, swap: 5 }),
    processFigures(3, { group: "b", ages: undefined, error: "denied" }),
  ]);
  const [a, b] = rowsOf(figures, { ...OPTIONS, by: "user" });
  assertEquals([a.name, a.processes, a.rss], ["a", 2, 200 * MIB]);
  assertEquals([a.inUse, a.idle?.[1], a.swap], [120 * MIB, 40 * MIB, 5]);
  assertEquals(b.idle, null);
  assertEquals(b.problem, "1 of 1 processes not observed: denied");
});

Deno.test("caps show the size that the daemon counts, also without known processes", () => {
  const cap = { cap: 150 * MIB, swap: 7, warning: null };
  const figures = figuresOf(
    [
      processFigures(1, { group: "web", cap: "web" }),
      processFigures(2, { group: "-" }),
    ],
    {
      caps: [
        { ...cap, name: "web", rss: 90 * MIB },
        { ...cap, name: "elsewhere", rss: 30 * MIB },
      ],
    },
  );
  const rows = rowsOf(figures, { ...OPTIONS, by: "cap", sort: "name" });
  assertEquals(rows.map(({ name, rss, cap }) => [name, rss, cap?.cap]), [
    ["-", 100 * MIB, undefined],
    ["elsewhere", 30 * MIB, 150 * MIB],
    ["web", 90 * MIB, 150 * MIB],
  ]);
  const [process] = rowsOf(figures, OPTIONS);
  assertEquals([process.cap?.name, process.rss], ["web", 100 * MIB]);
});

Deno.test("a filter takes names and pids, whatever the case", () => {
  const figures = figuresOf([
    processFigures(11, { comm: "Nginx" }),
    processFigures(12, { comm: "redis" }),
  ]);
  const filtered = (filter: string) =>
    namesOf(rowsOf(figures, { ...OPTIONS, filter }));
  assertEquals(filtered("ngi"), ["Nginx"]);
  assertEquals(filtered("12"), ["redis"]);
  assertEquals(filtered("1"), []);
});

Deno.test("a tree shows processes below their parents, and ends in spite of a circle", () => {
  const figures = figuresOf([
    processFigures(1, { ppid: 0 }),
    processFigures(2, { ppid: 1, idleMinute: 50 * MIB }),
    processFigures(3, { ppid: 2 }),
    processFigures(4, { ppid: 5 }),
    processFigures(5, { ppid: 4 }),
  ]);
  const rows = rowsOf(figures, { ...OPTIONS, tree: true });
  assertEquals(rows.map(({ name, depth }) => [name, depth]).slice(0, 3), [
    ["p1", 0],
    ["p2", 1],
    ["p3", 2],
  ]);
  assertEquals(rows.length, 5);
});
