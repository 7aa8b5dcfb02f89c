/**
 * Tests of making system calls on another thread.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import "../tests/support/deadline.ts";
import { SystemError } from "../lib/errors.ts";
import { CallList, LOOPS, OPENED } from "./call_list.ts";
import { AT_FDCWD, File, O_RDONLY, O_WRONLY } from "./file.ts";
import { Errno, libc } from "./libc.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();

const decoder = new TextDecoder();

Deno.test("one list opens and reads a file", async () => {
  const calls = new CallList();
  const buffer = new Uint8Array(64);
  const opened = calls.open(AT_FDCWD, "/proc/self/comm", O_RDONLY);
  const first = calls.read(OPENED, buffer.subarray(0, 2));
  const second = calls.read(OPENED, buffer.subarray(2));
  const end = calls.read(OPENED, buffer);
  const behind = calls.thread();
  await calls.make();
  using _file = File.own(calls.checked(opened, "open"), "comm");
  assertEquals(calls.result(first), 2);
  const length = 2 + calls.checked(second, "read");
  const comm = Deno.readTextFileSync("/proc/self/comm");
  assertEquals(decoder.decode(buffer.subarray(0, length)), comm);
  // The end of a file ends the list.
  assertEquals(calls.result(end), 0);
  assertEquals(calls.result(behind), undefined);
});

Deno.test("a call that fails ends the list, and its error is kept", async () => {
  const calls = new CallList();
  const opened = calls.open(AT_FDCWD, "/nowhere/at all", O_RDONLY);
  const read = calls.read(OPENED, new Uint8Array(1));
  await calls.make();
  assertEquals(calls.result(opened), -Errno.ENOENT);
  assertEquals(calls.result(read), undefined);
  // Both report it, because the first's failure prevented the second.
  for (const call of [opened, read]) {
    const error = assertThrows(
      () => calls.checked(call, "open /nowhere"),
      SystemError,
      "open /nowhere: No such file or directory (ENOENT)",
    );
    assertEquals(error.errno, Errno.ENOENT);
  }
});

Deno.test("the failure of a call that may fail does not end the list", async () => {
  const calls = new CallList();
  const move = calls.runOn(new Uint8Array(128));
  const thread = calls.thread();
  await calls.make();
  assertEquals(calls.result(move), -Errno.EINVAL);
  assert(calls.checked(thread, "gettid") > 0);
});

Deno.test("write errors are the kernel's", async () => {
  using full = File.open("/dev/full", O_WRONLY);
  const calls = new CallList();
  const write = calls.write(full.fd, new Uint8Array(1));
  await calls.make();
  assertThrows(
    () => calls.checked(write, "write /dev/full"),
    SystemError,
    "write /dev/full: No space left on device",
  );
});

Deno.test("a list can be reused, even for more calls", async () => {
  const calls = new CallList();
  for (const count of [1, 100, 3]) {
    calls.clear();
    const made = Array.from({ length: count }, () => calls.thread());
    await calls.make();
    for (const call of made) assert(calls.checked(call, "gettid") > 0);
  }
});

Deno.test("many lists run at the same time", async () => {
  const length = (await Promise.all(
    Array.from({ length: 200 }, async (_, offset) => {
      using file = File.open("/proc/self/comm");
      const buffer = new Uint8Array(1 + offset % 3);
      const calls = new CallList();
      const read = calls.readAt(file.fd, buffer, 0);
      await calls.make();
      assertEquals(calls.result(read), buffer.length);
      return buffer.length;
    }),
  )).length;
  assertEquals(length, 200);
});

Deno.test("the instructions match the assembly source", async () => {
  const folder = Deno.makeTempDirSync();
  try {
    const source =
      new URL(`call_list.${Deno.build.arch}.s`, import.meta.url).pathname;
    const [object, binary] = [`${folder}/loop.o`, `${folder}/loop.bin`];
    await run("as", source, "-o", object);
    await run("objcopy", "-O", "binary", "-j", ".text", object, binary);
    const built = Deno.readFileSync(binary);
    assertEquals(built.toHex(), LOOPS[Deno.build.arch]);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

async function run(program: string, ...args: string[]): Promise<void> {
  const { code, stderr } = await new Deno.Command(program, { args }).output();
  assertEquals(code, 0, decoder.decode(stderr));
}
