import { assertEquals } from "@std/assert";
import { MODIFIED, REFERENCED } from "../../memory/pagedata.ts";
import { UsedBlocks } from "./used_blocks.ts";

const MIB = 1 << 20;

/** The ranges in all lists, in MiB. */
function ranges(blocks: UsedBlocks): [number, number][] {
  return [...blocks.lists(1024, 1 << 30)].flat().map(({ start, bytes }) => [
    Number(start) / MIB,
    bytes / MIB,
  ]);
}

Deno.test("only blocks with a referenced page are in use", () => {
  const blocks = new UsedBlocks([{ firstPage: 512, endPage: 5 * 512 }]);
  blocks.addPages(0, 512, new Uint8Array(512));
  blocks.addPages(0, 2 * 512 + 7, Uint8Array.of(0, REFERENCED, 0));
  blocks.addPages(0, 3 * 512, Uint8Array.of(MODIFIED));
  blocks.addLargePage(0, 4 * 512, { count: 512, bits: 0 });
  assertEquals(ranges(blocks), [[4, 2]]);
});

Deno.test("adjacent blocks are one range, which ends with its mapping", () => {
  const blocks = new UsedBlocks([
    { firstPage: 256, endPage: 3 * 512 + 256 },
    { firstPage: 3 * 512 + 256, endPage: 8 * 512 },
  ]);
  blocks.addPages(0, 300, Uint8Array.of(REFERENCED));
  blocks.addLargePage(0, 512, { count: 512, bits: REFERENCED });
  blocks.addPages(0, 3 * 512 + 255, Uint8Array.of(REFERENCED));
  blocks.addPages(1, 3 * 512 + 256, Uint8Array.of(REFERENCED | MODIFIED));
  assertEquals(ranges(blocks), [[1, 3], [6, 1], [7, 1]]);
});

Deno.test("nothing is in use in a mapping that is left out", () => {
  const blocks = new UsedBlocks([{ firstPage: 512, endPage: 512 }]);
  blocks.addPages(0, 600, Uint8Array.of(REFERENCED));
  assertEquals(blocks.isEmpty, true);
  assertEquals(ranges(blocks), []);
});

Deno.test("lists have limited length and sum", () => {
  const blocks = new UsedBlocks([{ firstPage: 0, endPage: 100 * 512 }]);
  for (const block of [1, 3, 5, 7, 8, 9, 11]) {
    blocks.addPages(0, block * 512, Uint8Array.of(REFERENCED));
  }
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
