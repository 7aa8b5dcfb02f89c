/**
 * The policy `coldest` and the ages of pages, on live processes.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { AgesReport } from "../lib/collection/inspect.ts";
import type { ScanReport } from "../lib/collection/scan_once.ts";
import { cap, QUICKLY, TestDaemon } from "./daemon.ts";
import { rcapJson } from "./rcap.ts";
import { zramSwap } from "./swap.ts";
import { Workload } from "./workload.ts";

const MIB = 2 ** 20;

/** A process with 96 MiB that nothing uses and 32 MiB in use. */
async function startVictim(): Promise<Workload> {
  await using held = new AsyncDisposableStack();
  const victim = held.use(await Workload.start());
  await victim.small();
  await victim.anon("idle", 96 * MIB);
  await victim.anon("hot", 32 * MIB);
  await victim.hot("hot");
  held.move();
  return victim;
}

Deno.test("coldest keeps a cap, what is in use stays, and stat tells what is idle", async () => {
  await using _swap = await zramSwap({ size: 512 * MIB });
  await using victim = await startVictim();
  await using daemon = await TestDaemon.start({
    config: `${QUICKLY}policy = "coldest"\n` +
      cap("old", [`pid:${victim.pid}`], "80M"),
  });
  const collection = await daemon.untilCollection(
    "old",
    ({ rss, statistics, idle }) =>
      rss > 0 && rss <= 80 * MIB && statistics.effective > 0 && idle !== null,
    "the cap to be met",
    60_000,
  );
  assert(collection.idle);
  const [first] = collection.idle;
  assertEquals(first.intervals, 1);
  assert(first.bytes > 8 * MIB, `${first.bytes} idle`);
  assert(await victim.resident("hot") >= 31 * MIB, "the hot part stays");
  assert(await victim.checksum(), "memory is as it was");
});

Deno.test("scan --policy coldest takes what was not used", async () => {
  await using _swap = await zramSwap({ size: 512 * MIB });
  await using victim = await startVictim();
  const { code, json } = await rcapJson<ScanReport>([
    "scan",
    `pid:${victim.pid}`,
    "--policy",
    "coldest",
    "--excess",
    "64M",
  ]);
  assertEquals(code, 0);
  assert(json.effective! >= 63 * MIB, `${json.effective} went`);
  assert(await victim.resident("hot") >= 31 * MIB, "the hot part stays");
  assert(await victim.checksum(), "memory is as it was");
});

Deno.test("inspect --ages tells the working set", async () => {
  await using victim = await startVictim();
  const { code, json } = await rcapJson<AgesReport>([
    "inspect",
    `${victim.pid}`,
    "--ages",
    "--observe",
    "4s",
  ]);
  assertEquals(code, 0);
  assertEquals(json.ages.map(({ intervals }) => intervals), [1, 2, 4, 8, 16]);
  const longest = json.ages[4];
  assert(longest.idle >= 95 * MIB, `${longest.idle} idle`);
  assert(longest.used >= 31 * MIB, `${longest.used} used`);
});
