/**
 * Tests of listing processes.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { Sleeper } from "../../../ffi/testing.ts";
import { NoSuchProcess } from "../../errors.ts";
import { listProcesses, readProcess } from "./process_list.ts";

Deno.test("every process is listed once, by pid", async () => {
  await using sleeper = await Sleeper.start();
  const processes = listProcesses();
  const pids = processes.map(({ pid }) => pid);
  assertEquals(pids, [...new Set(pids)].sort((a, b) => a - b));
  const child = processes.find(({ pid }) => pid === sleeper.pid);
  assertEquals([child?.comm, child?.ppid], ["perl", Deno.pid]);
  assert(pids.includes(Deno.pid));
});

Deno.test("the sizes in the list are close to those of statm", () => {
  const { rss, image } = readProcess(Deno.pid);
  const memory = Deno.memoryUsage();
  assert(Math.abs(rss - memory.rss) < 32 * 2 ** 20, `${rss}, ${memory.rss}`);
  assert(image > rss);
});

Deno.test("a process that has exited is not listed", async () => {
  await using sleeper = await Sleeper.start();
  const { pid } = sleeper;
  assertEquals(readProcess(pid).pid, pid);
  await sleeper.end();
  assertThrows(() => readProcess(pid), NoSuchProcess);
  assertEquals(listProcesses().some((process) => process.pid === pid), false);
});
