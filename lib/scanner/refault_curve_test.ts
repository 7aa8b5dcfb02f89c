/**
 * Tests of what caps would cost, beside a model that follows every page by itself.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { MA_ANON, MA_READ, MA_WRITE } from "../memory/mapping_flags.ts";
import { PagedataBuilder } from "../memory/pagedata.ts";
import { type DrawnMapping, PAGE, pagedataOf } from "../memory/testing.ts";
import { PageAges } from "./ages.ts";
import { GroupReading } from "./group_reading.ts";
import { unitOf } from "./moves.ts";
import { OutPages } from "./out_pages.ts";
import { RefaultCurve } from "./refault_curve.ts";
import type { OriginOf } from "./used_again.ts";

const START = 0x10000n;
const FILES = 0x8000000n;
const PAGES = 24;

const originOf: OriginOf = ({ flags }) => flags & MA_ANON ? "swap" : "file";

/** A process: anonymous pages, and pages of a file. */
function space(pages: string): DrawnMapping[] {
  const anon = pages.slice(0, PAGES / 2);
  const file = pages.slice(PAGES / 2);
  return [
    { start: START, pages: anon, flags: MA_READ | MA_WRITE | MA_ANON },
    { start: FILES, pages: file, flags: MA_READ },
  ];
}

/** A page that the model follows. */
interface Followed {
  /** When it was last known to be in use. */
  used: number;
  isInUse: boolean;
}

/** What the model has found to be used again: from which size on, over which span. */
interface Reuse {
  readonly origin: "swap" | "file";
  readonly younger: number;
  readonly span: number;
}

/** Follows the pages of some processes one by one. */
class Model {
  readonly #processes: Map<number, Followed>[];
  #now = 0;
  #isOpen = false;

  constructor(count: number) {
    this.#processes = Array.from({ length: count }, () => new Map());
  }

  /** Takes readings of all processes, and returns what was used again. */
  read(drawings: readonly string[], kind: "look" | "advance"): Reuse[] {
    const previous = this.#now;
    if (kind === "advance") this.#now++;
    const before = this.#processes.map((pages) =>
      new Map([...pages].map(([page, { used }]) => [page, used]))
    );
    const known = before.flatMap((pages) => [...pages.values()]);
    const again: { origin: Reuse["origin"]; used: number }[] = [];
    let fresh = 0;
    for (const [index, drawing] of drawings.entries()) {
      const pages = this.#processes[index];
      const isFirst = pages.size === 0 && this.#now === 1;
      for (const [page, drawn] of [...drawing].entries()) {
        const was = pages.get(page);
        if (drawn === ".") {
          pages.delete(page);
          continue;
        }
        const isSeen = drawn !== "0";
        if (!was) {
          // In the first interval, nothing is known of what was there before.
          const used = isFirst && !isSeen ? 0 : this.#now;
          pages.set(page, { used, isInUse: isSeen });
          if (!isFirst) fresh++;
          continue;
        }
        const isInUse = isSeen || this.#isOpen && was.isInUse;
        const isContinuing = this.#isOpen && was.isInUse;
        if (isInUse && !isContinuing && was.used !== previous) {
          const origin = page < PAGES / 2 ? "swap" : "file";
          again.push({ origin, used: was.used });
        }
        if (isInUse) was.used = this.#now;
        was.isInUse = isInUse;
      }
    }
    this.#isOpen = kind === "look";
    return again.map(({ origin, used }) => ({
      origin,
      younger: known.filter((other) => other > used).length + fresh / 2 +
        again.filter((other) => other.used < used).length / 2,
      span: known.filter((other) => other === used).length,
    }));
  }
}

/** How many of some pages would have been out under a cap, in pages. */
function outUnder(cap: number, reuses: readonly Reuse[]): number {
  return reuses.reduce((sum, { younger, span }) => {
    const share = (younger + span - cap) / span;
    return sum + Math.min(Math.max(share, 0), 1);
  }, 0);
}

const drawing = fc.stringMatching(new RegExp(`^[.00002]{${PAGES}}$`));

Deno.test("what caps would cost is as a model has it that follows every page", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 0, max: 10 }),
      fc.array(
        fc.record({
          kind: fc.constantFrom("look" as const, "advance" as const),
          drawings: fc.tuple(drawing, drawing, drawing),
        }),
        { minLength: 2, maxLength: 25 },
      ),
      (count, fixed, steps) => {
        const model = new Model(count);
        const processes = Array.from(
          { length: count },
          () => new PageAges({ originOf }),
        );
        const curve = new RefaultCurve({ largest: 64 * PAGE, steps: 64 });
        const expected: Reuse[] = [];
        for (const [turn, { kind: drawn, drawings }] of steps.entries()) {
          const kind = turn === 0 ? "advance" : drawn;
          expected.push(...model.read(drawings.slice(0, count), kind));
          for (const [index, ages] of processes.entries()) {
            const reading = pagedataOf(space(drawings[index]));
            if (kind === "look") ages.look(reading);
            else ages.advance(reading, 1);
          }
          const reading = new GroupReading(1);
          for (const ages of processes) reading.addRead(ages);
          const around = { fixed: fixed * PAGE, out: 0, seconds: turn };
          curve.add(reading, around);
        }
        for (let cap = 1; cap <= 90; cap++) {
          const { fromSwap, fromFiles } = curve.refaults(cap * PAGE, 1);
          for (const origin of ["swap", "file"] as const) {
            const those = expected.filter((one) => one.origin === origin);
            // Caps between those of the curve are interpolated.
            const step = curve.caps[0] / PAGE;
            if (cap % step !== 0) continue;
            const found = origin === "swap" ? fromSwap : fromFiles;
            const wanted = outUnder(cap - fixed, those);
            assert(
              Math.abs(found - wanted) < 1e-3,
              `${origin} under ${cap} pages: ${found}, not ${wanted}`,
            );
          }
        }
      },
    ),
    { seed: 20_261_201, numRuns: 400 },
  );
});

/** The pages that come back in some readings, a second apart, under a cap of no page. */
function reusesOf(...readings: DrawnMapping[][]): number {
  const ages = new PageAges({ originOf });
  const curve = new RefaultCurve({ largest: 64 * PAGE });
  for (const [turn, reading] of readings.entries()) {
    ages.advance(pagedataOf(reading), 1);
    const group = new GroupReading(1);
    group.addRead(ages);
    curve.add(group, { fixed: PAGE, out: 0, seconds: turn });
  }
  return curve.refaults(PAGE, 1).fromSwap;
}

function at(start: bigint, pages: string): DrawnMapping[] {
  return [{ start, pages }];
}

Deno.test("what is used in every interval is no refault, and what is used again is", () => {
  const steady = at(START, "22220000");
  assertEquals(reusesOf(steady, steady, steady), 0);
  const idle = at(START, "22220000");
  assertEquals(reusesOf(idle, idle, at(START, "22220022"), steady), 2);
});

Deno.test("first touches, and memory freed and mapped anew, are no refaults", () => {
  const grown = reusesOf(
    at(START, "2200...."),
    at(START, "22002222"),
    at(START, "22000000"),
  );
  assertEquals(grown, 0);
  const anew = reusesOf(
    at(START, "22000000"),
    at(START, "22000000"),
    at(START, "22......"),
    at(START, "22222222"),
  );
  assertEquals(anew, 0);
});

Deno.test("pages that mremap has moved are no refaults, and are later", () => {
  const moved = at(0x900000n, "00000000");
  const idle = at(START, "00000000");
  const used = at(0x900000n, "22222222");
  assertEquals(reusesOf(idle, idle, used, used), 0);
  assertEquals(reusesOf(idle, idle, moved, moved, used), 8);
});

Deno.test("a large page that is used again counts once", () => {
  const reading = (bits: number) => {
    const builder = new PagedataBuilder();
    const flags = MA_READ | MA_WRITE | MA_ANON;
    builder.addMapping({ start: 0n, pages: 2048, pageSize: PAGE, flags });
    builder.addPages(0, { count: 3, bits });
    builder.addPages(512, { count: 512, bits, isLarge: true });
    builder.addPages(1024, { count: 512, bits: 0, isLarge: true });
    return builder.build();
  };
  const ages = new PageAges({ originOf });
  for (const bits of [0, 0, 2]) ages.advance(reading(bits), 1);
  const group = new GroupReading(1);
  group.addRead(ages);
  assert(group.hasLarge);
  assertEquals(group.again.swap.reduce((sum, pages) => sum + pages), 4);
  ages.advance(reading(2), 1);
  const still = new GroupReading(1);
  still.addRead(ages);
  assertEquals(still.again.swap.reduce((sum, pages) => sum + pages), 0);
});

Deno.test("pages that come from swap count at every cap up to the size, and less above it", () => {
  const out = new OutPages();
  for (let page = 4; page < 8; page++) out.add(unitOf(START) + page);
  const ages = new PageAges({ originOf, out });
  const curve = new RefaultCurve({ largest: 8 * PAGE, steps: 8 });
  for (const pages of ["0000....", "0000....", "000022.."]) {
    ages.advance(pagedataOf(at(START, pages)), 1);
    const group = new GroupReading(1);
    group.addRead(ages);
    curve.add(group, { fixed: 0, out: 4 * PAGE, seconds: 0 });
  }
  assertEquals(
    [1, 4, 6, 8].map((cap) => curve.refaults(cap * PAGE, 1).fromSwap),
    [2, 2, 1, 0],
  );
});

Deno.test("pages that went to swap while they were watched count when they come back", () => {
  const out = new OutPages();
  const ages = new PageAges({ originOf, out });
  ages.advance(pagedataOf(at(START, "00000000")), 1);
  ages.advance(pagedataOf(at(START, "000.....")), 1);
  const left = out.takeLeft();
  assertEquals(left, [{ unit: unitOf(START) + 3, units: 5 }]);
  // Two of them are found in swap.
  for (const page of [3, 4]) out.add(unitOf(START) + page);
  ages.advance(pagedataOf(at(START, "00022222")), 1);
  assertEquals(ages.again?.returned, 2);
});

Deno.test("what is used for the first time soon after the beginning may have been used just before", () => {
  const refaults = (hasJustBegun: boolean) => {
    const ages = new PageAges({ originOf });
    const curve = new RefaultCurve({ largest: 8 * PAGE, steps: 8 });
    for (const pages of ["22000000", "22000000", "22220000"]) {
      ages.advance(pagedataOf(at(START, pages)), 1);
      const group = new GroupReading(1);
      group.addRead(ages);
      curve.add(group, { fixed: 0, out: 0, seconds: 0, hasJustBegun });
    }
    return [1, 2, 5, 8].map((cap) => curve.refaults(cap * PAGE, 1).fromSwap);
  };
  assertEquals(refaults(false), [2, 2, 1, 0]);
  assertEquals(refaults(true), [2, 2, 0, 0]);
});

Deno.test("what caps cost is a mean over the time in which it is known", () => {
  const ages = new PageAges({ originOf });
  const curve = new RefaultCurve({ largest: 4096 * PAGE, steps: 64 });
  // Half is always in use; of the rest, one page a second is used, at random.
  let random = 1;
  for (let second = 0; second <= 400; second++) {
    random = random * 48_271 % 0x7fff_ffff;
    const cold = "0".repeat(random % 999) + "2";
    const pages = "2".repeat(1000) + cold.padEnd(1000, "0");
    ages.advance(pagedataOf(at(START, pages)), 1);
    const group = new GroupReading(1);
    group.addRead(ages);
    const hasJustBegun = second < 200;
    curve.add(group, { fixed: 0, out: 0, seconds: second, hasJustBegun });
  }
  // Under a cap with room for a quarter of the rest, three quarters come back.
  const { fromSwap } = curve.refaults(1250 * PAGE);
  assert(Math.abs(fromSwap - 0.75) < 0.1, `${fromSwap}`);
});

/** A curve of a group that has a page used again every so many seconds. */
function curveOf(
  { minutes, uses }: { minutes: number; uses: (minute: number) => number },
): RefaultCurve {
  const ages = new PageAges({ originOf });
  const curve = new RefaultCurve({ largest: 64 * PAGE, steps: 64 });
  for (let second = 20; second <= minutes * 60; second += 20) {
    const used = second % 60 === 40 ? uses(second / 60) : 0;
    const pages = "2".repeat(used).padEnd(16, "0");
    ages.advance(pagedataOf(at(START, pages)), 20);
    const group = new GroupReading(20);
    group.addRead(ages);
    curve.add(group, { fixed: PAGE, out: 0, seconds: second });
  }
  return curve;
}

Deno.test("the smallest cap is that under which no minute exceeds the limit", () => {
  const curve = curveOf({ minutes: 6, uses: () => 8 });
  // The eight are younger than the others, and their order is not known.
  assertEquals(curve.worstMinute(PAGE), 8);
  assertEquals(curve.smallestCap(8, PAGE), PAGE);
  assertEquals(curve.smallestCap(8, 3 * PAGE), 3 * PAGE);
  const cap = curve.smallestCap(4, PAGE);
  assert(curve.worstMinute(cap) <= 4);
  assert(curve.worstMinute(cap - 2 * PAGE) > 4);
});

Deno.test("of more than 50 minutes, the worst in a hundred may exceed the limit", () => {
  const uses = (minute: number) => Math.floor(minute) === 30 ? 12 : 2;
  const few = curveOf({ minutes: 50, uses });
  assertEquals(Math.round(few.worstMinute(PAGE)), 12);
  const many = curveOf({ minutes: 60, uses });
  assertEquals(Math.round(many.worstMinute(PAGE)), 2);
});

Deno.test("the age at which a cap cuts is the median over the readings", () => {
  const ages = new PageAges({ originOf });
  const curve = new RefaultCurve({ largest: 8 * PAGE, steps: 8 });
  // Two pages are always in use, two every fourth second, and four never.
  for (let second = 0; second < 41; second++) {
    const pages = second % 4 === 0 ? "22220000" : "22000000";
    ages.advance(pagedataOf(at(START, pages)), 1);
    const group = new GroupReading(1);
    group.addRead(ages);
    curve.addAges(group, { fixed: 0 });
  }
  assertEquals(curve.idleTime(8 * PAGE), { seconds: null, isAtLeast: false });
  assertEquals(curve.idleTime(5 * PAGE), { seconds: 21, isAtLeast: true });
  assertEquals(curve.idleTime(3 * PAGE), { seconds: 1, isAtLeast: false });
  assertEquals(curve.idleTime(PAGE), { seconds: 0, isAtLeast: false });
});

Deno.test("a curve keeps what it knows when the group grows, in larger steps", () => {
  const ages = new PageAges({ originOf });
  const curve = new RefaultCurve({ largest: 16 * PAGE, steps: 8, samples: 4 });
  const around = { fixed: 8 * PAGE, out: 0 };
  const rounds = ["22000000", "22000000", "22220000", "22000000"];
  for (let turn = 0; turn < 40; turn++) {
    const pages = rounds[turn % 4].padEnd(8 + (turn > 20 ? 40 : 0), "0");
    ages.advance(pagedataOf(at(START, pages)), 1);
    const group = new GroupReading(1);
    group.addRead(ages);
    curve.add(group, { ...around, seconds: turn });
    curve.addAges(group, around);
  }
  assertEquals(curve.caps.length, 8);
  assertEquals(curve.caps.at(-1), 64 * PAGE);
  assertEquals(curve.refaults(8 * PAGE, 1).fromSwap, 20);
  assertEquals(curve.refaults(64 * PAGE, 1).fromSwap, 0);
});
