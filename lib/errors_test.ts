/**
 * Tests of the errors that rcap throws on purpose.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { UsageError } from "./errors.ts";

Deno.test("a usage error says what is wrong, and apart from it what to do", () => {
  const { message, problem, remedy } = new UsageError("it is wrong", "do this");
  assertEquals(
    { message, problem, remedy },
    {
      message: "it is wrong; do this",
      problem: "it is wrong",
      remedy: "do this",
    },
  );
  const alone = new UsageError("it is wrong");
  assertEquals(alone.message, "it is wrong");
  assertEquals(alone.remedy, undefined);
});
