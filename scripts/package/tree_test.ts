/**
 * Tests of what help has for every command.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { COMMANDS } from "../../cmd/commands.ts";
import { HELP_WIDTH } from "../../cmd/wrap.ts";
import { describedProgram } from "./tree.ts";

Deno.test("the help of every command fits a terminal of the usual width", async () => {
  const program = await describedProgram();
  const all = [program, ...program.commands];
  const names = COMMANDS.map(({ name }) => name);
  assertEquals(all.map((command) => command.name()), [
    "rcap",
    ...names,
    "version",
    "help",
  ]);
  for (const command of all) {
    let help = "";
    command.configureOutput({
      writeOut: (text) => help += text,
      // Without a terminal, commander takes the same width.
      getOutHelpWidth: () => HELP_WIDTH,
    }).outputHelp();
    assert(help.startsWith("Usage: rcap"), help);
    for (const line of help.split("\n")) {
      assert(
        [...line].length <= HELP_WIDTH,
        `${command.name()}: ${[...line].length} characters: ${line}`,
      );
    }
  }
});
