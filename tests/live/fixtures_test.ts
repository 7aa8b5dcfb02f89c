/**
 * Tests of the fixtures of the other integration tests: the workload has the
 * memory, the reference bits and the children that it claims, and neither it nor
 * test swap leaves anything behind.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import {
  anySwap,
  canSwap,
  fileSwap,
  hasOtherSwap,
  swapFree,
  swapPaths,
  withoutSwap,
  zramSwap,
} from "../support/swap.ts";
import {
  clearReferenced,
  isRunning,
  mappingFigures,
  residentOf,
  rssOf,
  Workload,
  WorkloadError,
} from "../support/workload.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const root = Deno.uid() === 0;
const swap = await canSwap();

/** Longer than the TLB delays a reference bit. */
const OBSERVATION_MS = 2500;

function delay(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** A file of random bytes, removed on disposal. */
function randomFile(size: number): Disposable & { path: string } {
  const path = Deno.makeTempFileSync();
  const bytes = new Uint8Array(size);
  for (let offset = 0; offset < size; offset += 64 * KIB) {
    crypto.getRandomValues(bytes.subarray(offset, offset + 64 * KIB));
  }
  Deno.writeFileSync(path, bytes);
  return { path, [Symbol.dispose]: () => Deno.removeSync(path) };
}

function stateOf(pid: number): string | undefined {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return /^State:\s+(\w)/m.exec(status)?.[1];
}

Deno.test("a workload has the requested regions and little else", async () => {
  using file = randomFile(2 * MIB);
  await using workload = await Workload.start();
  const { pid } = workload;
  const before = rssOf(pid);
  const filled = [
    await workload.anon("a", 32 * MIB),
    await workload.anon("b", 5000),
    await workload.shm("s", 4 * MIB),
    await workload.memfd("m", 4 * MIB),
    await workload.file("fs", { path: file.path, shared: true }),
    await workload.file("fp", { path: file.path }),
  ];
  const reserved = await workload.reserve("r", 2 ** 40);
  assertEquals(await workload.regions(), [...filled, reserved]);

  let total = 0;
  for (const { name, start, end, size } of filled) {
    assertEquals(Number(end - start), size, name);
    assertEquals(await workload.resident(name), size, name);
    assertEquals(residentOf(pid, start, end), size, name);
    const { size: mapped, rss } = mappingFigures(pid, start);
    assertEquals({ mapped, rss }, { mapped: size, rss: size }, name);
    total += size;
  }
  const { size, rss } = mappingFigures(pid, reserved.start);
  assertEquals({ size, rss }, { size: 2 ** 40, rss: 0 });

  const overhead = rssOf(pid) - total;
  assert(overhead < 10 * MIB, `overhead of ${overhead} bytes`);
  assert(overhead - before < MIB, `overhead grew by ${overhead - before}`);
});

Deno.test("hot regions stay referenced and cold regions do not", async () => {
  // One of each: where DAMON runs, a page of a file counts as referenced in all its
  // mappings.
  using hotFile = randomFile(4 * MIB);
  using writtenFile = randomFile(4 * MIB);
  using coldFile = randomFile(4 * MIB);
  using halfHotFile = randomFile(4 * MIB);
  await using workload = await Workload.start();
  const { pid } = workload;
  const hot = [
    await workload.anon("anonHot", 64 * MIB),
    await workload.shm("shmHot", 4 * MIB),
    await workload.memfd("memfdHot", 4 * MIB),
    await workload.file("fileHot", { path: hotFile.path, shared: true }),
    await workload.anon("anonWritten", 4 * MIB),
    await workload.file("fileWritten", { path: writtenFile.path }),
  ];
  const cold = [
    await workload.anon("anonCold", 8 * MIB),
    await workload.file("fileCold", { path: coldFile.path, shared: true }),
    await workload.anon("anonCooled", 8 * MIB),
  ];
  const half = await workload.file("fileHalfHot", { path: halfHotFile.path });
  for (const { name } of hot.slice(0, 4)) await workload.hot(name);
  for (const { name } of hot.slice(4)) await workload.write(name);
  await workload.hot("fileHalfHot", { offset: 2 * MIB, size: 2 * MIB });
  await workload.hot("anonCooled");
  await delay(100);
  await workload.cold("anonCooled");

  clearReferenced(pid);
  await delay(OBSERVATION_MS);

  for (const { name, start, size } of hot) {
    assertEquals(mappingFigures(pid, start).referenced, size, name);
  }
  for (const { name, start } of cold) {
    assertEquals(mappingFigures(pid, start).referenced, 0, name);
  }
  assertEquals(mappingFigures(pid, half.start).referenced, 2 * MIB);
  assertEquals(mappingFigures(pid, hot[4].start).anonymous, 4 * MIB);
  assertEquals(mappingFigures(pid, hot[5].start).anonymous, 4 * MIB);
  assert(await workload.checksum(), "writing changes no contents");
});

Deno.test("a checksum detects one changed byte and exchanged pages", async () => {
  await using workload = await Workload.start();
  const { start } = await workload.anon("a", MIB);
  await workload.anon("b", MIB);
  assert(await workload.checksum());

  using memory = Deno.openSync(`/proc/${workload.pid}/mem`, {
    read: true,
    write: true,
  });
  const page = (index: number) => Number(start) + index * 4096;
  const read = (index: number) => {
    const bytes = new Uint8Array(4096);
    memory.seekSync(page(index), Deno.SeekMode.Start);
    memory.readSync(bytes);
    return bytes;
  };
  const write = (index: number, bytes: Uint8Array) => {
    memory.seekSync(page(index), Deno.SeekMode.Start);
    memory.writeSync(bytes);
  };
  const [first, second] = [read(7), read(8)];
  write(7, first.with(100, first[100] ^ 1));
  assertEquals(await workload.checksum("a"), false);
  assertEquals(await workload.checksum("b"), true);
  assertEquals(await workload.checksum(), false);
  write(7, second);
  write(8, first);
  assertEquals(await workload.checksum(), false);
  write(7, first);
  write(8, second);
  assertEquals(await workload.checksum(), true);
});

Deno.test("regions can be locked, moved and unmapped", async () => {
  await using workload = await Workload.start();
  const { pid } = workload;
  const region = await workload.anon("a", MIB);
  await workload.lock("a");
  assert(
    /^Locked:\s+1024 kB$/m.test(Deno.readTextFileSync(`/proc/${pid}/smaps`)),
  );
  const moved = await workload.remap("a");
  assert(moved.start !== region.start);
  assertEquals(residentOf(pid, region.start, region.end), 0);
  assertEquals(residentOf(pid, moved.start, moved.end), MIB);
  assert(await workload.checksum());
  await workload.unmap("a");
  assertEquals(await workload.regions(), []);
  assertEquals(residentOf(pid, moved.start, moved.end), 0);
});

Deno.test("a workload forks, leaves a zombie, and leaves nothing when disposed", async () => {
  let pids: number[];
  {
    await using workload = await Workload.start();
    const { start, end } = await workload.anon("a", MIB);
    const sleeper = await workload.fork();
    const zombie = await workload.zombie();
    pids = [workload.pid, sleeper, zombie];
    assertEquals(residentOf(sleeper, start, end), MIB);
    assertEquals(mappingFigures(sleeper, start).anonymous, MIB);
    assertEquals(stateOf(zombie), "Z");
    assertEquals(isRunning(zombie), false);
    // Disposal must handle this.
    workload.kill("SIGSTOP");
  }
  assertEquals(pids.filter(isRunning), []);
});

Deno.test("a workload that execs keeps its pid and loses its regions", async () => {
  await using workload = await Workload.start();
  const region = await workload.anon("a", MIB);
  await workload.exec();
  assertEquals(residentOf(workload.pid, region.start, region.end), 0);
  assertEquals(await workload.regions(), []);
  assertEquals((await workload.anon("a", MIB)).start, region.start);
});

Deno.test({
  name: "a workload becomes another user under another name",
  ignore: !root,
  async fn() {
    await using workload = await Workload.start({
      name: "a (b) c",
      uid: 65534,
    });
    const folder = `/proc/${workload.pid}`;
    assertEquals(Deno.readTextFileSync(`${folder}/comm`), "a (b) c\n");
    assertEquals(Deno.statSync(`${folder}/maps`).uid, 65534);
    await workload.anon("a", MIB);
    assertEquals(await workload.resident("a"), MIB);
  },
});

Deno.test("commands that fail give the reason and leave the workload usable", async () => {
  await using workload = await Workload.start();
  await assertRejects(
    () => workload.hot("none"),
    WorkloadError,
    "there is no region none",
  );
  await assertRejects(
    () => workload.file("f", { path: "/no such\nfile" }),
    WorkloadError,
    "/no such\nfile: No such file or directory",
  );
  assertEquals(await workload.regions(), []);
});

Deno.test("a workload that ends or hangs gives an error", async () => {
  await assertRejects(
    () => Workload.start({ perl: "/bin/false" }),
    WorkloadError,
    "exit 1",
  );

  await using stopped = await Workload.start({ timeout: 200 });
  stopped.kill("SIGSTOP");
  await assertRejects(() => stopped.regions(), WorkloadError, "no answer");

  await using killed = await Workload.start();
  killed.kill("SIGKILL");
  await assertRejects(() => killed.regions(), WorkloadError, "SIGKILL");

  await using quitting = await Workload.start();
  assertEquals((await quitting.quit()).code, 0);
});

Deno.test({
  name: "pages go to test swap and come back intact",
  ignore: !swap.able,
  async fn() {
    await using _swap = await anySwap({ size: 64 * MIB, priority: 100 });
    await using workload = await Workload.start();
    const free = swapFree();
    const { start, size } = await workload.anon("a", 16 * MIB);
    await workload.pageout("a");
    const out = mappingFigures(workload.pid, start);
    assertEquals(out.rss + out.swap, size);
    // Pages touched last may be in another processor's LRU batch, where a page-out
    // does not find them.
    assert(out.rss <= 256 * 1024, `${out.rss} left`);
    assert(swapFree() <= free - out.swap);
    assertEquals(await workload.resident("a"), out.rss);
    assert(await workload.checksum());
    assertEquals(await workload.resident("a"), size);
  },
});

Deno.test({
  name: "test swap is removed, even if the test fails",
  ignore: !swap.able,
  async fn() {
    const before = { paths: swapPaths(), other: hasOtherSwap() };
    const path = `/var/tmp/fixtures-test-${crypto.randomUUID()}`;
    const make = [
      () => fileSwap(path, { size: 4 * MIB, priority: 3 }),
      () => zramSwap({ size: 4 * MIB, priority: 3 }),
    ];
    const made: string[] = [];
    for (const swap of make) {
      await assertRejects(
        async () => {
          await using one = await swap();
          made.push(one.path);
          assertEquals(swapPaths().includes(one.path), true);
          assertEquals(hasOtherSwap(), before.other);
          throw new Error("the test fails");
        },
        Error,
        "the test fails",
      );
    }
    // Creation fails halfway: the file exists, the swap does not.
    await assertRejects(
      () => fileSwap(path, { size: 4 * KIB }),
      Error,
      "mkswap",
    );
    for (const path of made) {
      await assertRejects(() => Deno.stat(path), Deno.errors.NotFound);
    }
    assertEquals(swapPaths(), before.paths);
  },
});

Deno.test({
  name: "the machine's swap can be off during a test",
  ignore: !swap.able,
  async fn() {
    await using one = await anySwap({ size: 4 * MIB, priority: 3 });
    const row = () =>
      Deno.readTextFileSync("/proc/swaps").split("\n")
        .find((row) => row.startsWith(`${one.path} `));
    const before = row();
    assertMatch(before ?? "", /\t3$/);
    {
      await using _none = await withoutSwap();
      assertEquals(swapPaths(), []);
    }
    assertEquals(row(), before);
  },
});
