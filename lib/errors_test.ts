/**
 * Tests of the errors that rcap throws on purpose, and of the exit codes.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { EXIT_CODES, UsageError } from "./errors.ts";

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

Deno.test("the documentation lists the exit codes as the table has them", async () => {
  const path = new URL("../docs/commands.md", import.meta.url);
  const [, table] = /^\| exit +\| meaning +\|\n.*\n((?:\|.*\n)+)/m.exec(
    await Deno.readTextFile(path),
  ) ?? [];
  const documented = table.trimEnd().split("\n").map((row) => {
    const [, code, meaning] = row.split("|").map((cell) => cell.trim());
    return { code: Number(code), meaning };
  });
  assertEquals(documented, Object.values(EXIT_CODES));
});
