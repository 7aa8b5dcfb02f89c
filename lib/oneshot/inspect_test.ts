/**
 * Tests of the address ranges of `rcap inspect --pages`.
 *
 * @module
 */

import { assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../errors.ts";
import { parseAddressRange } from "./inspect.ts";

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
