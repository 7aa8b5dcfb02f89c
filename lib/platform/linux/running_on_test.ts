/**
 * Tests of finding where a process runs.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { processors, Sleeper } from "../../../ffi/testing.ts";
import { until } from "../../../tests/support/workload.ts";
import { runningOn } from "./running_on.ts";

/** Runs perl until it is disposed. */
function perl(script: string): Deno.ChildProcess & AsyncDisposable {
  return new Deno.Command("perl", { args: ["-e", script], stdin: "null" })
    .spawn();
}

Deno.test("a process that runs is on one of the processors, one that sleeps on none", async () => {
  await using sleeper = await Sleeper.start();
  await using busy = perl("1 while 1");
  // perl itself starts within its first moments.
  let cpu: number | undefined;
  await until(() => (cpu = runningOn(busy.pid)) !== undefined, "perl to run");
  assert(cpu! < processors());
  await until(
    () => runningOn(sleeper.pid) === undefined,
    "the sleeper to sleep",
  );
});

Deno.test("of two threads that run, neither is where the process runs", async () => {
  // It compresses for ever, two blocks at a time.
  await using busy = new Deno.Command("xz", {
    args: ["-0", "--threads=2", "--block-size=1MiB", "--stdout", "/dev/zero"],
    stdin: "null",
    stdout: "null",
  }).spawn();
  const seen = () =>
    Array.from({ length: 50 }, () => runningOn(busy.pid))
      .every((cpu) => cpu === undefined);
  await until(
    () =>
      Deno.readTextFileSync(`/proc/${busy.pid}/status`).includes(
        "Threads:\t3\n",
      ) && seen(),
    "both threads to run",
  );
});

Deno.test("a process that is gone runs nowhere", async () => {
  await using busy = perl("1");
  await busy.status;
  assertEquals(runningOn(busy.pid), undefined);
});
