/**
 * Tests of recording pages within limits.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  bitsOfPages,
  mappingBytes,
  type Pagedata,
  recordedBytes,
} from "../../memory/pagedata.ts";
import { BLOCK, COARSEST, PageRecorder, partsOf } from "./page_recorder.ts";

const PAGE = 4096;
const BLOCK_PAGES = BLOCK / PAGE;
const START = 0x7f00_0000_0000n;

/** Consecutive pages, with a byte each or with one byte for all. */
interface Run {
  gap: number;
  bits: number[];
  isLarge: boolean;
}

const runs: fc.Arbitrary<Run[]> = fc.array(
  fc.record({
    gap: fc.oneof(fc.nat(3), fc.nat(1000)),
    bits: fc.array(fc.nat(3), { minLength: 1, maxLength: 700 }),
    isLarge: fc.boolean(),
  }),
  { minLength: 1, maxLength: 20 },
);

/**
 * Records runs in one mapping; also returns the byte of every page, -1 where there
 * is none.
 */
function record(recorder: PageRecorder, all: readonly Run[]) {
  const expected: number[] = [];
  for (const { gap, bits, isLarge } of all) {
    for (let i = 0; i < gap; i++) expected.push(-1);
    for (const one of bits) expected.push(isLarge ? bits[0] : one);
  }
  recorder.addMapping({
    start: START,
    pages: expected.length + 7,
    pageSize: PAGE,
    flags: 0,
  });
  let page = 0;
  for (const { gap, bits, isLarge } of all) {
    page += gap;
    if (isLarge) {
      recorder.addPages(page, { count: bits.length, bits: bits[0] });
    } else recorder.addBits(page, Uint8Array.from(bits));
    page += bits.length;
  }
  return { pagedata: recorder.build(), expected };
}

/** Returns the bits of the pages of a reading, by address; -1 where none is recorded. */
function pictureOf(pagedata: Pagedata, pages: number): number[] {
  const picture: number[] = Array(pages).fill(-1);
  for (const mapping of pagedata.mappings) {
    const first = Number(mapping.start - START) / PAGE;
    const each = mapping.pageSize / PAGE;
    for (let run = mapping.firstRun; run < mapping.endRun; run++) {
      const page = pagedata.runPage[run];
      const count = pagedata.runOffset[run + 1] - pagedata.runOffset[run];
      const bits = bitsOfPages(pagedata, mapping, {
        from: page,
        to: page + count,
      });
      for (let i = 0; i < count * each; i++) {
        picture[first + page * each + i] = bits[Math.floor(i / each)];
      }
    }
  }
  return picture;
}

Deno.test("without limits every page is recorded as it is", () => {
  fc.assert(fc.property(runs, (all) => {
    const recorder = new PageRecorder();
    const { pagedata, expected } = record(recorder, all);
    assertEquals(
      pictureOf(pagedata, expected.length).slice(0, expected.length),
      expected,
    );
    assertEquals(recorder.leftOut, 0);
  }));
});

Deno.test("at a coarser step, a block is referenced if any of its pages is", () => {
  fc.assert(fc.property(runs, (all) => {
    const exact = new PageRecorder();
    record(exact, all);
    const recorder = new PageRecorder({ step: COARSEST });
    const { pagedata, expected } = record(recorder, all);
    const pages = expected.length + 7;
    const blocks = pages * PAGE >= 2 * BLOCK
      ? Math.floor(pages / BLOCK_PAGES)
      : 0;
    for (let block = 0; block < blocks; block++) {
      const from = block * BLOCK_PAGES;
      const found = expected.slice(from, from + BLOCK_PAGES)
        .filter((one) => one >= 0);
      const bits = found.length > 0 ? found.reduce((a, b) => a | b) : -1;
      expected.fill(bits, from, from + BLOCK_PAGES);
    }
    const picture = pictureOf(pagedata, expected.length);
    assertEquals(picture.slice(0, expected.length), expected);
    // The exact demand is still known.
    assertEquals(recorder.wanted, exact.wanted);
  }));
});

Deno.test("partsOf returns the parts that are recorded", () => {
  for (const pages of [1, 512, 1024, 1025, 100_000, 16 * 512]) {
    for (let step = 0; step <= COARSEST; step++) {
      const recorder = new PageRecorder({ step });
      recorder.addMapping({ start: START, pages, pageSize: PAGE, flags: 0 });
      const { mappings } = recorder.build();
      assertEquals(
        mappings.map((mapping) => ({
          offset: Number(mapping.start - START),
          pages: mapping.pages,
          pageSize: mapping.pageSize,
        })),
        partsOf({ pages, pageSize: PAGE }, step),
      );
      const bytes = mappings.reduce((sum, one) => sum + mappingBytes(one), 0);
      assertEquals(bytes, pages * PAGE);
    }
  }
});

Deno.test("hugetlb pages are recorded one by one at every step", () => {
  const recorder = new PageRecorder({ step: COARSEST });
  recorder.addMapping({ start: START, pages: 100, pageSize: BLOCK, flags: 0 });
  recorder.addPages(3, { count: 5, bits: 1 });
  const pagedata = recorder.build();
  const [mapping, ...others] = pagedata.mappings;
  assertEquals(others, []);
  assertEquals(recordedBytes(pagedata, mapping), 5 * BLOCK);
});

Deno.test("pages without room are left out and counted, and the rest is complete", () => {
  const recorder = new PageRecorder({ most: 1000 });
  recorder.addMapping({ start: START, pages: 1e6, pageSize: PAGE, flags: 0 });
  for (let page = 0; page < 4000; page += 2) {
    recorder.addPages(page, { count: 1, bits: 0 });
  }
  const { bits, runPage } = recorder.build();
  // An isolated page takes as much as four.
  assertEquals([bits.length, runPage.length], [250, 250]);
  assertEquals(recorder.leftOut, 1750);
  assertEquals(recorder.wanted, 8000);
});

Deno.test("a mapped terabyte takes little memory at a coarse step", () => {
  const pages = 2 ** 40 / PAGE;
  const recorder = new PageRecorder({
    most: 2 ** 20,
    step: 1,
    expectedPages: pages,
  });
  recorder.addMapping({ start: START, pages, pageSize: PAGE, flags: 0 });
  for (let page = 0; page < pages; page += BLOCK_PAGES) {
    recorder.addPages(page, { count: BLOCK_PAGES, bits: 2 });
  }
  const pagedata = recorder.build();
  assertEquals(recorder.leftOut, 0);
  assertEquals(recordedBytes(pagedata, pagedata.mappings[0]), 2 ** 40);
  assert(pagedata.bits.buffer.byteLength <= 2 ** 20);
});
