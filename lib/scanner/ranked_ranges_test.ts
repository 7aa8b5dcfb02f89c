import { assertEquals } from "@std/assert";
import type { PagedataMapping } from "../memory/pagedata.ts";
import { cut } from "./ranked_ranges.ts";

/** A mapping that begins so many pages after the start of a large page. */
const mappingAt = (page: number): PagedataMapping => ({
  start: BigInt(page * 4096),
  pages: 4096,
  pageSize: 4096,
  flags: 0,
  firstRun: 0,
  endRun: 0,
});

Deno.test("a part of a long range ends with a large page, which may make it larger", () => {
  const range = { mapping: mappingAt(100), firstPage: 0, pages: 4000 };
  assertEquals(cut(range, 1 * 4096), 412);
  assertEquals(cut(range, 413 * 4096), 412 + 512);
  assertEquals(cut({ ...range, pages: 511 }, 3 * 4096), 3);
});

Deno.test("a part that must not be larger ends with a large page before, or splits one", () => {
  const range = { mapping: mappingAt(100), firstPage: 0, pages: 4000 };
  assertEquals(cut(range, 3000 * 4096, true), 412 + 5 * 512);
  assertEquals(cut(range, 412 * 4096, true), 412);
  assertEquals(cut(range, 411 * 4096, true), 411);
  assertEquals(cut({ ...range, pages: 511 }, 3.9 * 4096, true), 3);
});
