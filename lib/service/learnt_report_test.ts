/**
 * Tests of what `rcap check` says of the idle times that a daemon has found.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import "../../ffi/testing.ts";
import { Folder } from "../../tests/support/folder.ts";
import { parseSelector } from "../collection/selectors.ts";
import type { CapConfig } from "../config/config.ts";
import { selectionOf } from "../group/learnt_group.ts";
import { system } from "../platform/system_testing.ts";
import { LearntFile } from "./learnt_file.ts";
import { describeLearnt, learntReport } from "./learnt_report.ts";

const cap = (name: string, idle: CapConfig["idle"]): CapConfig => ({
  name,
  select: [parseSelector(`comm:${name}`)],
  idle,
  place: "rcap.toml:1",
});

/** Keeps what was learnt of some caps, as a daemon does. */
function keep(
  directory: string,
  caps: readonly [cap: CapConfig, minutes: number][],
): Disposable {
  const file = new LearntFile(system, directory, (text) => {
    throw new Error(text);
  });
  file.keep(caps.map(([cap, minutes]) => ({
    name: cap.name,
    select: selectionOf(cap),
    programs: [],
    idleTime: { needed: Array(minutes).fill(100), seconds: 240 },
  })));
  return file;
}

Deno.test("what was learnt is described, beside the daemon that has the directory", () => {
  using folder = new Folder();
  const [web, job, late] = ["web", "job", "late"].map((it) => cap(it, "auto"));
  const before = Date.now();
  using _daemon = keep(folder.path, [[web, 60], [job, 3]]);
  const caps = [web, job, late, cap("fixed", 600_000)];
  const report = learntReport(caps, system, folder.path);
  assert(report);
  assertEquals(report.problem, null);
  assertEquals(report.caps, [
    {
      name: "web",
      idleTime: { seconds: 240, minutes: 60, leastMinutes: 5 },
    },
    { name: "job", idleTime: { seconds: null, minutes: 3, leastMinutes: 5 } },
    { name: "late", idleTime: null },
  ]);
  const at = Date.parse(report.at ?? "");
  assert(before <= at && at <= Date.now(), `${report.at}`);
  const [first, second, third] = describeLearnt({
    ...report,
    at: "2026-01-31T12:00:00.123Z",
  });
  assertEquals(
    first,
    "web: idle time auto: 4m0s, from 60 minutes (2026-01-31 12:00:00 UTC)",
  );
  assertMatch(second, /^job: idle time auto: learning, 3 of 5 minutes \(/);
  assertEquals(third, "late: idle time auto: nothing learnt yet");
});

Deno.test("other selectors have learnt nothing; without auto there is nothing to say", () => {
  using folder = new Folder();
  const web = cap("web", "auto");
  keep(folder.path, [[web, 60]])[Symbol.dispose]();
  const other = { ...web, select: [parseSelector("comm:other")] };
  assertEquals(
    learntReport([other], system, folder.path)?.caps[0].idleTime,
    null,
  );
  assertEquals(learntReport([cap("web", 1)], system, folder.path), undefined);
});

Deno.test("a missing directory has nothing; what cannot be read is not known", () => {
  using folder = new Folder();
  const caps = [cap("web", "auto")];
  const none = learntReport(caps, system, `${folder.path}/none`);
  assertEquals([none?.problem, none?.at], [null, null]);
  const file = `${folder.path}/learnt.json`;
  Deno.mkdirSync(file);
  const hostile = learntReport(caps, system, folder.path)!;
  assertMatch(
    describeLearnt(hostile)[0],
    /^web: idle time auto: what was learnt in .* is not known \(/,
  );
  Deno.removeSync(file);
  Deno.writeTextFileSync(file, "{", { mode: 0o600 });
  assertMatch(
    learntReport(caps, system, folder.path)?.problem ?? "",
    /damaged/,
  );
});

Deno.test("a file of an earlier rcap has no date", () => {
  using folder = new Folder();
  Deno.writeTextFileSync(
    `${folder.path}/learnt.json`,
    JSON.stringify({ version: 1, groups: [] }),
    { mode: 0o600 },
  );
  const report = learntReport([cap("web", "auto")], system, folder.path);
  assertEquals([report?.problem, report?.at], [null, null]);
});
