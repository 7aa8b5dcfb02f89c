/**
 * Tests of growth that was not used again.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { type DrawnMapping, PAGE, pagedataOf } from "../memory/testing.ts";
import { PageAges } from "./ages.ts";

const HEAP = 0x10000n;
const MORE = 0x900000n;

/** Growth after some readings of the heap, one every ten seconds. */
function growthAfter(heap: string[], more: DrawnMapping[] = []) {
  const ages = new PageAges();
  for (const pages of heap) {
    ages.advance(pagedataOf([{ start: HEAP, pages }, ...more]), 10);
  }
  return {
    watched: ages.watchedFor,
    growth: ages.unusedGrowth(10).map(({ start, resident, gone, early }) => ({
      start,
      pages: [resident / PAGE, gone / PAGE, early / PAGE],
    })),
  };
}

Deno.test("pages that appeared after the first reading and were not used again count", () => {
  const { watched, growth } = growthAfter([
    "02......",
    "002.....",
    "00002...",
    "0000002.",
    "0000000.",
  ]);
  assertEquals(watched, 40);
  // All but those of the first reading; three of them in the first half of the time.
  assertEquals(growth, [{ start: HEAP, pages: [5, 0, 3] }]);
});

Deno.test("pages that were used again, or were there before, do not count", () => {
  assertEquals(
    growthAfter(["22......", "0022....", "002200..", "00000022"]).growth,
    [{ start: HEAP, pages: [2, 0, 0] }],
    "the two that appeared unreferenced, but not those of the last reading",
  );
  assertEquals(growthAfter(["2222", "0000", "0000"]).growth, []);
});

Deno.test("pages that are gone count apart, and not once they are back", () => {
  const more = [{ start: MORE, pages: "00" }];
  assertEquals(
    growthAfter(["2...", "022.", "000.", "0...", "0..."], more).growth,
    [{ start: HEAP, pages: [0, 2, 2] }],
  );
  assertEquals(
    growthAfter(["2...", "022.", "0...", "022.", "000.", "000."]).growth,
    [],
  );
});

Deno.test("what was unmapped does not count", () => {
  const ages = new PageAges();
  const readings: DrawnMapping[][] = [
    [{ start: HEAP, pages: "2" }, { start: MORE, pages: "..." }],
    [{ start: HEAP, pages: "0" }, { start: MORE, pages: "222" }],
    [{ start: HEAP, pages: "0" }],
    [{ start: HEAP, pages: "0" }],
  ];
  for (const reading of readings) ages.advance(pagedataOf(reading), 10);
  assertEquals(ages.unusedGrowth(0), []);
});

Deno.test("growth stays known when moments get new numbers", () => {
  const ages = new PageAges();
  for (let reading = 0; reading < 700; reading++) {
    const pages = reading === 0 ? "0....." : reading < 5 ? "02...." : "00....";
    ages.advance(pagedataOf([{ start: HEAP, pages }]), 5);
  }
  // The page was used again in the readings up to the fifth.
  assertEquals(ages.unusedGrowth(60), []);
  for (let reading = 0; reading < 700; reading++) {
    const pages = reading === 0 ? "002..." : "000...";
    ages.advance(pagedataOf([{ start: HEAP, pages }]), 5);
  }
  const [{ resident }] = ages.unusedGrowth(60);
  assertEquals(resident, PAGE);
});
