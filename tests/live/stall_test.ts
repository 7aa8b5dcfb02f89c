/**
 * Tests of processes that do not release their mmap lock: they delay only the work
 * on themselves.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { POLICIES } from "../../lib/config/policy_names.ts";
import {
  type LockLook,
  MemoryCalls,
  NotAnswering,
} from "../../lib/platform/linux/memory_calls.ts";
import { PageTables } from "../../lib/platform/linux/page_tables.ts";
import { readProcess } from "../../lib/platform/linux/process_list.ts";
import { LinuxProcessMemory } from "../../lib/platform/linux/process_memory.ts";
import { SmapsSource } from "../../lib/platform/linux/smaps_source.ts";
import { cap, QUICKLY, quicklyBy, TestDaemon } from "../support/daemon.ts";
import { waitingFor } from "../support/deadline.ts";
import {
  assertIntact,
  BRIEFLY,
  MIB,
  requireRoot,
  scanJson,
} from "../support/live.ts";
import { LockHolder } from "../support/lock_holder.ts";
import { rcap, startRcap } from "../support/rcap.ts";
import { zramSwap } from "../support/swap.ts";
import { pssOf, until, Workload } from "../support/workload.ts";

requireRoot();

// Opened before the first test, which would otherwise appear to leak it.
libc();

// <asm/unistd.h> of Linux.
const MPROTECT = Deno.build.arch === "x86_64" ? 10 : 226;

/**
 * How long a command may take to end after a signal, in milliseconds: far less than
 * a lock is held here.
 */
const PROMPTLY = 5000;

const SOURCES = ["pte", "smaps"] as const;

Deno.test("a process that holds its lock is reported, and nothing waits for it", async () => {
  await using holder = await LockHolder.start({ size: 16 * MIB });
  await holder.lock();
  for (const source of SOURCES) {
    const commands = [
      ["inspect", `${holder.pid}`, ...BRIEFLY],
      ["inspect", `${holder.pid}`, "--ages", ...BRIEFLY],
      ["scan", `pid:${holder.pid}`, "--cap", "1M", ...BRIEFLY],
      ["scan", `pid:${holder.pid}`, "--cap", "1M", "--dry-run", ...BRIEFLY],
    ];
    for (const command of commands) {
      const { code, stderr } = await rcap([...command, "--pagedata", source]);
      assertStringIncludes(stderr, `process ${holder.pid} does not answer`);
      assertEquals(code, 1, command.join(" "));
    }
  }
  await holder.unlock();
  assert(await holder.isIntact());
});

Deno.test("a process that holds its lock does not delay scans of others", async () => {
  await using _swap = await zramSwap({ size: 256 * MIB });
  await using holder = await LockHolder.start({ size: 16 * MIB });
  await using victim = await Workload.start();
  await victim.anon("cold", 64 * MIB);
  await holder.lock();
  for (const source of SOURCES) {
    const { report } = await scanJson([
      `pid:${victim.pid}`,
      `pid:${holder.pid}`,
      ...["--excess", "16M", "--pagedata", source],
    ]);
    const of = (pid: number) =>
      report.processes.find((process) => process.pid === pid);
    assertStringIncludes(of(holder.pid)?.error ?? "", "does not answer");
    assertEquals(of(victim.pid)?.error, null);
    assert(report.attempted >= 8 * MIB, `${report.attempted} attempted`);
  }
  await assertIntact(victim);
});

Deno.test("rcap does not wait as a writer while the process itself reads", async () => {
  await using holder = await LockHolder.start({ size: 16 * MIB });
  await holder.read();
  using tables = PageTables.open();
  const look = () => {
    const space = tables.addressSpaces().get(holder.pid);
    return space && tables.lookAtLock(space);
  };
  assertEquals(look()?.blocksReaders, false);
  assertEquals(look()?.blocksWriters, true);
  const running = startRcap(
    ["scan", `pid:${holder.pid}`, "--cap", "1M", ...BRIEFLY],
  );
  let hasEnded = false;
  const ended = running.end().finally(() => hasEnded = true);
  let looks = 0;
  while (!hasEnded) {
    assertEquals(look()?.blocksReaders, false, "others can read still");
    looks++;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  assert(looks > 10);
  const { stderr } = await ended;
  assertStringIncludes(stderr, "does not answer");
  // Above all, its own threads are not blocked.
  await holder.unlock();
  assert(await holder.isIntact());
});

/** A process that has its lock for nearly all of the time, and lets go of it all the time. */
const BUSY_WITH_ITS_MEMORY = `
  my $size = 16 << 20;
  my $memory = "a" x $size;
  my $address = unpack("Q", pack("P", $memory)) + 4095 & ~4095;
  $| = 1;
  print "ready\\n";
  while (1) {
    for my $protection (1, 3) {
      syscall(${MPROTECT}, $address, $size - 4096, $protection) == 0 or die $!;
    }
  }
`;

Deno.test("a process that takes its lock all the time is not taken for one that holds it", async () => {
  await using busy = new Deno.Command("perl", {
    args: ["-e", BUSY_WITH_ITS_MEMORY],
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const output = busy.stdout.getReader();
  await output.read();
  using tables = PageTables.open();
  const space = tables.addressSpaces().get(busy.pid);
  assert(space);
  const looks: LockLook[] = [];
  for (let i = 0; i < 50; i++) {
    const look = tables.lookAtLock(space);
    assert(look);
    looks.push(look);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const held = looks.filter(({ blocksReaders }) => blocksReaders);
  assert(held.length >= 10, `it has its lock at ${held.length} of 50 looks`);
  const holds = new Set(held.map(({ holders }) => holders)).size;
  assert(holds > held.length / 2, `${holds} holds at ${held.length} looks`);
  const { code, stdout, stderr } = await rcap(
    ["inspect", String(busy.pid), "--json"],
  );
  assertEquals(code, 0, stderr);
  assert(stdout !== "");
  busy.kill("SIGKILL");
  await output.cancel();
});

Deno.test("signals end every command while a process holds its lock", async () => {
  await using holder = await LockHolder.start({ size: 16 * MIB });
  const { pid } = holder;
  for (const source of SOURCES) {
    const commands = [
      ["inspect", `${pid}`, "--observe", "1m"],
      ["inspect", `${pid}`, "--ages", "--observe", "1m"],
      ["scan", `pid:${pid}`, "--cap", "1M", "--observe", "1m"],
    ];
    for (const command of commands) {
      const running = startRcap([...command, "--pagedata", source]);
      const ended = running.end();
      // During the observation, every look except the first finds the lock held.
      await until(
        () => referencedOf(pid) < 8 * MIB,
        "the process to be observed",
      );
      await holder.lock();
      const began = performance.now();
      running.child.kill("SIGTERM");
      const { code } = await waitingFor(`rcap ${command[0]} to end`, ended);
      const elapsed = performance.now() - began;
      await holder.unlock();
      // The process uses all its memory, for the next command.
      assert(await holder.isIntact());
      assertEquals(code, 143);
      assert(elapsed < PROMPTLY, `${command[0]} took ${elapsed} ms to end`);
    }
  }
});

/** The referenced memory of a process since the last reset, in bytes. */
function referencedOf(pid: number): number {
  const text = Deno.readTextFileSync(`/proc/${pid}/smaps_rollup`);
  return Number(/^Referenced: *(\d+) kB$/m.exec(text)?.[1]) * 1024;
}

Deno.test("holding the lock once during a page-out does not exempt a process from its cap", async () => {
  await using _swap = await zramSwap({ size: 512 * MIB });
  for (const policy of POLICIES) {
    await using holder = await LockHolder.start({ size: 192 * MIB });
    await using daemon = await TestDaemon.start({
      config: quicklyBy(policy) + cap("evil", [`pid:${holder.pid}`], "16M"),
    });
    const before = statmRss(holder.pid);
    await until(
      () => statmRss(holder.pid) < before - MIB,
      "the page-out to begin",
      60_000,
      1,
    );
    await holder.lock();
    await new Promise((resolve) => setTimeout(resolve, 3000));
    await holder.unlock();
    await daemon.untilGroup(
      "evil",
      ({ rss }) => rss <= 17 * MIB,
      "the process still to be paged out",
      120_000,
    );
    assertEquals((await daemon.stop()).code, 0);
    assert(await holder.isIntact());
  }
});

/** The resident set size of a process in bytes, read without its lock. */
function statmRss(pid: number): number {
  const [, pages] = Deno.readTextFileSync(`/proc/${pid}/statm`).split(" ");
  return Number(pages) * 4096;
}

Deno.test("a late answer of a process leaves no descriptor open", async () => {
  await using holder = await LockHolder.start({ size: 4 * MIB });
  const calls = new MemoryCalls();
  const memory = new LinuxProcessMemory(readProcess(holder.pid), {
    source: new SmapsSource(),
    calls,
  });
  const open = () =>
    [...Deno.readDirSync("/proc/self/fd")].filter(({ name }) => {
      try {
        return /pidfd|pagemap/.test(Deno.readLinkSync(`/proc/self/fd/${name}`));
      } catch {
        // Minus that of the directory itself.
        return false;
      }
    }).length;
  // Deno has one for each of its children.
  const before = open();
  await holder.lock();
  await assertRejects(() => memory.control(), NotAnswering);
  assert(open() > before, "its descriptors are in use");
  await holder.unlock();
  await until(() => open() === before, "all descriptors to be closed");
});

for (const source of SOURCES) {
  Deno.test(`the daemon continues beside processes that hold their locks (${source})`, async () => {
    await using _swap = await zramSwap({ size: 512 * MIB });
    await using held = new AsyncDisposableStack();
    const holders: LockHolder[] = [];
    for (let i = 0; i < 3; i++) {
      const holder = await LockHolder.start({ size: 32 * MIB, name: "holder" });
      holders.push(held.use(holder));
    }
    await using victim = await Workload.start({ name: "victim" });
    await victim.anon("cold", 96 * MIB);
    for (const holder of holders) await holder.lock();
    await using daemon = await TestDaemon.start({
      config: QUICKLY + `pagedata = "${source}"\n` +
        holders.map(({ pid }, index) =>
          cap(`evil${index}`, [`pid:${pid}`], "8M")
        )
          .join("") +
        cap("good", [`pid:${victim.pid}`], "64M"),
    });
    // Three caps cannot be enforced, and do not delay the fourth.
    await until(
      () => pssOf(victim.pid) <= 64 * MIB,
      "the other cap to be enforced",
      60_000,
    );
    const before = daemon.state().updatedAt;
    await until(
      () => daemon.state().updatedAt > before + 1,
      "the state to be written",
    );
    for (const [index, { pid }] of holders.entries()) {
      await daemon.untilGroup(
        `evil${index}`,
        ({ warning }) =>
          warning?.includes(`process ${pid} does not answer`) ?? false,
        "the warning to name the process",
        60_000,
      );
    }
    // A process that releases its lock is tried again, however late.
    await holders[0].unlock();
    await daemon.untilGroup(
      "evil0",
      ({ warning, statistics }) =>
        !warning?.includes("does not answer") && statistics.attempted > 0,
      "the process to be paged out",
      120_000,
    );
    const began = performance.now();
    const { code, stderr } = await daemon.stop();
    assertEquals(code, 0);
    const elapsed = performance.now() - began;
    assert(elapsed < PROMPTLY, `the daemon took ${elapsed} ms to end`);
    assertStringIncludes(stderr, "it is set aside");
    assertStringIncludes(stderr, `process ${holders[0].pid} answers again`);
    for (const holder of holders.slice(1)) await holder.unlock();
    for (const holder of holders) assert(await holder.isIntact());
    await assertIntact(victim);
  });
}
