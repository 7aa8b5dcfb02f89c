/**
 * Tests of process descriptors.
 *
 * @module
 */

import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { SystemError } from "../lib/errors.ts";
import { Errno } from "./libc.ts";
import { Pidfd, RemoteRanges } from "./pidfd.ts";
import { Sleeper } from "./testing.ts";

Deno.test("a descriptor shows that its process has ended", async () => {
  await using sleeper = await Sleeper.start();
  using pidfd = Pidfd.open(sleeper.pid);
  assert(pidfd.isAlive());
  await sleeper.end();
  assertEquals(pidfd.isAlive(), false);
});

Deno.test("advice to a process that has ended fails with ESRCH", async () => {
  await using sleeper = await Sleeper.start();
  using pidfd = Pidfd.open(sleeper.pid);
  await sleeper.end();
  const error = await assertRejects(
    () => pidfd.madvise(new RemoteRanges(0), { from: 0, advice: 21 }),
    SystemError,
    "No such process (ESRCH)",
  );
  assertEquals(error.errno, Errno.ESRCH);
});

Deno.test("opening a descriptor of a process that does not exist fails", async () => {
  await using sleeper = await Sleeper.start();
  const { pid } = sleeper;
  await sleeper.end();
  const error = assertThrows(() => Pidfd.open(pid), SystemError);
  assertEquals(error.message, `pidfd_open ${pid}: No such process (ESRCH)`);
});

Deno.test("ranges are kept in order, and returned from any index on", () => {
  const ranges = new RemoteRanges(2);
  ranges.add(0x7fff_0000_0000n, 4096);
  assertEquals(ranges.isFull, false);
  ranges.add(0x7fff_0001_0000n, 8192);
  assertEquals({ count: ranges.count, isFull: ranges.isFull }, {
    count: 2,
    isFull: true,
  });
  assertEquals([...ranges.from(1)], [0x7fff_0001_0000n, 8192n]);
  ranges.clear();
  assertEquals([...ranges.from(0)], []);
});
