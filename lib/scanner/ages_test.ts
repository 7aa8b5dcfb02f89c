/**
 * Tests of the ages of pages.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { MA_READ, MA_WRITE } from "../memory/mapping_flags.ts";
import { type DrawnMapping, PAGE, pagedataOf } from "../memory/testing.ts";
import { idleBytes, MAX_AGE, PageAges } from "./ages.ts";
import { COOLED } from "./carry_ages.ts";

const START = 0x10000n;

/** The ages after some readings, one per interval. */
function agesAfter(...readings: DrawnMapping[][]): PageAges {
  const ages = new PageAges();
  for (const reading of readings) ages.advance(pagedataOf(reading));
  return ages;
}

function at(start: bigint, pages: string): DrawnMapping[] {
  return [{ start, pages }];
}

Deno.test("the age of a page is the number of intervals since it was referenced", () => {
  const ages = agesAfter(
    at(START, "02130"),
    at(START, "00200"),
    at(START, "00002"),
  );
  assertEquals([...ages.ages], [3, 2, 1, 2, 0]);
});

Deno.test("ages stop at the highest, for pages within words and after them", () => {
  const ages = new PageAges();
  for (let i = 0; i < MAX_AGE + 3; i++) {
    ages.advance(pagedataOf(at(START, "000000")));
  }
  assertEquals([...ages.ages], Array(6).fill(MAX_AGE));
});

Deno.test("new pages have age 0, and others keep their age", () => {
  const ages = agesAfter(at(START, "00..00"), at(START, "000.00"));
  assertEquals([...ages.ages], [2, 2, 0, 2, 2]);
});

Deno.test("ages survive growth, shrinking, splits and merges", () => {
  const whole = at(START, "000000");
  const grown = agesAfter(whole, at(START, "00000000"));
  assertEquals([...grown.ages], [2, 2, 2, 2, 2, 2, 0, 0]);
  const below = agesAfter(whole, at(START - 0x2000n, "00000000"));
  assertEquals([...below.ages], [0, 0, 2, 2, 2, 2, 2, 2]);
  const split = agesAfter(whole, [
    { start: START, pages: "00" },
    { start: START + 0x2000n, pages: "0000", flags: MA_READ },
  ]);
  assertEquals([...split.ages], [2, 2, 2, 2, 2, 2]);
});

Deno.test("ages move with memory that mremap moves, even if it grows", () => {
  const moved = agesAfter(
    at(START, "00.020"),
    at(0x900000n, "00.200..00"),
  );
  // The last two pages are new.
  assertEquals([...moved.ages], [2, 2, 0, 1, 2, 0, 0]);
});

Deno.test("another kind of mapping inherits no ages", () => {
  const ages = agesAfter(at(START, "0000"), [
    { start: 0x900000n, pages: "0000", flags: MA_READ | MA_WRITE },
  ]);
  assertEquals([...ages.ages], [0, 0, 0, 0]);
});

Deno.test("a look within an interval ages no page, and its references are remembered", () => {
  const ages = agesAfter(at(START, "00000"));
  ages.look(pagedataOf(at(START, "20000")));
  assertEquals([...ages.ages], [0, 1, 1, 1, 1]);
  // Another process has reset the reference.
  ages.advance(pagedataOf(at(START, "00000")));
  assertEquals([...ages.ages], [0, 2, 2, 2, 2]);
  ages.advance(pagedataOf(at(START, "00000")));
  assertEquals([...ages.ages], [1, 3, 3, 3, 3]);
});

Deno.test("a cooled page stays cooled until it is referenced", () => {
  const ages = agesAfter(at(START, "00000"));
  ages.pagedata!.bits.fill(COOLED);
  ages.look(pagedataOf(at(START, "02000")));
  assertEquals([...ages.pagedata!.bits], [COOLED, 2, COOLED, COOLED, COOLED]);
});

Deno.test("idle memory is counted for each number of intervals or longer", () => {
  const ages = agesAfter(
    at(START, "0222"),
    at(START, "0022"),
    at(START, "0002"),
  );
  assertEquals(
    idleBytes([ages, ages]).slice(0, 3),
    [
      { intervals: 1, bytes: 6 * PAGE },
      { intervals: 2, bytes: 4 * PAGE },
      { intervals: 4, bytes: 0 },
    ],
  );
});

/** Pages of the address space whose readings are random. */
const SPACE = 9000;

/** Parts of the address space: holes, long runs, and single pages. */
const drawing = fc.array(
  fc.tuple(
    fc.constantFrom(".", "0", "2", "0.", ".02", "0000.3", "2.00.0"),
    fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 3000 })),
  ),
  { maxLength: 20 },
).map((parts) =>
  parts.map(([pages, length]) => pages.repeat(length).slice(0, length))
    .join("").padEnd(SPACE, "0..").slice(0, SPACE)
);

/** A reading of it, cut into mappings at random places. */
const reading = fc.record({
  pages: drawing,
  cuts: fc.array(fc.integer({ min: 1, max: SPACE - 1 }), { maxLength: 3 }),
  isLook: fc.boolean(),
});

Deno.test("ages match those of pages that are followed one by one", () => {
  fc.assert(
    fc.property(fc.array(reading, { minLength: 2, maxLength: 5 }), (all) => {
      const ages = new PageAges();
      // By page number. The bits of the current interval are kept.
      let known = new Map<number, { age: number; bits: number }>();
      let isOpen = false;
      for (const [turn, { pages, cuts, isLook }] of all.entries()) {
        const edges = [...new Set([0, ...cuts, SPACE])].sort((a, b) => a - b);
        const pagedata = pagedataOf(
          edges.slice(1).map((end, i) => ({
            start: START + BigInt(edges[i] * PAGE),
            pages: pages.slice(edges[i], end),
          })),
        );
        if (isLook) ages.look(pagedata);
        else ages.advance(pagedata);
        const now: typeof known = new Map();
        for (const [page, drawn] of [...pages].entries()) {
          if (drawn === ".") continue;
          const before = known.get(page);
          const bits = Number(drawn) | (isOpen ? before?.bits ?? 0 : 0);
          const first = turn === 0 && !isLook ? 1 : 0;
          const older = isLook ? 0 : 1;
          const age = before ? before.age + older : first;
          now.set(page, { age: bits === 0 ? age : 0, bits });
        }
        known = now;
        isOpen = isLook;
        const found = [...known.values()];
        assertEquals([...ages.ages], found.map(({ age }) => age));
        assertEquals(
          [...ages.pagedata!.bits],
          found.map(({ bits }) => bits),
        );
      }
    }),
    { seed: 20_261_124, numRuns: 100 },
  );
});
