/**
 * Tests of when the daemon has the kernel reclaim shared memory, and of how much.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { parseSelector } from "../collection/selectors.ts";
import type { CapConfig } from "../config/config.ts";
import type { PolicyName } from "../config/policy_names.ts";
import { SystemError } from "../errors.ts";
import { type FakeProcess, PAGE } from "../platform/fake_testing.ts";
import type { ReclaimableCgroup } from "../platform/platform.ts";
import { SimulatedDaemon } from "./testing.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();

/** Large enough to count for the back-off: 256 pages are 1 MiB. */
const SIZE = 4096;

/** A cap of 2,048 pages. */
function cap(options: Partial<CapConfig> = {}): CapConfig {
  return {
    name: "db",
    select: [parseSelector("cgroup:/db")],
    maxRss: SIZE / 2 * PAGE,
    reclaim: "auto",
    place: "test:1",
    ...options,
  };
}

/** A daemon and a process with shared memory, in a cgroup that can be reclaimed. */
class Scene implements AsyncDisposable {
  readonly simulation: SimulatedDaemon;
  readonly process: FakeProcess;
  /** How much was asked for by each request, in bytes. */
  readonly asked: number[] = [];

  constructor(
    options: Partial<CapConfig> = {},
    { policy = "coldest", children = [], reclaim }: {
      policy?: PolicyName;
      children?: string[];
      reclaim?: (scene: Scene, bytes: number) => ReturnType<
        ReclaimableCgroup["reclaim"]
      >;
    } = {},
  ) {
    this.simulation = new SimulatedDaemon({
      caps: [cap(options)],
      policy,
      level: "debug",
    });
    const { platform } = this.simulation;
    this.process = platform.start("db");
    this.process.cgroup = "/db";
    this.process.fill("shared", SIZE);
    this.process.share("shared", 4);
    this.process.fill("own", SIZE / 2);
    platform.reclaimed = {
      path: "/db",
      children,
      reclaim: (bytes) => {
        this.asked.push(bytes);
        if (reclaim) return reclaim(this, bytes);
        this.process.evict("shared", Math.floor(bytes / PAGE));
        return Promise.resolve("done");
      },
    };
  }

  /** How much was asked for in all, in bytes. */
  get askedInAll(): number {
    return this.asked.reduce((sum, bytes) => sum + bytes, 0);
  }

  get warning(): string | null {
    return this.simulation.group("db").warning;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.simulation[Symbol.asyncDispose]();
  }
}

/** Uses all memory of the process's own, always. */
function useOwn({ simulation: { clock }, process }: Scene): void {
  clock.repeat(250, () => process.touch("own"));
}

Deno.test("what is shared goes only where the cap asks for it", async () => {
  for (const reclaim of [undefined, "off", "auto"] as const) {
    await using scene = new Scene({ reclaim, maxRss: SIZE / 2 * PAGE });
    useOwn(scene);
    await scene.simulation.run(60);
    const isAsked = reclaim === "auto";
    assertEquals(scene.asked.length > 0, isAsked, reclaim);
    if (!isAsked) continue;
    const { rss, statistics } = scene.simulation.group("db");
    assert(rss <= SIZE / 2 * PAGE * 1.05, `${rss / PAGE}`);
    assertEquals(scene.warning, null);
    // What is in use has stayed.
    assertEquals(scene.process.resident("own"), SIZE / 2);
    const { effective } = statistics;
    assert(effective > 0 && effective <= scene.askedInAll);
  }
});

Deno.test("no more is asked for than the excess, and than what is shared", async () => {
  // Excess: 3,072 pages as counted, of which a quarter of the 4,096 is shared.
  await using scene = new Scene({ maxRss: PAGE * SIZE / 8 });
  useOwn(scene);
  scene.process.share("shared", 4);
  const whole = SIZE / 4 * PAGE;
  await scene.simulation.run(40);
  const [first] = scene.asked;
  assertEquals(first, whole);
});

Deno.test("idle memory of one process goes first, and nothing is asked of the kernel", async () => {
  await using scene = new Scene({ maxRss: (SIZE / 4 + 64) * PAGE });
  await scene.simulation.run(60);
  assertEquals(scene.asked, []);
  assert(scene.process.resident("own") < 128);
  assertEquals(scene.process.resident("shared"), SIZE);
});

Deno.test("a request that does not lower the RSS ends it, for longer each time", async () => {
  await using scene = new Scene({}, {
    reclaim: () => Promise.resolve("less"),
  });
  useOwn(scene);
  await scene.simulation.run(60);
  assertEquals(scene.asked.length, 1);
  await scene.simulation.run(3600);
  assert(scene.asked.length > 1 && scene.asked.length < 8);
});

Deno.test("what was in vain lets memory in use go as without", async () => {
  await using scene = new Scene({}, {
    reclaim: () => Promise.resolve("less"),
  });
  useOwn(scene);
  await scene.simulation.run(60);
  assert(scene.process.majorFaults > 0);
});

Deno.test("the cgroups below are named, once", async () => {
  const children = Array.from({ length: 7 }, (_, at) => `/db/${at}`);
  await using scene = new Scene({}, { children });
  useOwn(scene);
  await scene.simulation.run(120);
  assertEquals(scene.simulation.said("cgroup /db and all below it").length, 1);
  const [line] = scene.simulation.said("cgroup /db and all below it");
  assert(
    line.trimEnd().endsWith(
      "db: what several processes map is reclaimed by the kernel, which chooses the pages, from cgroup /db and all below it, which lose memory as well: /db/0, /db/1, /db/2, /db/3, /db/4 and 2 more",
    ),
    line,
  );
});

Deno.test("why nothing can be reclaimed is said once, and shown", async () => {
  const cases: [Partial<CapConfig>, (scene: Scene) => void, string][] = [
    [
      {},
      ({ simulation }) => simulation.platform.reclaimed = "cgroup /db is gone",
      "cgroup /db is gone",
    ],
    [
      { select: [parseSelector("comm:db")] },
      () => {},
      "the cap selects by more or by something else than one cgroup: or unit:",
    ],
    [{}, ({ process }) => process.hasSecondaryMmu = true, "is left alone"],
    [
      { only: "anon" },
      () => {},
      'the kernel chooses the pages, and could not keep to only = "anon"',
    ],
  ];
  for (const [options, prepare, why] of cases) {
    await using scene = new Scene(options);
    prepare(scene);
    useOwn(scene);
    await scene.simulation.run(120);
    assertEquals(scene.asked, []);
    assertEquals(scene.simulation.said("reclaim has no effect").length, 1);
    assert(scene.warning?.includes(why), `${scene.warning}`);
  }
});

Deno.test("a rate limits what is asked for, together with what scans try", async () => {
  const perSecond = 64 << 10;
  await using scene = new Scene({
    maxPageoutRate: { bytes: perSecond, per: 1000 },
  });
  useOwn(scene);
  await scene.simulation.run(30);
  assert(scene.asked.length > 0);
  // So much goes at once at least.
  const once = 2 << 20;
  for (let seconds = 30; seconds <= 90; seconds += 10) {
    const { attempted } = scene.simulation.group("db").statistics;
    assert(scene.askedInAll <= attempted);
    assert(attempted <= once + seconds * perSecond, `${attempted}`);
    await scene.simulation.run(10);
  }
});

Deno.test("nothing is asked for beyond the rate if what was tried did not lower the size", async () => {
  await using scene = new Scene({
    maxPageoutRate: { bytes: 64 << 10, per: 1000 },
  }, { policy: "clock" });
  const { process } = scene;
  process.map("more", SIZE);
  let grown = 0;
  // It grows by as much as it loses.
  process.onPageOut = () => process.touch("more", grown, grown += 512);
  while (process.resident("own") === SIZE / 2) await scene.simulation.run(1);
  await scene.simulation.run(1);
  assertEquals(scene.simulation.group("db").statistics.attempted, 2 << 20);
  assertEquals(scene.asked, []);
});

Deno.test("what is asked for counts as written to swap, and nothing is once that is used up", async () => {
  const most = 3 << 20;
  await using scene = new Scene({
    maxSwapWrites: { bytes: most, per: 86_400_000 },
  });
  useOwn(scene);
  await scene.simulation.run(60);
  assert(scene.askedInAll > 0 && scene.askedInAll <= most);
  const { heldBack } = scene.simulation.group("db");
  assertEquals(heldBack.map(({ by }) => by), ["max_swap_writes"]);
  const { length } = scene.asked;
  await scene.simulation.run(600);
  assertEquals(scene.asked.length, length);
});

Deno.test("min_rss bounds what is asked for", async () => {
  const least = (SIZE / 2 + 512) * PAGE;
  await using scene = new Scene({ maxRss: SIZE * PAGE, minRss: least });
  useOwn(scene);
  await scene.simulation.run(5);
  scene.simulation.overrides.set("db", SIZE / 2 * PAGE);
  scene.simulation.daemon.askForRequests();
  await scene.simulation.run(60);
  assert(scene.askedInAll > 0);
  const { rss } = scene.simulation.group("db");
  assert(rss >= least && rss < least * 1.05, `${rss} and ${least}`);
});

Deno.test("nothing is asked for while a guard rail holds", async () => {
  await using scene = new Scene({ maxPressure: 0.1 });
  useOwn(scene);
  scene.simulation.platform.pressures.set("/db", 0.2);
  await scene.simulation.run(60);
  assertEquals(scene.asked, []);
  scene.simulation.platform.pressures.set("/db", 0);
  await scene.simulation.run(60);
  assert(scene.asked.length > 0);
});

Deno.test("idle memory alone is never asked for", async () => {
  await using scene = new Scene({ maxRss: undefined, idle: 20_000 });
  await scene.simulation.run(120);
  assertEquals(scene.process.resident("own"), 0);
  assertEquals(scene.asked, []);
  assertEquals(scene.warning, null);
});

Deno.test("a refusal and a request that does not return are shown", async () => {
  for (
    const [reclaim, words] of [
      [
        () =>
          Promise.reject(new SystemError("open", 30, "Read-only file system")),
        "the kernel refuses to reclaim memory of cgroup /db (open: Read-only file system)",
      ],
      [
        () => Promise.resolve("busy" as const),
        "a request to reclaim memory of cgroup /db goes on",
      ],
    ] as const
  ) {
    await using scene = new Scene({}, { reclaim });
    useOwn(scene);
    await scene.simulation.run(60);
    assert(scene.warning?.includes(words), `${scene.warning}`);
  }
});
