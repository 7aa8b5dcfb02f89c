/**
 * Tests of a daemon that is killed while it pages out: it leaves nothing behind,
 * and no process is harmed.
 *
 * `RCAP_KILLS` sets the number of kills, 20 by default: `task test:kills`.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { POLICIES } from "../../lib/config/policy_names.ts";
import { cap, Place, quicklyBy, TestDaemon } from "../support/daemon.ts";
import { allow } from "../support/deadline.ts";
import { assertIntact, falling, MIB, requireRoot } from "../support/live.ts";
import { rcap } from "../support/rcap.ts";
import { zramSwap } from "../support/swap.ts";
import { Workload } from "../support/workload.ts";

requireRoot();

const KILLS = Number(Deno.env.get("RCAP_KILLS") ?? 20);

/** The number of concurrent daemons, with alternating policies. */
const AT_A_TIME = 4;

/** The time limit of one round on a slow machine, in seconds. */
const SECONDS_A_ROUND = 60;

Deno.test(`a daemon that is killed while it pages out leaves nothing behind, ${KILLS} times`, async () => {
  const rounds = Math.ceil(KILLS / AT_A_TIME);
  await allow(60 + rounds * SECONDS_A_ROUND);
  await using _swap = await zramSwap({ size: 1024 * MIB });
  await Promise.all(
    Array.from({ length: AT_A_TIME }, (_, index) =>
      killAgainAndAgain(rounds, {
        name: `kill-${index}`,
        policy: POLICIES[index % POLICIES.length],
      })),
  );
});

/** Kills daemons one after another, all with one state directory. */
async function killAgainAndAgain(
  rounds: number,
  { name, policy }: { name: string; policy: typeof POLICIES[number] },
): Promise<void> {
  using place = new Place();
  await using victim = await Workload.start({ name });
  await victim.anon("memory", 64 * MIB);
  const affinity = allowedProcessors(victim.pid);
  const config = quicklyBy(policy) +
    cap("victim", [`pid:${victim.pid}`], "16M");
  for (let round = 0; round < rounds; round++) {
    {
      // It starts with what the previous one left.
      await using daemon = await TestDaemon.start({ config, place });
      await falling(victim, MIB);
      // At some point during the page-out, which takes longer than this.
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 30));
      daemon.signal("SIGKILL");
      await daemon.ended.catch(() => {});
    }
    assertEquals(
      processesNaming(place.state),
      [],
      "nothing that it started still runs",
    );
    assertEquals(allowedProcessors(victim.pid), affinity);
    // This brings all of it back into memory.
    await assertIntact(victim);
  }
  const before = [...Deno.readDirSync(place.state)].map(({ name }) => name);
  assert(before.includes("state.json"), "the killed daemon has left its state");
  for (
    const command of [["stat", "1", "1"], ["set", "victim", "1G"], ["reload"]]
  ) {
    const { code, stderr } = await rcap([...command, ...place.stateArgs]);
    assertEquals(code, 1, command.join(" "));
    assertStringIncludes(stderr, "rcap is not running");
  }
  await using last = await TestDaemon.start({ config, place });
  const { code } = await last.stop();
  assertEquals(code, 0);
  const after = [...Deno.readDirSync(place.state)].map(({ name }) => name);
  // The lock stays: processes that wait for it must find the same file.
  assertEquals(after, ["lock"]);
}

/** The processors that a process may run on, from `/proc`. */
function allowedProcessors(pid: number): string | undefined {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return /^Cpus_allowed_list:\s*(.*)$/m.exec(status)?.[1];
}

/** The pids of the processes with a text in their command line. */
function processesNaming(text: string): number[] {
  return [...Deno.readDirSync("/proc")].map(({ name }) => Number(name))
    .filter((pid) => {
      try {
        return pid > 0 &&
          Deno.readTextFileSync(`/proc/${pid}/cmdline`).includes(text);
      } catch {
        // It has exited.
        return false;
      }
    });
}
