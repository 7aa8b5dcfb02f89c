/**
 * Tests of what `rcap restore` makes of processes that it may not read.
 *
 * @module
 */

import { assertEquals, assertRejects } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { parseSelector } from "../collection/selectors.ts";
import { ProcessAccessDenied } from "../errors.ts";
import { FakeClock, FakePlatform } from "../platform/fake_testing.ts";
import { restoreOnce, type RestoreReport } from "./restore_once.ts";

// Opened before the first test, which would otherwise seem to leak it.
libc();

const MIB = 2 ** 20;

/** Restores the processes named `one`, of which this user may read some. */
function restore(...mayRead: boolean[]): Promise<RestoreReport> {
  const platform = new FakePlatform(new FakeClock());
  const allowed = new Map(
    mayRead.map((may) => [platform.start("one").pid, may] as const),
  );
  const open = platform.open.bind(platform);
  platform.open = (entry, options) =>
    Object.assign(open(entry, options), {
      restore: () =>
        allowed.get(entry.pid)
          ? Promise.resolve({
            ...{ out: MIB, requested: MIB, outOfReach: 0 },
            isAtLimit: false,
          })
          : Promise.reject(
            new ProcessAccessDenied(entry.pid, "access denied; run as root"),
          ),
    });
  return restoreOnce({
    selectors: [parseSelector("comm:one")],
    platform,
    force: false,
    signal: new AbortController().signal,
    log: { warn() {} },
  });
}

Deno.test("a process that may not be read is passed over, and the report says why", async () => {
  const { processes, requested, isComplete } = await restore(false, true);
  assertEquals(processes.map(({ out, error }) => [out, error]), [
    [null, "access denied; run as root"],
    [MIB, null],
  ]);
  assertEquals([requested, isComplete], [MIB, false]);
});

Deno.test("if no process may be read, that is the result", async () => {
  await assertRejects(
    () => restore(false, false),
    ProcessAccessDenied,
    "access denied; run as root",
  );
});
