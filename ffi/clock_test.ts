/**
 * Tests of the clocks, against those that others have.
 *
 * @module
 */

import { assert } from "@std/assert";
import {
  boottimeSeconds,
  monotonicMicroseconds,
  monotonicSeconds,
} from "./clock.ts";
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

Deno.test("the monotonic clock runs, and is the same in both units", async () => {
  const before = monotonicSeconds();
  await new Promise((resolve) => setTimeout(resolve, 20));
  const between = Number(monotonicMicroseconds()) / 1e6;
  // Microseconds are cut.
  assertAscending(before + 0.019, between + 1e-6, monotonicSeconds() + 2e-6);
});
