/**
 * Tests of what is known of the reads of block devices.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import "../../../ffi/testing.ts";
import { DeviceReads, parseReads, type Reads } from "./device_reads.ts";

Deno.test("the reads in a stat of a device", () => {
  const stat =
    "  123456     1234  5678901    98765    23456    34567  4567890   876543        0   123456   975308\n";
  assertEquals(parseReads(stat), { count: 123_456, milliseconds: 98_765 });
  for (const text of ["", "1 2 3", "a b c d e"]) {
    assertEquals(parseReads(text), undefined);
  }
});

Deno.test("a device is in use if it was read from much since the last look", () => {
  let now: Record<string, Reads> = {};
  const reads = new DeviceReads(() => new Map(Object.entries(now)));
  now = {
    busy: { count: 5000, milliseconds: 40_000 },
    idle: { count: 5000, milliseconds: 40_000 },
    ram0: { count: 0, milliseconds: 0 },
  };
  assertEquals(reads.sinceLast(), [], "what was before does not count");
  now = {
    busy: { count: 5100, milliseconds: 40_800 },
    idle: { count: 5063, milliseconds: 41_000 },
    ram0: { count: 1000, milliseconds: 0 },
    new: { count: 200, milliseconds: 20 },
  };
  assertEquals(reads.sinceLast(), [
    { device: "busy", nanoseconds: 8_000_000 },
    { device: "new", nanoseconds: 100_000 },
  ]);
  assertEquals(reads.sinceLast(), []);
});

Deno.test("the counts of this machine can be read", () => {
  const reads = new DeviceReads();
  assertEquals(reads.sinceLast(), []);
  for (const { device, nanoseconds } of reads.sinceLast()) {
    assert(nanoseconds > 0, device);
  }
});
