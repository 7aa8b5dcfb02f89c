/**
 * Tests of the ages of pages.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { MA_READ, MA_WRITE } from "../memory/mapping_flags.ts";
import { type DrawnMapping, PAGE, pagedataOf } from "../memory/testing.ts";
import { bandOfAge, BANDS, idleBytes, PageAges } from "./ages.ts";
import { COOLED } from "./carry_ages.ts";
import { TOLERANCE } from "./moments.ts";

const START = 0x10000n;

/** The ages after some readings, one a second. */
function agesAfter(...readings: DrawnMapping[][]): PageAges {
  const ages = new PageAges();
  for (const reading of readings) ages.advance(pagedataOf(reading), 1);
  return ages;
}

/** The age of every page, in seconds. */
function secondsOf(ages: PageAges): number[] {
  return Array.from(ages.used, (moment) => ages.ageOf(moment));
}

function at(start: bigint, pages: string): DrawnMapping[] {
  return [{ start, pages }];
}

Deno.test("the age of a page is the number of seconds since it was referenced", () => {
  const ages = agesAfter(
    at(START, "02130"),
    at(START, "00200"),
    at(START, "00002"),
  );
  assertEquals(secondsOf(ages), [3, 2, 1, 2, 0]);
});

Deno.test("intervals may have any length", () => {
  const ages = new PageAges();
  const steps = [["0220", 0.25], ["0020", 5], ["0002", 3600]] as const;
  for (const [pages, seconds] of steps) {
    ages.advance(pagedataOf(at(START, pages)), seconds);
  }
  assertEquals(secondsOf(ages), [3605.25, 3605, 3600, 0]);
  // The first band ends at half a second, the last begins at 18 hours.
  assertEquals(
    [0, 0.1, 0.5, 1, 2, 4, 5, 8, 60, 3600, 65_000, 66_000, 1e9].map(bandOfAge),
    [0, 1, 2, 3, 4, 5, 5, 6, 8, 14, 18, 19, BANDS - 1],
  );
});

Deno.test("ages stay known for days, at any length of interval", () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.tuple(
          fc.constantFrom(0, 0.05, 0.25, 1, 5, 60, 3600),
          fc.integer({ min: 1, max: 400 }),
        ),
        { minLength: 1, maxLength: 12 },
      ),
      (parts) => {
        const ages = new PageAges();
        const known = new Float64Array(1000);
        let turn = 0;
        for (const [seconds, count] of parts) {
          for (let i = 0; i < count; i++, turn++) {
            // One page is used at a time, of those that are not held back.
            const used = turn * 7 % 990;
            const pages = "0".repeat(used) + "2" + "0".repeat(999 - used);
            ages.advance(pagedataOf(at(START, pages)), seconds);
            for (let page = 0; page < 1000; page++) known[page] += seconds;
            known[used] = 0;
          }
        }
        for (const [page, age] of secondsOf(ages).entries()) {
          const isRight = age <= known[page] + 1e-6 &&
            age * (1 + TOLERANCE) >= known[page] - 1e-6;
          assert(isRight, `page ${page}: ${age}, not ${known[page]}`);
        }
      },
    ),
    { seed: 20_261_127, numRuns: 40 },
  );
});

/** What a page was last known to be used at, and before that. */
interface Uses {
  used: number;
  before: number;
  /** Whether it was in use in the last reading. */
  isInUse: boolean;
}

Deno.test("the use before the last one stays known, also of pages that were out", () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          kind: fc.constantFrom("reset", "no reset", "look"),
          pages: fc.stringMatching(/^[.0012]{14}$/),
        }),
        { minLength: 1, maxLength: 30 },
      ),
      (steps) => {
        const ages = new PageAges();
        const resident = new Map<number, Uses>();
        const out = new Map<number, number>();
        let [now, isOpen, isContinued] = [0, false, false];
        for (const [turn, { kind, pages }] of steps.entries()) {
          const reading = pagedataOf(at(START, pages));
          if (kind === "look") ages.look(reading);
          else {
            now++;
            ages.advance(reading, 1, kind === "reset");
          }
          for (const [page, drawn] of [...pages].entries()) {
            const known = resident.get(page);
            if (drawn === ".") {
              if (known) out.set(page, known.used);
              resident.delete(page);
              continue;
            }
            const isSeen = drawn !== "0";
            if (known) {
              const isInUse = isSeen || isOpen && known.isInUse;
              const isContinuing = (isOpen || isContinued) && known.isInUse;
              if (isInUse && !isContinuing) known.before = known.used;
              if (isInUse) known.used = now;
              known.isInUse = isInUse;
              continue;
            }
            const first = turn === 0 && !isSeen ? 0 : now;
            resident.set(page, {
              used: first,
              before: out.get(page) ?? first,
              isInUse: isSeen,
            });
            out.delete(page);
          }
          isOpen = kind === "look";
          if (kind !== "look") isContinued = kind === "no reset";
          const expected = [...resident].sort(([a], [b]) => a - b);
          assertEquals(
            [...ages.used].map((used, i) => [used, ages.usedBefore[i]]),
            expected.map(([, { used, before }]) => [used, before]),
          );
        }
      },
    ),
    { seed: 20_261_128, numRuns: 1000 },
  );
});

Deno.test("new pages have age 0, and others keep their age", () => {
  const ages = agesAfter(at(START, "00..00"), at(START, "000.00"));
  assertEquals(secondsOf(ages), [2, 2, 0, 2, 2]);
});

Deno.test("ages survive growth, shrinking, splits and merges", () => {
  const whole = at(START, "000000");
  const grown = agesAfter(whole, at(START, "00000000"));
  assertEquals(secondsOf(grown), [2, 2, 2, 2, 2, 2, 0, 0]);
  const below = agesAfter(whole, at(START - 0x2000n, "00000000"));
  assertEquals(secondsOf(below), [0, 0, 2, 2, 2, 2, 2, 2]);
  const split = agesAfter(whole, [
    { start: START, pages: "00" },
    { start: START + 0x2000n, pages: "0000", flags: MA_READ },
  ]);
  assertEquals(secondsOf(split), [2, 2, 2, 2, 2, 2]);
});

Deno.test("ages move with memory that mremap moves, even if it grows", () => {
  const moved = agesAfter(
    at(START, "00.020"),
    at(0x900000n, "00.200..00"),
  );
  // The last two pages are new.
  assertEquals(secondsOf(moved), [2, 2, 0, 1, 2, 0, 0]);
});

Deno.test("another kind of mapping inherits no ages", () => {
  const ages = agesAfter(at(START, "0000"), [
    { start: 0x900000n, pages: "0000", flags: MA_READ | MA_WRITE },
  ]);
  assertEquals(secondsOf(ages), [0, 0, 0, 0]);
});

Deno.test("a look within an interval ages no page, and its references are remembered", () => {
  const ages = agesAfter(at(START, "00000"));
  ages.look(pagedataOf(at(START, "20000")));
  assertEquals(secondsOf(ages), [0, 1, 1, 1, 1]);
  // Another process has reset the reference.
  ages.advance(pagedataOf(at(START, "00000")), 1);
  assertEquals(secondsOf(ages), [0, 2, 2, 2, 2]);
  ages.advance(pagedataOf(at(START, "00000")), 1);
  assertEquals(secondsOf(ages), [1, 3, 3, 3, 3]);
});

Deno.test("a cooled page stays cooled until it is referenced", () => {
  const ages = agesAfter(at(START, "00000"));
  ages.pagedata!.bits.fill(COOLED);
  ages.look(pagedataOf(at(START, "02000")));
  assertEquals([...ages.pagedata!.bits], [COOLED, 2, COOLED, COOLED, COOLED]);
});

Deno.test("idle memory is counted for each number of seconds or longer", () => {
  const ages = agesAfter(
    at(START, "0222"),
    at(START, "0022"),
    at(START, "0002"),
  );
  assertEquals(
    idleBytes([ages, ages]).slice(0, 3),
    [
      { seconds: 1, bytes: 6 * PAGE },
      { seconds: 2, bytes: 4 * PAGE },
      { seconds: 5, bytes: 0 },
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
        else ages.advance(pagedata, 1);
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
        assertEquals(secondsOf(ages), found.map(({ age }) => age));
        assertEquals(
          [...ages.pagedata!.bits],
          found.map(({ bits }) => bits),
        );
      }
    }),
    { seed: 20_261_124, numRuns: 100 },
  );
});

Deno.test("an interval that passes without a reading makes all pages older", () => {
  const ages = agesAfter(at(START, "02130"), at(START, "00200"));
  ages.pass(5);
  assertEquals(secondsOf(ages), [7, 6, 5, 6, 7]);
  assertEquals([ages.referencedBytes, ages.unreferencedBytes], [0, 5 * PAGE]);
  ages.advance(pagedataOf(at(START, "00002")), 1);
  assertEquals(secondsOf(ages), [8, 7, 6, 7, 0]);
  // What a look has seen is not seen again after it.
  ages.look(pagedataOf(at(START, "20000")));
  ages.pass(3);
  ages.look(pagedataOf(at(START, "00000")));
  assertEquals(secondsOf(ages), [3, 10, 9, 10, 3]);
  for (let count = 0; count < 1000; count++) ages.pass(1);
  assertEquals(ages.residentBytes, 5 * PAGE);
  assertEquals(ages.referencedBytes, 0);
  assert(secondsOf(ages).every((seconds) => seconds > 750));
});
