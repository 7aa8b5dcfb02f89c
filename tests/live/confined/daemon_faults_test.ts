/**
 * Tests of `rcap run` under faults: invalid configurations, a state directory that
 * cannot be written, processes that come and go, and an end at any moment.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import {
  cap,
  Place,
  QUICKLY,
  quicklyBy,
  TestDaemon,
} from "../../support/daemon.ts";
import {
  assertIntact,
  MIB,
  requireRoot,
  stateOf,
  testEachPolicy,
} from "../../support/live.ts";
import { rcap } from "../../support/rcap.ts";
import { anySwap, withoutSwap, zramSwap } from "../../support/swap.ts";
import { fetchPackages } from "../../vm/debian.ts";
import {
  isRunning,
  pssOf,
  rssOf,
  until,
  Workload,
} from "../../support/workload.ts";
import { say } from "../../support/say.ts";

requireRoot();

const delay = (milliseconds: number) =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

/** A cap that is never exceeded. */
const HARMLESS = cap("one", ["comm:rcap-nobody"], "1G");

/** Runs a system program to its end. */
async function run(program: string, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(program, { args })
    .output();
  assert(success, `${program}: ${new TextDecoder().decode(stderr)}`);
}

/** Starts a daemon that must fail, and waits for its end. */
async function failing(
  options: Parameters<typeof TestDaemon.startOnly>[0],
): Promise<{ code: number; stderr: string }> {
  await using daemon = TestDaemon.startOnly(options);
  return await daemon.ended;
}

Deno.test("an invalid configuration prevents the start, but does not end a running daemon", async () => {
  const wrong = QUICKLY + cap("one", ["usr:alice"], "lots");
  const { code, stderr } = await failing({ config: wrong });
  assertEquals(code, 2, stderr);
  assertMatch(stderr, /rcap\.toml:8: .*usr:alice/);
  assertMatch(stderr, /rcap\.toml:9: .*lots/);

  await using daemon = await TestDaemon.start({ config: QUICKLY + HARMLESS });
  const { serial } = daemon.state().configuration;
  // The daemon notices it by itself, and reports it on request.
  Deno.writeTextFileSync(daemon.place.config, wrong);
  await until(
    () => daemon.state().configuration.problems.length > 0,
    "the problems to be told",
  );
  assertEquals(daemon.state().configuration.problems.length, 2);
  assertEquals(daemon.state().groups.map(({ name }) => name), ["one"]);
  const asked = await rcap(["reload", ...daemon.place.stateArgs]);
  assertEquals(asked.code, 2);
  assertMatch(asked.stderr, /rcap\.toml:8: .*usr:alice/);
  Deno.writeTextFileSync(daemon.place.config, QUICKLY + HARMLESS);
  const good = await rcap(["reload", ...daemon.place.stateArgs]);
  assertEquals(good.code, 0, good.stderr);
  assert(daemon.state().configuration.serial > serial);
  assertEquals(daemon.state().configuration.problems, []);
  assertEquals((await daemon.stop()).code, 0);
});

Deno.test("a drop-in directory may be empty, but must be a directory", async () => {
  using place = new Place();
  Deno.mkdirSync(place.dropIns);
  {
    await using daemon = await TestDaemon.start({
      place,
      config: QUICKLY + HARMLESS,
    });
    assertEquals(daemon.state().groups.length, 1);
    Deno.writeTextFileSync(
      `${place.dropIns}/two.toml`,
      cap("two", ["comm:rcap-nobody"], "2G"),
    );
    await until(
      () => daemon.state().groups.length === 2,
      "the drop-in to be noticed",
    );
  }
  Deno.removeSync(place.dropIns, { recursive: true });
  Deno.writeTextFileSync(place.dropIns, "");
  const { code, stderr } = await failing({ place, config: HARMLESS });
  assertEquals(code, 2);
  assertMatch(stderr, /rcap\.d: .*cannot be read/);
});

Deno.test("a missing state directory is created; one of another user is refused", async () => {
  using place = new Place();
  const deep = `${place.folder}/a/b/c`;
  {
    await using daemon = TestDaemon.startOnly({
      place,
      config: QUICKLY + HARMLESS,
      args: ["--state-dir", deep],
    });
    const state = `${deep}/state.json`;
    await until(() => exists(state), "the state to be written");
    assertEquals(Deno.statSync(deep).mode! & 0o777, 0o755);
    assertEquals(Deno.statSync(state).mode! & 0o777, 0o644);
    assertEquals((await daemon.stop()).code, 0);
    assert(!exists(state));
  }
  Deno.chmodSync(deep, 0o777);
  const open = await failing({
    place,
    config: HARMLESS,
    args: ["--state-dir", deep],
  });
  assertEquals(open.code, 1);
  assertStringIncludes(open.stderr, "others can write to it");
  const file = await failing({
    place,
    config: HARMLESS,
    args: ["--state-dir", place.config],
  });
  assertEquals(file.code, 1);
  assertStringIncludes(file.stderr, "choose another with --state-dir");
});

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** A small file system, unmounted on disposal. */
async function mount(
  place: Place,
  options: string,
): Promise<AsyncDisposable & { path: string }> {
  const path = `${place.folder}/mount`;
  Deno.mkdirSync(path);
  await run("mount", "-t", "tmpfs", "-o", options, "tmpfs", path);
  return {
    path,
    async [Symbol.asyncDispose]() {
      await run("umount", path);
    },
  };
}

Deno.test("a read-only state directory prevents the start", async () => {
  using place = new Place();
  await using readOnly = await mount(place, "ro,size=1m,mode=755");
  const { code, stderr } = await failing({
    place,
    config: HARMLESS,
    args: ["--state-dir", readOnly.path],
  });
  assertEquals(code, 1);
  assertMatch(stderr, /Read-only file system.*--state-dir/);
});

Deno.test("caps are kept while the state directory is full, which is reported once", async () => {
  await using _swap = await anySwap({ size: 128 * MIB });
  await using workload = await Workload.start();
  using place = new Place();
  await using small = await mount(place, "size=64k,mode=755");
  await using daemon = TestDaemon.startOnly({
    place,
    config: QUICKLY + cap("one", [`pid:${workload.pid}`], "64M"),
    args: ["--state-dir", small.path],
  });
  const state = `${small.path}/state.json`;
  await until(() => exists(state), "the state to be written");
  const filler = `${small.path}/filler`;
  Deno.writeFileSync(filler, new Uint8Array(40 * 1024));
  try {
    // Less than a page is left.
    Deno.writeFileSync(`${filler}2`, new Uint8Array(64 * 1024));
  } catch {
    // Now it is full.
  }
  await workload.anon("cold", 96 * MIB);
  await until(() => pssOf(workload.pid) <= 65 * MIB, "the cap to be kept");
  await delay(1000);
  const old = JSON.parse(Deno.readTextFileSync(state));
  assertEquals(old.version, 2, "the old state is whole");
  Deno.removeSync(filler);
  Deno.removeSync(`${filler}2`);
  await until(
    () => JSON.parse(Deno.readTextFileSync(state)).updatedAt > old.updatedAt,
    "the state to be written again",
  );
  const { code, stderr } = await daemon.stop();
  assertEquals(code, 0);
  assertEquals(stderr.match(/state cannot be written/g)?.length, 1, stderr);
  await assertIntact(workload);
});

Deno.test("a second daemon on the same state directory refuses to start", async () => {
  using place = new Place();
  await using daemon = await TestDaemon.start({ place, config: HARMLESS });
  const second = await failing({ place, config: HARMLESS });
  assertEquals(second.code, 1);
  assertStringIncludes(
    second.stderr,
    `rcap is already running as process ${daemon.pid}`,
  );
  // A killed daemon does not block the next one.
  daemon.signal("SIGKILL");
  await daemon.ended;
  const stale = await rcap(["stat", "1", "1", ...place.stateArgs]);
  assertEquals(stale.code, 1);
  assertStringIncludes(stale.stderr, "rcap is not running");
  await using third = await TestDaemon.start({ place, config: HARMLESS });
  assertEquals((await third.stop()).code, 0);
});

Deno.test("a port in use prevents the start", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  const { code, stderr } = await failing({
    config: HARMLESS,
    args: ["--metrics", `${port}`],
  });
  assertEquals(code, 1);
  assertStringIncludes(stderr, `${port}`);
});

testEachPolicy(
  "a daemon killed at any moment leaves every process running and intact, and another takes over",
  async (policy) => {
    await using _swap = await anySwap({ size: 512 * MIB });
    await using workloads = new AsyncDisposableStack();
    const victims: Workload[] = [];
    for (let i = 0; i < 3; i++) {
      const victim = workloads.use(
        await Workload.start({ name: "rcap-test-kill" }),
      );
      await victim.anon("hot", 8 * MIB);
      await victim.hot("hot");
      await victim.anon("cold", 48 * MIB);
      victims.push(victim);
    }
    using place = new Place();
    const config = quicklyBy(policy).replaceAll("1s", "300ms") +
      cap("kill", ["comm:rcap-test-kill"], "96M");
    let seed = 1;
    const random = () => (seed = (seed * 48271) % 0x7fffffff) / 0x7fffffff;
    // How long a daemon takes to start here.
    let starting = 0;
    {
      const began = performance.now();
      await using daemon = await TestDaemon.start({ place, config });
      starting = performance.now() - began;
      assertEquals((await daemon.stop()).code, 0);
    }
    let kills = 0;
    let scans = 0;
    const assertUnharmed = async () => {
      for (const victim of victims) {
        await assertIntact(victim);
        assert(stateOf(victim.pid) !== "T", "no process is left stopped");
      }
    };
    // Both during the start and during work; the deadline of the test also ends the
    // wait for a scan that never comes.
    for (; kills < 12 || scans === 0; kills++) {
      await using daemon = TestDaemon.startOnly({ place, config });
      await delay(random() * (starting + 3000));
      const state = daemon.stateIfAny();
      // Otherwise it is what the last daemon left.
      if (state?.pid === daemon.pid) {
        scans += state.groups[0].statistics.scans;
      }
      daemon.signal("SIGKILL");
      await daemon.ended;
      await assertUnharmed();
    }
    say(`${kills} kills, ${scans} scans`);
    await using daemon = await TestDaemon.start({ place, config });
    await daemon.untilGroup(
      "kill",
      ({ rss, statistics }) => statistics.scans > 0 && rss <= 97 * MIB,
      "the cap to be met",
    );
    const { code, stderr } = await daemon.stop();
    assertEquals(code, 0);
    assert(!stderr.includes("warning:"), stderr);
    await assertUnharmed();
  },
);

/** Forks children that exit at once, until standard input ends; prints their number. */
const STORM = `
  # As fast as the machine can, but no more than 2,000 a second.
  my ($began, $forks) = (time, 0);
  vec(my $input = '', 0, 1) = 1;
  while (1) {
    my $ahead = $forks - 2000 * (time - $began);
    last if select my $ended = $input, undef, undef, $ahead > 0 ? 0.001 : 0;
    next if $ahead > 0;
    my $pid = fork;
    exit 0 if defined $pid && $pid == 0;
    $forks++ if defined $pid;
    1 while waitpid(-1, 1) > 0;
  }
  1 while wait > 0;
  print $forks;`;

Deno.test("a storm of forks does not disturb the daemon", async () => {
  await using workload = await Workload.start();
  await using storm = new Deno.Command("perl", {
    args: ["-MTime::HiRes=time", "-e", STORM],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  await using daemon = await TestDaemon.start({
    config: QUICKLY.replaceAll("1s", "300ms") +
      cap("storm", [`tree:${storm.pid}`], "8M") +
      cap("one", [`pid:${workload.pid}`], "1G"),
  });
  const { statistics: first } = daemon.group("one");
  const began = performance.now();
  await daemon.untilGroup(
    "one",
    ({ statistics }) => statistics.samples >= first.samples + 20,
    "samples still to be taken",
  );
  const seconds = (performance.now() - began) / 1000;
  await storm.stdin.close();
  const forks = Number(await storm.stdout.text());
  say(`${forks} forks; 20 samples took ${seconds.toFixed(1)} s`);
  // Their number depends on the machine, but there is always one.
  assert(forks >= 20, `${forks} forks`);
  await daemon.untilGroup(
    "storm",
    ({ processes }) => processes === 0,
    "the storm to be over",
  );
  const { code, stderr } = await daemon.stop();
  assertEquals(code, 0);
  assert(!stderr.includes("warning:"), stderr);
});

testEachPolicy(
  "all members of a group may exit while it is scanned",
  async (policy) => {
    await using _swap = await anySwap({ size: 1024 * MIB });
    const victims: Workload[] = [];
    for (let i = 0; i < 3; i++) {
      const victim = await Workload.start({ name: "rcap-test-exit" });
      await victim.anon("cold", 200 * MIB);
      victims.push(victim);
    }
    await using daemon = await TestDaemon.start({
      config: quicklyBy(policy) + cap("exit", ["comm:rcap-test-exit"], "16M"),
    });
    const all = 600 * MIB;
    await until(
      () =>
        victims.reduce((sum, { pid }) => sum + rssOf(pid), 0) < all - 32 * MIB,
      "the scan to be under way",
    );
    for (const victim of victims) victim.kill("SIGKILL");
    await daemon.untilGroup(
      "exit",
      ({ processes, rss }) => processes === 0 && rss === 0,
      "all to be dropped",
    );
    for (const victim of victims) await victim[Symbol.asyncDispose]();
    const { code, stderr } = await daemon.stop();
    assertEquals(code, 0);
    assert(!stderr.includes("warning:"), stderr);
  },
);

testEachPolicy("64 descriptors do for 300 processes", async (policy) => {
  await using _swap = await anySwap({ size: 512 * MIB });
  await using parent = await Workload.start();
  await using large = await Workload.start();
  await large.anon("cold", 96 * MIB);
  for (let i = 0; i < 300; i++) await parent.fork();
  await using daemon = await TestDaemon.start({
    config: quicklyBy(policy) + cap("many", [`tree:${parent.pid}`], "2M") +
      cap("large", [`pid:${large.pid}`], "64M"),
    descriptors: 64,
  });
  await daemon.untilGroup(
    "many",
    ({ processes, statistics }) => processes === 301 && statistics.scans >= 2,
    "all processes to be scanned",
    120_000,
  );
  await daemon.untilGroup(
    "large",
    ({ rss }) => rss <= 65 * MIB,
    "the cap of the large one",
  );
  const open = [...Deno.readDirSync(`/proc/${daemon.pid}/fd`)].length;
  assert(open <= 40, `${open} descriptors are open`);
  const { code, stderr } = await daemon.stop();
  assertEquals(code, 0);
  assert(!stderr.includes("Too many open files"), stderr);
  await assertIntact(parent);
  await assertIntact(large);
});

testEachPolicy(
  "swap may be turned off and on while the daemon runs",
  async (policy) => {
    await using _none = await withoutSwap();
    await using workload = await Workload.start();
    await workload.anon("cold", 64 * MIB);
    await using daemon = await TestDaemon.start({
      config: quicklyBy(policy) + cap("one", [`pid:${workload.pid}`], "32M"),
    });
    {
      await using _swap = await zramSwap({ size: 128 * MIB });
      await daemon.untilGroup(
        "one",
        ({ rss }) => rss <= 33 * MIB,
        "the cap to be met",
      );
    }
    assert(rssOf(workload.pid) > 60 * MIB, "its memory came back");
    await daemon.untilGroup(
      "one",
      ({ rss }) => rss > 60 * MIB,
      "that to be noticed",
    );
    {
      await using _swap = await zramSwap({ size: 128 * MIB });
      await daemon.untilGroup(
        "one",
        ({ rss }) => rss <= 33 * MIB,
        "the cap to be met again",
      );
    }
    assertEquals((await daemon.stop()).code, 0);
    await assertIntact(workload);
  },
);

Deno.test("setting the clock back disturbs neither the daemon nor stat", async () => {
  const tree = await fetchPackages({
    release: "bookworm",
    name: "faketime",
    packages: ["libfaketime"],
    only: /^libfaketime$/,
  });
  using place = new Place();
  const time = `${place.folder}/time`;
  Deno.writeTextFileSync(time, "+0");
  await using workload = await Workload.start();
  await using daemon = await TestDaemon.start({
    place,
    config: QUICKLY + cap("one", [`pid:${workload.pid}`], "1G"),
    env: {
      LD_PRELOAD:
        `${tree}/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1`,
      FAKETIME_TIMESTAMP_FILE: time,
      FAKETIME_NO_CACHE: "1",
      DONT_FAKE_MONOTONIC: "1",
    },
  });
  const samples = () => daemon.group("one").statistics.samples;
  await until(() => samples() >= 1, "a sample");
  const before = daemon.state();
  Deno.writeTextFileSync(time, "-3600");
  await until(
    () => daemon.state().updatedAt < before.updatedAt - 3000,
    "the clock to be set back",
  );
  const began = performance.now();
  const set = samples();
  await until(() => samples() >= set + 4, "samples still to be taken");
  const seconds = (performance.now() - began) / 1000;
  // One line each second, and none for the hour.
  const taken = samples() - set;
  assert(taken <= seconds + 2, `${taken} samples in ${seconds} s`);
  const { code, stderr } = await rcap(["stat", "1", "1", ...place.stateArgs]);
  assertEquals(code, 0, stderr);
  assertEquals((await daemon.stop()).code, 0);
});

Deno.test("a delayed daemon does not make up for missed intervals", async () => {
  await using workload = await Workload.start();
  await using daemon = await TestDaemon.start({
    config: QUICKLY.replaceAll("1s", "300ms") +
      cap("one", [`pid:${workload.pid}`], "1G"),
  });
  daemon.signal("SIGSTOP");
  const { statistics: before } = daemon.group("one");
  await delay(6000);
  daemon.signal("SIGCONT");
  const began = performance.now();
  const { statistics } = await daemon.untilGroup(
    "one",
    ({ statistics }) => statistics.samples >= before.samples + 3,
    "some samples",
  );
  const samples = statistics.samples - before.samples;
  // Not the twenty intervals that it missed.
  const due = (performance.now() - began) / 300 + 4;
  assert(samples <= due, `${samples} samples, ${due} were due`);
  assertEquals((await daemon.stop()).code, 0);
});

testEachPolicy(
  "stopped processes over their cap stay stopped and are paged out",
  async (policy) => {
    await using _swap = await anySwap({ size: 128 * MIB });
    await using workload = await Workload.start();
    await workload.anon("cold", 64 * MIB);
    workload.kill("SIGSTOP");
    {
      await using daemon = await TestDaemon.start({
        config: quicklyBy(policy) + cap("one", [`pid:${workload.pid}`], "32M"),
      });
      await daemon.untilGroup(
        "one",
        ({ rss }) => rss <= 33 * MIB,
        "the cap to be met",
      );
    }
    assert(isRunning(workload.pid));
    workload.kill("SIGCONT");
    await assertIntact(workload);
  },
);
