/**
 * Tests of how others are recognized who reset reference bits.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import "../../../ffi/testing.ts";
import { FakeClock, FakePlatform } from "../fake_testing.ts";
import { isKdamond, parseGenerations } from "./doctor_costs.ts";

Deno.test("only a thread of the kernel is one of DAMON, whatever a process calls itself", () => {
  const { entry } = new FakePlatform(new FakeClock()).start("kdamond.0");
  assertEquals(isKdamond(entry), false);
  assertEquals(isKdamond({ ...entry, isSystem: true }), true);
  for (const comm of ["kdamond", "kdamond.", "kdamond.x", "akdamond.0"]) {
    assertEquals(isKdamond({ ...entry, comm, isSystem: true }), false, comm);
  }
});

Deno.test("MGLRU is on if its main switch is", () => {
  for (
    const [text, isOn] of [
      ["0x0007\n", true],
      ["0x0001\n", true],
      ["0x0006\n", false],
      ["0x0000\n", false],
      ["", false],
      ["?", false],
    ] as const
  ) {
    assertEquals(parseGenerations(text), isOn, text);
  }
});
