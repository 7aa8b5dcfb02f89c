/**
 * Tests of the `/proc` directory of a process.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { Errno, systemError } from "../../../ffi/libc.ts";
import { Sleeper } from "../../../ffi/testing.ts";
import {
  NoSuchProcess,
  ProcessAccessDenied,
  ProcessError,
} from "../../errors.ts";
import { ofProcess, ProcDir, processError } from "./proc_dir.ts";
import { readProcess } from "./process_list.ts";

Deno.test("the directory of a process is found", () => {
  using directory = ProcDir.open(readProcess(Deno.pid));
  assertEquals(directory.pid, Deno.pid);
  assertEquals(directory.stat().pid, Deno.pid);
  assertEquals(directory.readLink("exe"), Deno.execPath());
});

Deno.test("a pid with another start time is another process", () => {
  const { pid, startTime } = readProcess(Deno.pid);
  for (const other of [startTime - 1, startTime + 1]) {
    const error = assertThrows(
      () => ProcDir.open({ pid, startTime: other }),
      NoSuchProcess,
      `process ${pid} has exited; another process now has its pid`,
    );
    assertEquals({ pid: error.pid, exitCode: error.exitCode }, {
      pid,
      exitCode: 5,
    });
  }
});

Deno.test("an open directory belongs to one process, even after its exit", async () => {
  await using sleeper = await Sleeper.start();
  const process = readProcess(sleeper.pid);
  using directory = ProcDir.open(process);
  using statm = directory.openFile("statm");
  await sleeper.end();
  const gone = `process ${process.pid} has exited`;
  assertThrows(() => directory.readText("stat"), NoSuchProcess, gone);
  assertThrows(() => directory.openFile("pagemap"), NoSuchProcess, gone);
  assertThrows(() => directory.readLink("exe"), NoSuchProcess, gone);
  assertThrows(
    () => ofProcess(process.pid, () => statm.readAll()),
    NoSuchProcess,
    gone,
  );
  assertThrows(() => ProcDir.open(process), NoSuchProcess, gone);
});

Deno.test("errors of system calls become errors of the process", () => {
  const of = (errno: number) =>
    processError(42, systemError("open /proc/42/x", errno));
  for (const errno of [Errno.ENOENT, Errno.ESRCH]) {
    assert(of(errno) instanceof NoSuchProcess);
  }
  for (const errno of [Errno.EACCES, Errno.EPERM]) {
    assert(of(errno) instanceof ProcessAccessDenied);
  }
  const other = of(Errno.EMFILE);
  assert(other instanceof ProcessError);
  assertEquals([other.exitCode, other.pid], [1, 42]);
  assertEquals(
    other.message,
    "process 42: open /proc/42/x: Too many open files (EMFILE)",
  );
  const unknown = new TypeError("a fault of ours");
  assertEquals(processError(42, unknown), unknown);
});
