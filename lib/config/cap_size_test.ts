/**
 * Tests of the limits on the size of a cap.
 *
 * @module
 */

import { assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../errors.ts";
import { describeExcessiveCap, parseCapSize } from "./cap_size.ts";

const GIB = 2 ** 30;

function parse(text: string): number {
  return parseCapSize(text, { what: "SIZE", totalMemory: () => 4 * GIB });
}

Deno.test("a cap is a page or more", () => {
  assertEquals(parse("4K"), 4096);
  assertEquals(parse("25%"), GIB);
  const messages: Record<string, string> = {
    "4095":
      'SIZE: "4095" is less than a page of memory, 4K; a number without a unit is bytes: did you mean "4095M"?',
    "3K": 'SIZE: "3K" is less than a page of memory, 4K',
  };
  for (const [text, message] of Object.entries(messages)) {
    assertEquals(assertThrows(() => parse(text), UsageError).message, message);
  }
});

Deno.test("a cap above the memory of the machine is doubted", () => {
  assertEquals(describeExcessiveCap(GIB, GIB), undefined);
  assertEquals(
    describeExcessiveCap(2 * GIB, GIB),
    "2.0G is larger than the 1.0G of memory of this machine",
  );
});
