/**
 * Tests of the man pages, with mandoc.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { COMMANDS } from "../../cmd/commands.ts";
import { CAP_KEYS, DAEMON_KEYS } from "../../lib/config/config_schema.ts";
import { requirePrograms } from "../../tests/support/programs.ts";
import { assertRuns, run } from "./run.ts";
import { writeManPages } from "./man.ts";
import { commandPages } from "./tree.ts";

await requirePrograms({ mandoc: "mandoc" });

const DATE = new Date(1_700_000_000_000);

/** A page as a reader sees it, on one line. */
async function shown(path: string): Promise<string> {
  const text = await assertRuns("mandoc", ["-T", "utf8", path]);
  // Overstriking makes characters bold.
  return text.split("\b").map((part, at, parts) =>
    at === parts.length - 1 ? part : part.slice(0, -1)
  ).join("").replaceAll(/\u2010\n\s*/g, "")
    .replaceAll(/\s+/g, " ");
}

Deno.test("there is a page for rcap, every command and the configuration, and mandoc has no complaint", async () => {
  const folder = Deno.makeTempDirSync();
  try {
    await writeManPages(folder, DATE);
    const names = Array.from(Deno.readDirSync(folder), ({ name }) => name);
    const expected = [
      "rcap.1",
      ...[...COMMANDS.map(({ name }) => name), "help", "version"]
        .map((name) => `rcap-${name}.1`),
      "rcap.toml.5",
    ];
    assertEquals(names.sort(), expected.sort());
    for (const name of names) {
      assertEquals(
        await run("mandoc", [
          "-T",
          "lint",
          "-W",
          "warning",
          `${folder}/${name}`,
        ]),
        { code: 0, stdout: "", stderr: "" },
      );
    }
    for (const page of (await commandPages()).slice(1)) {
      const text = await shown(`${folder}/rcap-${page.name}.1`);
      for (const { flags } of page.options) assert(text.includes(flags), flags);
      // The help below the options is all there, word by word.
      const words = page.after.replaceAll(/(Examples|Exit status):/g, "")
        .split(/\s+/);
      for (const word of words) {
        assert(text.includes(word), `${word} of ${page.name}`);
      }
    }
    const toml = await shown(`${folder}/rcap.toml.5`);
    for (const key of [...CAP_KEYS, ...DAEMON_KEYS]) {
      assert(toml.includes(` ${key} `), key);
    }
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});
