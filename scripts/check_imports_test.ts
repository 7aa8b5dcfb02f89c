/**
 * Tests of the import check on small trees and on the real one.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { checkImports, readImports } from "./check_imports.ts";

const SCRIPT = new URL("check_imports.ts", import.meta.url).pathname;
const ROOT = new URL("..", import.meta.url).pathname;

/** Writes files, given as texts by path, and calls a function with their directory. */
async function withTree(
  files: Readonly<Record<string, string>>,
  step: (directory: string) => Promise<void>,
): Promise<void> {
  const directory = await Deno.makeTempDir();
  try {
    const all = { "deno.json": "{}", ...files };
    for (const [path, text] of Object.entries(all)) {
      const folder = `${directory}/${path}`.replace(/[^/]*$/, "");
      await Deno.mkdir(folder, { recursive: true });
      await Deno.writeTextFile(`${directory}/${path}`, text);
    }
    await step(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** Returns the violations of a tree. */
async function problemsOf(
  files: Readonly<Record<string, string>>,
): Promise<string[]> {
  let problems: string[] = [];
  await withTree(files, async (directory) => {
    problems = checkImports(await readImports(directory));
  });
  return problems;
}

Deno.test("rcap's imports point down and form no circle", async () => {
  const graph = await readImports(ROOT);
  // The graph includes files that main.ts does not reach, and files that are
  // imported.
  assert(graph.has("scripts/check_imports_test.ts"));
  assert(graph.get("main.ts")?.includes("cmd/program.ts"));
  assertEquals(checkImports(graph), []);
});

Deno.test("imports that point down or to the same room are allowed", async () => {
  const problems = await problemsOf({
    "main.ts": 'import "./cmd/a.ts";',
    "cmd/a.ts": 'import "./b.ts"; import "../lib/memory/c.ts";',
    "cmd/b.ts": 'await import("../lib/errors.ts");',
    "lib/memory/c.ts": 'export type { D } from "../errors.ts";',
    "lib/errors.ts": "export type D = 1;",
  });
  assertEquals(problems, []);
});

Deno.test("an import that points up is a problem", async () => {
  const problems = await problemsOf({
    "lib/memory/a.ts": 'import "../scanner/b.ts";',
    "lib/scanner/b.ts": "",
  });
  assertEquals(problems, [
    "lib/memory/a.ts imports lib/scanner/b.ts: lib/scanner is above lib/memory",
  ]);
});

Deno.test("a type-only import counts", async () => {
  const problems = await problemsOf({
    "lib/group/a.ts":
      'import type { B } from "../policy/b.ts";\nexport type A = B;',
    "lib/policy/b.ts": "export type B = 1;",
    "lib/errors.ts": 'export type C = import("../cmd/c.ts").C;',
    "cmd/c.ts": "export type C = 1;",
  });
  assertEquals(problems, [
    "lib/errors.ts imports cmd/c.ts: cmd is above lib/errors.ts",
    "lib/group/a.ts imports lib/policy/b.ts: lib/policy is above lib/group",
  ]);
});

Deno.test("an import from a room on the same line is a problem", async () => {
  const problems = await problemsOf({
    "ffi/a.ts": 'import "../lib/report/b.ts";',
    "lib/report/b.ts": "",
    "lib/scanner/c.ts": 'import "../../ffi/a.ts";',
  });
  assertEquals(problems, [
    "ffi/a.ts imports lib/report/b.ts: lib/report and ffi are on one line",
    "lib/scanner/c.ts imports ffi/a.ts: ffi and lib/scanner are on one line",
  ]);
});

Deno.test("only lib/platform knows the operating system and calls into C", async () => {
  const files = {
    "main.ts": 'import "./lib/platform/open.ts";',
    "lib/service/a_test.ts": 'import "../../ffi/d.ts";',
    "lib/platform/open.ts": 'import "./linux/b.ts"; import "./illumos/c.ts";',
    "lib/platform/linux/b.ts": 'import "../../../ffi/d.ts";',
    "lib/platform/illumos/c.ts": "",
    "ffi/d.ts": "",
  };
  assertEquals(await problemsOf(files), []);
  const problems = await problemsOf({
    ...files,
    "lib/service/a.ts":
      'import "../../ffi/d.ts"; import "../platform/linux/b.ts";',
    "cmd/e.ts": 'import "../lib/platform/open.ts";',
  });
  assertEquals(problems, [
    "cmd/e.ts imports lib/platform/open.ts: main.ts chooses the operating system, and hands it in",
    "lib/service/a.ts imports ffi/d.ts: only lib/platform calls into C",
    "lib/service/a.ts imports lib/platform/linux/b.ts: only lib/platform knows which operating system there is",
  ]);
});

Deno.test("a circle of files is a problem", async () => {
  const problems = await problemsOf({
    "lib/group/a.ts": 'import "./b.ts";',
    "lib/group/b.ts": 'import "./c.ts";',
    "lib/group/c.ts": 'import type { B } from "./b.ts";\nexport type C = B;',
  });
  assertEquals(problems, [
    "lib/group/b.ts imports lib/group/c.ts: a circle, " +
    "lib/group/b.ts -> lib/group/c.ts -> lib/group/b.ts",
  ]);
});

Deno.test("only test files may import files for tests", async () => {
  const files = {
    "ffi/a_test.ts":
      'import "../tests/support/help.ts"; import "./testing.ts";',
    "ffi/testing.ts": 'import "../tests/support/help.ts";',
    "ffi/lock_child.ts": 'import "./testing.ts";',
    "lib/errors_test.ts": 'import "./errors.ts";',
    "lib/errors.ts": "",
    "tests/support/help.ts": 'import "../../scripts/b.ts";',
    "scripts/b.ts": 'import "../lib/errors.ts";',
  };
  assertEquals(await problemsOf(files), []);
  const problems = await problemsOf({
    ...files,
    "ffi/a.ts": 'import "./testing.ts"; import "../tests/support/help.ts";',
    "ffi/b_test.ts":
      'import "../scripts/b.ts"; import "../lib/scanner/testing.ts";',
    "lib/scanner/testing.ts": "",
  });
  assertEquals(problems, [
    "ffi/a.ts imports ffi/testing.ts: it is for tests only",
    "ffi/a.ts imports tests/support/help.ts: it is in no room",
    "ffi/b_test.ts imports scripts/b.ts: it is in no room",
    "ffi/b_test.ts imports lib/scanner/testing.ts: " +
    "lib/scanner and ffi are on one line",
  ]);
});

Deno.test("a file in no room is a problem", async () => {
  const problems = await problemsOf({
    "lib/stray.ts": "",
    "lib/errors.ts": 'import "./stray.ts";',
  });
  assertEquals(problems, [
    "lib/errors.ts imports lib/stray.ts: it is in no room",
    "lib/stray.ts is in no room",
  ]);
});

Deno.test("the script prints both files and the rule, and fails", async () => {
  const files = {
    "lib/memory/a.ts": 'import "../scanner/b.ts";',
    "lib/scanner/b.ts": "",
  };
  await withTree(files, async (directory) => {
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--allow-all", SCRIPT, directory],
    }).output();
    const text = new TextDecoder().decode(stderr);
    assertEquals(code, 1);
    assertMatch(text, /^lib\/memory\/a\.ts imports lib\/scanner\/b\.ts: /);
    assertMatch(text, /\n {2}lib\/scanner {3}ffi {3}lib\/report\n/);
  });
});
