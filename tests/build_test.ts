/**
 * The build tries what it has built: a runtime that does not fit is noticed.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import "./support/deadline.ts";

const BUILD = new URL("../scripts/build.ts", import.meta.url).pathname;

/** Builds with a program in place of the runtime, and asserts what the build complains of. */
async function assertRefused(runtime: string, problem: RegExp): Promise<void> {
  const folder = Deno.makeTempDirSync({ prefix: "rcap-" });
  try {
    const output = `${folder}/rcap`;
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--allow-all", BUILD, output],
      env: { DENORT_BIN: runtime, NO_COLOR: "1" },
    }).output();
    const text = new TextDecoder().decode(stderr);
    assertEquals(code, 1, text);
    const [said] = text.split("\n").filter((line) => line.startsWith(output));
    assert(said, text);
    assertMatch(said, problem);
    assertStringIncludes(
      said,
      `; it was removed. The runtime in it (DENORT_BIN=${runtime}) ` +
        `does not fit Deno ${Deno.version.deno}: `,
    );
    assert(!text.includes("    at "), text);
    assertEquals([...Deno.readDirSync(folder)], []);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("a binary that does not start is an error, and is removed", async () => {
  await assertRefused("/bin/false", / does not start \(exit code 1\);/);
});

Deno.test("a binary that prints another version is an error, and is removed", async () => {
  await assertRefused("/bin/echo", / prints "[^"]+" as its version, not \d/);
});
