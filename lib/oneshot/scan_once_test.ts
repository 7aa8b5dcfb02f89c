/**
 * Tests of a one-shot scan by both policies, on a simulated machine and clock.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { parseSelector } from "../collection/selectors.ts";
import { POLICIES } from "../config/policy_names.ts";
import { ProcessError } from "../errors.ts";
import {
  FakeClock,
  FakePlatform,
  hot,
  PAGE,
  TICK,
} from "../platform/fake_testing.ts";
import {
  scanOnce,
  type ScanOnceOptions,
  type ScanReport,
} from "./scan_once.ts";

// Opened before the first test, which would otherwise seem to leak it.
libc();

/** Scans the processes named `one` while the clock runs. */
async function scanOne(
  platform: FakePlatform,
  options: Partial<ScanOnceOptions> & Pick<ScanOnceOptions, "policy">,
): Promise<ScanReport & { messages: string[] }> {
  const messages: string[] = [];
  const note = (message: string) => messages.push(message);
  const { clock } = platform;
  const report = await clock.finish(
    scanOnce({
      selectors: [parseSelector("comm:one")],
      goal: { cap: 1500 * PAGE },
      dryRun: false,
      observation: 4000,
      signal: new AbortController().signal,
      log: { warn: note, info: note, debug() {} },
      platform,
      clock,
      ...options,
    }),
    TICK,
  );
  return { ...report, messages };
}

for (const policy of POLICIES) {
  const test = (what: string, run: () => Promise<void>) =>
    Deno.test(`${policy}: ${what}`, run);

  test("unused memory goes until the cap is met", async () => {
    const platform = new FakePlatform(new FakeClock());
    const process = platform.start("one", hot("hot"));
    process.fill("hot", 1000);
    process.fill("idle", 1000);
    const report = await scanOne(platform, { policy });
    assertEquals(report.capMet, true);
    assertEquals(report.observedSeconds, 4);
    assertEquals(report.rss, 2000 * PAGE);
    assertEquals(report.excess, 500 * PAGE);
    assertEquals(report.effective, (2000 * PAGE) - report.rssAfter);
    assertEquals(report.workingSetToo, false);
    const [{ unreferenced, error }] = report.processes;
    assertEquals(unreferenced, 1000 * PAGE);
    assertEquals(error, null);
    assertEquals(process.resident("hot"), 1000);
    assert(process.rss <= 1500 * PAGE);
  });

  test("a virtual machine is left alone unless told otherwise, and the report says so", async () => {
    const platform = new FakePlatform(new FakeClock());
    const process = platform.start("one");
    process.fill("guest", 2000);
    process.hasSecondaryMmu = true;
    const report = await scanOne(platform, { policy });
    assertEquals(report.capMet, false);
    assertEquals(report.rssAfter, 2000 * PAGE);
    const [{ error, attempted, skipped }] = report.processes;
    assertEquals(
      error,
      `process ${process.pid} is left alone; --secondary-mmu scan pages it out`,
    );
    assertEquals(attempted, 0);
    assertEquals(skipped.map(({ reason }) => reason), ["secondary-mmu"]);

    const told = await scanOne(platform, { policy, secondaryMmu: "scan" });
    assertEquals(told.capMet, true);
    assertEquals(told.processes[0].error, null);
    assert(process.rss <= 1500 * PAGE);
  });

  test("a process that cannot be read keeps its memory, and the report says why", async () => {
    const platform = new FakePlatform(new FakeClock());
    const [process, other] = [platform.start("one"), platform.start("one")];
    for (const one of [process, other]) one.fill("idle", 1000);
    process.readFailure = `process ${process.pid}: its files make no sense`;
    const report = await scanOne(platform, { policy });
    assertEquals(report.processes[0].error, process.readFailure);
    assertEquals(report.processes[0].attempted, 0);
    assertEquals(process.resident("idle"), 1000);
    assert(other.resident("idle") <= 500);
  });

  test("memory used shortly before the end of the observation stays", async () => {
    const platform = new FakePlatform(new FakeClock());
    const process = platform.start("one", (one, seconds) => {
      if (seconds === 3.75) one.touch("late");
    });
    process.fill("late", 1000);
    process.fill("idle", 1000);
    const report = await scanOne(platform, { policy });
    assertEquals(report.capMet, true);
    assertEquals(process.resident("late"), 1000);
  });

  test("memory in use goes if the rest does not suffice, and the report says so", async () => {
    const platform = new FakePlatform(new FakeClock());
    const process = platform.start("one", hot("hot"));
    process.fill("hot", 2000);
    process.fill("idle", 100);
    const report = await scanOne(platform, { policy });
    assertEquals(report.workingSetToo, true);
    // The hand of the clock takes pages in order.
    if (policy === "coldest") assertEquals(process.resident("idle"), 0);
    assert(process.resident("hot") < 2000 || process.majorFaults > 0);
  });

  test("a dry run pages out nothing", async () => {
    const platform = new FakePlatform(new FakeClock());
    const process = platform.start("one", hot("hot"));
    process.fill("hot", 1000);
    process.fill("idle", 1000);
    const report = await scanOne(platform, { policy, dryRun: true });
    assertEquals(report.effective, null);
    assert(report.attempted >= 500 * PAGE);
    assert(report.rssAfter <= 1500 * PAGE);
    assertEquals(process.rss, 2000 * PAGE);
  });

  test("the cap is met only if that is measured at the end", async () => {
    const platform = new FakePlatform(new FakeClock());
    const process = platform.start("one");
    process.fill("idle", 2000);
    // What goes is used again at once: the sum of the falls covers the excess.
    process.afterPageOut = () => {
      if (process.rss <= 1500 * PAGE) process.touch("idle");
    };
    const report = await scanOne(platform, { policy });
    assertEquals(report.rssAfter, process.rss);
    assert(report.rssAfter > report.cap);
    assertEquals(report.capMet, false);
  });

  test("several processes are measured at the end as before the scan", async () => {
    const platform = new FakePlatform(new FakeClock());
    const processes = [1, 2].map(() => platform.start("one"));
    for (const process of processes) {
      process.fill("shared", 1000, { sharers: 2 });
      process.fill("idle", 500);
    }
    const report = await scanOne(platform, { policy });
    assertEquals(report.accounting, "pss");
    assertEquals(report.rss, 2000 * PAGE);
    assertEquals(report.capMet, true);
    assert(report.rssAfter <= 1500 * PAGE);
    assertEquals(report.stayed, [{ reason: "shared", bytes: 1000 * PAGE }]);
  });

  for (const dryRun of [false, true]) {
    const run = dryRun ? "a dry run" : "a scan";

    test(`${run} says what stays and why`, async () => {
      const platform = new FakePlatform(new FakeClock());
      const process = platform.start("one");
      process.fill("shared", 2700, { sharers: 3 });
      process.fill("locked", 800, { isLocked: true });
      process.fill("idle", 300);
      const report = await scanOne(platform, { policy, dryRun });
      assertEquals(report.rssAfter, 1700 * PAGE);
      assertEquals(report.capMet, false);
      assertEquals(report.stayed, [
        { reason: "shared", bytes: 900 * PAGE },
        { reason: "locked", bytes: 800 * PAGE },
      ]);
      // All of it was unused, so no memory in use went.
      assertEquals(report.workingSetToo, false);
    });

    test(`${run} of memory that cannot go does not say that memory in use went`, async () => {
      const platform = new FakePlatform(new FakeClock());
      const process = platform.start("one", hot("shared"));
      process.fill("shared", 6000, { sharers: 3 });
      const report = await scanOne(platform, { policy, dryRun });
      assertEquals(report.attempted, 0);
      assertEquals(report.workingSetToo, false);
      assertEquals(report.rssAfter, 2000 * PAGE);
    });

    test(`${run} without enough swap leaves the rest`, async () => {
      const platform = new FakePlatform(new FakeClock());
      platform.totalSwap = 200 * PAGE;
      const process = platform.start("one");
      process.fill("idle", 2000);
      const report = await scanOne(platform, { policy, dryRun });
      assertEquals(report.rssAfter, 1800 * PAGE);
      assertEquals(report.capMet, false);
      assertEquals(report.stayed, [{ reason: "no-swap", bytes: 1800 * PAGE }]);
    });
  }

  test("what came back stays for no known reason", async () => {
    const platform = new FakePlatform(new FakeClock());
    const process = platform.start("one");
    process.fill("idle", 2000);
    process.afterPageOut = () => process.touch("idle");
    const report = await scanOne(platform, { policy });
    assertEquals(report.capMet, false);
    assertEquals(report.stayed, [{ reason: null, bytes: 2000 * PAGE }]);
  });

  test("what is used at the end of the observation was referenced", async () => {
    const platform = new FakePlatform(new FakeClock());
    const process = platform.start("one", (one, seconds) => {
      if (seconds === 3.75) one.touch("late");
    });
    process.fill("late", 300);
    process.fill("idle", 2000);
    const report = await scanOne(platform, { policy });
    assertEquals(report.capMet, true);
    assertEquals(report.processes[0].unreferenced, 2000 * PAGE);
  });

  test("under the cap nothing is observed", async () => {
    const platform = new FakePlatform(new FakeClock());
    const process = platform.start("one");
    process.fill("idle", 1000);
    const report = await scanOne(platform, { policy });
    assertEquals(report.observedSeconds, 0);
    assertEquals(report.processes[0].unreferenced, null);
    assertEquals(process.resets, 0);
  });

  test("a process that cannot be read is reported, and the others are scanned", async () => {
    const platform = new FakePlatform(new FakeClock());
    const [broken, sound] = [1, 2].map(() => platform.start("one"));
    for (const process of [broken, sound]) process.fill("idle", 1000);
    broken.failure = "not for you";
    const report = await scanOne(platform, {
      policy,
      goal: { excess: 700 * PAGE },
    });
    const [first, second] = report.processes;
    assertEquals(first.error, "not for you");
    assertEquals(second.error, null);
    assertEquals(broken.rss, 1000 * PAGE);
    // Large pages go as a whole.
    assert(sound.rss <= (1000 - 700) * PAGE);
  });

  test("the cap is not met if memory comes back during the scan", async () => {
    const platform = new FakePlatform(new FakeClock());
    const process = platform.start("one");
    process.fill("idle", 2000);
    process.afterPageOut = () => process.touch("idle");
    const report = await scanOne(platform, { policy });
    assert((report.effective ?? 0) >= 0);
    assertEquals([report.rssAfter, report.capMet], [2000 * PAGE, false]);
  });

  test("what comes back once during the scan is made up for", async () => {
    const platform = new FakePlatform(new FakeClock());
    const process = platform.start("one");
    process.fill("idle", 1500);
    process.fill("needed", 500);
    process.afterPageOut = () => {
      process.afterPageOut = () => {};
      process.touch("idle", 0, 50);
      process.touch("needed", 0, 50);
    };
    const report = await scanOne(platform, { policy });
    assertEquals(report.capMet, true);
    assertEquals(report.rssAfter, process.rss);
    assert(process.rss <= 1500 * PAGE);
  });

  test("what was unreferenced is as of the end of the observation, not of a later round", async () => {
    const platform = new FakePlatform(new FakeClock());
    const process = platform.start("one");
    process.fill("idle", 2000);
    let rounds = 0;
    const debug = (line: string) => {
      if (line.startsWith("scan ") && ++rounds === 1) process.touch("idle");
    };
    const log = { warn() {}, info() {}, debug };
    const report = await scanOne(platform, { policy, log });
    assert(rounds > 1);
    assertEquals(report.processes[0].unreferenced, 2000 * PAGE);
  });

  test("the cap is met if memory goes that the scan did not page out", async () => {
    const platform = new FakePlatform(new FakeClock());
    const process = platform.start("one");
    process.fill("locked", 1400, { isLocked: true });
    process.fill("idle", 200);
    process.afterPageOut = () => process.free("locked");
    const report = await scanOne(platform, {
      policy,
      goal: { cap: 1390 * PAGE },
    });
    assertEquals(report.capMet, true);
    assertEquals(report.rssAfter, process.rss);
  });

  test("where RSS is not exact, the page tables decide whether the cap is met", async () => {
    const platform = new FakePlatform(new FakeClock());
    const process = platform.start("one");
    process.fill("idle", 2000);
    process.rssOffset = 30 * PAGE;
    process.rssError = 50 * PAGE;
    const report = await scanOne(platform, { policy });
    assertEquals([report.rss, report.capMet], [2000 * PAGE, true]);
    assertEquals(report.rssAfter, process.rss);
  });

  test("processes with one address space count once, and the report says so", async () => {
    for (const dryRun of [false, true]) {
      const platform = new FakePlatform(new FakeClock());
      const [process, child] = [1, 2].map(() => platform.start("one"));
      process.fill("idle", 1000);
      child.memoryOf = process;
      const goal = { cap: 900 * PAGE };
      const report = await scanOne(platform, { policy, dryRun, goal });
      assertEquals(report.rss, 1000 * PAGE);
      assertEquals(child.resets, 0);
      const [first, second] = report.processes;
      assertEquals([first.rss, first.error], [1000 * PAGE, null]);
      assertEquals([second.rss, second.attempted, second.error], [
        null,
        0,
        `process ${child.pid} shares the memory of process ${process.pid}, as which it counts`,
      ]);
      assertEquals(second.effective, dryRun ? null : 0);
    }
  });

  test("a process whose main thread has exited counts, and is left alone", async () => {
    const platform = new FakePlatform(new FakeClock());
    const [stuck, sound] = [1, 2].map(() => platform.start("one"));
    for (const process of [stuck, sound]) process.fill("idle", 1000);
    stuck.mainThreadExited = true;
    const report = await scanOne(platform, { policy });
    assertEquals([report.rss, report.capMet], [2000 * PAGE, true]);
    assertEquals(stuck.resets, 0);
    assertEquals(stuck.rss, 1000 * PAGE);
    const words =
      `process ${stuck.pid}: its main thread has exited while others run; the kernel answers ESRCH, so it cannot be paged out`;
    const [{ rss, error }] = report.processes;
    assertEquals([rss, error], [1000 * PAGE, words]);
    sound.exit();
    await assertRejects(
      () => scanOne(platform, { policy, goal: { cap: 500 * PAGE } }),
      ProcessError,
      words,
    );
  });

  test("a process that exits after it was paged out is reported", async () => {
    const platform = new FakePlatform(new FakeClock());
    const [first, second] = [1, 2].map(() => platform.start("one"));
    for (const process of [first, second]) process.fill("idle", 1000);
    first.afterPageOut = () => first.exit();
    const report = await scanOne(platform, { policy });
    const [gone, there] = report.processes.map(({ error }) => error);
    assertMatch(gone ?? "", /^(no process \d+|it has exited)$/);
    assertEquals(there, null);
    assertEquals([report.rssAfter, report.capMet], [second.rss, true]);
  });

  test("a scan fails if no process can be read", async () => {
    const platform = new FakePlatform(new FakeClock());
    const process = platform.start("one");
    process.fill("idle", 2000);
    process.failure = "not for you";
    await assertRejects(
      () => scanOne(platform, { policy }),
      ProcessError,
      "not for you",
    );
  });

  test("an interrupted observation pages out nothing, and says so", async () => {
    const platform = new FakePlatform(new FakeClock());
    const stop = new AbortController();
    const messages: string[] = [];
    const process = platform.start("one", (_, seconds) => {
      if (seconds === 2) stop.abort(new Error("stopped"));
    });
    process.fill("idle", 2000);
    await assertRejects(
      () =>
        scanOne(platform, {
          policy,
          signal: stop.signal,
          log: { warn: (text) => messages.push(text), info() {}, debug() {} },
        }),
      Error,
      "stopped",
    );
    assertEquals(messages, ["interrupted; nothing was paged out"]);
    assertEquals(process.rss, 2000 * PAGE);
  });
}

for (const policy of POLICIES) {
  for (const dryRun of [true, false]) {
    const what = dryRun ? "a dry run" : "a scan";
    Deno.test(`${policy}: ${what} says what is pinned, and which cgroup may not swap`, async () => {
      const limit = "cgroup /x may not swap (memory.swap.max is 0)";
      const platform = new FakePlatform(new FakeClock());
      const [pinned, limited] = ["one", "one"].map((name) =>
        platform.start(name)
      );
      pinned.fill("ring", 1000, { isPinned: true });
      pinned.fill("idle", 500);
      limited.fill("heap", 2000);
      limited.swapLimit = limit;
      const report = await scanOne(platform, { policy, dryRun });
      assertEquals(report.capMet, false);
      assertEquals(report.rssAfter, 3000 * PAGE);
      assertEquals(report.stayed, [
        { reason: "swap-limit", bytes: 2000 * PAGE, limit },
        { reason: "pinned", bytes: 1000 * PAGE },
      ]);
    });
  }
}
