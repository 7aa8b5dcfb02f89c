/**
 * Tests of facts about the machine against `/proc`.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { effectiveUid, memoryInfo, pageSize, uidOfUser } from "./system.ts";
import "./testing.ts";

/** A figure of /proc/meminfo, in bytes. */
function meminfo(name: string): number {
  const text = Deno.readTextFileSync("/proc/meminfo");
  return Number(new RegExp(`^${name}: +(\\d+) kB$`, "m").exec(text)?.[1]) *
    1024;
}

Deno.test("memory and swap match meminfo", () => {
  const { totalMemory, totalSwap, freeSwap } = memoryInfo();
  assertEquals(totalMemory, meminfo("MemTotal"));
  assertEquals(totalSwap, meminfo("SwapTotal"));
  assert(freeSwap <= totalSwap, `${freeSwap} free of ${totalSwap}`);
});

Deno.test("the page size is a power of two", () => {
  const size = pageSize();
  assert(size >= 4096 && Number.isInteger(Math.log2(size)), `${size}`);
});

Deno.test("users are found by name", async () => {
  assertEquals(await uidOfUser("root"), 0);
  assertEquals(await uidOfUser("no such user"), undefined);
  assertEquals(await uidOfUser(""), undefined);
  // In C the name would end there.
  assertEquals(await uidOfUser("root\0x"), undefined);
  assertEquals(effectiveUid(), Deno.uid());
});
