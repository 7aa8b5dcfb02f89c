/**
 * Tests of the clocks against other clocks.
 *
 * @module
 */

import { assert } from "@std/assert";
import { boottimeSeconds, monotonicMicroseconds } from "./clock.ts";
import "./testing.ts";

/** Asserts that values are in ascending order. */
function assertAscending(...values: number[]): void {
  const sorted = values.toSorted((one, other) => one - other);
  assert(`${sorted}` === `${values}`, `${values}`);
}

/** The uptime in `/proc/uptime`, which is cut to hundredths of a second. */
function uptime(): number {
  return Number(Deno.readTextFileSync("/proc/uptime").split(" ")[0]);
}

Deno.test("the clock since boot is the uptime", () => {
  assertAscending(uptime(), boottimeSeconds(), uptime() + 0.01);
});

Deno.test("the monotonic clock runs as that of the runtime does", async () => {
  const now = () => Number(monotonicMicroseconds()) / 1000;
  const [before, began] = [now(), performance.now()];
  await new Promise((resolve) => setTimeout(resolve, 20));
  const elapsed = performance.now() - began;
  // Microseconds are cut.
  assertAscending(15, elapsed - 1, now() - before, elapsed + 1000);
});
