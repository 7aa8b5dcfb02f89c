/**
 * Tests of finding the processor that a process runs on.
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

Deno.test("a running process is on one of the processors, a sleeping one on none", async () => {
  await using sleeper = await Sleeper.start();
  await using busy = perl("1 while 1");
  // In its first moments, perl itself starts.
  let cpu: number | undefined;
  await until(() => (cpu = runningOn(busy.pid)) !== undefined, "perl to run");
  assert(cpu! < processors());
  await until(
    () => runningOn(sleeper.pid) === undefined,
    "the sleeper to sleep",
  );
});

Deno.test("a process with two running threads has no single processor", async () => {
  // It compresses endlessly, two blocks at a time.
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

Deno.test("a process that has exited runs on no processor", async () => {
  await using busy = perl("1");
  await busy.status;
  assertEquals(runningOn(busy.pid), undefined);
});
