/**
 * The deadline of tests: what hangs fails in time and in words, and no process of
 * it is left, not even where the tests themselves are killed.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import "./support/deadline.ts";
import { isRunning, until } from "./support/workload.ts";

const ROOT = new URL("../", import.meta.url).pathname;
const WATCHDOG = `${ROOT}tests/fixtures/watchdog.pl`;

Deno.test("a test that hangs fails in words, its processes are ended, and the next one runs", async () => {
  const path = Deno.makeTempFileSync({ suffix: "_test.ts" });
  const pids = `${path}.pids`;
  Deno.writeTextFileSync(
    path,
    `import { allow, waitingFor } from "${ROOT}tests/support/deadline.ts";
    Deno.test("hangs", async () => {
      await allow(1);
      // A child, a grandchild, and one that no SIGTERM ends.
      const script = "trap '' TERM; sleep 1000 & echo $$ $! > ${pids}; wait; sleep 1000";
      const child = new Deno.Command("sh", { args: ["-c", script] });
      await waitingFor("a shell to end", child.output());
    });
    Deno.test({ name: "has time", fn: () => {} });
    Deno.test("fails by itself", () => { throw new Error("by itself"); });`,
  );
  const { code, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["test", "--no-check", "--allow-all", path],
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder().decode(stdout);
  assertEquals(code, 1);
  assertMatch(
    text,
    /Error: "hangs" was not over after 1 s: it waited for a shell to end\. Its processes were ended: sh \d+ \([^)]+\), sleep \d+ \([^)]+\)\./,
  );
  assertMatch(text, /^has time \.\.\. ok/m);
  assertMatch(text, /^error: Error: by itself$/m);
  assertMatch(text, /1 passed \| 2 failed/);
  const left = Deno.readTextFileSync(pids).trim().split(" ").map(Number);
  assertEquals(left.length, 2);
  assertEquals(left.filter(isRunning), []);
  Deno.removeSync(path);
  Deno.removeSync(pids);
});

/** A runner of tests that blocks its own thread, with a child and its watchdog. */
function blockedRunner(): Deno.ChildProcess {
  return new Deno.Command("perl", {
    args: [
      "-e",
      `pipe my $commands, my $to or die;
       pipe my $answers, my $from or die;
       if (fork == 0) {
         close $to;
         open STDIN, '<&', $commands;
         open STDOUT, '>&', $from;
         exec 'perl', '${WATCHDOG}', 1;
       }
       close $commands;
       my $child = fork // die;
       if ($child == 0) { close $to; sleep 1000; exit }
       syswrite $to, "begin 3 blocks\\n";
       syswrite STDOUT, "$child\\n";
       1 while 1;`,
    ],
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** The pid of the child of a blocked runner. */
async function childOf(runner: Deno.ChildProcess): Promise<number> {
  const reader = runner.stdout.getReader();
  const { value } = await reader.read();
  reader.releaseLock();
  return Number(new TextDecoder().decode(value));
}

Deno.test("a test that blocks its thread is ended, with a sentence", async () => {
  await using runner = blockedRunner();
  const child = await childOf(runner);
  assert(isRunning(child));
  const { signal } = await runner.status;
  assertEquals(signal, "SIGKILL");
  await until(() => !isRunning(child), "the child to be ended");
  assertMatch(
    await runner.stderr.text(),
    /^\nThe test "blocks" does not end though its processes have been ended \(none\)/,
  );
  await runner.stdout.cancel();
});

Deno.test("what killed tests have left is ended", async () => {
  await using runner = blockedRunner();
  const child = await childOf(runner);
  // It has to have been seen once.
  await new Promise((resolve) => setTimeout(resolve, 2500));
  runner.kill("SIGKILL");
  await runner.status;
  await until(() => !isRunning(child), "the child to be ended");
  assertEquals(await runner.stderr.text(), "");
  await runner.stdout.cancel();
});

/** All modules that a module imports from this repository, and the module. */
function modulesOf(path: string, known = new Set<string>()): Set<string> {
  if (known.has(path)) return known;
  known.add(path);
  const source = Deno.readTextFileSync(path);
  const imports = /^(?:import|export|\}) ?(?:[^;"]* from )?"(\.[^"]*)";$/gm;
  for (const [, specifier] of source.matchAll(imports)) {
    modulesOf(new URL(specifier, `file://${path}`).pathname, known);
  }
  return known;
}

/** The modules of tests in a folder and the folders in it. */
function testModules(folder: string): string[] {
  return [...Deno.readDirSync(folder)].flatMap(({ name, isDirectory }) => {
    const path = `${folder}/${name}`;
    if (isDirectory) return testModules(path);
    return name.endsWith("_test.ts") ? [path] : [];
  });
}

Deno.test("all tests that start processes have a deadline", () => {
  const modules = ["ffi", "lib", "tests"]
    .flatMap((folder) => testModules(`${ROOT}${folder}`));
  const unbounded = modules.filter((path) => {
    const graph = modulesOf(path);
    return [...graph].some((path) =>
      Deno.readTextFileSync(path).includes("new Deno.Command(")
    ) && !graph.has(`${ROOT}tests/support/deadline.ts`);
  });
  assert(modules.length > 50, `${modules.length} modules of tests`);
  assertEquals(unbounded, []);
});
