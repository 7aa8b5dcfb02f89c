/**
 * Tests of the ignored set.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { SCHEDCTL_FLAGS } from "../memory/mapping_flags.ts";
import { type DrawnMapping, PAGE, pagedataOf } from "../memory/testing.ts";
import { IgnoredSet } from "./ignored_set.ts";

/** A set that ignores every mapping of a drawing. */
function ignoring(mappings: readonly DrawnMapping[]): IgnoredSet {
  const ignored = new IgnoredSet();
  for (const mapping of pagedataOf(mappings).mappings) ignored.add(mapping);
  return ignored;
}

Deno.test("a mapping is ignored only if its start and length match", () => {
  const ignored = ignoring([{ start: 0x10000n, pages: "0000" }]);
  const [same, moved] = pagedataOf([
    { start: 0x10000n, pages: ".1.." },
    { start: 0x20000n, pages: "0000" },
  ]).mappings;
  const [longer] = pagedataOf([{ start: 0x10000n, pages: "00000" }]).mappings;
  assertEquals(ignored.has(same), true);
  assertEquals(ignored.has(moved), false);
  assertEquals(ignored.has(longer), false);
});

Deno.test("the length of an ignored mapping is in bytes, not in pages", () => {
  const ignored = ignoring([{ start: 0x10000n, pages: "0000" }]);
  const [large] = pagedataOf([
    { start: 0x10000n, pages: "00", pageSize: 2 * PAGE },
  ]).mappings;
  assertEquals(ignored.has(large), true);
});

Deno.test("entries are in address order, whatever the order of insertion", () => {
  const ignored = ignoring([{ start: 0x7fff_ffff_0000n, pages: "0" }]);
  const [low, middle] = pagedataOf([
    { start: 0x1000n, pages: "00" },
    { start: 0x8000_0000n, pages: "000" },
  ]).mappings;
  ignored.add(middle);
  ignored.add(low);
  assertEquals(ignored.entries(), [
    [0x1000n, 2 * PAGE],
    [0x8000_0000n, 3 * PAGE],
    [0x7fff_ffff_0000n, PAGE],
  ]);
  ignored.clear();
  assertEquals(ignored.entries(), []);
});

Deno.test("a referenced or modified page removes its mapping from the set", () => {
  const shape = [
    { start: 0x10000n, pages: "0000" },
    { start: 0x20000n, pages: "0000" },
    { start: 0x30000n, pages: "0000" },
    { start: 0x40000n, pages: "0000" },
  ];
  const ignored = ignoring(shape);
  const drawings = ["...2", "0.00", "1|000", "...."];
  ignored.removeReferenced(
    pagedataOf(shape.map((at, i) => ({ ...at, pages: drawings[i] }))),
  );
  assertEquals(ignored.entries(), [
    [0x20000n, 4 * PAGE],
    [0x40000n, 4 * PAGE],
  ]);
});

Deno.test("a mapping of another length at the same start removes nothing", () => {
  const ignored = ignoring([{ start: 0x10000n, pages: "0000" }]);
  ignored.removeReferenced(pagedataOf([{ start: 0x10000n, pages: "222" }]));
  assertEquals(ignored.size, 1);
});

Deno.test("the schedctl page removes nothing", () => {
  const schedctl = { start: 0x10000n, pages: "3", flags: SCHEDCTL_FLAGS };
  const ignored = ignoring([schedctl]);
  ignored.removeReferenced(pagedataOf([schedctl]));
  assertEquals(ignored.size, 1);
});
