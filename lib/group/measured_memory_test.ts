/**
 * Tests of what reads of pagedata cost.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import "../../tests/support/deadline.ts";
import { openPlatform } from "../platform/system_testing.ts";
import { MeasuredMemory } from "./measured_memory.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();

for (const source of ["smaps", "auto"] as const) {
  Deno.test(`the cost of a read does not include waiting (${source})`, async () => {
    await using child = new Deno.Command("sleep", { args: ["600"] }).spawn();
    using platform = openPlatform(source, () => {});
    const readings: { pages: number; seconds: number }[] = [];
    const entry = platform.readProcess(child.pid);
    const memory = new MeasuredMemory(
      platform.open(entry),
      (reading) => readings.push(reading),
    );
    await memory.readPagedata();
    const reading = memory.readPagedata();
    // Meanwhile this thread has something else to do.
    const began = performance.now();
    while (performance.now() - began < 500);
    await reading;
    const { rss } = memory.readSizes();
    child.kill("SIGKILL");
    assertEquals(readings.length, 2);
    for (const { pages, seconds } of readings) {
      // All that are resident count, even if they cannot be paged out.
      assert(pages * platform.pageSize >= rss * 0.8, `${pages} of ${rss}`);
      assert(seconds > 0 && seconds < 0.25, `${seconds}`);
    }
  });
}
