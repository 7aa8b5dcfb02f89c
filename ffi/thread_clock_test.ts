/**
 * Tests of measuring the processor time of calls on another thread.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import "../tests/support/deadline.ts";
import { CallList, OPENED } from "./call_list.ts";
import { AT_FDCWD, File, O_RDONLY } from "./file.ts";
import { libc } from "./libc.ts";
import { ThreadClock } from "./thread_clock.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();

/** Reads the parts of a file, and returns the elapsed and the processor time, in seconds. */
async function times(path: string, parts: number) {
  const calls = new CallList();
  const clock = new ThreadClock();
  const opened = calls.open(AT_FDCWD, path, O_RDONLY);
  const part = 1 << 20;
  const buffer = new Uint8Array(parts * part);
  const reads = calls.readParts(OPENED, buffer, { part, clock });
  const began = performance.now();
  await calls.make();
  const elapsed = (performance.now() - began) / 1000;
  using _file = File.own(calls.checked(opened, "open"), path);
  return { elapsed, worked: clock.seconds, read: calls.result(reads[0]) };
}

Deno.test("time in which a call waits does not count", async () => {
  const directory = await Deno.makeTempDir();
  const path = `${directory}/fifo`;
  await new Deno.Command("mkfifo", { args: [path] }).output();
  const writer = new Deno.Command("sh", {
    args: ["-c", `exec 3>${path}; sleep 0.4; echo text >&3; sleep 0.4`],
  }).spawn();
  const { elapsed, worked, read } = await times(path, 1);
  await writer.status;
  await Deno.remove(directory, { recursive: true });
  assertEquals(read, "text\n".length);
  assert(elapsed >= 0.35, `${elapsed}`);
  assert(worked > 0 && worked < 0.1, `${worked}`);
});

Deno.test("time in which the kernel works for a call counts", async () => {
  const { elapsed, worked } = await times("/dev/zero", 64);
  // The kernel clears 64 MiB, which no machine does in a tenth of a millisecond.
  assert(worked > 1e-4, `${worked}`);
  assert(worked <= elapsed + 0.05, `${worked} of ${elapsed}`);
});

Deno.test("a clock that is not stopped shows 0", async () => {
  const clock = new ThreadClock();
  for (const path of ["/dev/zero", "/dev/null"]) {
    const calls = new CallList();
    calls.open(AT_FDCWD, path, O_RDONLY);
    // The end of the file ends the list.
    calls.readParts(OPENED, new Uint8Array(4096), { part: 4096, clock });
    await calls.make();
    using _file = File.own(calls.result(0) ?? -1, path);
    assertEquals(clock.seconds > 0, path === "/dev/zero");
  }
});
