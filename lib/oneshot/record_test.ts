/**
 * Tests of `rcap record` on a simulated machine and clock.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { NoMatch, RcapError, SystemError } from "../errors.ts";
import {
  FakeClock,
  FakePlatform,
  hot,
  PAGE,
  together,
} from "../platform/fake_testing.ts";
import { MemoryFile, recordOn } from "./record_testing.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();

Deno.test("each step says what was used in its interval, and what is in memory", async () => {
  const platform = new FakePlatform(new FakeClock());
  platform.pressure = 0.125;
  const one = platform.start(
    "one",
    together(hot("hot"), (process, seconds) => {
      // Each interval another hundred pages.
      const step = Math.floor(seconds / 5) % 10;
      process.touch("turns", step * 100, step * 100 + 100);
    }),
  );
  one.fill("hot", 300);
  one.fill("turns", 1000);
  one.fill("cold", 500);
  const file = new MemoryFile();
  const result = await recordOn(platform, file);
  assertEquals(result.steps, 12);
  assertEquals(result.processes, 1);
  const { reader } = file;
  assertEquals(reader.info.selectors, ["comm:one"]);
  const turns: number[] = [];
  for (const { machine, processes } of reader.steps()) {
    assertEquals(machine.pressure, 125_001);
    const [process] = processes.values();
    const { identity, mappings, bits, figures } = process;
    assertEquals(identity.comm, "one");
    assertEquals(mappings.map(({ units }) => units), [300, 1000, 500]);
    assertEquals(figures.rss, 1800 * PAGE);
    assertEquals(bits.bytes.resident, 1800 * PAGE);
    const { bits: used, mappings: [, region] } = bits.pagedata(mappings);
    const first = 300;
    let at = 0;
    while (used[first + at] === 0) at++;
    turns.push(Math.floor(at / 100));
    // The pages in turn: of one interval, or at its edge of two.
    assert(bits.bytes.used >= 400 * PAGE && bits.bytes.used <= 500 * PAGE);
    assertEquals(region.pages, 1000);
  }
  assert(new Set(turns).size >= 9, `${turns}`);
  assertEquals(reader.end.how, "done");
});

Deno.test("processes that join, run another program, and exit", async () => {
  const platform = new FakePlatform(new FakeClock());
  const one = platform.start("one", hot("hot"));
  one.fill("hot", 10);
  const other = platform.start("one", (process, seconds) => {
    process.touch("hot");
    if (seconds > 20 && process.layout === "first") process.layout = "second";
    if (seconds > 45) process.exit();
  });
  other.fill("hot", 20);
  let late = 0;
  platform.clock.repeat(30_000, () => {
    if (late > 0) return;
    const process = platform.start("one", hot("hot"));
    process.fill("hot", 5);
    late = process.pid;
  });
  const file = new MemoryFile();
  await recordOn(platform, file);
  const events: string[] = [];
  for (const { joined, left } of file.reader.steps()) {
    for (const { process, reason } of left) {
      events.push(`-${process.identity.pid} ${reason}`);
    }
    for (const { identity: { pid } } of joined) events.push(`+${pid}`);
  }
  assertEquals(events, [
    `+${one.pid}`,
    `+${other.pid}`,
    `-${other.pid} exec`,
    `+${other.pid}`,
    `+${late}`,
    `-${other.pid} exited`,
  ]);
});

Deno.test("a process that runs another program all the time is followed", async () => {
  const platform = new FakePlatform(new FakeClock());
  const one = platform.start("one", (process, seconds) => {
    process.touch("hot");
    process.layout = `program ${Math.floor(seconds / 7)}`;
  });
  one.fill("hot", 10);
  const file = new MemoryFile();
  const result = await recordOn(platform, file);
  assertEquals(result.seconds, 60);
  assert(result.processes > 5, `${result.processes}`);
});

Deno.test("a full disk ends it, and what was written is readable", async () => {
  const platform = new FakePlatform(new FakeClock());
  const one = platform.start("one", hot("hot"));
  one.fill("hot", 10);
  const whole = new MemoryFile();
  await recordOn(platform, whole);
  for (const share of [0, 0.1, 0.6, 0.8, 0.9]) {
    const most = Math.floor(whole.length * share);
    const file = new MemoryFile();
    file.most = most;
    const error = await recordOn(platform, file).catch((error) => error);
    if (error instanceof SystemError) {
      // Not even its beginning could be written.
      assert(most < 300, error.message);
      continue;
    }
    assert(error instanceof RcapError, `${most} bytes suffice`);
    const told = /the first (\d+) steps/.exec(error.message)?.[1];
    if (file.isRemoved) {
      assertEquals(told, "0");
      continue;
    }
    const { reader } = file;
    assertEquals(`${[...reader.steps()].length}`, told);
    assert(reader.end.cutAt !== undefined && reader.end.cutAt <= most);
  }
});

Deno.test("an interruption ends it well", async () => {
  const platform = new FakePlatform(new FakeClock());
  const one = platform.start("one", hot("hot"));
  one.fill("hot", 10);
  const interruption = new AbortController();
  platform.clock.repeat(31_000, () => interruption.abort());
  const file = new MemoryFile();
  const result = await recordOn(platform, file, {
    signal: interruption.signal,
  });
  assert(result.interrupted);
  const { reader } = file;
  assertEquals([...reader.steps()].length, result.steps);
  assert(result.steps >= 5 && result.steps < 12);
  assertEquals(reader.end, { how: "interrupted", cutAt: undefined });
});

Deno.test("without a process there is no file", async () => {
  const platform = new FakePlatform(new FakeClock());
  const file = new MemoryFile();
  await assertRejects(() => recordOn(platform, file), NoMatch);
  assert(file.isRemoved);
});

Deno.test("an anonymous recording has neither names nor addresses, and the same pages", async () => {
  const platform = new FakePlatform(new FakeClock());
  const one = platform.start("one", hot("hot"));
  one.fill("hot", 700);
  one.fill("cold", 300);
  const [open, anonymous] = [new MemoryFile(), new MemoryFile()];
  await recordOn(platform, open);
  await recordOn(platform, anonymous, { isAnonymous: true });
  const lastOf = (file: MemoryFile) => {
    let text = "";
    const { reader } = file;
    for (const { processes } of reader.steps()) {
      const [{ identity, mappings, bits }] = processes.values();
      const starts = mappings.map(({ start }) => start);
      const { bits: used } = bits.pagedata(mappings);
      text = JSON.stringify({
        info: reader.info.selectors,
        identity,
        starts,
        used: [used.length, used.filter((one) => one > 0).length],
      });
    }
    return JSON.parse(text);
  };
  const [named, unnamed] = [lastOf(open), lastOf(anonymous)];
  assertEquals(named.info, ["comm:one"]);
  assertEquals(unnamed.info, []);
  assertEquals(unnamed.identity, { pid: 1, startTime: 0, comm: "process-1" });
  assertEquals(unnamed.used, [1000, 700]);
  assertEquals(unnamed.used, named.used);
  // Where a mapping was cannot be seen: the first begins at the same address always.
  assertEquals(unnamed.starts[0], 2 ** 24);
  assert(named.starts[0] !== unnamed.starts[0]);
});
