/**
 * Tests of which pages count as passed over, and how they are remembered.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import {
  ENTRIES,
  IN_SHARED_FOLIO,
  IS_ANONYMOUS,
  IS_PINNED,
  IS_PRESENT,
} from "./count_pages.ts";
import { isPassedOver, PassedOver } from "./passed_over.ts";

Deno.test("pages that are mapped more than once, or pinned, are passed over", () => {
  const cases: [record: number, isPassed: boolean][] = [
    [0, false],
    [IS_PRESENT, false],
    [IS_PRESENT | 1, false],
    [IS_PRESENT | IS_ANONYMOUS | 1, false],
    [IS_PRESENT | 2, true],
    [IS_PRESENT | IS_ANONYMOUS | 4095, true],
    [IS_PRESENT | IN_SHARED_FOLIO | 1, true],
    [IS_PRESENT | IS_ANONYMOUS | IS_PINNED | 1, true],
  ];
  for (const [record, isPassed] of cases) {
    assertEquals(isPassedOver(record), isPassed, record.toString(16));
  }
});

/** The records of a table in which some pages are mapped twice. */
function records(twice: readonly number[]): Uint16Array {
  const records = new Uint16Array(ENTRIES).fill(IS_PRESENT | 1);
  for (const page of twice) records[page] = IS_PRESENT | 2;
  return records;
}

/** The pages that are marked in a table. */
function marked(passedOver: PassedOver, table: number): number[] {
  const pages = new Uint8Array(ENTRIES);
  if (!passedOver.mark(table, pages, 0x40)) return [];
  return Array.from(pages.entries()).filter(([, mark]) => mark === 0x40)
    .map(([page]) => page);
}

Deno.test("each table keeps its own pages", () => {
  const passedOver = new PassedOver();
  const tables = Array.from({ length: 50 }, (_, at) => 2 ** 26 - at * 1001);
  const pagesOf = (at: number) =>
    at % 3 === 0 ? [] : [at, at + 8, ENTRIES - 1 - at];
  for (const [at, table] of tables.entries()) {
    passedOver.note(table, records(pagesOf(at)));
  }
  for (const [at, table] of tables.entries()) {
    assertEquals(marked(passedOver, table), pagesOf(at));
  }
  assertEquals(marked(passedOver, 1), []);
});

Deno.test("a table that is noted in two parts keeps the pages of both", () => {
  const passedOver = new PassedOver();
  passedOver.note(7, records([1]));
  passedOver.note(8, records([0]));
  passedOver.note(7, records([1, 2]));
  assertEquals(marked(passedOver, 7), [1, 2]);
  assertEquals(marked(passedOver, 8), [0]);
});

Deno.test("the first page decides on a large page", () => {
  const passedOver = new PassedOver();
  passedOver.note(7, records([1]));
  passedOver.note(8, records([0]));
  assertEquals(
    [7, 8, 9].map((table) => passedOver.isLargePassedOver(table)),
    [false, true, false],
  );
});
