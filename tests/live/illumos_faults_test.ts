/**
 * Tests of the illumos platform under every fault that `fixtures/illumos.c` can
 * inject. The process runs again after each.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import type { ScanReport } from "../../lib/oneshot/scan_once.ts";
import {
  assertFree,
  Crowd,
  grabsIn,
  illumosForTests,
  stopsIn,
} from "../support/illumos.ts";
import { assertIntact, MIB, requireRoot } from "../support/live.ts";
import { rcap } from "../support/rcap.ts";
import { Workload } from "../support/workload.ts";
import { say } from "../support/say.ts";

requireRoot();

const illumos = await illumosForTests();

/** The expected result of a scan under a fault. */
interface Expected {
  readonly code: number;
  /** The error of the process in the report, or the message if there is no report. */
  readonly error?: RegExp;
  /** The page-out results that must occur. */
  readonly result?: "done" | "busy" | "failed";
  /** How many times the process is grabbed. */
  readonly grabs?: number;
}

/** Scans a process under faults and asserts the result. */
async function scanUnder(
  faults: string,
  workload: Workload,
  expected: Expected,
): Promise<void> {
  const log = illumos.newLog();
  const { pid } = workload;
  const { code, stdout, stderr } = await rcap(
    ["scan", `${pid}`, "--excess", "64M", "--observe", "0", "--json"],
    { env: illumos.env({ faults, log }) },
  );
  const what = `${faults}: ${stderr}${stdout}`;
  assertFree(pid, `after ${faults}`);
  stopsIn(log);
  assertEquals(code, expected.code, what);
  if (stdout === "") {
    assert(expected.error, what);
    assertMatch(stderr, expected.error, what);
  } else {
    const report: ScanReport = JSON.parse(stdout);
    const [{ error, pageouts }] = report.processes;
    if (expected.error) assertMatch(error ?? "", expected.error, what);
    else assertEquals(error, null, what);
    if (expected.result) {
      assert(pageouts.some(({ result }) => result === expected.result), what);
    }
  }
  if (expected.grabs !== undefined) assertEquals(grabsIn(log), expected.grabs);
}

/** Without swap no cap is met, which is not an injected fault. */
const DONE = { code: 3, result: "done", grabs: 2 } as const;

/** Scans a process under one fault after another. */
async function scanUnderEach(
  cases: readonly [faults: string, expected: Expected][],
): Promise<void> {
  await using workload = await Workload.start();
  await workload.anon("memory", 2 * MIB);
  for (const [faults, expected] of cases) {
    await scanUnder(faults, workload, expected);
  }
  await assertIntact(workload);
}

Deno.test("pagedata whose size changes is read again, up to a limit", async () => {
  const fast = /its pagedata changes faster than it can be read/;
  await scanUnderEach([
    ["", DONE],
    ["pagedata_grows=1", DONE],
    ["pagedata_grows=2", DONE],
    ["pagedata_grows=-1", { code: 1, error: fast, grabs: 1 }],
    ["pagedata_shrinks=1", DONE],
    ["pagedata_shrinks=2", DONE],
    ["pagedata_shrinks=-1", { code: 1, error: fast, grabs: 1 }],
    ["pagedata_garbage=-1", { code: 1, error: /makes no sense: prpageheader/ }],
  ]);
});

Deno.test("an xmap of the wrong size is ignored, one that changes is read again", async () => {
  const wrong =
    /makes no sense: xmap has \d+ bytes, which is not a multiple of 216/;
  const fast = /its xmap changes faster than it can be read/;
  await scanUnderEach([
    ["xmap_size=-1", { ...DONE, error: wrong }],
    ["xmap_shrinks=1", DONE],
    ["xmap_shrinks=2", DONE],
    ["xmap_shrinks=-1", { ...DONE, error: fast }],
  ]);
});

Deno.test("a stale psinfo is read again once", async () => {
  await using workload = await Workload.start();
  const { pid } = workload;
  const result = await illumos.driven("stale", { pids: [pid] });
  assertEquals(result, { reopened: 1, message: `process ${pid} has exited` });
});

Deno.test("a refused grab is reported with the library's message", async () => {
  const refused = (code: number, error: RegExp): Expected => ({
    code,
    error,
    grabs: 0,
  });
  await scanUnderEach([
    ["grab=1", refused(5, /process \d+ has exited/)],
    ["grab=5", refused(5, /process \d+ is a zombie/)],
    [
      "grab=6",
      refused(4, /may not be controlled \(permission denied\); run as root/),
    ],
    ["grab=7", refused(1, /cannot be controlled \(process is traced\)/)],
    ["grab=8", refused(1, /cannot be controlled \(system process\)/)],
    ["grab=9", refused(1, /cannot be controlled \(cannot grab self\)/)],
    ["grab=10", refused(1, /cannot be controlled \(operation interrupted\)/)],
    ["grab=11", refused(1, /cannot be controlled \(cannot examine 64-bit/)],
    ["grab=17", refused(1, /cannot be controlled \(too many open files\)/)],
    [
      "grab=-1,grab_errno=12",
      refused(1, /\(unanticipated system error: no memory.*ENOMEM\)/),
    ],
    ["grab=-1,grab_errno=3", refused(5, /process \d+ has exited/)],
    // The pool frees descriptors.
    ["grab=17,grabs_refused=1", DONE],
  ]);
});

Deno.test("a process that cannot be controlled completely is released", async () => {
  const once = { code: 1, grabs: 1 };
  await scanUnderEach([
    ["agent=1", { ...once, error: /no agent can be made in it/ }],
    ["state=3", { ...once, error: /control over it is lost/ }],
    ["state=4", { code: 5, grabs: 1, error: /has exited/ }],
    ["state=5", { ...once, error: /is in state 5 rather than stopped/ }],
    ["state=6", { ...once, error: /is in state 6 rather than stopped/ }],
    ["run=-1", { ...once, error: /does not stop within 2 s/ }],
    ["run=3", DONE],
  ]);
});

Deno.test("a busy page-out does not end the turn, a failed one does", async () => {
  await scanUnderEach([
    ["memcntl=16", { code: 3, result: "busy", grabs: 2 }],
    [
      "memcntl=22",
      { code: 3, result: "failed", error: /page-out failed: invalid argument/ },
    ],
    ["memcntl=3", {
      code: 3,
      result: "failed",
      error: /process \d+ has exited/,
    }],
    [
      "memcntl=12,memcntl_after=3",
      { code: 3, result: "failed", error: /page-out failed: no memory/ },
    ],
  ]);
});

Deno.test("a process may exit between any two calls", async () => {
  await using crowd = await Crowd.start(illumos, {
    count: 200,
    kilobytes: 512,
  });
  const { calls, outcomes, leaked } = await illumos.driven<{
    calls: number;
    outcomes: Record<string, number>;
    leaked: number;
  }>("exits", { pids: crowd.pids });
  say(
    `killed before each of ${calls} calls: ${JSON.stringify(outcomes)}`,
  );
  assert(calls > 40, `${calls}`);
  assertEquals(leaked, 0);
  // Killed processes are gone: nothing keeps them as zombies.
  for (const pid of crowd.pids.slice(0, calls)) {
    let state: string | undefined;
    try {
      state = Deno.readTextFileSync(`/proc/${pid}/stat`).split(") ")[1];
    } catch (error) {
      assert(error instanceof Deno.errors.NotFound);
    }
    assertEquals(state, undefined);
  }
});
