/**
 * Tests of the clocks, against those that others have.
 *
 * @module
 */

import { assert } from "@std/assert";
import { boottimeSeconds, monotonicMicroseconds } from "./clock.ts";
import "./testing.ts";

/** Asserts that values follow on each other. */
function assertAscending(...values: number[]): void {
  const sorted = values.toSorted((one, other) => one - other);
  assert(`${sorted}` === `${values}`, `${values}`);
}

/** The uptime as `/proc/uptime` has it, which is cut to hundredths. */
function uptime(): number {
  return Number(Deno.readTextFileSync("/proc/uptime").split(" ")[0]);
}

Deno.test("the clock since boot is the uptime", () => {
  assertAscending(uptime(), boottimeSeconds(), uptime() + 0.01);
});

Deno.test("the monotonic clock runs as the system's does, in microseconds", async () => {
  const seconds = () => Number(monotonicMicroseconds()) / 1e6;
  const began = seconds();
  const begin = performance.now();
  await new Promise((resolve) => setTimeout(resolve, 20));
  const passed = (performance.now() - begin) / 1000;
  // Microseconds are cut.
  assertAscending(began + passed, seconds() + 2e-6);
  assertAscending(seconds(), began + passed + 1);
});
