/**
 * Tests of both policies against processes that use their memory as scripted.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { POLICIES, type PolicyName } from "../config/policy_names.ts";
import {
  bursts,
  drifting,
  FakeClock,
  FakePlatform,
  type FakeProcess,
  hot,
  leak,
  PAGE,
  TICK,
  together,
} from "../platform/fake_testing.ts";
import { CappedGroup } from "../group/capped_group.ts";
import { Member } from "../group/member.ts";
import { Log } from "../platform/output.ts";
import { policyOf } from "./policies.ts";
import type { GroupPolicy, ScanOutcome } from "./policy.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();

/** The sample interval, in milliseconds. */
const INTERVAL = 5000;

/** How many pages a large page has. */
const LARGE = 512;

/** A group under a policy, without a daemon. */
class Bench {
  readonly clock = new FakeClock();
  readonly platform = new FakePlatform(this.clock);
  readonly group: CappedGroup;
  readonly policy: GroupPolicy;
  readonly processes: FakeProcess[] = [];
  readonly outcomes: ScanOutcome[] = [];

  readonly #interval: number;

  /**
   * @param pages the cap.
   * @param interval between two samples, in milliseconds.
   */
  constructor(name: PolicyName, pages: number, interval = INTERVAL) {
    this.#interval = interval;
    this.group = new CappedGroup(
      1,
      { name: "one", select: [], maxRss: pages * PAGE, place: "test:1" },
      {
        platform: this.platform,
        newMember: (entry) =>
          new Member(entry, this.platform.open(entry), () => {}),
      },
    );
    this.policy = policyOf(name).forGroup(this.group, {
      clock: this.clock,
      log: new Log("error"),
      signal: new AbortController().signal,
    });
  }

  /** Starts a process, which joins the group. */
  start(...args: Parameters<FakePlatform["start"]>): FakeProcess {
    const process = this.platform.start(...args);
    this.processes.push(process);
    this.update();
    return process;
  }

  update(): void {
    this.group.update(
      this.processes.filter(({ hasExited }) => !hasExited)
        .map(({ entry }) => entry),
    );
  }

  /** Lets intervals pass, doing in each what the daemon does. */
  async run(intervals: number): Promise<void> {
    for (let count = 0; count < intervals; count++) {
      const { policy, clock, group } = this;
      const interval = this.#interval;
      const next = clock.now() + interval;
      this.update();
      const sample = group.sample(clock.now());
      const { excess } = policy.judge(sample);
      const moment = () => ({ now: clock.now(), interval });
      const circumstances = () => group.circumstances(this.platform.freeSwap);
      const isEnforced = excess > 0;
      group.backoff.sampled(
        { cameBack: sample.cameBack, isEnforced },
        circumstances(),
        moment(),
      );
      if (!sample.wantsHistory) policy.forget();
      else {
        const scan = async () => {
          await policy.observe({ interval });
          const take = group.backoff.isWaiting(moment()) ? 0 : excess;
          if (!policy.hasWork(take)) return;
          if (take > 0) group.backoff.begin();
          const { signal } = new AbortController();
          const outcome = await policy.enforce(take, { interval }, signal);
          if (take > 0) group.backoff.end();
          if (!outcome) return;
          this.outcomes.push(outcome);
          group.backoff.scanned(
            { ...outcome, pagedOut: outcome.effective },
            circumstances(),
            moment(),
          );
        };
        await clock.finish(scan(), TICK);
      }
      await clock.advance(next - clock.now());
    }
  }

  /** How many pages of the group are resident. */
  get pages(): number {
    return this.processes.filter(({ hasExited }) => !hasExited)
      .reduce((sum, { rss }) => sum + rss / PAGE, 0);
  }

  /** How many pages were read back. */
  get faults(): number {
    return this.processes.reduce(
      (sum, { majorFaults }) => sum + majorFaults,
      0,
    );
  }
}

for (const name of POLICIES) {
  const test = (what: string, run: () => Promise<void>) =>
    Deno.test(`${name}: ${what}`, run);

  test("hot memory stays, idle memory is paged out until the cap is met", async () => {
    const bench = new Bench(name, 3000);
    const process = bench.start("one", hot("hot"));
    process.fill("idle", 3000);
    process.fill("hot", 1000);
    await bench.run(12);
    assert(bench.pages <= 3000, `${bench.pages} pages`);
    // Large pages are paged out whole.
    assert(bench.pages >= 3000 - 30 - LARGE, `${bench.pages} pages are left`);
    assertEquals(process.resident("hot"), 1000);
    assertEquals(bench.faults, 0);
  });

  test("a drifting working set stays in memory", async () => {
    const bench = new Bench(name, 2000);
    const process = bench.start("one", drifting("heap", 400, 20));
    process.fill("heap", 4000);
    await bench.run(40);
    // It grows by 100 pages per interval, and may be left alone for one if much came back.
    assert(bench.pages <= 2000 + 200, `${bench.pages} pages`);
    // Pages that the window enters were paged out long before; those inside it stay.
    const entered = 40 * INTERVAL / 1000 * 20;
    assert(bench.faults <= entered * 1.1, `${bench.faults} of ${entered}`);
  });

  test("memory used in bursts is paged out after memory that is never used", async () => {
    const bench = new Bench(name, 3000);
    const process = bench.start("one", bursts("sometimes", 20));
    process.fill("sometimes", 1000);
    process.fill("never", 3000);
    await bench.run(30);
    assert(bench.pages <= 3000, `${bench.pages} pages`);
    if (name === "coldest") {
      assertEquals(process.resident("sometimes"), 1000);
      assertEquals(bench.faults, 0);
    } else {
      // The hand takes what was not used since it last passed.
      assert(process.resident("never") < 3000);
    }
  });

  test("a leak is kept at the cap, and what is in use stays", async () => {
    const bench = new Bench(name, 3000);
    const process = bench.start("one", together(leak("leak", 40), hot("hot")));
    process.map("leak", 0);
    process.fill("hot", 1000);
    await bench.run(30);
    const settled = bench.faults;
    await bench.run(20);
    // It grows by 200 pages per interval.
    assert(bench.pages <= 3000 + 400, `${bench.pages} pages`);
    assertEquals(process.resident("hot"), 1000);
    assertEquals(bench.faults - settled, 0);
    assert(process.length("leak") > 9000);
  });

  test("a process that joins loses nothing before its references are known", async () => {
    const bench = new Bench(name, 2000);
    const process = bench.start("one", hot("hot"));
    process.fill("hot", 500);
    process.fill("idle", 1300);
    await bench.run(3);
    const stranger = bench.start("one", hot("hot"));
    stranger.fill("hot", 400);
    await bench.run(1);
    assertEquals(stranger.resident("hot"), 400);
    await bench.run(10);
    assert(bench.pages <= 2000, `${bench.pages} pages`);
    assertEquals(stranger.resident("hot"), 400);
    assertEquals(process.resident("hot"), 500);
    assertEquals(bench.faults, 0);
  });

  test("memory in use stays while other members may have idle memory", async () => {
    const bench = new Bench(name, 1200);
    const process = bench.start("one", hot("hot"));
    process.fill("hot", 1000);
    process.fill("idle", 100);
    await bench.run(1);
    const stranger = bench.start("one");
    stranger.fill("idle", 1000);
    await bench.run(1);
    assertEquals(bench.faults, 0);
    assertEquals(process.resident("hot"), 1000);
    await bench.run(6);
    assertEquals(bench.faults, 0, "nor later, when their references are known");
    assert(bench.pages <= 1200, `${bench.pages} pages`);
  });

  test("memory in use stays while some cannot be judged, and the scan is partial", async () => {
    const bench = new Bench(name, 1000);
    const process = bench.start("one", hot("hot"));
    process.fill("hot", 2000);
    process.fill("idle", 100);
    process.unjudged = PAGE;
    await bench.run(8);
    assertEquals(process.resident("hot"), 2000);
    assertEquals(process.resident("idle"), 0, "what is idle goes");
    assert(bench.outcomes.length > 0);
    assert(bench.outcomes.every(({ isPartial }) => isPartial));
    assertEquals(bench.policy.inUse(), null, "nor is it known");
    process.unjudged = 0;
    await bench.run(8);
    assert(bench.faults > 0);
    assert(bench.outcomes.at(-1)?.isPartial === false);
  });

  test("a scan goes on without a member that exits during it", async () => {
    const bench = new Bench(name, 1000);
    const [first, second, third] = [1, 2, 3].map(() => bench.start("one"));
    for (const process of [first, second, third]) process.fill("idle", 1000);
    first.onPageOut = () => {
      second.exit();
      bench.update();
    };
    await bench.run(8);
    assert(second.hasExited);
    assert(bench.pages <= 1000, `${bench.pages} pages`);
    assertEquals(bench.group.members.length, 2);
  });

  test("memory in use is paged out if idle memory does not suffice", async () => {
    const bench = new Bench(name, 1000);
    const process = bench.start("one", hot("hot"));
    process.fill("hot", 2000);
    await bench.run(6);
    assert(bench.faults > 0);
    assert(bench.group.statistics.effective > 0);
  });

  test("a group under its cap is not scanned", async () => {
    const bench = new Bench(name, 2000);
    const process = bench.start("one");
    process.fill("idle", 1900);
    await bench.run(10);
    assertEquals(process.resident("idle"), 1900);
    assertEquals(bench.outcomes, []);
    assertEquals(bench.group.scans, 0);
  });
}

Deno.test("clock: a member is judged once its references were recorded for an interval", async () => {
  const bench = new Bench("clock", 1000);
  const process = bench.start("one");
  process.fill("idle", 900);
  await bench.run(2);
  const stranger = bench.start("one");
  stranger.fill("idle", 1900);
  // It joins in the middle of an interval.
  await bench.policy.observe({ interval: INTERVAL });
  await bench.clock.advance(INTERVAL / 2);
  await bench.run(1);
  assertEquals(stranger.resident("idle"), 1900);
  assert(process.resident("idle") < 900);
  await bench.run(1);
  assert(stranger.resident("idle") < 1900);
});

Deno.test("coldest: the less is idle, the more often references are reset", async () => {
  const resets = async (idle: number) => {
    const bench = new Bench("coldest", 2000, 1000);
    const process = bench.start("one", hot("hot"));
    process.fill("hot", 1975 - idle);
    process.fill("idle", idle);
    await bench.run(31);
    return process.resets;
  };
  // At once and after the first second. That much is idle for minutes to come.
  assertEquals(await resets(1000), 2);
  // Besides, every 5 s from then on.
  assertEquals(await resets(200), 2 + 29 / 5 | 0);
  assertEquals(await resets(10), 31);
});

Deno.test("coldest: growth that has ended is no longer expected", async () => {
  const bench = new Bench("coldest", 10_000);
  let isOver = false;
  const process = bench.start("one", (one, seconds) => {
    if (!isOver) leak("leak", 80)(one, seconds);
  });
  process.fill("leak", 9000);
  await bench.run(10);
  const judge = () =>
    bench.policy.judge(
      bench.group.sample(bench.clock.now()),
    );
  isOver = true;
  await bench.run(10);
  process.fill("more", 9800 - bench.pages);
  assert(judge().excess < 100 * PAGE, `${judge().excess / PAGE} pages`);
});

Deno.test("clock: a member that leaves during a scan loses nothing more", async () => {
  const bench = new Bench("clock", 1000);
  const [first, second, third] = [1, 2, 3].map(() => bench.start("one"));
  for (const process of [first, second, third]) process.fill("idle", 1000);
  first.onPageOut = () => {
    bench.processes.splice(0, Infinity, first, third);
    bench.update();
  };
  await bench.run(8);
  assertEquals(second.resident("idle"), 1000);
  assert(third.resident("idle") < 1000, "the scan has gone on");
});

Deno.test("coldest reports what is idle, clock does not", async () => {
  const idleBy = async (name: PolicyName) => {
    const bench = new Bench(name, 2000);
    const process = bench.start("one", hot("hot"));
    process.fill("hot", 900);
    process.fill("idle", 1000);
    await bench.run(6);
    return bench.policy.idle();
  };
  assertEquals(await idleBy("clock"), null);
  const idle = await idleBy("coldest");
  assertEquals(idle?.[0], { seconds: 1, bytes: 1000 * PAGE });
  assertEquals(idle?.at(-1)?.bytes, 0);
});

Deno.test("coldest goes below the cap by the growth of an interval", async () => {
  const bench = new Bench("coldest", 10_000);
  const process = bench.start("one", leak("leak", 40));
  process.fill("leak", 9500);
  await bench.run(30);
  const { excess } = bench.policy.judge(
    bench.group.sample(bench.clock.now()),
  );
  // It grows by 200 pages per interval, which is expected again.
  assertEquals(excess > 0, bench.pages + 200 > 10_000);
  assert(bench.pages <= 10_000, `${bench.pages} pages`);
});

Deno.test("coldest: what was shared with a child goes before memory in use once the child has exited", async () => {
  const bench = new Bench("coldest", 100);
  const used = ["hot"];
  const parent = bench.start(
    "parent",
    (process) => used.forEach((name) => process.touch(name)),
  );
  parent.fill("idle", 80);
  parent.fill("hot", 16);
  await bench.run(4);
  assertEquals(parent.resident("idle"), 80);

  // As after fork(2): no page-out takes what two processes map.
  parent.share("idle", 2);
  const child = bench.start("child", hot("own"));
  child.fill("copy", 80, { sharers: 2 });
  child.fill("own", 40);
  await bench.run(6);
  assertEquals(parent.resident("idle"), 80);
  child.exit();
  parent.unshare("idle");

  const faults = parent.majorFaults;
  parent.fill("new", 60);
  used.push("new");
  await bench.run(6);
  assert(bench.pages <= 100, `${bench.pages} pages`);
  assertEquals(parent.majorFaults, faults, "memory in use stayed");
});

Deno.test("coldest: what is used again while a choice is paged out stays", async () => {
  const bench = new Bench("coldest", 420);
  let hasBegun = false;
  const process = bench.start("one", (process) => {
    process.touch("hot");
    for (let part = 0; hasBegun && part < 300; part++) {
      process.touch(`part ${part}`);
    }
  });
  process.fill("hot", 100);
  for (let part = 0; part < 600; part++) process.fill(`part ${part}`, 1);
  process.onPageOut = async () => {
    hasBegun = true;
    await bench.clock.sleep(1000);
  };
  await bench.run(12);
  assert(bench.pages <= 420, `${bench.pages} pages`);
  // The calls of the first pass, of 16 parts each, until it looks again.
  assert(process.majorFaults <= 6 * 16, `${process.majorFaults} faults`);
});
