/**
 * Tests of the choice of the platform.
 *
 * @module
 */

import { assertEquals, assertThrows } from "@std/assert";
import { CapabilityError } from "../errors.ts";
import { systemOf } from "./open.ts";

Deno.test("the platform is that of the operating system", () => {
  for (const os of ["illumos", "solaris"] as const) {
    const { pagedataSources, stopsToPageOut, defaultPolicy } = systemOf(os);
    assertEquals(
      [pagedataSources, stopsToPageOut, defaultPolicy],
      [["proc"], true, "clock"],
    );
  }
  const { pagedataSources, stopsToPageOut } = systemOf("linux");
  assertEquals([pagedataSources, stopsToPageOut], [["pte", "smaps"], false]);
});

Deno.test("other operating systems are refused in words", () => {
  assertThrows(
    () => systemOf("darwin"),
    CapabilityError,
    "rcap works on Linux and illumos, not on darwin",
  );
});
