/**
 * Tests of `rcap size` on live processes whose use of memory is known: hot pages, warm
 * ones that are used in rounds, and cold ones.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import type {
  GroupSizeReport,
  SizeReport,
} from "../../lib/oneshot/size_report.ts";
import { CProcess } from "../support/c_program.ts";
import { cap, quicklyBy, TestDaemon } from "../support/daemon.ts";
import { MIB, requireRoot } from "../support/live.ts";
import { rcap, rcapJson, startRcap } from "../support/rcap.ts";
import { zramSwap } from "../support/swap.ts";
import { majorFaults, rssOf, until, Workload } from "../support/workload.ts";

requireRoot();

// Opened before the first test, which would otherwise appear to leak it.
libc();

const PAGE = 4096;
const HOT = 8192;
const WARM = 6144;
const COLD = 16_384;
/** The seconds of a round over the warm pages. */
const ROUND = 8;

function startReuse(): Promise<CProcess> {
  const pages = [HOT, WARM, COLD].map(String);
  return CProcess.start("reuse", ...pages, `${ROUND * 1000}`);
}

/** The refaults a second under a cap. */
function refaultsAt({ curve }: GroupSizeReport, bytes: number): number {
  const row = curve.find(({ cap }) => cap >= bytes);
  assert(row, `${bytes} is not in the curve`);
  return row.refaults;
}

Deno.test("size predicts what is known of a process, and pages nothing out", async () => {
  // The first page of a swap device is not swap: mkswap(8).
  await using swap = await zramSwap({ size: 513 * MIB });
  await using one = await startReuse();
  const before = rssOf(one.pid);
  const { code, json, stderr } = await rcapJson<SizeReport>([
    "size",
    `pid:${one.pid}`,
    "--observe",
    "40s",
  ]);
  assertEquals(code, 0, stderr);
  assert(rssOf(one.pid) >= before - MIB, "nothing was paged out");
  const [group] = json.groups;
  const other = group.size - (HOT + WARM + COLD) * PAGE;
  // Half of the warm pages fit: all of them come back in each round.
  const half = refaultsAt(group, (HOT + WARM / 2) * PAGE + other);
  const truth = WARM / ROUND;
  assert(half > truth / 1.15 && half < truth * 1.15, `${half}, not ${truth}`);
  // All of them fit.
  const all = refaultsAt(group, (HOT + WARM) * PAGE * 1.03 + other);
  assert(all < truth / 20, `${all} a second`);
  assert(group.neverUsed > (COLD - 100) * PAGE, `${group.neverUsed}`);
  const used = (HOT + WARM) * PAGE;
  assert(Math.abs(group.workingSet - used) < 2 * MIB, `${group.workingSet}`);
  const { recommended } = group;
  assert(recommended, "a cap is recommended");
  assert(
    recommended.cap >= used && recommended.cap < used * 1.12 + other,
    `${recommended.cap / MIB} MiB`,
  );
  assert(json.swapTotal >= 512 * MIB);
  assert(swap.path !== "");
});

Deno.test("the prediction holds under the cap", async () => {
  await using _swap = await zramSwap({ size: 512 * MIB });
  await using one = await startReuse();
  const { json } = await rcapJson<SizeReport>([
    "size",
    `pid:${one.pid}`,
    "--observe",
    "40s",
  ]);
  const [group] = json.groups;
  const limit = Math.round(group.size - (COLD + WARM / 2) * PAGE);
  await using _daemon = await TestDaemon.start({
    config: quicklyBy("coldest") + cap("one", [`pid:${one.pid}`], `${limit}`),
  });
  await until(() => rssOf(one.pid) <= limit * 1.02, "the cap to be met");
  await new Promise((resolve) => setTimeout(resolve, 10_000));
  const [faults, sizes] = [majorFaults(one.pid), [] as number[]];
  const seconds = 20;
  for (let at = 0; at < seconds * 5; at++) {
    sizes.push(rssOf(one.pid));
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  const found = (majorFaults(one.pid) - faults) / seconds;
  const mean = sizes.reduce((sum, size) => sum + size, 0) / sizes.length;
  const predicted = refaultsAt(group, mean);
  // Ages are known by the interval only, which a daemon under test has short.
  assert(
    found < predicted * 2 && found > predicted / 2,
    `${found} a second, not ${predicted}, at ${mean / MIB} MiB`,
  );
});

Deno.test("the table, TOML, and what -o and -H choose", async () => {
  await using one = await startReuse();
  const size = (...args: string[]) =>
    rcap(["size", `${one.pid}`, "--observe", "20s", ...args]);
  const [table, toml, chosen, each] = [
    await size(),
    await size("--toml"),
    await size("-H", "-p", "-o", "cap,refaults"),
    await rcap(["size", "--by", "comm", "--observe", "5s"]),
  ];
  const [header] = table.stdout.split("\n");
  assertEquals(
    header.trim().split(/ {2,}/),
    ["CAP", "SAVED", "IDLE FOR", "REFAULTS", "A MINUTE", "STALLED"],
  );
  assertStringIncludes(table.stdout, "<- recommended");
  assertStringIncludes(table.stdout, "working set");
  assertStringIncludes(table.stdout, "nothing was paged out");
  assertStringIncludes(toml.stdout, `[[cap]]\nname = "${one.pid}"`);
  assertStringIncludes(toml.stdout, `select = ["${one.pid}"]\nmax_rss = "`);
  const [first] = chosen.stdout.split("\n");
  const [cap, refaults] = first.split("\t");
  assert(Number(cap) > 100 * MIB, cap);
  assert(/^(0|<?\d+(\.\d)?)\/s$/.test(refaults), refaults);
  assert(/^comm:reuse +1 /m.test(each.stdout), each.stdout);
});

Deno.test("an interruption prints what is known so far", async () => {
  await using one = await startReuse();
  const running = startRcap(["size", `${one.pid}`, "--observe", "10m"]);
  await new Promise((resolve) => setTimeout(resolve, 15_000));
  running.child.kill("SIGINT");
  const { code, stdout } = await running.end();
  assertEquals(code, 130);
  assertStringIncludes(stdout, "then interrupted");
  assertStringIncludes(stdout, "CAP ");
});

Deno.test("pages that were in swap count when they come back", async () => {
  await using _swap = await zramSwap({ size: 512 * MIB });
  await using workload = await Workload.start();
  await workload.small();
  await workload.anon("out", 32 * MIB);
  await workload.anon("hot", 16 * MIB);
  await workload.hot("hot");
  await workload.pageout("out");
  const size = rcapJson<SizeReport>([
    "size",
    `${workload.pid}`,
    "--observe",
    "12s",
  ]);
  await new Promise((resolve) => setTimeout(resolve, 6000));
  await workload.hot("out", { offset: 0, size: 8 * MIB });
  const { json: { groups: [group] } } = await size;
  assert(group.swapped >= 31 * MIB, `${group.swapped}`);
  const pages = 8 * MIB / PAGE;
  assert(Math.abs(group.returned - pages) < 100, `${group.returned} pages`);
  // Not under a cap that has room for all of it.
  assert(refaultsAt(group, group.least) > pages / 12 / 1.3);
  assert(group.curve.some(({ cap }) => cap > group.size));
});
