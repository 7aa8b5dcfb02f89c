/**
 * Tests of `rcap run` on live processes: caps are kept, and groups under their cap
 * are left alone.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { cap, Place, QUICKLY, TestDaemon } from "../../support/daemon.ts";
import { DEADLINE_SECONDS } from "../../support/deadline.ts";
import {
  assertIntact,
  assertResident,
  diskFile,
  MIB,
  requireRoot,
} from "../../support/live.ts";
import { rcap } from "../../support/rcap.ts";
import { anySwap, withoutSwap, zramSwap } from "../../support/swap.ts";
import {
  majorFaults,
  mappingFigures,
  pssOf,
  residentOf,
  rssOf,
  until,
  Workload,
} from "../../support/workload.ts";

requireRoot();

Deno.test("a group over its cap is brought under it and stays there, another is untouched", async () => {
  await using _swap = await anySwap({ size: 512 * MIB });
  await using over = await Workload.start();
  await using under = await Workload.start();
  const hot = await over.anon("hot", 48 * MIB);
  await over.hot("hot");
  await over.anon("cold", 160 * MIB);
  await under.anon("cold", 64 * MIB);
  const faultsUnder = majorFaults(under.pid);
  const size = 80 * MIB;
  await using daemon = await TestDaemon.start({
    config: QUICKLY + cap("over", [`pid:${over.pid}`], `${size}`) +
      cap("under", [`pid:${under.pid}`], "512M"),
  });
  await daemon.untilGroup(
    "over",
    ({ rss, statistics }) => rss <= size * 1.02 && statistics.scans > 0,
    "the group to be under its cap",
  );
  const samples = () => daemon.group("under").statistics.samples;
  const settled = samples();
  let faults: number | undefined;
  let [looks, exceeded] = [0, 0];
  await until(
    () => {
      const rss = pssOf(over.pid);
      looks++;
      // Pages in use may have been taken because others reset their references. They
      // come back, and are over the cap until the next sample.
      if (rss > size * 1.02) exceeded++;
      assert(rss <= size * 1.25, `${rss} resident of ${size}`);
      // Faults in the first intervals may be on rarely used pages.
      if (samples() >= settled + 6) faults ??= majorFaults(over.pid);
      return samples() >= settled + 18;
    },
    "18 more intervals",
    DEADLINE_SECONDS * 1000,
    250,
  );
  assert(exceeded <= looks / 10, `over the cap ${exceeded} times of ${looks}`);
  assert(faults !== undefined);
  const cameBack = majorFaults(over.pid) - faults;
  // Something else may have reset the references of single pages.
  const few = hot.size / 4096 / 100;
  assert(cameBack <= few, `${cameBack} pages of the hot part came back`);
  await until(
    () => residentOf(over.pid, hot.start, hot.end) === hot.size,
    "all of the hot part to be there",
  );
  const { statistics, warning } = daemon.group("over");
  assert(statistics.effective >= 120 * MIB);
  assertEquals(warning, null);

  const untouched = daemon.group("under");
  assertEquals(untouched.statistics.scans, 0);
  assertEquals(untouched.statistics.attempted, 0);
  assert(untouched.statistics.samples >= 15);
  assertEquals(majorFaults(under.pid), faultsUnder);
  const { code, stderr } = await daemon.stop();
  assertEquals(code, 0, stderr);
  await assertIntact(over);
  await assertIntact(under);
});

Deno.test("below 80 % of the cap, nothing is read or reset; above it, references are recorded", async () => {
  await using workload = await Workload.start();
  const cold = await workload.anon("cold", 64 * MIB);
  const referenced = () => mappingFigures(workload.pid, cold.start).referenced;
  const rss = rssOf(workload.pid);
  await using daemon = await TestDaemon.start({
    config: QUICKLY +
      cap("one", [`pid:${workload.pid}`], `${Math.ceil(rss / 0.7)}`),
  });
  const watched = ({ samples }: { samples: number }) =>
    daemon.group("one").statistics.samples >= samples;
  await until(() => watched({ samples: 4 }), "some samples");
  assertEquals(referenced(), cold.size);

  Deno.writeTextFileSync(
    daemon.place.config,
    QUICKLY + cap("one", [`pid:${workload.pid}`], `${Math.ceil(rss / 0.9)}`),
  );
  await until(() => referenced() === 0, "references to be recorded");
  assertEquals(daemon.group("one").statistics.scans, 0);
});

Deno.test("memory that members share counts once", async () => {
  await using _swap = await anySwap({ size: 256 * MIB });
  await using workload = await Workload.start();
  const shared = await workload.anon("shared", 96 * MIB);
  await workload.fork();
  await workload.fork();
  await using daemon = await TestDaemon.start({
    config: QUICKLY + cap("tree", [`tree:${workload.pid}`], "160M"),
  });
  const { rss, accounting, statistics } = await daemon.untilGroup(
    "tree",
    ({ processes, statistics, accounting }) =>
      processes === 3 && statistics.samples >= 4 && accounting === "pss",
    "proportional sizes",
  );
  assertEquals(accounting, "pss");
  assert(rss > 96 * MIB && rss < 140 * MIB, `${rss} in all`);
  assertEquals(statistics.scans, 0);
  assertResident(workload, shared);
});

Deno.test("a new member is not scanned before an interval is over, and one that leaves is dropped at once", async () => {
  await using _swap = await anySwap({ size: 512 * MIB });
  await using first = await Workload.start({ name: "rcap-test-join" });
  await first.anon("cold", 64 * MIB);
  await using daemon = await TestDaemon.start({
    config: QUICKLY + cap("both", ["comm:rcap-test-join"], "72M"),
  });
  await daemon.untilGroup(
    "both",
    ({ statistics }) => statistics.samples >= 4,
    "references of the first",
  );
  const second = await Workload.start({ name: "rcap-test-join" });
  try {
    const hot = await second.anon("hot", 32 * MIB);
    await second.hot("hot");
    await daemon.untilGroup(
      "both",
      ({ processes, rss }) => processes === 2 && rss <= 73 * MIB,
      "the first to give what it does not use",
    );
    assertResident(second, hot);
    // After that it may lose its initial memory, but not the 8192 pages in use.
    const faults = majorFaults(second.pid);
    assert(faults < 512, `${faults} pages came back`);
    await assertIntact(second);
  } finally {
    await second[Symbol.asyncDispose]();
  }
  const before = daemon.group("both").statistics.samples;
  const { statistics } = await daemon.untilGroup(
    "both",
    ({ processes }) => processes === 1,
    "the second to be dropped",
  );
  // At once means in the current sample or in the next.
  assert(
    statistics.samples <= before + 3,
    `${statistics.samples - before} samples`,
  );
  assertEquals(statistics.processesIn, 2);
  assertEquals(statistics.processesOut, 1);
  await assertIntact(first);
});

Deno.test("a process that matches two caps belongs to the first", async () => {
  await using workload = await Workload.start({ name: "rcap-test-two" });
  await using daemon = await TestDaemon.start({
    config: QUICKLY + cap("first", [`pid:${workload.pid}`], "1G") +
      cap("second", ["comm:rcap-test-two"], "1G"),
  });
  await daemon.untilGroup(
    "first",
    ({ processes }) => processes === 1,
    "membership",
  );
  assertEquals(daemon.group("second").processes, 0);
});

Deno.test("caps are enforced only above the threshold of physical memory", async () => {
  await using _swap = await anySwap({ size: 256 * MIB });
  await using workload = await Workload.start();
  const cold = await workload.anon("cold", 96 * MIB);
  const config = (threshold: string) =>
    QUICKLY + `enforcement_threshold = "${threshold}"\n` +
    cap("one", [`pid:${workload.pid}`], "64M");
  await using daemon = await TestDaemon.start({ config: config("99.9%") });
  await daemon.untilGroup(
    "one",
    ({ statistics }) => statistics.unenforcedSamples >= 4,
    "samples that enforce nothing",
  );
  assertEquals(daemon.group("one").statistics.scans, 0);
  assertResident(workload, cold);
  Deno.writeTextFileSync(daemon.place.config, config("0.01%"));
  await daemon.untilGroup(
    "one",
    ({ rss }) => rss <= 65 * MIB,
    "the cap to be enforced",
  );
  await assertIntact(workload);
});

Deno.test("a cap that cannot be met is tried less often, with one warning that says why", async () => {
  await using _none = await withoutSwap();
  await using workload = await Workload.start();
  await workload.anon("anonymous", 64 * MIB);
  await using daemon = await TestDaemon.start({
    config: QUICKLY + cap("stuck", [`pid:${workload.pid}`], "16M"),
  });
  const { warning } = await daemon.untilGroup(
    "stuck",
    ({ warning }) => warning !== null,
    "a warning",
  );
  assertMatch(
    warning ?? "",
    /^stuck: .* cannot be brought under .*no .*free|none is free/,
  );
  const { statistics: before } = daemon.group("stuck");
  const { statistics } = await daemon.untilGroup(
    "stuck",
    ({ statistics }) => statistics.samples >= before.samples + 6,
    "some more samples",
  );
  assert(statistics.scans - before.scans <= 3, "it is tried less often");
  const { stateArgs } = daemon.place;
  const bare = await rcap(
    ["stat", "1", "1", "-H", "-o", "name,warning"].concat(stateArgs),
  );
  assertMatch(
    bare.stdout,
    /^stuck\tstuck: .* cannot be brought under the cap of 16\.0M: .*\n$/,
  );
  const table = await rcap(["stat", "1", "1", ...stateArgs]);
  assertMatch(
    table.stdout,
    /PG\n.*\nstuck: .* cannot be brought under/,
  );

  // The group recovers as soon as there is room.
  await using _swap = await anySwap({ size: 128 * MIB });
  await daemon.untilGroup(
    "stuck",
    ({ rss, warning }) => rss <= 17 * MIB && warning === null,
    "the cap to be met with swap",
  );
  const { stderr } = await daemon.stop();
  assertEquals(stderr.match(/cannot be brought under/g)?.length, 1, stderr);
  await assertIntact(workload);
});

Deno.test("a group whose pages return is left alone, and its warning stays", async () => {
  await using _swap = await anySwap({ size: 256 * MIB });
  await using workload = await Workload.start();
  await workload.anon("hot", 96 * MIB);
  await workload.hot("hot");
  await using daemon = await TestDaemon.start({
    config: QUICKLY + cap("hot", [`pid:${workload.pid}`], "64M"),
  });
  await daemon.untilGroup(
    "hot",
    ({ statistics, warning }) => statistics.backedOff >= 2 && warning !== null,
    "it to be left alone, and a warning",
  );
  for (let look = 0; look < 20; look++) {
    await new Promise((resolve) => setTimeout(resolve, 200));
    const { warning } = daemon.group("hot");
    assertMatch(
      warning ?? "",
      /^hot: .* cannot be brought under the cap of 64\.0M: /,
    );
  }
  const { statistics: { scans, samples, backedOff } } = daemon.group(
    "hot",
  );
  assert(scans + backedOff <= samples, `${scans} ${backedOff} ${samples}`);
  await assertIntact(workload);
});

Deno.test("cold file pages of a group go without swap", async () => {
  using file = await diskFile(64 * MIB);
  await using _none = await withoutSwap();
  await using workload = await Workload.start();
  await workload.file("cold", { path: file.path });
  await using daemon = await TestDaemon.start({
    config: QUICKLY + cap("files", [`pid:${workload.pid}`], "32M"),
  });
  await daemon.untilGroup(
    "files",
    ({ rss }) => rss <= 33 * MIB,
    "the file to go",
  );
  await assertIntact(workload);
});

Deno.test("sampling continues while a group is scanned, and signals are honoured", async () => {
  await using _swap = await anySwap({ size: 3072 * MIB });
  await using large = await Workload.start();
  await large.anon("cold", 2048 * MIB);
  await using other = await Workload.start();
  await using daemon = await TestDaemon.start({
    config: `[daemon]
sample_interval = "100ms"
report_interval = "50ms"
` + cap("large", [`pid:${large.pid}`], "64M") +
      cap("other", [`pid:${other.pid}`], "1G"),
  });
  await until(
    () => daemon.group("large").rss < 1984 * MIB,
    "the scan to be under way, and to be told",
  );
  const before = daemon.group("other").statistics.samples;
  await daemon.untilGroup(
    "other",
    ({ statistics }) => statistics.samples >= before + 2,
    "the other to be sampled",
  );
  const { rss, statistics } = daemon.group("large");
  assert(rss > 128 * MIB, `${rss} resident: the scan is over already`);
  assertEquals(statistics.scanTime, 0);
  const { code, stderr } = await daemon.stop();
  assertEquals(code, 0, stderr);
  const left = rssOf(large.pid);
  assert(left > 96 * MIB, `${left} resident: it ended the scan first`);
  assertEquals(
    [...Deno.readDirSync(daemon.place.state)].map(({ name }) => name),
    ["lock"],
  );
  await assertIntact(large);
});

Deno.test("run --once scans the groups over their cap once, and reports", async () => {
  await using _swap = await anySwap({ size: 256 * MIB });
  await using workload = await Workload.start();
  await workload.anon("cold", 96 * MIB);
  using place = new Place();
  const once = async (size: string, ...args: string[]) => {
    await using daemon = TestDaemon.startOnly({
      place,
      config: cap("one", [`pid:${workload.pid}`], size),
      args: ["--once", ...args],
    });
    return await daemon.ended;
  };
  const met = await once("64M");
  assertEquals(met.code, 0, met.stderr);
  assertMatch(met.stdout, /^NAME\s+NPROC/);
  assertStringIncludes(met.stdout, "one");
  assert(pssOf(workload.pid) <= 65 * MIB);
  const { code, stdout } = await once("1M", "-H", "-p", "-o", "name,cap");
  assertEquals({ code, stdout }, { code: 3, stdout: `one\t${MIB}\n` });
  await assertIntact(workload);
});

Deno.test("an idle daemon logs nothing", async () => {
  await using workload = await Workload.start();
  await using daemon = await TestDaemon.start({
    config: QUICKLY + cap("one", [`pid:${workload.pid}`], "1G"),
  });
  await daemon.untilGroup(
    "one",
    ({ statistics }) => statistics.samples >= 4,
    "some samples",
  );
  const { stdout, stderr } = await daemon.stop();
  assertEquals(stdout, "");
  // The start, what it has measured then, and the end are the only events.
  const events = stderr.trim().split("\n")
    .filter((line) => !/ takes \d[\d.]* [nµm]?s /.test(line));
  assertEquals(events.length, 2, stderr);
});

Deno.test("the daemon reports what references and page-ins cost, in its state, log and metrics", async () => {
  await using swap = await zramSwap({ size: 64 * MIB, priority: 32_767 });
  await using workload = await Workload.start();
  await using daemon = await TestDaemon.start({
    config: QUICKLY + cap("one", [`pid:${workload.pid}`], "1G"),
    args: ["--metrics", "0"],
  });
  const costsIfAny = () => daemon.stateIfAny()?.costs;
  await until(
    () => (costsIfAny()?.pageIns.length ?? 0) >= 2,
    "costs to be measured",
  );
  const costs = costsIfAny();
  assert(costs);
  const { reference, pageIns: [first, second] } = costs;
  assert(reference > 0 && reference < 1e6, `${reference}`);
  const device = swap.path.slice("/dev/".length);
  assertEquals([first.from, first.device], ["swap", device]);
  assertEquals(second.from, "file");
  const port = await daemon.listeningPort();
  const answer = await fetch(`http://127.0.0.1:${port}/metrics`);
  const metrics = await answer.text();
  for (
    const [name, nanoseconds] of [
      ["rcap_reference_cost_seconds", reference],
      [
        `rcap_page_in_cost_seconds{from="swap",device="${device}"}`,
        first.nanoseconds,
      ],
    ] as const
  ) {
    const line = metrics.split("\n").find((line) => line.startsWith(name));
    const value = Number(line?.slice(name.length));
    assert(Math.abs(value * 1e9 - nanoseconds) < 1, line);
  }
  const { stderr } = await daemon.stop();
  assertMatch(stderr, /the first reference to a page takes \d/);
  assertMatch(stderr, new RegExp(`a page-in takes .* from ${device}, `));
});
