/**
 * Tests of `rcap stat`, `set` and `reload`, with and without a running daemon.
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
import { MIB, requireRoot } from "../../support/live.ts";
import { rcap, rcapJson, startRcap } from "../../support/rcap.ts";
import { anySwap } from "../../support/swap.ts";
import { rssOf, until, Workload } from "../../support/workload.ts";

requireRoot();

/** An unprivileged user. */
const NOBODY = 65534;

Deno.test("without a daemon, stat, set and reload say so", async () => {
  using place = new Place();
  for (
    const args of [
      ["stat"],
      ["stat", "1", "1", "--json"],
      ["set", "one", "1G"],
      ["pause", "one"],
      ["resume", "one"],
      ["reload"],
    ]
  ) {
    const { code, stdout, stderr } = await rcap([...args, ...place.stateArgs]);
    assertEquals(code, 1, args.join(" "));
    assertEquals(stdout, "");
    assertMatch(
      stderr,
      /^rcap: rcap is not running .*start it with: rcap run\n$/,
    );
  }
});

Deno.test("stat, set and reload reject invalid arguments", async () => {
  for (
    const [args, message] of [
      [["stat", "0"], "INTERVAL"],
      [["stat", "soon"], "INTERVAL"],
      [["stat", "1", "0"], "COUNT"],
      [["stat", "1", "some"], "COUNT"],
      [["stat", "-o", "shoes"], "shoes"],
      [["set", "one"], "size"],
      [["set", "one", "10X"], "10X"],
      [["set", "one", "0"], "0"],
      [["set", "one", "-1"], "-1"],
      [["set", "one", "1K"], "4K"],
      [["pause"], "name"],
      [["pause", "one", "--for", "0"], "at least 1s"],
      [["pause", "one", "--for", "later"], "not a duration"],
      [["resume"], "name"],
      [["run", "--print-unit", "--config", "rcap.toml"], "absolute"],
      [["run", "--print-unit", "--state-dir", "state"], "absolute"],
      [["stat", "--state-dir", ""], "give its path"],
      [["run", "--metrics", "nowhere:port"], "nowhere:port"],
      [["run", "--log-format", "yaml"], "yaml"],
    ] as const
  ) {
    const { code, stderr } = await rcap([...args]);
    assertEquals(code, 2, `${args.join(" ")}: ${stderr}`);
    assertStringIncludes(stderr, message);
  }
});

Deno.test("set is applied within a second, until it is revoked or the daemon ends", async () => {
  await using _swap = await anySwap({ size: 256 * MIB });
  await using workload = await Workload.start();
  await workload.anon("cold", 96 * MIB);
  using place = new Place();
  const config = QUICKLY + cap("one", [`pid:${workload.pid}`], "1G");
  {
    await using daemon = await TestDaemon.start({ place, config });
    const before = daemon.state().updatedAt;
    const set = await rcap(["set", "one", "48M", ...place.stateArgs]);
    assertEquals(set.code, 0, set.stderr);
    assertMatch(set.stdout, /^one: the cap is 48\.0M now, it was 1\.0G; /);
    // It shows the cap that the daemon now applies.
    assert(daemon.state().updatedAt > before);
    const { cap, configuredCap } = daemon.group("one");
    assertEquals(cap, 48 * MIB);
    assertEquals(configuredCap, 1024 * MIB);
    await daemon.untilGroup(
      "one",
      ({ rss }) => rss <= 49 * MIB,
      "the cap to be kept",
    );
    // A reload does not undo it.
    assertEquals((await rcap(["reload", ...place.stateArgs])).code, 0);
    assertEquals(daemon.group("one").cap, 48 * MIB);

    const { json } = await rcapJson<{ cap: number; before: number }>(
      ["set", "one", "default", ...place.stateArgs],
    );
    assertEquals(json.before, 48 * MIB);
    assertEquals(json.cap, 1024 * MIB);

    const unknown = await rcap(["set", "two", "1G", ...place.stateArgs]);
    assertEquals(unknown.code, 2);
    assertStringIncludes(unknown.stderr, 'no group "two"; it has one');
    await rcap(["set", "one", "64M", ...place.stateArgs]);
    assertEquals((await daemon.stop()).code, 0);
  }
  await using again = await TestDaemon.start({ place, config });
  assertEquals(again.group("one").cap, 1024 * MIB);
});

Deno.test("a paused group is left alone until it is resumed, across a reload and a restart", async () => {
  await using _swap = await anySwap({ size: 256 * MIB });
  await using workload = await Workload.start();
  await workload.anon("cold", 96 * MIB);
  using place = new Place();
  const config = QUICKLY + cap("one", [`pid:${workload.pid}`], "1G");
  const { stateArgs } = place;
  const untouched = async (daemon: TestDaemon) => {
    const { samples } = daemon.group("one").statistics;
    await daemon.untilGroup(
      "one",
      ({ statistics }) => statistics.samples >= samples + 4,
      "some samples",
    );
    const { rss, statistics } = daemon.group("one");
    assert(rss >= 96 * MIB, `${rss}`);
    assertEquals(statistics.scans, 0);
  };
  let until: number | null;
  {
    await using daemon = await TestDaemon.start({ place, config });
    const paused = await rcap(["pause", "one", "--for", "10m", ...stateArgs]);
    assertEquals(paused.code, 0, paused.stderr);
    assertMatch(
      paused.stdout,
      /^one: paused until .*\d:\d\d:\d\d; to end it before: rcap resume one\n$/,
    );
    until = daemon.group("one").pausedUntil;
    assert(until !== null && Math.abs(until - Date.now() / 1000 - 600) < 30);
    assertEquals((await rcap(["set", "one", "48M", ...stateArgs])).code, 0);
    await untouched(daemon);
    assertEquals((await rcap(["reload", ...stateArgs])).code, 0);
    await untouched(daemon);
    const stat = await rcap(["stat", "1", "1", ...stateArgs]);
    assertMatch(stat.stdout, /^one: paused until /m);
    const nobody = await rcap(["pause", "one", ...stateArgs], { uid: NOBODY });
    assertEquals(nobody.code, 4, nobody.stderr);
    assertEquals((await rcap(["pause", "two", ...stateArgs])).code, 2);
    assertEquals((await daemon.stop()).code, 0);
  }
  await using again = await TestDaemon.start({
    place,
    config: QUICKLY + cap("one", [`pid:${workload.pid}`], "48M"),
  });
  assertEquals(again.group("one").pausedUntil, until);
  await untouched(again);
  const { json } = await rcapJson<{ wasPaused: boolean }>(
    ["resume", "one", ...stateArgs],
  );
  assertEquals(json.wasPaused, true);
  await again.untilGroup(
    "one",
    ({ rss }) => rss <= 49 * MIB,
    "the cap to be kept again",
  );
  const twice = await rcap(["resume", "one", ...stateArgs]);
  assertMatch(twice.stdout, /^one: was not paused; /);
  // One that ends by itself.
  assertEquals(
    (await rcap(["pause", "one", "--for", "1s", ...stateArgs])).code,
    0,
  );
  await again.untilGroup(
    "one",
    ({ pausedUntil }) => pausedUntil === null,
    "the pause to end",
  );
});

Deno.test("a daemon in a dry run pages out nothing and says what it would", async () => {
  await using _swap = await anySwap({ size: 256 * MIB });
  await using workload = await Workload.start();
  await workload.anon("cold", 96 * MIB);
  await using daemon = await TestDaemon.start({
    config: QUICKLY + cap("one", [`pid:${workload.pid}`], "48M"),
    args: ["--dry-run"],
  });
  const before = rssOf(workload.pid);
  await daemon.untilGroup(
    "one",
    ({ planned, statistics }) => (planned ?? 0) > 0 && statistics.scans >= 3,
    "three plans",
  );
  const { planned, rss, statistics } = daemon.group("one");
  assert(planned !== null && rss - planned <= 48 * MIB, `${planned}`);
  assert(planned < 64 * MIB, `${planned}: plans add up`);
  assertEquals([statistics.attempted, statistics.effective], [0, 0]);
  assert(rssOf(workload.pid) >= before, "it lost memory");
  const stat = await rcap(["stat", "1", "1", ...daemon.place.stateArgs]);
  assertMatch(
    stat.stdout,
    /^dry run: nothing is paged out\none: \d+\.\dM would be paged out$/m,
  );
  const { stderr } = await daemon.stop();
  assertMatch(stderr, /one: dry run: would page out \d+\.\dM; /);
  assert(!stderr.includes("one: paged out"), stderr);
  const once = await rcap([
    ...["run", "--once", "--dry-run", "--config", daemon.place.config],
    ...daemon.place.stateArgs,
  ]);
  assertEquals(once.code, 0, once.stderr);
  assertMatch(once.stdout, /would be paged out/);
  assert(rssOf(workload.pid) >= before, "it lost memory");
});

Deno.test("stat shows what is out, what that saves and what came back, in 100 columns", async () => {
  await using _swap = await anySwap({ size: 512 * MIB });
  await using workload = await Workload.start();
  await workload.anon("cold", 96 * MIB);
  const name = "a".repeat(64);
  const config = QUICKLY + cap(name, [`pid:${workload.pid}`], "1G");
  await using daemon = await TestDaemon.start({ config });
  const { stateArgs } = daemon.place;
  assertEquals(daemon.group(name).statistics.refaults, 0);
  assertEquals((await rcap(["set", name, "48M", ...stateArgs])).code, 0);
  const { swap, saved, pressure, cgroup } = await daemon.untilGroup(
    name,
    ({ rss, swap }) => rss <= 49 * MIB && (swap ?? 0) >= 47 * MIB,
    "the cap to be kept",
  );
  const status = Deno.readTextFileSync(`/proc/${workload.pid}/status`);
  const own = Number(/^VmSwap:\s+(\d+)/m.exec(status)?.[1]) * 1024;
  assert(Math.abs((swap ?? 0) - own) < 4 * MIB, `${swap} of ${own}`);
  // Of zram, as far as pages can be compressed; of a disk, all.
  assert(saved !== null && saved <= own + 4 * MIB, `${saved} of ${own}`);
  assert(pressure !== null && pressure >= 0 && pressure <= 1, `${pressure}`);
  assertEquals(cgroup, null, "it is that of the machine");

  const stat = await rcap(["stat", "1", "1", ...stateArgs]);
  const lines = stat.stdout.split("\n");
  assertMatch(
    lines[0],
    /^NAME +NPROC +RSS +CAP +SWAP +SAVED +REFAULTS +IDLE +PRESSURE +PG$/,
  );
  assertMatch(lines[1], /^a+… +1 +4\d\.\dM +48\.0M +[45]\d\.\dM /);
  assert(lines[0].length <= 100 && lines[1].length <= 100, lines.join("\n"));
  const chosen = await rcap(
    ["stat", "1", "1", "-o", "name,swap", ...stateArgs],
  );
  assertStringIncludes(chosen.stdout, name);

  assertEquals((await rcap(["pause", name, ...stateArgs])).code, 0);
  assert(await workload.checksum("cold"));
  const { statistics } = await daemon.untilGroup(
    name,
    ({ statistics }) => statistics.refaults > 0,
    "what came back to be counted",
  );
  // As far as is known, and never more than was out.
  assert(statistics.refaults <= statistics.effective / 4096 + 1);
});

Deno.test("a relative state directory is relative to the working directory", async () => {
  using place = new Place();
  const within = (directory: string, args: string[]) => ({
    args,
    options: {
      prefix: ["sh", "-ec", 'cd "$0"; exec "$@"', directory],
    },
  });
  Deno.writeTextFileSync(
    place.config,
    QUICKLY + cap("one", ["comm:rcap-nobody"], "1G"),
  );
  const { args, options } = within(place.folder, [
    ...["run", "--config", "rcap.toml", "--state-dir", "./state"],
  ]);
  const daemon = startRcap(args, options);
  try {
    await until(
      () => {
        try {
          return Deno.statSync(`${place.state}/state.json`).isFile;
        } catch {
          return false;
        }
      },
      "the daemon to write its state",
    );
    for (
      const { args, options } of [
        within(place.folder, ["stat", "1", "1", "--state-dir", "state/"]),
        within(place.folder, ["set", "one", "2G", "--state-dir", "./state"]),
        within(place.state, ["reload", "--state-dir", "."]),
        within("/", ["reload", "--state-dir", place.state.slice(1)]),
      ]
    ) {
      const { code, stderr } = await rcap(args, options);
      assertEquals([code, stderr], [0, ""], args.join(" "));
    }
    const { args, options } = within("/", ["stat", "--state-dir", "no such"]);
    const { code, stderr } = await rcap(args, options);
    assertEquals(code, 1);
    assertMatch(stderr, /not running with the state directory no such; start/);
  } finally {
    daemon.child.kill("SIGTERM");
    await daemon.end();
  }
});

Deno.test("a higher cap ends the scan in flight", async () => {
  await using _swap = await anySwap({ size: 3072 * MIB });
  await using large = await Workload.start();
  await large.anon("cold", 2048 * MIB);
  await using daemon = await TestDaemon.start({
    config: `[daemon]
sample_interval = "100ms"
report_interval = "50ms"
` + cap("large", [`pid:${large.pid}`], "64M"),
  });
  await until(
    () => daemon.group("large").rss < 1984 * MIB,
    "the scan to be under way",
  );
  const set = await rcap(["set", "large", "3G", ...daemon.place.stateArgs]);
  assertEquals(set.code, 0, set.stderr);
  const { statistics } = await daemon.untilGroup(
    "large",
    ({ statistics }) => statistics.scanTime > 0,
    "the scan to end",
  );
  assertEquals([statistics.scans, statistics.completeScans], [1, 0]);
  const left = rssOf(large.pid);
  assert(left > 128 * MIB, `${left} resident: the scan was over before`);
  await daemon.untilGroup(
    "large",
    (now) => now.statistics.samples >= statistics.samples + 4,
    "some more samples",
  );
  assertEquals(rssOf(large.pid), left);
});

Deno.test("an unprivileged user may read, but not change anything", async () => {
  await using daemon = await TestDaemon.start({
    config: QUICKLY + cap("one", ["comm:rcap-nobody"], "1G"),
  });
  const asNobody = { uid: NOBODY };
  const { stateArgs } = daemon.place;
  const stat = await rcap(["stat", "1", "1", ...stateArgs], asNobody);
  assertEquals(stat.code, 0, stat.stderr);
  assertStringIncludes(stat.stdout, "one");
  const set = await rcap(["set", "one", "1M", ...stateArgs], asNobody);
  assertEquals(set.code, 4);
  assertStringIncludes(set.stderr, "run as root");
  const reload = await rcap(["reload", ...stateArgs], asNobody);
  assertEquals(reload.code, 4);
  assertStringIncludes(reload.stderr, "run as root");
  for (const command of ["pause", "resume"]) {
    const denied = await rcap([command, "one", ...stateArgs], asNobody);
    assertEquals(denied.code, 4, command);
    assertStringIncludes(denied.stderr, "run as root");
  }
  assertEquals(daemon.group("one").pausedUntil, null);
  const run = await rcap(
    ["run", "--config", daemon.place.config, "--state-dir", "/tmp/rcap-nobody"],
    asNobody,
  );
  assertEquals(run.code, 4);
  assertEquals(daemon.group("one").cap, 1024 * MIB);
});

Deno.test("stat shows what was done in each interval, in every form", async () => {
  await using _swap = await anySwap({ size: 256 * MIB });
  await using workload = await Workload.start();
  await workload.anon("cold", 96 * MIB);
  await using daemon = await TestDaemon.start({
    config: QUICKLY + `enforcement_threshold = "0.1%"\n` +
      cap("one", [`pid:${workload.pid}`], "32M") +
      cap("two", ["comm:rcap-nobody"], "1G"),
  });
  await daemon.untilGroup(
    "one",
    ({ rss }) => rss <= 33 * MIB,
    "the cap to be met",
  );
  const { stateArgs } = daemon.place;
  const [line, second] = (await rcap(
    ["stat", "300ms", "2", "--json", ...stateArgs],
  )).stdout.trim().split("\n").map((text) => JSON.parse(text));
  assertEquals(line.version, 2);
  assertEquals(line.seconds, null);
  const [one, two] = line.groups;
  assertEquals([one.name, one.processes, one.cap], ["one", 1, 32 * MIB]);
  assertEquals([two.name, two.processes, two.rss], ["two", 0, 0]);
  // The size of the surrounding perl goes too, in part.
  const { effective, attempted, statistics } = one;
  assert(
    effective >= 64 * MIB && effective < 110 * MIB,
    `${effective} paged out`,
  );
  assert(attempted >= effective * 0.9, `${attempted} attempted`);
  assertEquals(one.effectivePerScan, Math.round(effective / statistics.scans));
  assert(one.addressSpace > one.rss);
  assertEquals(second.groups[0].effective, 0);
  assert(second.seconds > 0);

  const human = await rcap(["stat", "1", "1", "-g", ...stateArgs]);
  assertMatch(
    human.stdout,
    /^physical memory: .* in use; caps are enforced above 0%\nNAME +NPROC +RSS +CAP +SWAP +SAVED +REFAULTS +IDLE +PRESSURE +PG\n/,
  );
  const bare = await rcap(
    ["stat", "1", "1", "-H", "-p", "-o", "name,cap", ...stateArgs],
  );
  assertEquals(bare.stdout, `one\t${32 * MIB}\ntwo\t${1024 * MIB}\n`);
});

Deno.test("stat continues when the daemon is restarted", async () => {
  await using workload = await Workload.start();
  using place = new Place();
  const config = QUICKLY + cap("one", [`pid:${workload.pid}`], "1G");
  const start = () => TestDaemon.start({ place, config });
  const began = performance.now();
  await using first = await start();
  // How long rcap takes to start here determines how long stat must run.
  const starting = performance.now() - began;
  const lines = `${Math.ceil(8 + 6 * starting / 500)}`;
  const args = ["stat", "500ms", lines, "--json", ...place.stateArgs];
  const stat = startRcap(args);
  await new Promise((resolve) => setTimeout(resolve, 1200 + 2 * starting));
  await first.stop();
  await using _second = await start();
  const { code, stdout, stderr } = await stat.end();
  assertEquals(code, 0, stderr);
  assertEquals(stdout.trim().split("\n").length, Number(lines));
  assertStringIncludes(stderr, "rcap was started again");
});

Deno.test("a reload keeps the history of groups that stay, and drops the rest", async () => {
  await using workload = await Workload.start();
  const kept = (size: string) => cap("kept", [`pid:${workload.pid}`], size);
  await using daemon = await TestDaemon.start({
    config: QUICKLY + kept("1G") +
      cap("gone", ["comm:rcap-nobody"], "1G") +
      cap("changed", ["comm:rcap-nobody"], "1G"),
  });
  await daemon.untilGroup(
    "kept",
    ({ statistics }) => statistics.samples >= 3,
    "some samples",
  );
  const before = daemon.state();
  Deno.writeTextFileSync(
    daemon.place.config,
    QUICKLY + cap("new", ["comm:rcap-nobody"], "3G") + kept("2G") +
      cap("changed", ["comm:rcap-test-other"], "1G"),
  );
  daemon.signal("SIGHUP");
  await until(
    () => daemon.state().configuration.serial > before.configuration.serial,
    "the reload",
  );
  const { groups } = daemon.state();
  assertEquals(groups.map(({ name }) => name), ["new", "kept", "changed"]);
  const now = daemon.group("kept");
  assertEquals(now.cap, 2048 * MIB);
  assertEquals(now.id, before.groups[0].id);
  assert(now.statistics.samples >= 3);
  assertEquals(daemon.group("changed").statistics.samples, 0);
  assert(rssOf(workload.pid) > 0);
});

Deno.test("stat ends when its reader is gone", async () => {
  await using daemon = await TestDaemon.start({
    config: QUICKLY + cap("one", ["comm:rcap-nobody"], "1G"),
  });
  const { child } = startRcap(["stat", "200ms", ...daemon.place.stateArgs]);
  const reader = child.stdout.getReader();
  await reader.read();
  await reader.cancel();
  await child.stderr.cancel();
  const { code } = await child.status;
  assertEquals(code, 0);
});
