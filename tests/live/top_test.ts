/**
 * Tests of `rcap top` in a terminal: what keys do, what is shown, and what is left behind.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { daemonState, groupState } from "../../lib/group/testing.ts";
import type { ScanReport } from "../../lib/oneshot/scan_once.ts";
import { statFields } from "../../lib/platform/linux/stat.ts";
import { linux } from "../../lib/platform/linux/system.ts";
import { formatState } from "../../lib/service/state_file.ts";
import type { TopReport } from "../../lib/top/report.ts";
import { cap, Place, QUICKLY, TestDaemon } from "../support/daemon.ts";
import { MIB, requireRoot } from "../support/live.ts";
import { commandLine, rcap, rcapJson } from "../support/rcap.ts";
import { zramSwap } from "../support/swap.ts";
import { Terminal } from "../support/tmux.ts";
import { rssOf, until, Workload } from "../support/workload.ts";

requireRoot();

// Opened before the first test, which would otherwise appear to leak it.
libc();

/** An unprivileged user. */
const NOBODY = 65534;

/** The words of a shell that run rcap. */
function shellLine(args: string[]): string {
  const { command, commandArgs } = commandLine(args);
  return [command, ...commandArgs].map((word) => `'${word}'`).join(" ");
}

/** Asserts that the terminal is as it was, as stty(1) shows it, and shows the shell. */
async function leavesAsItWas(
  terminal: Terminal,
  { args, end, code }: { args: string[]; end: () => void; code: number },
): Promise<void> {
  const folder = Deno.makeTempDirSync();
  try {
    terminal.run(`stty -g > ${folder}/before`);
    terminal.run(
      `echo above; ${
        shellLine(args)
      } 2> ${folder}/said; echo "ended $?"; stty -g > ${folder}/after; echo "done"`,
    );
    await terminal.shows(/\d+ watched|watched \d+s/);
    end();
    const screen = (await terminal.shows(/^done$/m)).join("\n");
    assertMatch(screen, new RegExp(`^above$[^]*^ended ${code}$`, "m"));
    assert(!/watched/.test(screen), screen);
    const read = (name: string) => Deno.readTextFileSync(`${folder}/${name}`);
    assertEquals(read("after"), read("before"));
    assert(!read("said").includes("internal error"), read("said"));
    // Neither the cursor nor the reports of the mouse are left off or on.
    assertEquals(terminal.modes(), "1 0 0");
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("the first screen comes within 2 s, sorted by what is idle", async () => {
  await using busy = await Workload.start({ name: "busy" });
  await busy.anon("hot", 48 * MIB);
  await busy.hot("hot");
  await using lazy = await Workload.start({ name: "lazy" });
  await lazy.anon("cold", 32 * MIB);
  using terminal = new Terminal();
  terminal.run(shellLine(["top", `${busy.pid}`, `${lazy.pid}`]));
  const screen = await terminal.shows(/busy[^]*watched|watched[^]*busy/);
  assertMatch(screen[0], /^Mem .*pressure \d/);
  const [, seconds] = /watched (\d+)s/.exec(screen.join("\n")) ?? [];
  assert(Number(seconds) <= 2, `first seen after ${seconds} s`);
  // A minute was not observed yet.
  const line = screen.find((line) => line.includes("busy")) ?? "";
  assertMatch(line, /^ *\d+ +\d+\.\dM +- /);
  await until(
    () => {
      const now = terminal.screen();
      const at = (name: string) => now.findIndex((line) => line.includes(name));
      return at("lazy") >= 0 && at("lazy") < at("busy") &&
        /▓/.test(now[at("lazy")]);
    },
    "lazy to be above busy, with a bar that shows it as idle",
  );
  assertMatch(terminal.screen().join("\n"), /cost them [\d.]+ [mµn]?s/);
  terminal.press("q");
  await terminal.shows(/ready>$/m);
});

Deno.test("keys filter, sort, group, reverse, freeze, explain and open a process", async () => {
  await using one = await Workload.start({ name: "workload-one" });
  await one.anon("hot", 24 * MIB);
  await one.hot("hot");
  await using two = await Workload.start({ name: "workload-two" });
  await two.anon("cold", 16 * MIB);
  using terminal = new Terminal({ width: 100 });
  terminal.run(shellLine(["top", `${one.pid}`, `${two.pid}`]));
  await terminal.shows(
    /workload-one[^]*workload-two|workload-two[^]*workload-one/,
  );

  terminal.press("/");
  terminal.type("ONE");
  await until(
    () => !terminal.screen().some((line) => line.includes("workload-two")),
    "the filter to apply",
  );
  terminal.press("Enter");
  await terminal.shows(/filter "ONE"/);
  terminal.press("Escape");
  await terminal.shows(/workload-two/);

  terminal.press(">");
  let screen = await terminal.shows(/sorted by rss {2}|sorted by rss$/m);
  const order = () =>
    terminal.screen().flatMap((line) =>
      /workload-\w+/.exec(line)?.slice(0, 1) ?? []
    );
  assertEquals(order(), ["workload-one", "workload-two"]);
  terminal.press("r");
  await terminal.shows(/\(reversed\)/);
  assertEquals(order(), ["workload-two", "workload-one"]);

  terminal.press("g");
  screen = await terminal.shows(/user:\+0/);
  assertMatch(screen.join("\n"), /NPROC[^]* 2 /);
  terminal.press("g", "g", "g");
  await terminal.shows(/comm:workload-one/);
  terminal.press("g", "g", "g", "g");
  await terminal.shows(/ PID[^]*workload-one/);

  terminal.press("t");
  await terminal.shows(/\(tree\)/);
  terminal.press("?");
  await terminal.shows(/group by the next/);
  terminal.press("x");
  await terminal.shows(/ PID[^]*workload-one/);

  terminal.press("f");
  const frozen = (await terminal.shows(/FROZEN/))[2];
  await new Promise((resolve) => setTimeout(resolve, 2500));
  assertEquals(terminal.screen()[2], frozen);
  terminal.press("f");
  await until(() => terminal.screen()[2] !== frozen, "the screen to go on");

  // The wheel, as a terminal reports it: SGR, button 65.
  terminal.press("Home");
  await until(
    () => />?workload/.test(terminal.screen()[4]),
    "the first row to be there",
  );
  terminal.press("/");
  terminal.type("one");
  terminal.press("Enter");
  await terminal.shows(/filter "one"/);
  terminal.press("Enter");
  // Its hot memory: a strip whose cells are full.
  screen = await terminal.shows(/USED WITHIN 10s[^]*2\d\.\dM █{10}/);
  assertMatch(screen.join("\n"), /process \d+ \(workload-one\)/);
  terminal.press("Escape");
  await terminal.shows(/ PID[^]*workload-one/);
  terminal.press("q");
});

Deno.test("the wheel moves the selection", async () => {
  using terminal = new Terminal({ env: { NO_COLOR: "1" } });
  terminal.run(shellLine(["top"]));
  await terminal.shows(/>/);
  const selected = () =>
    terminal.screen().findIndex((line) => /^.{20,}\d>\S/.test(line));
  await until(() => selected() === 4, "the first row to be selected");
  terminal.type("\x1b[<65;10;10M");
  await until(() => selected() > 4, "the selection to go down");
  terminal.type("\x1b[<64;10;10M");
  await until(() => selected() === 4, "the selection to go up");
});

Deno.test("names cannot act on the terminal", async () => {
  await using workload = await Workload.start({ name: "\x1b]0;x\x07\x1b[2Jy" });
  await workload.anon("cold", MIB);
  using terminal = new Terminal();
  terminal.run(shellLine(["top", `${workload.pid}`]));
  const screen = await terminal.shows(/\\x1b\]0;x\\x07\\x1b/);
  assertMatch(screen[0], /^Mem /);
  terminal.press("Enter");
  await terminal.shows(/process \d+ \(\\x1b\]0;x/);
});

Deno.test("40 columns, a resize, no colours and no UTF-8 all work", async () => {
  await using workload = await Workload.start({ name: "wörk" });
  await workload.anon("cold", 8 * MIB);
  using terminal = new Terminal({
    width: 40,
    height: 12,
    env: { LC_ALL: "C", NO_COLOR: "1" },
  });
  terminal.run(shellLine(["top", `${workload.pid}`]));
  let screen = await terminal.shows(/AGES[^]*w\\u\{f6\}rk/);
  for (const line of screen) {
    assertMatch(line, /^[ -~]*$/);
    assert(line.length <= 40, line);
  }
  assertMatch(screen[11], /\?help/);
  // Without colours there is no escape sequence of any.
  assert(!terminal.screen({ colors: true }).join("").includes("\x1b["));
  terminal.resize(80, 24);
  screen = await terminal.shows(/PID[^]*SWAP[^]*FAULT/);
  assertMatch(screen[23], /\?help/);
  terminal.resize(40, 12);
  await until(() => /\?help/.test(terminal.screen()[11]), "the small screen");
});

Deno.test("the smallest terminals work, and changes of their size", async () => {
  await using workload = await Workload.start({ name: "tiny" });
  await workload.anon("cold", 8 * MIB);
  using terminal = new Terminal({ width: 20, height: 5 });
  terminal.run(`clear; ${shellLine(["top", `${workload.pid}`])}`);
  let screen = await terminal.shows(/^Mem [^]*RSS[^]*M.*tiny/);
  assert(screen.every((line) => line.length <= 20), screen.join("\n"));
  terminal.resize(10, 3);
  screen = await terminal.shows(/tiny/);
  assert(screen.every((line) => line.length <= 10), screen.join("\n"));
  terminal.resize(1, 1);
  for (const key of ["Down", "s", "5", "Escape", "?", "Down", "x", "Enter"]) {
    terminal.press(key);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  for (const [width, height] of [[200, 60], [2, 40], [90, 1], [7, 7]]) {
    terminal.resize(width, height);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  terminal.resize(80, 24);
  // The process that Enter has opened.
  screen = await terminal.shows(/process \d+ \(tiny\)[^]*MAPPING/);
  assertMatch(screen[23], /^Escape: back/);
  terminal.press("Escape");
  await terminal.shows(/ PID[^]*tiny/);
  terminal.resize(80, 12);
  terminal.press("?");
  await terminal.shows(/up\/down: scroll/);
  terminal.press("PageDown", "PageDown");
  await terminal.shows(/CAP {7}of a running daemon/);
  terminal.press("x");
  await terminal.shows(/ PID[^]*tiny/);
  terminal.press("q");
  await terminal.shows(/ready>/);
});

Deno.test("with colours there are colours", async () => {
  using terminal = new Terminal();
  terminal.run(shellLine(["top"]));
  await terminal.shows(/watched/);
  await until(
    () => terminal.screen({ colors: true }).join("").includes("\x1b[38;5;"),
    "a coloured bar",
  );
});

Deno.test("it leaves the terminal as it was, however it ends", async () => {
  await using workload = await Workload.start({ name: "unique-name" });
  await workload.anon("cold", MIB);
  const args = ["top", `${workload.pid}`];
  {
    using terminal = new Terminal();
    const end = () => terminal.press("q");
    await leavesAsItWas(terminal, { args, end, code: 0 });
  }
  {
    using terminal = new Terminal();
    const end = () => terminal.press("C-c");
    await leavesAsItWas(terminal, { args, end, code: 130 });
  }
  for (const [signal, code] of [["SIGTERM", 143], ["SIGHUP", 129]] as const) {
    using terminal = new Terminal();
    const end = () => Deno.kill(terminal.foreground(), signal);
    await leavesAsItWas(terminal, { args, end, code });
  }
});

Deno.test("Ctrl-Z stops it and leaves the terminal, and fg brings it back", async () => {
  // Its modes are one long line.
  using terminal = new Terminal({ width: 160 });
  terminal.run("stty -g");
  const before = (await terminal.shows(/^[0-9a-f:]{40,}$/m)).join("")
    .match(/[0-9a-f:]{40,}/)?.[0];
  terminal.run(shellLine(["top"]));
  await terminal.shows(/watched/);
  terminal.press("C-z");
  await terminal.shows(/Stopped/);
  terminal.run("clear; stty -g");
  await until(
    () => terminal.screen().some((line) => line === before),
    "the same modes of the terminal",
  );
  terminal.run("fg");
  await terminal.shows(/^Mem [^]*watched/);
  terminal.press("?");
  await terminal.shows(/group by the next/);
  terminal.press("x", "q");
  await terminal.shows(/ready>$/m);
});

Deno.test("a dumb terminal, and none, get a message", async () => {
  using terminal = new Terminal({ env: { TERM: "dumb" } });
  terminal.run(`${shellLine(["top"])}; echo "ended $?"`);
  const screen = await terminal.shows(/ended 2/);
  assertMatch(screen.join(""), /TERM is "dumb".*rcap top --once/);
  const { code, stderr } = await rcap(["top"]);
  assertEquals(code, 2);
  assertMatch(stderr, /needs a terminal.*\n?.*--once --json/);
});

Deno.test("s says what a scan would page out, as a dry run of scan and a scan do", async () => {
  await using _swap = await zramSwap({ size: 128 * MIB });
  await using workload = await Workload.start({ name: "scanned" });
  await workload.anon("cold", 32 * MIB);
  const { pid } = workload;
  using terminal = new Terminal();
  terminal.run(shellLine(["top", `${pid}`]));
  await terminal.shows(/\d+\.\dM .*[▓█].*scanned/);
  terminal.press("s");
  await terminal.shows(/to which size\?/);
  terminal.type("10x");
  terminal.press("Enter");
  await terminal.shows(/"10x" is not a/);
  terminal.press("s");
  terminal.type("20M");
  terminal.press("Enter");
  const screen = (await terminal.shows(/nothing was paged out/)).join("\n");
  assertMatch(screen, /a scan to 20\.0M of [34]\d\.\dM resident/);
  assert(rssOf(pid) > 32 * MIB);
  const said = Number(/would page out +(\d+\.\d)M/.exec(screen)?.[1]) * MIB;
  assert(said > 8 * MIB, screen);
  terminal.press("x");
  await terminal.shows(/ PID/);
  terminal.press("q");
  await terminal.shows(/ready>/);
  const goal = [`${pid}`, "--cap", "20M", "--policy", "coldest"];
  const dry = await rcapJson<ScanReport>(["scan", "--dry-run", ...goal]);
  const { json: real } = await rcapJson<ScanReport>(["scan", ...goal]);
  for (const amount of [dry.json.attempted, real.attempted, real.effective]) {
    assert(
      Math.abs((amount ?? 0) - said) <= 2 * MIB,
      `${amount} of ${said} bytes`,
    );
  }
});

Deno.test("a scan of what cannot go says so before", async () => {
  await using workload = await Workload.start({ name: "scanned" });
  await workload.anon("cold", 32 * MIB);
  using terminal = new Terminal({ width: 100 });
  terminal.run(shellLine(["top", `${workload.pid}`]));
  await terminal.shows(/\d+\.\dM .*[▓█].*scanned/);
  terminal.press("s");
  await terminal.shows(/to which size\?/);
  terminal.type("1M");
  terminal.press("Enter");
  const screen = (await terminal.shows(/nothing was paged out/)).join("\n");
  assertMatch(screen, /size would not be reached: [\d.]+M too much stays/);
  assertMatch(screen, /stays +[\d.]+[KM] mapped more than once/);
  terminal.press("x", "q");
});

Deno.test("c sets the cap of a daemon, and shows how to keep it", async () => {
  await using workload = await Workload.start({ name: "capped" });
  await workload.anon("cold", 8 * MIB);
  await using daemon = await TestDaemon.start({
    config: QUICKLY + cap("web", [`pid:${workload.pid}`], "1G"),
  });
  const { state } = daemon.place;
  using terminal = new Terminal({ width: 100 });
  terminal.run(shellLine([
    "top",
    `${workload.pid}`,
    // Which processes are under which cap is known of the daemon.
    "--config",
    "/nonexistent.toml",
    "--state-dir",
    state,
  ]));
  await terminal.shows(/1\.0G +\S+ +capped/);
  // The daemon observes it, and lends its references.
  await terminal.shows(/1 process watched/);
  terminal.press("c");
  await terminal.shows(/cap of web \(now 1\.0G\)/);
  terminal.type("512M");
  terminal.press("Enter");
  const screen = (await terminal.shows(/web: the cap is 512\.0M now/)).join(
    "\n",
  );
  assertMatch(screen, /until the daemon ends/);
  assertMatch(screen, /\[\[cap\]\]\nname = "web"\nmax_rss = "512M"/);
  assertEquals(daemon.group("web").cap, 512 * MIB);
  terminal.press("x");
  await terminal.shows(/512\.0M +\S+ +capped/);
  terminal.press("g", "g", "g", "g", "g", "g", "g");
  await terminal.shows(/NPROC[^]*512\.0M[^]*web/);
});

Deno.test("which processes are under which cap is as the daemon says", async () => {
  await using workload = await Workload.start({ name: "capped" });
  await using other = await Workload.start({ name: "other" });
  const [{ pid, startTime }, second] = [workload.pid, other.pid].map((pid) => ({
    pid,
    // Field 22 of proc_pid_stat(5); the list begins with field 3.
    startTime: Number(
      statFields(Deno.readTextFileSync(`/proc/${pid}/stat`))[22 - 3],
    ),
  }));
  using place = new Place();
  Deno.mkdirSync(place.state, { mode: 0o755 });
  const group = groupState({
    name: "web",
    processes: 2,
    members: [
      { pid, startTime },
      // Another process had this pid.
      { pid: second.pid, startTime: second.startTime - 1 },
    ],
  });
  Deno.writeTextFileSync(
    `${place.state}/state.json`,
    formatState({
      ...daemonState({
        pid,
        startTime,
        monotonic: linux.boottimeSeconds(),
        groups: [group],
      }),
      pidNamespace: null,
    }),
  );
  const { json, stderr } = await rcapJson<TopReport>([
    ...["top", "--once", "--json", `${pid}`, `${second.pid}`],
    ...["--config", "/nonexistent.toml", "--observe", "1s"],
    ...["--state-dir", place.state],
  ]);
  const capOf = (wanted: number) =>
    json.rows.find(({ pid }) => pid === wanted)?.cap?.name;
  assertEquals([capOf(pid), capOf(second.pid)], ["web", undefined], stderr);
});

Deno.test("by cap without a daemon, it says that no caps are known", async () => {
  const { code, stdout, stderr } = await rcap([
    "top",
    "--once",
    "--observe",
    "1s",
    "--by",
    "cap",
    "--state-dir",
    "/nonexistent",
    `${Deno.pid}`,
  ]);
  assertEquals(code, 0, stderr);
  assertMatch(
    stdout,
    /no caps are known, since no daemon is known to run with \/nonexistent/,
  );
});

Deno.test("for scripts there is JSON", async () => {
  using place = new Place();
  await using workload = await Workload.start({ name: "listed" });
  await workload.anon("cold", 16 * MIB);
  const { code, json } = await rcapJson<TopReport>(
    [
      "top",
      "--once",
      `${workload.pid}`,
      "--observe",
      "12s",
      ...place.stateArgs,
    ],
  );
  assertEquals(code, 0);
  assertEquals([json.version, json.by, json.rows.length], [1, "process", 1]);
  const [row] = json.rows;
  assertEquals([row.pid, row.name, row.cap], [workload.pid, "listed", null]);
  assert(row.rss >= 16 * MIB);
  assertEquals(row.usedWithinMinute, null);
  const idle = row.idle?.find(({ seconds }) => seconds === 10)?.bytes ?? 0;
  assert(idle >= 15 * MIB, `${idle} bytes idle for 10 s`);
  assert(row.observationCost !== null && row.observationCost < 0.6);
});

Deno.test("without privileges it shows sizes, and says what is missing", async () => {
  await using own = await Workload.start({ name: "others" });
  await own.anon("cold", MIB);
  const { code, json, stderr } = await rcapJson<TopReport>(
    ["top", "--once", `${own.pid}`],
    { uid: NOBODY },
  );
  assertEquals(code, 0, stderr);
  assertEquals(json.rows[0].idle, null);
  assert(json.rows[0].rss > MIB);
  assertMatch(json.rows[0].error ?? "", /denied/);
  assertMatch(json.notices.join("\n"), /1 of 1 processes are not observed/);
});
