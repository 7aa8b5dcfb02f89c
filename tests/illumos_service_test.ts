/**
 * The daemon on illumos, and the commands that control it, through the library that
 * `fixtures/illumos.c` and `illumos_files.c` make.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import type { DaemonState } from "../lib/group/state.ts";
import { cap, Place, QUICKLY, TestDaemon } from "./support/daemon.ts";
import { illumosForTests } from "./support/illumos.ts";
import { GIB, MIB, requireRoot } from "./support/live.ts";
import { rcap, rcapJson, type Run } from "./support/rcap.ts";

requireRoot();

const illumos = await illumosForTests();
const env = illumos.env();
Deno.writeTextFileSync(illumos.projects, "system:0::::\n");

/** A user without privileges. */
const NOBODY = 65534;
/** A cap that nothing exceeds. */
const HARMLESS = QUICKLY + cap("one", ["comm:rcap-nobody"], "1G");

/** Runs rcap as on illumos; a run that does not end is killed, and 137. */
function onIllumos(args: string[], uid?: number): Promise<Run> {
  const prefix = ["timeout", "-s", "KILL", "60"];
  return rcap(args, { env, uid, prefix });
}

Deno.test("stat, set and reload work with a daemon, and say so without", async () => {
  using place = new Place();
  const { stateArgs } = place;
  for (const args of [["stat"], ["set", "one", "1G"], ["reload"]]) {
    const { code, stderr } = await onIllumos([...args, ...stateArgs]);
    assertEquals(code, 1, stderr);
    assertMatch(stderr, /^rcap: rcap is not running /);
  }
  await using daemon = await TestDaemon.start({ place, env, config: HARMLESS });
  const state: DaemonState & { pidNamespace?: string } = daemon.state();
  assertEquals([state.pid, state.pidNamespace], [daemon.pid, "zone:0"]);
  assert(state.own.rss > 0 && state.own.cpu > 0);
  assertEquals(Deno.statSync(`${place.state}/lock`).mode! & 0o777, 0o600);

  const stat = await rcapJson<{ groups: { name: string; cap: number }[] }>(
    ["stat", "1", "1", "--json", ...stateArgs],
    { env },
  );
  assertEquals(
    stat.json.groups.map(({ name, cap }) => [name, cap]),
    [["one", GIB]],
  );
  // Needs no privileges.
  const readable = await onIllumos(["stat", "1", "1", ...stateArgs], NOBODY);
  assertEquals(readable.code, 0, readable.stderr);

  const set = await onIllumos(["set", "one", "48M", ...stateArgs]);
  assertEquals(set.code, 0, set.stderr);
  assertMatch(set.stdout, /^one: the cap is 48\.0M now, it was 1\.0G; /);
  assertEquals(daemon.group("one").cap, 48 * MIB);
  const back = await onIllumos(["set", "one", "default", ...stateArgs]);
  assertEquals(back.code, 0, back.stderr);
  assertEquals(daemon.group("one").cap, GIB);

  Deno.writeTextFileSync(
    place.config,
    HARMLESS + cap("two", ["comm:rcap-nobody"], "2G"),
  );
  const reload = await onIllumos(["reload", ...stateArgs]);
  assertEquals(reload.stdout, "configuration loaded: 2 caps\n", reload.stderr);

  const denied = await onIllumos(["set", "one", "1G", ...stateArgs], NOBODY);
  assertEquals(denied.code, 4, denied.stderr);
  assertMatch(denied.stderr, /this user may not .*run as root/);

  const { code, stderr } = await daemon.stop();
  assertEquals(code, 0, stderr);
  assertEquals([...Deno.readDirSync(place.state)].map(({ name }) => name), [
    "lock",
  ]);
});

Deno.test("there is one daemon a state directory, and one that was killed leaves it free", async () => {
  using place = new Place();
  const options = { place, env, config: HARMLESS };
  {
    await using daemon = await TestDaemon.start(options);
    const { code, stderr } = await TestDaemon.startOnly(options).ended;
    assertEquals(code, 1, stderr);
    assertMatch(
      stderr,
      new RegExp(`is already running as process ${daemon.pid}, `),
    );
    daemon.signal("SIGKILL");
    await daemon.ended;
  }
  const ended = await onIllumos(["stat", "1", "1", ...place.stateArgs]);
  assertEquals(ended.code, 1);
  assertMatch(ended.stderr, /^rcap: rcap is not running /);
  await using next = await TestDaemon.start(options);
  assertEquals((await next.stop()).code, 0);
});

Deno.test("what others have a say on is not used", async () => {
  using place = new Place();
  Deno.writeTextFileSync(place.config, HARMLESS);
  const args = ["run", "--config", place.config, ...place.stateArgs];
  Deno.mkdirSync(place.state);
  Deno.chmodSync(place.state, 0o777);
  const open = await onIllumos(args);
  assertEquals(open.code, 1);
  assertMatch(open.stderr, /state cannot be trusted, .* mode 777, .*chmod o-w/);
  Deno.removeSync(place.state);
  Deno.symlinkSync("elsewhere", place.state);
  const link = await onIllumos(args);
  assertEquals(link.code, 1);
  assertMatch(link.stderr, /symbolic link \S+ is not followed here/);
  Deno.removeSync(place.state);
  Deno.chownSync(place.config, NOBODY, null);
  const config = await onIllumos(args);
  assertEquals(config.code, 2);
  assertMatch(config.stderr, /belongs to uid 65534; chown root /);
});

Deno.test("the state directory is where illumos has such, and there is no unit", async () => {
  const { stdout } = await onIllumos(["run", "--help"]);
  assertMatch(stdout, /default:\s+"\/var\/run\/rcap"/);
  const unit = await onIllumos(["run", "--print-unit"]);
  assertEquals([unit.code, unit.stdout], [2, ""]);
  assertMatch(unit.stderr, /--print-unit: systemd is a Linux feature/);
});
