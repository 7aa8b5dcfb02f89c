/**
 * Tests of standard output and standard error.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { Log, LOG_LEVELS, type LogFormat } from "./output.ts";

/** The lines that a log writes for a message of every level. */
function logged(
  level: typeof LOG_LEVELS[number],
  format?: LogFormat,
): string[] {
  const lines: string[] = [];
  const log = new Log(level, { format, write: (line) => lines.push(line) });
  for (const level of LOG_LEVELS) log[level](`of ${level}`);
  return lines;
}

Deno.test("messages are written down to a level", () => {
  assertEquals(logged("debug"), [
    "rcap: error: of error\n",
    "rcap: warning: of warn\n",
    "rcap: of info\n",
    "rcap: of debug\n",
  ]);
  for (const [index, level] of LOG_LEVELS.entries()) {
    assertEquals(logged(level).length, index + 1);
    assertEquals(logged(level, "json").length, index + 1);
  }
});

Deno.test("a message stays on its line", () => {
  const lines: string[] = [];
  const log = new Log("info", { write: (line) => lines.push(line) });
  log.warn("a\nb\x1b[31m", { group: "not told as text" });
  assertEquals(lines, ["rcap: warning: a\\nb\\x1b[31m\n"]);
});

/** Returns messages as parsed JSON, without their times. */
function loggedJson(step: (log: Log) => void): unknown[] {
  const lines: string[] = [];
  step(new Log("debug", { format: "json", write: (line) => lines.push(line) }));
  return lines.map((line) => {
    assert(/^[^\n]+\n$/.test(line), line);
    const { time, ...rest } = JSON.parse(line);
    const age = Date.now() - Date.parse(time);
    assert(/^\d{4}-.*T.*Z$/.test(time) && age >= 0 && age < 60_000, time);
    return rest;
  });
}

Deno.test("as JSON, a message is an object with fields", () => {
  const messages = loggedJson((log) => {
    log.info("plain");
    const ofBrowsers = log.with({ group: "browsers" });
    ofBrowsers.warn("with fields", { rss: 4096, reason: null, isOver: true });
    ofBrowsers.error("of its own", { group: "builds" });
    log.debug("reserved", { level: "none", message: "none", time: 0 });
  });
  assertEquals(messages, [
    { level: "info", message: "plain" },
    {
      level: "warn",
      message: "with fields",
      group: "browsers",
      rss: 4096,
      reason: null,
      isOver: true,
    },
    { level: "error", message: "of its own", group: "builds" },
    { level: "debug", message: "reserved" },
  ]);
});

Deno.test("as JSON, a message survives all escapes", () => {
  const message =
    'größe "a"\\\n\t\x00\x1b[31m\x7f\x9b31m\u2028\u2029 日本語 \ud800';
  const lines: string[] = [];
  const write = (line: string) => lines.push(line);
  new Log("info", { format: "json", write }).info(message);
  assertEquals(JSON.parse(lines[0]).message, message);
  // deno-lint-ignore no-control-regex -- control characters are what it is for
  assert(!/[\x00-\x1f\x7f-\x9f\u2028\u2029]/.test(lines[0].trimEnd()));
});

/** Code that writes to a stream, or makes text that may be for one. */
const WAYS = /console\.|Deno\.std(out|err)|JSON\.stringify/g;

/** Where such code is allowed: it does not bypass the functions for text and JSON. */
const KNOWN: Readonly<Record<string, string[]>> = {
  "ffi/stream.ts": ["Deno.stdout", "Deno.stderr"],
  "lib/report/escape.ts": ["JSON.stringify"],
  // TOML's strings are nearly JSON's.
  "lib/config/toml.ts": ["JSON.stringify"],
  // Text for comparison, never shown.
  "lib/group/learnt_group.ts": ["JSON.stringify"],
  "lib/group/guard_rails.ts": ["JSON.stringify"],
  "lib/config/config_files.ts": ["JSON.stringify"],
  // Data of a page, which escapes what would end its script.
  "lib/oneshot/recording_page/page.ts": ["JSON.stringify"],
  // Part of a recording, which its reader parses.
  "lib/recording/writer.ts": ["JSON.stringify"],
};

Deno.test("nothing else writes to standard output or standard error", () => {
  const root = new URL("../../", import.meta.url).pathname;
  const found: Record<string, string[]> = {};
  const look = (path: string) => {
    const text = Deno.readTextFileSync(root + path)
      .replaceAll(/^ *(\/\/|\*).*$/gm, "");
    const ways = [...new Set(text.match(WAYS) ?? [])];
    if (ways.length > 0) found[path] = ways;
  };
  const walk = (folder: string) => {
    for (const { name, isDirectory } of Deno.readDirSync(root + folder)) {
      const path = `${folder}/${name}`;
      if (isDirectory) walk(path);
      // Tests are not part of rcap.
      else if (!/(_test|\/testing)\.ts$/.test(path)) look(path);
    }
  };
  look("main.ts");
  for (const folder of ["cmd", "ffi", "lib"]) walk(folder);
  assertEquals(
    Object.fromEntries(
      Object.entries(found).map(([path, ways]) => [path, ways.toSorted()]),
    ),
    Object.fromEntries(
      Object.entries(KNOWN).map(([path, ways]) => [path, ways.toSorted()]),
    ),
  );
});
