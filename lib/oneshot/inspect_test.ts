/**
 * Tests of the verdicts of `rcap inspect`, and of the address ranges of its `--pages`.
 *
 * @module
 */

import { assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../errors.ts";
import {
  FakeClock,
  FakePlatform,
  hot,
  PAGE,
  TICK,
} from "../platform/fake_testing.ts";
import { inspect, parseAddressRange } from "./inspect.ts";

Deno.test("the verdict, and how much of a mapping is mapped once", async () => {
  const clock = new FakeClock();
  const platform = new FakePlatform(clock);
  const process = platform.start("one", hot("hot", "in use and shared"));
  process.fill("hot", 10);
  process.fill("cold", 20);
  process.fill("shared", 300, { sharers: 2 });
  process.fill("in use and shared", 400, { sharers: 2 });
  process.fill("all but a little is shared", 500, { sharers: 2, own: 4 });
  process.fill("partly shared", 500, { sharers: 2, own: 5 });
  process.fill("locked", 30, { isLocked: true });
  const inspected = await clock.finish(
    inspect({
      pid: process.pid,
      observation: 2000,
      signal: new AbortController().signal,
      log: { warn() {}, info() {}, debug() {} },
      platform,
      clock,
    }),
    TICK,
  );
  const { mappings, totals } = inspected;
  assertEquals(
    mappings.map(({ rss, own, verdict }) => [rss / PAGE, own / PAGE, verdict]),
    [
      [10, 10, "hot"],
      [20, 20, "cold"],
      [300, 0, "shared"],
      [400, 0, "shared"],
      [500, 4, "shared"],
      [500, 5, "cold"],
      [30, 30, "locked"],
    ],
  );
  assertEquals(totals.own, 69 * PAGE);
});

Deno.test("a range is a start, or a start and an end, with or without 0x", () => {
  assertEquals(parseAddressRange("7f30c8000000"), {
    start: 0x7f30_c800_0000n,
    end: undefined,
  });
  for (const text of ["1000-2F00", "0x1000-0x2f00", "1000-0x2f00"]) {
    assertEquals(parseAddressRange(text), { start: 0x1000n, end: 0x2f00n });
  }
  assertEquals(
    parseAddressRange("ffffffffff600000").start,
    0xffff_ffff_ff60_0000n,
  );
});

Deno.test("an invalid range is refused", () => {
  for (
    const text of [
      "",
      "-",
      "zz",
      "1000-",
      "-2000",
      "1000-2000-3000",
      "0x",
      " 1000",
      "1000 2000",
      "12345678901234567",
      "1_000",
    ]
  ) {
    const error = assertThrows(() => parseAddressRange(text), UsageError);
    assertEquals(
      error.message,
      `--pages: "${text}" is not START or START-END, hexadecimal addresses as in the table`,
    );
  }
});
