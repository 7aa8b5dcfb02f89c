/**
 * Tests of what costs mean, in words.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import {
  describePageIns,
  describeReference,
  meaningOfPageIns,
  meaningOfReference,
} from "./cost_words.ts";

Deno.test("what a reference costs, and what that means for a process", () => {
  const meanings = [0, 33, 297, 9_700, 40_000].map((cost) => [
    describeReference(cost),
    meaningOfReference(cost),
  ]);
  const meaning = (share: string) =>
    `resetting 1 GiB in use every 5 s would take ${share} of its process's time`;
  assertEquals(meanings, [
    ["takes 0 ns longer after a reset", meaning("about 0.00 %")],
    ["takes 33 ns longer after a reset", meaning("about 0.17 %")],
    ["takes 297 ns longer after a reset", meaning("about 1.6 %")],
    ["takes 9.7 µs longer after a reset", meaning("about 51 %")],
    ["takes 40 µs longer after a reset", meaning("all")],
  ]);
});

Deno.test("what page-ins cost, and what that means for a process", () => {
  const costs = [
    { from: "swap", device: "zram0", nanoseconds: 10_269 },
    { from: "file", device: "vda", nanoseconds: 8_000_000 },
  ] as const;
  assertEquals(
    describePageIns(costs),
    "takes 10 µs from zram0, 8.0 ms from vda (files)",
  );
  assertEquals(
    describePageIns([{ from: "reads", device: "sdb", nanoseconds: 5e6 }]),
    "takes 5.0 ms from sdb (reads of others)",
  );
  assertEquals(
    meaningOfPageIns(costs),
    "a process that needs 1 GiB again, page by page, waits about 2.7 s from zram0, 2097 s from vda",
  );
});
