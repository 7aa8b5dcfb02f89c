import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { type PhysicalMemory, shareOut } from "./threshold.ts";

/** Shares out among groups of one priority. */
const shareEqually = (excesses: readonly number[], memory: PhysicalMemory) =>
  shareOut(excesses.map((excess) => ({ excess, priority: 50 })), memory);

Deno.test("without a threshold every group must shrink by its excess", () => {
  const memory = { total: 1000, used: 10, threshold: 0 };
  assertEquals(shareEqually([5, -3, 0, 7], memory), [5, 0, 0, 7]);
});

Deno.test("at or below the threshold no group must shrink", () => {
  const memory = { total: 1000, used: 500, threshold: 0.5 };
  assertEquals(shareEqually([5, 70], memory), [0, 0]);
});

Deno.test("what lies above the threshold is shared out in proportion to the excesses", () => {
  const memory = { total: 1000, used: 540, threshold: 0.5 };
  assertEquals(shareEqually([60, 20, -5], memory), [30, 10, 0]);
});

Deno.test("groups of a higher priority give first, and the others the rest", () => {
  const memory = { total: 1000, used: 540, threshold: 0.5 };
  const claims = [
    { excess: 60, priority: 50 },
    { excess: 20, priority: 80 },
    { excess: 30, priority: 50 },
    { excess: 100, priority: 10 },
  ];
  assertEquals(shareOut(claims, memory), [14, 20, 7, 0]);
  assertEquals(shareOut(claims, { ...memory, used: 515 }), [0, 15, 0, 0]);
  assertEquals(shareOut(claims, { ...memory, used: 710 }), [60, 20, 30, 100]);
  const unlimited = { ...memory, threshold: 0 };
  assertEquals(shareOut(claims, unlimited), [60, 20, 30, 100]);
});

Deno.test("no share exceeds its group's excess, and all together no more than lies above", () => {
  fc.assert(fc.property(
    fc.array(fc.integer({ min: -1e12, max: 1e12 }), { maxLength: 20 }),
    fc.integer({ min: 0, max: 1e12 }),
    fc.double({ min: 0.01, max: 1, noNaN: true }),
    (excesses, used, threshold) => {
      const given = shareEqually(excesses, { total: 1e12, used, threshold });
      given.forEach((bytes, index) =>
        assert(bytes >= 0 && bytes <= Math.max(0, excesses[index]))
      );
      const sum = given.reduce((sum, bytes) => sum + bytes, 0);
      const above = Math.max(0, used - threshold * 1e12);
      // Each share is rounded up to a byte.
      assert(sum <= above + excesses.length);
    },
  ));
});
