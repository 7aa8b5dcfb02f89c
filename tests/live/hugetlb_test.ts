/**
 * Tests of processes that share the page tables of hugetlb memory, as the servers of
 * some databases do: the kernel counts the huge pages of one of them only.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import type { AgesReport, InspectReport } from "../../lib/oneshot/inspect.ts";
import { CProcess } from "../support/c_program.ts";
import { cap, quicklyBy, TestDaemon } from "../support/daemon.ts";
import {
  BRIEFLY,
  GIB,
  MIB,
  requireRoot,
  scanJson,
  testEachPolicy,
} from "../support/live.ts";
import { hugePages } from "../support/machine.ts";
import { rcapJson } from "../support/rcap.ts";
import { anySwap } from "../support/swap.ts";
import { rssOf } from "../support/workload.ts";

requireRoot();

/** What each process has of its own, and what is used of the hugetlb memory. */
const OWN = 32 * MIB;
const HUGE = 64 * MIB;

/** Two processes, of which the kernel counts the huge pages of the first. */
async function startSharers() {
  await using cleanup = new AsyncDisposableStack();
  cleanup.use(hugePages(HUGE / (2 * MIB)));
  const args = [HUGE, OWN].map((bytes) => `${bytes / MIB}`);
  const sharers = cleanup.use(await CProcess.start("hugetlb_sharer", ...args));
  const pids = sharers.answer.split(" ").map(Number);
  const counted = pids.map((pid) => {
    const status = Deno.readTextFileSync(`/proc/${pid}/status`);
    return Number(/^HugetlbPages:\s*(\d+) kB$/m.exec(status)?.[1]) * 1024;
  });
  assertEquals(counted, [HUGE, 0], "this kernel shares page tables of hugetlb");
  const [, second] = pids;
  const moved = cleanup.move();
  return { second, [Symbol.asyncDispose]: () => moved.disposeAsync() };
}

Deno.test("inspect shows a process that shares the page tables of hugetlb memory", async () => {
  await using _swap = await anySwap({ size: 64 * MIB });
  await using sharers = await startSharers();
  const { code, json, stderr } = await rcapJson<InspectReport>(
    ["inspect", `${sharers.second}`, ...BRIEFLY],
  );
  assertEquals(code, 0, stderr);
  assertEquals(json.pagedata, "pte");
  const huge = json.mappings.find(({ size }) => size === GIB);
  assertEquals(huge?.verdict, "hugetlb");
  // Nothing resets its references, so none is known.
  assertEquals([huge?.rss, huge?.referenced, huge?.modified], [0, 0, 0]);
  assert(json.totals.referenced <= json.totals.rss);
  const own = json.mappings.find(({ rss }) => rss >= OWN);
  assertEquals(own?.verdict, "cold");
});

Deno.test("ages are those of the memory that RSS counts", async () => {
  await using sharers = await startSharers();
  const { code, json, stderr } = await rcapJson<AgesReport>(
    ["inspect", `${sharers.second}`, "--ages", "--observe", "1s"],
  );
  assertEquals(code, 0, stderr);
  const rss = rssOf(sharers.second);
  assert(Math.abs(json.resident - rss) < MIB, `${json.resident} of ${rss}`);
  assert(json.ages.every(({ used }) => used < MIB), "nothing was used");
});

Deno.test("a scan pages out what such a process does not use, and counts no huge pages", async () => {
  await using _swap = await anySwap({ size: 64 * MIB });
  await using sharers = await startSharers();
  const { code, report } = await scanJson([
    `pid:${sharers.second}`,
    ...["--cap", "8M", ...BRIEFLY],
  ]);
  assertEquals(code, 0);
  const [{ error, unreferenced, rss }] = report.processes;
  assertEquals(error, null);
  assert(unreferenced !== null && rss !== null && unreferenced <= rss);
  // Its size is proportional, so pages of libraries count in part.
  assert(report.rssAfter <= 8 * MIB);
  assert(rssOf(sharers.second) <= 10 * MIB);
});

testEachPolicy(
  "the daemon keeps such a process under its cap",
  async (policy) => {
    await using _swap = await anySwap({ size: 64 * MIB });
    await using sharers = await startSharers();
    await using daemon = await TestDaemon.start({
      config: quicklyBy(policy) +
        cap("second", [`pid:${sharers.second}`], "16M"),
    });
    const { warning } = await daemon.untilGroup(
      "second",
      ({ rss }) => rss <= 16 * MIB,
      "the group to be under its cap",
    );
    assertEquals(warning, null);
  },
);
