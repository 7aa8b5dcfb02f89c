import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { MODIFIED, REFERENCED } from "../../memory/pagedata.ts";
import type { PageInterval } from "./page_tables.ts";
import { MOST_BLOCKS, ReferenceBlocks } from "./reference_blocks.ts";

const MIB = 1 << 20;
const PAGE = 4096;

/** The ranges to cool in all lists, in MiB. */
function ranges(blocks: ReferenceBlocks): [number, number][] {
  return [...blocks.lists(1024, 1 << 30)].flat().map(({ start, bytes }) => [
    Number(start) / MIB,
    bytes / MIB,
  ]);
}

/** Blocks after a reading, of which all that can be cooled are chosen. */
function chosenAfter(
  intervals: readonly PageInterval[],
  read: (blocks: ReferenceBlocks) => void,
): ReferenceBlocks {
  const blocks = new ReferenceBlocks();
  blocks.startReading(intervals);
  read(blocks);
  blocks.endReading(0, true);
  blocks.chooseAll();
  return blocks;
}

Deno.test("only blocks with a referenced page are cooled", () => {
  const intervals = [{ firstPage: 512, endPage: 5 * 512 }];
  const blocks = chosenAfter(intervals, (blocks) => {
    blocks.addPages(0, 512, new Uint8Array(512));
    blocks.addPages(0, 2 * 512 + 7, Uint8Array.of(0, REFERENCED, 0));
    blocks.addPages(0, 3 * 512, Uint8Array.of(MODIFIED));
    blocks.addLargePage(0, 4 * 512, { count: 512, bits: 0 });
  });
  assertEquals(ranges(blocks), [[4, 2]]);
});

Deno.test("adjacent blocks are one range, which ends with its mapping", () => {
  const intervals = [
    { firstPage: 256, endPage: 3 * 512 + 256 },
    { firstPage: 3 * 512 + 256, endPage: 8 * 512 },
  ];
  const blocks = chosenAfter(intervals, (blocks) => {
    blocks.addPages(0, 300, Uint8Array.of(REFERENCED));
    blocks.addLargePage(0, 512, { count: 512, bits: REFERENCED });
    blocks.addPages(0, 3 * 512 + 255, Uint8Array.of(REFERENCED));
    blocks.addPages(1, 3 * 512 + 256, Uint8Array.of(REFERENCED | MODIFIED));
  });
  assertEquals(ranges(blocks), [[1, 3], [6, 1], [7, 1]]);
});

Deno.test("nothing is cooled of a mapping that is left out, nor pages that are passed over", () => {
  const intervals = [
    { firstPage: 512, endPage: 512 },
    { firstPage: 1024, endPage: 2048 },
  ];
  const blocks = chosenAfter(intervals, (blocks) => {
    blocks.addPages(0, 600, Uint8Array.of(REFERENCED));
    blocks.passOver(1, 1024, { referenced: 3 });
  });
  assertEquals(ranges(blocks), []);
  assertEquals(blocks.referenced, 4);
  // Their bits stay, so nobody pays for them again.
  blocks.noteCooled(0);
  blocks.startReading(intervals);
  blocks.addPages(0, 600, Uint8Array.of(REFERENCED));
  blocks.passOver(1, 1024, { referenced: 3 });
  assertEquals(blocks.endReading(1, true), 0);
});

Deno.test("lists have limited length and sum", () => {
  const blocks = chosenAfter([{ firstPage: 0, endPage: 100 * 512 }], (all) => {
    for (const block of [1, 3, 5, 7, 8, 9, 11]) {
      all.addPages(0, block * 512, Uint8Array.of(REFERENCED));
    }
  });
  const lists = [...blocks.lists(3, 4 * MIB)].map((list) =>
    list.map(({ start, bytes }) => [Number(start) / MIB, bytes / MIB])
  );
  assertEquals(lists, [
    [[2, 2], [6, 2]],
    [[10, 2], [14, 2]],
    [[16, 4]],
    [[22, 2]],
  ]);
});

/** Blocks in which so many pages have their bits set. */
function reading(
  blocks: ReferenceBlocks,
  referenced: readonly number[],
  { now, judges = true }: { now: number; judges?: boolean },
): number {
  blocks.startReading([{ firstPage: 0, endPage: referenced.length * 512 }]);
  for (const [block, count] of referenced.entries()) {
    const bits = new Uint8Array(512).fill(REFERENCED, 0, count);
    blocks.addPages(0, block * 512, bits);
  }
  return blocks.endReading(now, judges);
}

Deno.test("a reference is paid for once after each reset of its block", () => {
  const blocks = new ReferenceBlocks();
  assertEquals(reading(blocks, [512, 100, 0], { now: 0 }), 0);
  assertEquals(blocks.choose(512, 0), 512);
  assertEquals(ranges(blocks), [[0, 2]]);
  blocks.noteCooled(0);
  assertEquals(reading(blocks, [30, 100, 0], { now: 100, judges: false }), 30);
  assertEquals(reading(blocks, [50, 100, 0], { now: 5000 }), 20);
  // Pages that became resident since are taken for such, but not whole blocks.
  assertEquals(reading(blocks, [50, 110, 5, 512], { now: 10_000 }), 15);
  // What has gone is not paid back.
  assertEquals(reading(blocks, [0, 0, 0, 0], { now: 15_000 }), 0);
  assertEquals(reading(blocks, [1, 0, 0, 0], { now: 20_000 }), 1);
});

Deno.test("a large page counts once, but as a whole as not judged", () => {
  const blocks = new ReferenceBlocks();
  blocks.startReading([{ firstPage: 0, endPage: 512 }]);
  blocks.addLargePage(0, 0, { count: 512, bits: REFERENCED });
  blocks.endReading(0, true);
  assertEquals(blocks.referenced, 1);
  assertEquals(blocks.unjudged, 512 * PAGE);
});

Deno.test("blocks are judged by the reading that follows their reset", () => {
  const blocks = new ReferenceBlocks();
  reading(blocks, [512, 512], { now: 0 });
  assertEquals(blocks.unjudged, 1024 * PAGE);
  blocks.choose(1, 0);
  blocks.noteCooled(0);
  reading(blocks, [10, 512], { now: 50, judges: false });
  assertEquals(blocks.unjudged, 522 * PAGE, "a glance judges nothing");
  reading(blocks, [20, 512], { now: 5000 });
  assertEquals(blocks.unjudged, 512 * PAGE);
  // A block that is new was used since the reading before.
  reading(blocks, [20, 512, 512], { now: 10_000 });
  assertEquals(blocks.unjudged, 512 * PAGE);
  blocks.begin();
  reading(blocks, [20, 512, 512], { now: 15_000 });
  assertEquals(blocks.unjudged, 1044 * PAGE);
  blocks.begin(15_000);
  assertEquals(reading(blocks, [20, 512, 512], { now: 20_000 }), 1044);
  assertEquals(blocks.unjudged, 0);
});

Deno.test("blocks take turns; those found in use again and again rest for longer", () => {
  const blocks = new ReferenceBlocks();
  const resets = [0, 0, 0, 0];
  // All are always in use, but the third: of that less and less.
  let state = [512, 512, 512, 512];
  for (let now = 0; now < 600_000; now += 5000) {
    reading(blocks, state, { now });
    blocks.choose(1, now);
    const chosen = new Set(ranges(blocks).map(([start]) => start / 2));
    blocks.noteCooled(now);
    for (const block of chosen) resets[block]++;
    const less = state[2] < 10 ? 512 : state[2] / 3 | 0;
    state = [512, 512, chosen.has(2) ? less : state[2], 512];
  }
  const [first, second, third, fourth] = resets;
  assert(Math.abs(first - second) <= 1, `${resets}`);
  assert(Math.abs(first - fourth) <= 1, `${resets}`);
  // 4, 8, … 256 s after the one before.
  assert(first >= 6 && first <= 9, `${resets}`);
  assert(third > 3 * first, `${resets}`);
});

Deno.test("a process with memory in many places has larger blocks", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 9000 }), fc.nat(511)), {
        minLength: 1,
        maxLength: 8,
      }),
      fc.integer({ min: 2, max: 1 << 17 }),
      (parts, step) => {
        const blocks = new ReferenceBlocks();
        let end = 0;
        const pages: number[] = [];
        for (const [count, offset] of parts) {
          for (let i = 0; i < count; i++) pages.push(end + i * 512 + offset);
          end += count * 512 * step;
        }
        const intervals = [{ firstPage: 0, endPage: end }];
        for (const now of [0, 5000, 10_000]) {
          blocks.startReading(intervals);
          for (const page of pages) {
            blocks.addPages(0, page, Uint8Array.of(REFERENCED));
          }
          const paid = blocks.endReading(now, true);
          assertEquals(paid, now === 0 ? 0 : pages.length);
          assertEquals(blocks.referenced, pages.length);
          blocks.chooseAll();
          let at = 0;
          let count = 0;
          for (
            const { start, bytes } of [...blocks.lists(64, 2 ** 50)].flat()
          ) {
            count++;
            const first = Number(start) / PAGE;
            const behind = first + bytes / PAGE;
            assert(at >= pages.length || pages[at] >= first, "in order");
            while (at < pages.length && pages[at] < behind) at++;
          }
          assertEquals(at, pages.length, "all are in the ranges");
          assert(count <= MOST_BLOCKS);
          blocks.noteCooled(now);
        }
      },
    ),
    { seed: 20_261_127, numRuns: 60 },
  );
});
