/**
 * Tests of pagedata and its builder.
 *
 * @module
 */

import { assertEquals, assertThrows } from "@std/assert";
import { MA_SHARED, SCHEDCTL_FLAGS } from "./mapping_flags.ts";
import {
  clearBits,
  countUnreferenced,
  endOffset,
  firstOffset,
  isReferenced,
  isSchedctl,
  mappingBytes,
  mappingEnd,
  MODIFIED,
  PagedataBuilder,
  recordedBytes,
  REFERENCED,
  unreferencedBytes,
} from "./pagedata.ts";
import { drawingOf, PAGE, pagedataOf } from "./testing.ts";

Deno.test("the builder places every run at its page", () => {
  const builder = new PagedataBuilder();
  builder.addMapping({ start: 0x1000n, pages: 8, pageSize: PAGE, flags: 0 });
  builder.addPages(1, { count: 2, bits: REFERENCED });
  builder.addBits(3, Uint8Array.of(0, MODIFIED));
  builder.addPages(7, { count: 1, bits: REFERENCED | MODIFIED });
  builder.addMapping({ start: 0x9000n, pages: 3, pageSize: PAGE, flags: 0 });
  builder.addMapping({ start: 0xc000n, pages: 2, pageSize: PAGE, flags: 0 });
  builder.addPages(0, { count: 2, bits: 0 });
  assertEquals(drawingOf(builder.build()), [".2201..3", "...", "00"]);
});

Deno.test("the builder keeps its contents when it outgrows its first arrays", () => {
  const builder = new PagedataBuilder();
  const expected: string[] = [];
  const counts = [...new Uint8Array(100).fill(1), 9000, 30_000];
  // The small mappings outgrow the array of runs, the large ones the array of
  // bytes.
  for (const [i, count] of counts.entries()) {
    const start = BigInt(i) * 0x1000_0000n;
    const pages = 2 * count + 1;
    builder.addMapping({ start, pages, pageSize: PAGE, flags: 0 });
    builder.addBits(0, new Uint8Array(count).fill(i % 4));
    builder.addPages(count + 1, { count, bits: 3 });
    expected.push(`${String(i % 4).repeat(count)}.${"3".repeat(count)}`);
  }
  assertEquals(drawingOf(builder.build()), expected);
});

Deno.test("every way to add pages makes room for them", () => {
  const shape = { start: 0n, pages: 20_000, pageSize: PAGE, flags: 0 };
  const bits = new Uint8Array(20_000).fill(2);
  const byBits = new PagedataBuilder();
  byBits.addMapping(shape);
  byBits.addBits(0, bits);
  assertEquals(byBits.build().bits, bits);
  const byPages = new PagedataBuilder();
  byPages.addMapping(shape);
  byPages.addPages(0, { count: 20_000, bits: 2 });
  assertEquals(byPages.build().bits, bits);
});

Deno.test("the builder requires mappings in address order and without overlap", () => {
  const builder = new PagedataBuilder();
  const shape = { pages: 2, pageSize: PAGE, flags: 0 };
  builder.addMapping({ start: 0x4000n, ...shape });
  assertThrows(
    () => builder.addMapping({ start: 0x5000n, ...shape }),
    RangeError,
    "mapping at 0x5000 is out of address order",
  );
  builder.addMapping({ start: 0x6000n, ...shape });
  assertEquals(drawingOf(builder.build()), ["..", ".."]);
});

Deno.test("an untouched reservation of 1 TiB takes no memory", () => {
  const builder = new PagedataBuilder();
  const pages = 2 ** 28;
  builder.addMapping({ start: 0x1000n, pages, pageSize: PAGE, flags: 0 });
  builder.addPages(pages - 1, { count: 1, bits: 0 });
  const pagedata = builder.build();
  const [mapping] = pagedata.mappings;
  assertEquals(pagedata.bits.buffer.byteLength <= PAGE, true);
  assertEquals(mappingBytes(mapping), 2 ** 40);
  assertEquals(recordedBytes(pagedata, mapping), PAGE);
});

Deno.test("a mapping's end is exact even if a double would not be", () => {
  const [mapping] = pagedataOf([
    { start: 0xffff_ffff_ffff_e000n, pages: "0." },
  ]).mappings;
  assertEquals(mappingEnd(mapping), 0x1_0000_0000_0000_0000n);
});

Deno.test("counting covers only recorded pages and does not change the bits", () => {
  const pages = ["0..0|02013", "....", "3210", "00000000000"];
  const pagedata = pagedataOf(
    pages.map((pages, i) => ({ start: BigInt(i) * 0x10000n, pages })),
  );
  const before = drawingOf(pagedata);
  const { mappings } = pagedata;
  const counts = mappings.map((at) => countUnreferenced(pagedata, at));
  assertEquals(counts, [4, 0, 1, 11]);
  const referenced = mappings.map((at) => isReferenced(pagedata, at));
  assertEquals(referenced, [true, false, true, false]);
  const recorded = mappings.map((at) => recordedBytes(pagedata, at) / PAGE);
  assertEquals(recorded, [7, 0, 4, 11]);
  assertEquals(drawingOf(pagedata), before);
});

Deno.test("every page of a stretch is counted", () => {
  // Bytes before and after the mapping are of the other kind, and all lengths and
  // places are tried, so that a loop that reads past an end is detected.
  for (let length = 1; length <= 19; length++) {
    for (let page = 0; page < length; page++) {
      for (const bits of ["1", "2", "3"]) {
        const pages = "0".repeat(page) + bits + "0".repeat(length - page - 1);
        const pagedata = pagedataOf([
          { start: 0n, pages: "2".repeat(length % 5 + 1) },
          { start: 0x100000n, pages },
          { start: 0x200000n, pages: "0" },
        ]);
        const [, mapping, last] = pagedata.mappings;
        assertEquals(countUnreferenced(pagedata, mapping), length - 1, pages);
        assertEquals(isReferenced(pagedata, mapping), true, pages);
        assertEquals(isReferenced(pagedata, last), false, pages);
      }
    }
  }
});

Deno.test("unreferenced bytes use the page size of each mapping", () => {
  const pagedata = pagedataOf([
    { start: 0x10000n, pages: "0.20" },
    { start: 0x40000n, pages: "01.0", pageSize: 16 * PAGE },
  ]);
  assertEquals(unreferencedBytes(pagedata), (2 + 2 * 16) * PAGE);
});

Deno.test("the schedctl page counts as unreferenced, though it is never paged out", () => {
  const pagedata = pagedataOf([
    { start: 0x10000n, pages: "0", flags: SCHEDCTL_FLAGS },
  ]);
  assertEquals(unreferencedBytes(pagedata), PAGE);
});

Deno.test("clearing makes exactly the recorded pages unreferenced", () => {
  const pagedata = pagedataOf([
    { start: 0x10000n, pages: "3.21" },
    { start: 0x20000n, pages: ".1." },
  ]);
  clearBits(pagedata);
  assertEquals(drawingOf(pagedata), ["0.00", ".0."]);
});

Deno.test("the bytes of mappings follow each other", () => {
  const pagedata = pagedataOf([
    { start: 0x10000n, pages: "1.1" },
    { start: 0x20000n, pages: "..." },
    { start: 0x30000n, pages: "2|2" },
  ]);
  const offsets = pagedata.mappings.map((mapping) => [
    firstOffset(pagedata, mapping),
    endOffset(pagedata, mapping),
  ]);
  assertEquals(offsets, [[0, 2], [2, 2], [2, 4]]);
});

Deno.test("schedctl is one page with exactly its flags", () => {
  const { mappings } = pagedataOf([
    { start: 0x10000n, pages: "0", flags: SCHEDCTL_FLAGS },
    { start: 0x20000n, pages: "00", flags: SCHEDCTL_FLAGS },
    { start: 0x30000n, pages: "0", flags: SCHEDCTL_FLAGS & ~MA_SHARED },
    { start: 0x40000n, pages: "0", flags: SCHEDCTL_FLAGS | 0x10 },
  ]);
  assertEquals(mappings.map(isSchedctl), [true, false, false, false]);
});
