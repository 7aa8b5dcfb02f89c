/**
 * Tests of what is kept of pages that are no longer resident.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { pagedataOf } from "../memory/testing.ts";
import { DepartedPages } from "./departed_pages.ts";

/** Keeps one moment for a number of pages from a unit on. */
function keep(
  departed: DepartedPages,
  { unit, count, moment, pageSize = 4096 }: {
    unit: number;
    count: number;
    moment: number;
    pageSize?: number;
  },
): void {
  const used = new Uint8Array(count).fill(moment);
  departed.keep({ unit, pageSize, offset: 0, count }, used, used);
}

/** Takes a number of pages from a unit on; 99 for pages that are not known. */
function take(
  departed: DepartedPages,
  { unit, count, pageSize = 4096 }: {
    unit: number;
    count: number;
    pageSize?: number;
  },
): number[] {
  const usedBefore = new Uint8Array(count).fill(99);
  departed.take({ unit, pageSize, offset: 0, count }, usedBefore);
  return [...usedBefore];
}

Deno.test("a page that comes back is known once, wherever it is", () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          isKept: fc.boolean(),
          page: fc.integer({ min: 0, max: 3000 }),
          count: fc.integer({ min: 1, max: 1500 }),
          moment: fc.integer({ min: 0, max: 90 }),
        }),
        { maxLength: 20 },
      ),
      fc.constantFrom(4096, 16_384, 65_536, 2 << 20),
      (steps, pageSize) => {
        const departed = new DepartedPages();
        const known = new Map<number, number>();
        for (const { isKept, page, count, moment } of steps) {
          const range = { unit: page * pageSize / 4096, count, pageSize };
          const pages = Array.from({ length: count }, (_, i) => page + i);
          if (isKept) {
            keep(departed, { ...range, moment });
            for (const page of pages) known.set(page, moment);
          } else {
            const expected = pages.map((page) => known.get(page) ?? 99);
            assertEquals(take(departed, range), expected);
            for (const page of pages) known.delete(page);
          }
        }
      },
    ),
    { seed: 20_261_128 },
  );
});

Deno.test("pages that have left take no more than two bytes for each recorded page", () => {
  const departed = new DepartedPages();
  // One page in each block, as a hostile process may have it.
  for (let block = 0; block < 10_000; block++) {
    keep(departed, { unit: block * 512, count: 1, moment: 7 });
    departed.limit(20_000);
  }
  assert(departed.bytes <= 40_000 + 32_768, `${departed.bytes} bytes`);
  assertEquals(take(departed, { unit: 9999 * 512, count: 1 }), [7]);
  assertEquals(
    take(departed, { unit: 0, count: 1 }),
    [99],
    "the first is gone",
  );
});

Deno.test("what has come back or is unmapped takes no memory", () => {
  const departed = new DepartedPages();
  keep(departed, { unit: 100, count: 1000, moment: 1 });
  take(departed, { unit: 0, count: 5000 });
  assertEquals(departed.bytes, 0);
  keep(departed, { unit: 512, count: 1, moment: 3 });
  keep(departed, { unit: 1024, count: 1, moment: 4 });
  keep(departed, { unit: 4096, count: 1, moment: 5 });
  const { mappings } = pagedataOf([
    { start: 0x1000n, pages: "0" },
    { start: BigInt(1024 + 511) << 12n, pages: "0" },
  ]);
  departed.keepMapped(mappings);
  assertEquals(take(departed, { unit: 512, count: 1 }), [99]);
  assertEquals(take(departed, { unit: 1024, count: 1 }), [4]);
  assertEquals(departed.bytes, 0);
});

Deno.test("moments of pages that have left get new numbers", () => {
  const departed = new DepartedPages();
  keep(departed, { unit: 0, count: 1, moment: 200 });
  keep(departed, { unit: 1, count: 1, moment: 255 });
  departed.renumber(Uint8Array.from({ length: 256 }, (_, i) => i >> 1));
  // The last number means that there is none, so the moment before it stands for it.
  assertEquals(take(departed, { unit: 0, count: 2 }), [100, 127]);
});
