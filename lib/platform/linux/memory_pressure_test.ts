/**
 * Tests of reading memory pressure.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import "../../../ffi/testing.ts";
import { machinePressure, parsePressure } from "./memory_pressure.ts";

Deno.test("the pressure of the last ten seconds is a share", () => {
  const of = (avg10: string) =>
    parsePressure(
      `some avg10=${avg10} avg60=0.12 avg300=1.49 total=72378152\n`,
    );
  assertEquals(of("0.00"), 0);
  assertEquals(of("3.20"), 0.032);
  assertEquals(of("100.00"), 1);
  assertEquals(of("x"), undefined);
  assertEquals(parsePressure(""), undefined);
  // Of a control file, no more than a number is read.
  assertEquals(
    parsePressure("some avg10=12.34 avg60=0.12 avg300=1.49 tot"),
    0.1234,
  );
});

Deno.test("the pressure of this machine is known, where the kernel tells it", () => {
  const pressure = machinePressure();
  assert(pressure === undefined || pressure >= 0 && pressure <= 1);
});
