/**
 * Tests of moving this process's threads.
 *
 * @module
 */

import { assertEquals, assertThrows } from "@std/assert";
import { Placement } from "./affinity.ts";
import { File } from "./file.ts";
import { libc, SystemError } from "./libc.ts";

// Opened before the first test, which would seem to leak it otherwise.
libc();

/** The processors that every thread may run on, as `/proc` lists them. */
function allowed(): Set<string> {
  const lists = new Set<string>();
  for (const { name } of Deno.readDirSync("/proc/self/task")) {
    try {
      const status = Deno.readTextFileSync(`/proc/self/task/${name}/status`);
      lists.add(/^Cpus_allowed_list:\s*(.*)$/m.exec(status)![1]);
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

Deno.test("all threads move to a processor, and may run where they might afterwards", () => {
  const before = allowed();
  const cpu = lastOf([...before][0]);
  {
    using placement = Placement.take();
    assertEquals(allowed(), before);
    assertEquals(placement.moveTo(cpu), true);
    assertEquals(allowed(), new Set([`${cpu}`]));
  }
  assertEquals(allowed(), before);
});

Deno.test("a processor that they may not use moves nothing", () => {
  const before = allowed();
  using placement = Placement.take();
  assertEquals(placement.moveTo(8191), false);
  assertEquals(placement.moveTo(100_000), false);
  assertEquals(allowed(), before);
});

Deno.test("nobody moves them while there are two placements", () => {
  const before = allowed();
  const cpu = lastOf([...before][0]);
  using first = Placement.take();
  assertEquals(first.moveTo(cpu), true);
  {
    using second = Placement.take();
    assertEquals(second.moveTo(cpu), false);
    assertEquals(first.moveTo(cpu), false);
    assertEquals(allowed(), before);
  }
  assertEquals(first.moveTo(cpu), true);
  assertEquals(first.moveTo(undefined), false);
  assertEquals(allowed(), before);
});

Deno.test("they go home where no descriptor is left", () => {
  const before = allowed();
  const cpu = lastOf([...before][0]);
  const files: File[] = [];
  try {
    using placement = Placement.take();
    assertEquals(placement.moveTo(cpu), true);
    assertThrows(() => {
      for (;;) files.push(File.open("/dev/null"));
    }, SystemError);
  } finally {
    for (const file of files) file[Symbol.dispose]();
  }
  assertEquals(allowed(), before);
});
