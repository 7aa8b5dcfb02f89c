/**
 * Tests of an idle time that finds itself, on live processes. All times of the daemon pass
 * thirty times as fast: a minute takes two seconds.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { HURRY } from "../../lib/platform/environment.ts";
import { Place, TestDaemon } from "../support/daemon.ts";
import { assertIntact, MIB, requireRoot } from "../support/live.ts";
import { rcap } from "../support/rcap.ts";
import { zramSwap } from "../support/swap.ts";
import { majorFaults, Workload } from "../support/workload.ts";

requireRoot();

// Opened before the first test, which would otherwise appear to leak it.
libc();

const FASTER = 30;

/** How often the warm part is used, in seconds of the daemon. */
const EVERY = 120;

const wait = (seconds: number) =>
  new Promise((resolve) => setTimeout(resolve, seconds * 1000));

/** Uses a region for a moment. */
async function use(victim: Workload, name: string): Promise<void> {
  await victim.hot(name);
  await wait(0.2);
  await victim.cold(name);
}

function start(pid: number, place: Place): Promise<TestDaemon> {
  return TestDaemon.start({
    place,
    env: { [HURRY]: `${FASTER}` },
    config: `[daemon]
sample_interval = "12s"
process_interval = "30s"
report_interval = "6s"
observation_budget = "50%"

[[cap]]
name = "one"
select = ["pid:${pid}"]
idle = "auto"
`,
  });
}

Deno.test("the time that memory needs is found, kept, and shown", async () => {
  await using _swap = await zramSwap({ size: 512 * MIB });
  await using victim = await Workload.start();
  await victim.small();
  await victim.anon("cold", 96 * MIB);
  await victim.anon("warm", 32 * MIB);
  using place = new Place();
  let minutes: number;
  {
    await using daemon = await start(victim.pid, place);
    const learning = daemon.group("one").idleTime;
    assertEquals(learning?.seconds, null);
    const stat = await rcap(["stat", "1", "1", ...place.stateArgs]);
    assertStringIncludes(stat.stdout, "one: idle time auto: learning, ");
    assertStringIncludes(stat.stdout, "of 5 minutes");
    const began = performance.now();
    const passed = () => (performance.now() - began) / 1000 * FASTER;
    // On a busy machine it takes longer.
    const isSlow = async () => await victim.resident("cold") >= MIB;
    while (passed() < 15 * 60 || passed() < 45 * 60 && await isSlow()) {
      await use(victim, "warm");
      await wait(EVERY / FASTER);
    }
    assert(await victim.resident("cold") < MIB, "the cold part has gone");
    const before = majorFaults(victim.pid);
    await use(victim, "warm");
    assert(
      majorFaults(victim.pid) - before < 500,
      "the warm part, of 8192 pages, has stayed",
    );
    const { idleTime, warning } = daemon.group("one");
    assert(idleTime && idleTime.seconds !== null);
    assert(
      idleTime.seconds > EVERY && idleTime.seconds < 4 * EVERY,
      `${idleTime.seconds}`,
    );
    assert(idleTime.minutes >= 10, `${idleTime.minutes}`);
    assertEquals(warning, null);
    const found = await rcap(["stat", "1", "1", ...place.stateArgs]);
    assertStringIncludes(found.stdout, "one: idle time auto: ");
    assertStringIncludes(found.stdout, ` minutes`);
    const check = await rcap(
      ["check", "--config", place.config, "--learnt-dir", place.learnt],
    );
    assertMatch(
      check.stdout,
      /^one: idle time auto: \d\S+, from \d+ minutes \(20\d\d-\d\d-\d\d \S+ UTC\)$/m,
    );
    minutes = idleTime.minutes;
  }
  assertEquals(Deno.statSync(place.learnt).mode! & 0o777, 0o700);
  {
    await using daemon = await start(victim.pid, place);
    const again = daemon.group("one").idleTime;
    assert(again && again.minutes >= minutes - 1, `${again?.minutes}`);
    assert(again.seconds !== null, "it need not learn again");
  }
  Deno.writeTextFileSync(`${place.learnt}/learnt.json`, "{");
  await using daemon = await start(victim.pid, place);
  assertEquals(daemon.group("one").idleTime?.seconds, null);
  await assertIntact(victim);
});
