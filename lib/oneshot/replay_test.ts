/**
 * Tests of replays: what a policy does with a recording is what it does with the process
 * that was recorded.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { POLICIES, type PolicyName } from "../config/policy_names.ts";
import { RcapError } from "../errors.ts";
import { CappedGroup } from "../group/capped_group.ts";
import { Member } from "../group/member.ts";
import { PagedataBuilder } from "../memory/pagedata.ts";
import {
  FakeClock,
  FakePlatform,
  type FakeProcess,
  hot,
  PAGE,
  type Script,
  TICK,
  together,
} from "../platform/fake_testing.ts";
import { operatingSystem } from "../platform/open.ts";
import { Log } from "../platform/output.ts";
import { policyOf } from "../policy/policies.ts";
import { PageBits } from "../recording/page_bits.ts";
import {
  MACHINE_FIGURES,
  noFigures,
  PROCESS_FIGURES,
} from "../recording/records.ts";
import { RecordingWriter } from "../recording/writer.ts";
import { MemoryFile, withFile, withRecording } from "./record_testing.ts";
import { replayRecording, type ReplayReport } from "./replay.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();
const { files } = operatingSystem();

const INTERVAL = 5000;

/** Uses pages at random, the first ones far more often than the last. */
function skewed(name: string, rate: number): Script {
  let state = 1;
  const random = () => {
    state = Math.imul(state, 1664525) + 1013904223 >>> 0;
    return state / 2 ** 32;
  };
  return (process) => {
    const length = process.length(name);
    for (let count = 0; count < rate * TICK / 1000; count++) {
      const page = Math.floor(length * random() ** 3);
      process.touch(name, page, page + 1);
    }
  };
}

/** Starts a process with 1000 pages in use, 3000 used by chance, and 1000 never. */
function startOne(platform: FakePlatform): FakeProcess {
  const one = platform.start("one", together(hot("hot"), skewed("data", 40)));
  one.fill("hot", 1000);
  one.fill("data", 3000);
  one.fill("cold", 1000);
  return one;
}

async function replayOf(
  platform: FakePlatform,
  { pages, minutes, policies = POLICIES }: {
    pages: number;
    minutes: number;
    policies?: readonly PolicyName[];
  },
): Promise<ReplayReport> {
  return await withRecording(
    platform,
    (path) =>
      replayRecording(files, path, {
        cap: pages * PAGE,
        policies,
        signal: new AbortController().signal,
      }),
    minutes,
  );
}

/** Runs a policy on a process, as the daemon does; returns its refaults a second later on. */
async function refaultsUnder(
  name: PolicyName,
  { pages, minutes }: { pages: number; minutes: number },
): Promise<number> {
  const clock = new FakeClock();
  const platform = new FakePlatform(clock);
  const one = startOne(platform);
  const group = new CappedGroup(
    1,
    { name: "one", select: [], maxRss: pages * PAGE, place: "test:1" },
    {
      platform,
      newMember: (entry) => new Member(entry, platform.open(entry), () => {}),
    },
  );
  const { signal } = new AbortController();
  const policy = policyOf(name).forGroup(group, {
    clock,
    log: new Log("error"),
    signal,
  });
  const steps = minutes * 60_000 / INTERVAL;
  let [metAt, faultsThen] = [-1, 0];
  for (let step = 0; step < steps; step++) {
    const next = clock.now() + INTERVAL;
    group.update([one.entry]);
    const { excess } = policy.judge(group.sample(clock.now()));
    const work = async () => {
      await policy.observe({ interval: INTERVAL });
      if (!policy.hasWork(excess)) return;
      await policy.enforce(excess, { interval: INTERVAL }, signal);
    };
    await clock.finish(work(), TICK);
    const { rss } = one;
    await clock.advance(Math.max(0, next - clock.now()));
    if (metAt < 0 && Math.min(rss, one.rss) <= pages * PAGE) {
      [metAt, faultsThen] = [step, one.majorFaults];
    }
  }
  assert(metAt >= 0, "the cap is met");
  const seconds = (steps - metAt - 1) * INTERVAL / 1000;
  return (one.majorFaults - faultsThen) / seconds;
}

for (const name of POLICIES) {
  Deno.test(`${name}: a replay has as many refaults as the process itself, within a factor of 1.3`, async () => {
    for (const pages of [3500, 2500]) {
      const platform = new FakePlatform(new FakeClock());
      startOne(platform);
      const { policies: [found] } = await replayOf(platform, {
        pages,
        minutes: 10,
        policies: [name],
      });
      const live = await refaultsUnder(name, { pages, minutes: 10 });
      const replayed = found.refaultsPerSecond ?? -1;
      assert(
        replayed < live * 1.3 && replayed > live / 1.3,
        `${replayed} a second, not ${live}, at ${pages} pages`,
      );
      assert(found.overCap !== null && found.timeline.length === 120);
    }
  });
}

Deno.test("under a cap that fits what is used, all that is idle goes once, and nothing comes back", async () => {
  const platform = new FakePlatform(new FakeClock());
  const one = platform.start("one", hot("hot"));
  one.fill("hot", 1000);
  one.fill("cold", 3000);
  const report = await replayOf(platform, { pages: 2000, minutes: 5 });
  assertEquals(report.policies.map(({ policy }) => policy), [...POLICIES]);
  assertEquals(report.meanSize, 4000 * PAGE);
  for (const { refaults, pagedOut, overCap, timeline } of report.policies) {
    assertEquals(refaults, 0);
    assert(pagedOut >= 2000 && pagedOut <= 3000, `${pagedOut}`);
    assertEquals(overCap, 0);
    const { size } = timeline[timeline.length - 1];
    assert(size <= 2000 * PAGE && size >= 1900 * PAGE, `${size / PAGE}`);
  }
});

Deno.test("processes that come and go are replayed", async () => {
  const platform = new FakePlatform(new FakeClock());
  startOne(platform);
  const other = platform.start("one", (process, seconds) => {
    process.touch("hot");
    if (seconds > 60) process.exit();
  });
  other.fill("hot", 2000);
  const { policies: [found] } = await replayOf(platform, {
    pages: 4000,
    minutes: 3,
    policies: ["coldest"],
  });
  const sizes = found.timeline.map(({ size }) => size / PAGE);
  assert(sizes[0] > 6000 && sizes[35] <= 4000, `${sizes}`);
});

/** Writes a recording of a process that uses a quarter of its pages, with a gap within. */
function withGap(gap: number, file: MemoryFile): void {
  const pages = 4000;
  const [start, flags] = [16, 0];
  const writer = new RecordingWriter((part) => file.write(part), {
    rcap: "1.2.3",
    startedAt: 0,
    interval: INTERVAL / 1000,
    selectors: [],
    pagedata: "pte",
    isAnonymous: false,
    pageIns: [],
  });
  const builder = new PagedataBuilder();
  const place = { start: BigInt(start * PAGE), pageSize: PAGE, flags };
  builder.addMapping({ ...place, pages });
  builder.addPages(0, { count: pages, bits: 0 });
  const pagedata = builder.build();
  const used = new Uint8Array(pages).fill(1, 0, pages / 4);
  const machine = noFigures(MACHINE_FIGURES);
  const figures = { ...noFigures(PROCESS_FIGURES), isRead: 1 };
  for (let step = 0; step < 20; step++) {
    const seconds = step * INTERVAL / 1000 + (step < 10 ? 0 : gap);
    writer.beginStep(seconds, machine);
    const id = step > 0
      ? 0
      : writer.join({ pid: 1, startTime: 1, comm: "one", uid: 0 }) ?? -1;
    writer.figures(id, { ...figures, size: pages * PAGE }, []);
    writer.mappings(id, [
      { start, units: pages, pageSize: PAGE, flags, isFile: false, name: "" },
    ]);
    const bits = new PageBits();
    bits.take(pagedata, used, { moment: 1, most: 1000 });
    writer.pages(id, bits);
    writer.endStep();
  }
}

Deno.test("a gap of nine years is one interval, and is replayed as soon as any", async () => {
  const seconds = 9 * 365 * 86_400;
  const [short, long] = await Promise.all([0, seconds].map(async (gap) => {
    const file = new MemoryFile();
    withGap(gap, file);
    return await withFile(file, (path) =>
      replayRecording(files, path, {
        cap: 2000 * PAGE,
        policies: POLICIES,
        signal: new AbortController().signal,
      }));
  }));
  assertEquals(long.seconds, short.seconds + seconds);
  for (
    const [at, { pagedOut, refaults, timeline }] of long.policies.entries()
  ) {
    assert(pagedOut >= 2000, `${pagedOut}`);
    assertEquals([pagedOut, refaults, timeline.length], [
      short.policies[at].pagedOut,
      short.policies[at].refaults,
      20,
    ]);
  }
});

Deno.test("a recording with one step cannot be replayed", async () => {
  const platform = new FakePlatform(new FakeClock());
  startOne(platform);
  await assertRejects(
    () => replayOf(platform, { pages: 100, minutes: 1 / 12 }),
    RcapError,
    "has too little to be replayed: 1 complete steps",
  );
});
