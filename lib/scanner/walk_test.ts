/**
 * Tests of the walk over an address space.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { SCHEDCTL_FLAGS } from "../memory/mapping_flags.ts";
import type { SkipReason } from "../memory/process_memory.ts";
import { drawingOf, PAGE, pagedataOf } from "../memory/testing.ts";
import {
  addressAt,
  positionOf,
  skipReason,
  takeUnreferencedRange,
  type UnreferencedRange,
} from "./walk.ts";

/**
 * Takes the next range of a drawing of one mapping. Returns the range and the bits
 * that are left.
 */
function taken(
  pages: string,
  { page = 0, atLeast = Infinity }: { page?: number; atLeast?: number } = {},
): [UnreferencedRange | undefined, string] {
  const pagedata = pagedataOf([{ start: 0x10000n, pages }]);
  const range = takeUnreferencedRange(pagedata, { mapping: 0, page }, atLeast);
  return [range, drawingOf(pagedata)[0]];
}

Deno.test("the page-out walk skips what residency shows to be unpageable", () => {
  const start = 0x10000n;
  const [mapping] = pagedataOf([{ start, pages: "0000" }]).mappings;
  const bytes = 4 * PAGE;
  const reason = (
    entry: { bytes: number; pageable: number; reason?: SkipReason },
  ) => skipReason(mapping, new Map([[start, { start, ...entry }]]));
  assertEquals(reason({ bytes, pageable: 1 }), undefined);
  assertEquals(reason({ bytes, pageable: 0 }), "nonresident");
  assertEquals(reason({ bytes, pageable: 0, reason: "locked" }), "locked");
  assertEquals(reason({ bytes: bytes + PAGE, pageable: 0 }), undefined);
});

Deno.test("the page-out walk visits mappings without residency", () => {
  const [mapping] = pagedataOf([{ start: 0x10000n, pages: "0" }]).mappings;
  const other = { start: 0x20000n, bytes: PAGE, pageable: 0 };
  assertEquals(skipReason(mapping, undefined), undefined);
  assertEquals(skipReason(mapping, new Map()), undefined);
  assertEquals(skipReason(mapping, new Map([[0x20000n, other]])), undefined);
});

Deno.test("the schedctl page is skipped, resident or not", () => {
  const start = 0x10000n;
  const [schedctl] = pagedataOf([
    { start, pages: "0", flags: SCHEDCTL_FLAGS },
  ]).mappings;
  const entry = { start, bytes: PAGE, pageable: 1 };
  assertEquals(skipReason(schedctl, undefined), "special");
  assertEquals(skipReason(schedctl, new Map([[start, entry]])), "special");
});

Deno.test("an address is found in its mapping, at the page that contains it", () => {
  const pagedata = pagedataOf([
    { start: 0x10000n, pages: "0000" },
    { start: 0x14000n, pages: "00" },
    { start: 0x40000n, pages: "....", pageSize: 16 * PAGE },
  ]);
  const found = [0x10000n, 0x12fffn, 0x13fffn, 0x14000n, 0x5ffffn, 0x60000n]
    .map((address) => positionOf(pagedata, address));
  assertEquals(found, [
    { mapping: 0, page: 0 },
    { mapping: 0, page: 2 },
    { mapping: 0, page: 3 },
    { mapping: 1, page: 0 },
    { mapping: 2, page: 1 },
    { mapping: 2, page: 2 },
  ]);
});

Deno.test("an address in no mapping leads to the first mapping above it", () => {
  const pagedata = pagedataOf([
    { start: 0x10000n, pages: "00" },
    { start: 0x40000n, pages: "00" },
  ]);
  assertEquals(positionOf(pagedata, 0n), { mapping: 0, page: 0 });
  assertEquals(positionOf(pagedata, 0x12000n), { mapping: 1, page: 0 });
  assertEquals(positionOf(pagedata, 0x3ffffn), { mapping: 1, page: 0 });
  assertEquals(positionOf(pagedata, 0x42000n), undefined);
  assertEquals(positionOf(pagedataOf([]), 0n), undefined);
});

Deno.test("positions and addresses are exact even if doubles are not", () => {
  const start = 0xffff_8000_0000_1000n;
  const pagedata = pagedataOf([{ start, pages: "0000" }]);
  const position = { mapping: 0, page: 3 };
  assertEquals(addressAt(pagedata, position), start + 0x3000n);
  assertEquals(positionOf(pagedata, start + 0x3001n), position);
});

Deno.test("a range is the next stretch of unreferenced pages", () => {
  assertEquals(taken("123001"), [
    { firstPage: 3, endPage: 5, bytes: 2 * PAGE, whole: false, more: true },
    "000001",
  ]);
  assertEquals(taken("100"), [
    { firstPage: 1, endPage: 3, bytes: 2 * PAGE, whole: false, more: false },
    "000",
  ]);
});

Deno.test("without unreferenced pages there is no range, and no bit is left", () => {
  assertEquals(taken("1.2|3"), [undefined, "0.00"]);
  assertEquals(taken("...."), [undefined, "...."]);
  assertEquals(taken("00..", { page: 2 }), [undefined, "00.."]);
});

Deno.test("a range begins no earlier than requested and leaves earlier bits unchanged", () => {
  assertEquals(taken("20120", { page: 2 }), [
    { firstPage: 4, endPage: 5, bytes: PAGE, whole: false, more: false },
    "20000",
  ]);
  assertEquals(taken("0000", { page: 1 }), [
    { firstPage: 1, endPage: 4, bytes: 3 * PAGE, whole: false, more: false },
    "0000",
  ]);
});

Deno.test("a range continues across holes, which do not add to its size", () => {
  assertEquals(taken("..00..0|0..0.."), [
    { firstPage: 2, endPage: 11, bytes: 5 * PAGE, whole: true, more: false },
    "..00..00..0..",
  ]);
  assertEquals(taken("..2.0..01"), [
    { firstPage: 4, endPage: 8, bytes: 2 * PAGE, whole: false, more: true },
    "..0.0..01",
  ]);
});

Deno.test("a page in a hole leads to the recorded page above it", () => {
  assertEquals(taken("00...0.1", { page: 2 }), [
    { firstPage: 5, endPage: 6, bytes: PAGE, whole: false, more: true },
    "00...0.1",
  ]);
  assertEquals(taken("...00", { page: 1 }), [
    { firstPage: 3, endPage: 5, bytes: 2 * PAGE, whole: true, more: false },
    "...00",
  ]);
});

Deno.test("a range ends when it is large enough, not counting holes", () => {
  assertEquals(taken("0.0.0.0", { atLeast: 2 * PAGE }), [
    { firstPage: 0, endPage: 3, bytes: 2 * PAGE, whole: false, more: true },
    "0.0.0.0",
  ]);
  assertEquals(taken("0000", { atLeast: 2 * PAGE + 1 }), [
    { firstPage: 0, endPage: 3, bytes: 3 * PAGE, whole: false, more: true },
    "0000",
  ]);
  assertEquals(taken("00..", { atLeast: 1 }), [
    { firstPage: 0, endPage: 1, bytes: PAGE, whole: false, more: true },
    "00..",
  ]);
});

Deno.test("a range that exactly reaches its size may be the whole mapping", () => {
  assertEquals(taken("0.0", { atLeast: 2 * PAGE }), [
    { firstPage: 0, endPage: 3, bytes: 2 * PAGE, whole: true, more: false },
    "0.0",
  ]);
});

Deno.test("sizes are measured in pages of the mapping", () => {
  const pagedata = pagedataOf([
    { start: 0x10000n, pages: "11" },
    { start: 0x100000n, pages: "0000", pageSize: 16 * PAGE },
    { start: 0x200000n, pages: "11" },
  ]);
  assertEquals(
    takeUnreferencedRange(pagedata, { mapping: 1, page: 1 }, 17 * PAGE),
    {
      firstPage: 1,
      endPage: 3,
      bytes: 32 * PAGE,
      whole: false,
      more: true,
    },
  );
  assertEquals(drawingOf(pagedata), ["11", "0000", "11"]);
});

Deno.test("a walk from range to range finds every unreferenced page of many runs", () => {
  // 400 runs of different lengths, with referenced pages spread over them.
  let pages = "";
  for (let run = 0; run < 400; run++) {
    pages += "0".repeat(run % 4) + (run % 3 ? "0" : "2") + ".".repeat(run % 5);
  }
  const pagedata = pagedataOf([{ start: 0n, pages }]);
  let page = 0;
  let covered = "";
  let more = true;
  while (more) {
    const range = takeUnreferencedRange(
      pagedata,
      { mapping: 0, page },
      3 * PAGE,
    );
    if (!range) break;
    const drawn = pages.slice(range.firstPage, range.endPage);
    assertEquals(range.bytes, drawn.replaceAll(".", "").length * PAGE);
    covered += drawn.replaceAll(".", "");
    page = range.endPage;
    more = range.more;
  }
  assertEquals(covered, pages.replaceAll(/[^0]/g, ""));
});
