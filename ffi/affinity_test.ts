/**
 * Tests of moving the threads that run call lists.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { Placement } from "./affinity.ts";
import { CallList, OPENED } from "./call_list.ts";
import { File, O_RDONLY } from "./file.ts";
import { libc } from "./libc.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();

/** The processors that a thread may run on, as a list of `/proc`. */
function allowed(thread: string | number): string {
  const status = Deno.readTextFileSync(`/proc/self/task/${thread}/status`);
  return /^Cpus_allowed_list:\s*(.*)$/m.exec(status)![1];
}

/** The different lists of processors of all threads. */
function allowedOfAll(): Set<string> {
  const lists = new Set<string>();
  for (const { name } of Deno.readDirSync("/proc/self/task")) {
    try {
      lists.add(allowed(name));
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return lists;
}

/** The last processor of a list like `0-3,5`. */
function lastOf(list: string): number {
  return Number(/\d+$/.exec(list)![0]);
}

const all = allowed(Deno.pid);

Deno.test("the thread that makes the calls moves to one processor, and back to all afterwards", async () => {
  const calls = new CallList();
  const placement = Placement.on(lastOf(all), calls);
  const thread = calls.thread();
  // Read by the thread itself, which is not the main thread.
  const buffer = new Uint8Array(4096);
  using self = File.open("/proc/thread-self/status");
  const read = calls.read(self.fd, buffer);
  await calls.make();
  assert(calls.checked(thread, "gettid") !== Deno.pid);
  assert(calls.checked(read, "read") > 0);
  assertEquals(allowed(calls.checked(thread, "gettid")), `${lastOf(all)}`);
  assertEquals(allowed(Deno.pid), all);
  placement.goHome();
  assertEquals(allowedOfAll(), new Set([all]));
});

Deno.test("a thread that is blocked in a call is moved back", async () => {
  const pipe = new Uint32Array(2);
  const library = Deno.dlopen("libc.so.6", {
    pipe: { parameters: ["buffer"], result: "i32" },
  });
  assertEquals(library.symbols.pipe(pipe), 0);
  library.close();
  using reader = File.own(pipe[0], "pipe");
  const calls = new CallList();
  const placement = Placement.on(lastOf(all), calls);
  calls.read(reader.fd, new Uint8Array(1));
  const made = calls.make();
  try {
    while (!allowedOfAll().has(`${lastOf(all)}`)) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    placement.goHome();
    assertEquals(allowedOfAll(), new Set([all]));
  } finally {
    File.own(pipe[1], "pipe")[Symbol.dispose]();
    await made;
  }
});

Deno.test("a placement on a processor that rcap may not use is not possible", () => {
  assertEquals(Placement.isPossible(8191), false);
  assertEquals(Placement.isPossible(100_000), false);
  assertEquals(Placement.isPossible(lastOf(all)), all !== `${lastOf(all)}`);
});

Deno.test("a list that ends before its thread is known moves no thread back", async () => {
  const calls = new CallList();
  calls.open(-100, "/nowhere", O_RDONLY);
  const placement = Placement.on(lastOf(all), calls);
  calls.read(OPENED, new Uint8Array(1));
  await calls.make();
  placement.goHome();
  assertEquals(allowedOfAll(), new Set([all]));
});
