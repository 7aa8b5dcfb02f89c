import { assert, assertEquals } from "@std/assert";
import { Backoff, type Circumstances } from "./backoff.ts";

const MIB = 1 << 20;
const INTERVAL = 5000;

/** A group of 200M under a cap of 100M, nothing of which can go. */
const STUCK: Circumstances = {
  size: 200 * MIB,
  cap: 100 * MIB,
  departed: 0,
  freeSwap: 0,
};
const IN_VAIN = {
  pagedOut: 0,
  ineffective: true,
  tookInUse: false,
  left: 100 * MIB,
};

/** A group that is scanned at every sample unless it is backed off. */
class Simulation {
  readonly backoff = new Backoff();
  now = 0;
  /** When it was scanned, in seconds. */
  readonly scans: number[] = [];
  readonly interval: number;

  constructor(interval = INTERVAL) {
    this.interval = interval;
  }

  /** Takes a sample, and scans the group if it is over its cap. */
  step(
    circumstances: Partial<Circumstances> = {},
    { cameBack = 0, scan = IN_VAIN } = {},
  ) {
    const { backoff, now, interval } = this;
    const before = { ...STUCK, ...circumstances };
    const news = backoff.sampled(
      { cameBack, isEnforced: true },
      before,
      { now, interval },
    );
    if (before.size > before.cap && !backoff.isWaiting({ now, interval })) {
      this.scans.push(now / 1000);
      backoff.begin();
      backoff.end();
      const size = before.size - scan.pagedOut;
      backoff.scanned(scan, { ...before, size }, { now, interval });
    }
    this.now += interval;
    return news;
  }

  run(seconds: number): void {
    while (this.now <= seconds * 1000) this.step();
  }
}

Deno.test("a group is left alone for longer each time, for five minutes at most", () => {
  const simulation = new Simulation();
  simulation.run(1300);
  assertEquals(
    simulation.scans,
    [0, 5, 15, 35, 75, 155, 315, 615, 915, 1215],
  );
});

Deno.test("intervals above five minutes stay as they are", () => {
  const simulation = new Simulation(400_000);
  simulation.run(2000);
  assertEquals(simulation.scans, [0, 400, 800, 1200, 1600, 2000]);
});

Deno.test("a warning is due after two failed scans", () => {
  const simulation = new Simulation();
  simulation.step();
  assert(!simulation.backoff.isHopeless);
  simulation.step();
  assert(simulation.backoff.isHopeless);
});

const THRASHED = {
  pagedOut: 100 * MIB,
  ineffective: false,
  tookInUse: true,
  left: 0,
};

Deno.test("a scan fails if more than a quarter of what it paged out comes back, and memory in use went", () => {
  for (const [share, tookInUse] of [[0.2, true], [0.3, true], [0.3, false]]) {
    const simulation = new Simulation();
    simulation.step({}, { scan: { ...THRASHED, tookInUse: !!tookInUse } });
    const cameBack = Number(share) * 100 * MIB;
    const news = simulation.step({ size: STUCK.cap }, { cameBack });
    assertEquals(news, share === 0.3 && tookInUse ? "failed" : undefined);
  }
});

Deno.test("what comes back is added up over a minute", () => {
  const simulation = new Simulation();
  simulation.step({}, { scan: THRASHED });
  const news = [1, 2, 3, 4, 5, 6].map(() =>
    simulation.step({ size: STUCK.cap }, { cameBack: 6 * MIB })
  );
  assertEquals(news.indexOf("failed"), 4);
  const late = new Simulation();
  late.step({}, { scan: THRASHED });
  for (let count = 0; count < 13; count++) late.step({ size: STUCK.cap });
  assertEquals(
    late.step({ size: STUCK.cap }, { cameBack: 90 * MIB }),
    undefined,
  );
});

Deno.test("pages that a fault brings in beside its own count as come back", () => {
  const simulation = new Simulation();
  simulation.step({}, { scan: THRASHED });
  // Readahead of a disk: a fault for every eight pages.
  const news = simulation.step(
    { size: STUCK.cap + 80 * MIB },
    { cameBack: 10 * MIB },
  );
  assertEquals(news, "failed");
});

Deno.test("a scan of idle memory fails if more comes back within a minute than is out", () => {
  const simulation = new Simulation();
  const scan = { ...THRASHED, tookInUse: false, pagedOut: 20 * MIB };
  const size = STUCK.cap + 20 * MIB;
  const news = Array.from(
    { length: 20 },
    () => simulation.step({ size }, { cameBack: 19 * MIB, scan }),
  );
  assert(news.includes("failed"));
});

Deno.test("a group that slowly moves on to memory that is out is not backed off", () => {
  const simulation = new Simulation();
  const scan = { ...THRASHED, tookInUse: false };
  simulation.step({}, { scan });
  const size = STUCK.cap + 4 * MIB;
  const news = Array.from(
    { length: 100 },
    () =>
      simulation.step(
        { size },
        { cameBack: 4 * MIB, scan: { ...scan, pagedOut: 4 * MIB } },
      ),
  );
  assert(!news.includes("failed"));
  assertEquals(simulation.scans.length, 101);
});

Deno.test("a change that may make the cap one that can be met ends the back-off", () => {
  const changes: [Partial<Circumstances>, string | undefined][] = [
    [{ size: STUCK.size - 60 * MIB }, "its size has fallen"],
    [{ size: STUCK.size - 40 * MIB }, undefined],
    [{ departed: 60 * MIB }, "processes have left"],
    [{ departed: 40 * MIB }, undefined],
    [{ freeSwap: 30 * MIB }, "more swap is free"],
    [{ freeSwap: 20 * MIB }, undefined],
  ];
  for (const [change, news] of changes) {
    const simulation = new Simulation();
    simulation.run(60);
    assertEquals(simulation.step(change), news, JSON.stringify(change));
    assertEquals(simulation.backoff.isHopeless, news === undefined);
  }
});

Deno.test("growth lets a group be scanned at once, and the warning stays", () => {
  const simulation = new Simulation();
  simulation.run(60);
  const { length } = simulation.scans;
  simulation.step({ size: STUCK.size + 20 * MIB });
  assertEquals(simulation.scans.length, length);
  simulation.step({ size: STUCK.size + 26 * MIB });
  assertEquals(simulation.scans.length, length + 1);
  assert(simulation.backoff.isHopeless);
});

Deno.test("what comes back is neither growth nor free swap", () => {
  const simulation = new Simulation();
  // A scan takes the last free swap, and some of it comes back.
  const scan = { ...THRASHED, ineffective: true, left: 20 * MIB };
  simulation.step({}, { scan });
  simulation.step({ size: 100 * MIB });
  simulation.run(60);
  const { length } = simulation.scans;
  const back = 80 * MIB;
  const then = { size: 180 * MIB, freeSwap: back };
  assertEquals(simulation.step(then, { cameBack: back }), undefined);
  assertEquals(simulation.scans.length, length);
  assert(simulation.backoff.isHopeless);
});

Deno.test("the back-off ends after a minute at or under the cap", () => {
  const simulation = new Simulation();
  // So near that the fall does not count as a change.
  const cap = 190 * MIB;
  while (simulation.now <= 60_000) simulation.step({ cap });
  const news = Array.from(
    { length: 13 },
    () => simulation.step({ cap, size: cap }),
  );
  const end = "it has met its cap for a minute";
  // The last sample over the cap was at 60 s.
  assertEquals(news.slice(0, 11), Array(11).fill(undefined));
  assertEquals(news[11], end);
  assert(!simulation.backoff.isHopeless);
});
