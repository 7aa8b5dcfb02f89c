/**
 * Tests of what goes to standard output and standard error.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { escapeControls } from "./output.ts";

Deno.test("control characters are escaped, so that a text stays on its line", () => {
  assertEquals(
    escapeControls("/tmp/a b\nc\t(deleted)"),
    "/tmp/a b\\nc\\t(deleted)",
  );
  // A terminal takes these for commands: in 7 bits, and in 8.
  assertEquals(
    escapeControls("\x00\x1b[31m\x7f\x9b31m\x85"),
    "\\x00\\x1b[31m\\x7f\\x9b31m\\x85",
  );
});

Deno.test("every other character stays", () => {
  const text = "größe – 日本語 🐢 \\012 ~";
  assertEquals(escapeControls(text), text);
});
