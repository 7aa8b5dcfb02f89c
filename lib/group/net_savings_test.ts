/**
 * Tests of what a group has in swap, and what that saves.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { FakeClock, FakePlatform, PAGE } from "../platform/fake_testing.ts";
import { NetSavings } from "./net_savings.ts";

function start() {
  const platform = new FakePlatform(new FakeClock());
  const memories = [30, 10].map((gone) => {
    const process = platform.start("one");
    process.swapped = gone * PAGE;
    return platform.open(process.entry);
  });
  return { platform, memories, savings: new NetSavings() };
}

Deno.test("what is saved is what is out, less what memory holds of it", () => {
  const { platform, memories, savings } = start();
  platform.swapShare = 0.25;
  assertEquals(savings.of(memories, platform, { now: 0, activity: 0 }), {
    swap: 40 * PAGE,
    saved: 30 * PAGE,
  });
  // Not read again at once.
  platform.swapShare = 0;
  assertEquals(
    savings.of(memories, platform, { now: 500, activity: 0 }).saved,
    30 * PAGE,
  );
  const at = (now: number, activity: number) =>
    savings.of(memories, platform, { now, activity }).saved;
  assertEquals(at(900, 1), 30 * PAGE);
  assertEquals(at(1000, 1), 40 * PAGE);
  // Less often while nothing happens.
  platform.swapShare = 0.5;
  assertEquals(at(30_000, 1), 40 * PAGE);
  assertEquals(at(31_000, 1), 20 * PAGE);
});

Deno.test("compressed memory that is larger than what it holds saves nothing", () => {
  const { platform, memories, savings } = start();
  platform.swapShare = 1.1;
  assertEquals(
    savings.of(memories, platform, { now: 0, activity: 0 }).saved,
    0,
  );
});

Deno.test("what is saved is not known if a figure is missing, unless nothing is out", () => {
  const { platform, memories, savings } = start();
  platform.swapShare = undefined;
  assertEquals(savings.of(memories, platform, { now: 0, activity: 0 }), {
    swap: 40 * PAGE,
    saved: null,
  });
  assertEquals(savings.of([], platform, { now: 1000, activity: 1 }), {
    swap: 0,
    saved: 0,
  });
});
