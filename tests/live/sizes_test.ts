/**
 * Tests of the sizes of processes that share an address space, map their memory several
 * times, or have lost their main thread, on the real kernel.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { POLICIES } from "../../lib/config/policy_names.ts";
import { openPagedataSource } from "../../lib/platform/linux/open_source.ts";
import { LinuxPlatform } from "../../lib/platform/linux/linux_platform.ts";
import { AddressSpaces } from "../support/address_spaces.ts";
import { cap, QUICKLY, quicklyBy, TestDaemon } from "../support/daemon.ts";
import { BRIEFLY, MIB, requireRoot, scanJson } from "../support/live.ts";
import { rcap } from "../support/rcap.ts";
import { anySwap } from "../support/swap.ts";
import { until, Workload } from "../support/workload.ts";

requireRoot();

// Opened before the first test, which would otherwise appear to leak it.
libc();

const SOURCES = ["pte", "smaps"] as const;

function open(source: typeof SOURCES[number]): LinuxPlatform {
  return new LinuxPlatform(openPagedataSource(source, () => {}));
}

/** How much of a process is in swap: proc_pid_status(5). */
function swapped(pid: number): number {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return Number(/^VmSwap:\s+(\d+) kB/m.exec(status)?.[1] ?? NaN) * 1024;
}

Deno.test("the RSS of a sample is what smaps_rollup counts", async () => {
  using platform = open("smaps");
  await using workload = await Workload.start();
  for (const [index, size] of [1, 33, 7].entries()) {
    await workload.anon(`a${index}`, size * MIB);
    await workload.memfd(`m${index}`, size * MIB);
    const { rss, fileRss, rssError } = platform.sampleProcess(workload.pid);
    const entry = platform.readProcess(workload.pid);
    const counted = await platform.open(entry).readFootprint();
    const near = (a: number, b: number) =>
      assert(Math.abs(a - b) <= rssError, `${a} and ${b}, ${rssError}`);
    near(rss, counted.rss);
    near(fileRss, counted.fileRss);
  }
});

for (const source of SOURCES) {
  for (const mode of ["clone", "vfork"] as const) {
    Deno.test(`${source}: processes with one address space are found (${mode})`, async () => {
      using platform = open(source);
      await using spaces = await AddressSpaces.start(mode, 8);
      await using other = await Workload.start();
      const entries = [spaces.pid, other.pid, spaces.other]
        .map((pid) => platform.readProcess(pid));
      for (let search = 0; search < 3; search++) {
        assertEquals(
          [...await platform.sharedMemory(entries)],
          [[spaces.other, spaces.pid]],
        );
      }
      assertEquals(
        [...await platform.sharedMemory(entries.toReversed())],
        [[spaces.pid, spaces.other]],
      );
    });

    Deno.test(`${source}: scan counts an address space of two processes once (${mode})`, async () => {
      await using spaces = await AddressSpaces.start(mode, 64);
      const args = [`pid:${spaces.pid}`, `pid:${spaces.other}`];
      const { report } = await scanJson([
        ...args,
        "--cap",
        "80M",
        "--pagedata",
        source,
        ...BRIEFLY,
      ]);
      assertEquals([report.capMet, report.attempted], [true, 0]);
      assert(report.rss < 70 * MIB, `${report.rss}`);
      const one = report.processes.find(({ pid }) => pid === spaces.pid);
      const two = report.processes.find(({ pid }) => pid === spaces.other);
      assert(one && two);
      const [first, second] = spaces.pid < spaces.other
        ? [one, two]
        : [two, one];
      assertEquals(first.error, null);
      assertEquals([second.rss, second.error], [
        null,
        `process ${second.pid} shares the memory of process ${first.pid}, as which it counts`,
      ]);
    });
  }
}

Deno.test("a child of vfork that executes a program has memory of its own", async () => {
  for (const source of SOURCES) {
    using platform = open(source);
    await using spaces = await AddressSpaces.start("vfork", 8);
    const search = () =>
      platform.sharedMemory(
        [spaces.pid, spaces.other].map((pid) => platform.readProcess(pid)),
      );
    assertEquals((await search()).size, 1, source);
    await spaces.exec();
    await until(
      () => platform.readProcess(spaces.other).comm === "sleep",
      "the child to execute sleep",
    );
    assertEquals((await search()).size, 0, source);
    Deno.kill(spaces.other);
  }
});

for (const policy of POLICIES) {
  Deno.test(`the daemon counts an address space of two processes once (${policy})`, async () => {
    await using _swap = await anySwap({ size: 256 * MIB });
    await using spaces = await AddressSpaces.start("clone", 64);
    const select = [`pid:${spaces.pid}`, `pid:${spaces.other}`];
    await using daemon = await TestDaemon.start({
      config: quicklyBy(policy) + cap("pair", select, "100M"),
    });
    await daemon.untilGroup(
      "pair",
      ({ statistics }) => statistics.samples >= 5,
      "samples",
    );
    const { rss, processes, statistics } = daemon.group("pair");
    assertEquals([processes, statistics.effective], [2, 0]);
    assert(60 * MIB < rss && rss < 72 * MIB, `${rss}`);
    assertEquals(swapped(spaces.pid), 0);
  });
}

Deno.test("the daemon counts three views of one file in memory once, and leaves them in peace", async () => {
  await using _swap = await anySwap({ size: 256 * MIB });
  await using spaces = await AddressSpaces.start("views", 64);
  await using daemon = await TestDaemon.start({
    config: QUICKLY + cap("views", [`pid:${spaces.pid}`], "100M"),
  });
  await daemon.untilGroup(
    "views",
    ({ statistics, accounting }) =>
      statistics.samples >= 6 && accounting === "pss",
    "samples",
  );
  const { rss, warning, statistics } = daemon.group("views");
  assert(60 * MIB < rss && rss < 72 * MIB, `${rss}`);
  assertEquals([warning, statistics.scans], [null, 0]);
});

Deno.test("a process whose main thread has exited counts, and every command says that it cannot be paged out", async () => {
  await using _swap = await anySwap({ size: 256 * MIB });
  await using spaces = await AddressSpaces.start("exited", 64);
  const { pid } = spaces;
  for (const source of SOURCES) {
    using platform = open(source);
    const { mainThreadExited, isZombie, rss } = platform.sampleProcess(pid);
    assertEquals([mainThreadExited, isZombie], [true, false]);
    assert(64 * MIB < rss && rss < 72 * MIB, `${rss}`);
    const entry = platform.readProcess(pid);
    const footprint = await platform.open(entry).readFootprint();
    assert(64 * MIB < footprint.rss && footprint.rss < 72 * MIB);
    assertEquals(
      await platform.runsProgram(
        entry,
        (path) => path.endsWith("/address_spaces"),
      ),
      true,
      "its program is known",
    );
  }
  const words =
    `process ${pid}: its main thread has exited while others run; the kernel answers ESRCH, so it cannot be paged out`;
  const alone = await rcap(["scan", `pid:${pid}`, "--cap", "10M", ...BRIEFLY]);
  assertEquals(alone.code, 1);
  assertStringIncludes(alone.stderr, words);
  const { code, stdout } = await rcap(["inspect", `${pid}`, ...BRIEFLY]);
  assertEquals(code, 0);
  assertStringIncludes(stdout, "no-main-thread");

  await using workload = await Workload.start();
  await workload.anon("idle", 32 * MIB);
  const { report } = await scanJson([
    `pid:${pid}`,
    `pid:${workload.pid}`,
    "--cap",
    "80M",
    ...BRIEFLY,
  ]);
  assertEquals(report.processes.find((one) => one.pid === pid)?.error, words);
  assertEquals(report.capMet, true);

  await using daemon = await TestDaemon.start({
    config: QUICKLY + cap("stuck", [`pid:${pid}`], "20M"),
  });
  const { warning, rss } = await daemon.untilGroup(
    "stuck",
    ({ warning }) => warning !== null,
    "a warning",
  );
  assert(60 * MIB < rss && rss < 72 * MIB, `${rss}`);
  assert(
    /^6\d\.\dM of it cannot be paged out, since the main thread of process \d+ has exited while others run$/
      .test(warning ?? ""),
    `${warning}`,
  );
});
