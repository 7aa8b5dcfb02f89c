/**
 * Benchmark of the daemon's memory with processes that have very many mappings.
 *
 * `bench/mappings.ts [PROCESSES [MAPPINGS [SECONDS]]]`: by default 30 processes
 * with 65,000 mappings of one page each, for 90 s. They are at 95 % of a cap, so
 * that references are recorded but nothing is paged out. Needs root. `RCAP_BIN`
 * names another rcap to measure.
 *
 * @module
 */

import { say } from "../tests/support/say.ts";
import { POLICIES, type PolicyName } from "../lib/config/policy_names.ts";
import { formatSize } from "../lib/report/units.ts";
import { cap, quicklyBy, TestDaemon } from "../tests/support/daemon.ts";
import { rssOf, Workload } from "../tests/support/workload.ts";

const PAGE = 4096;

const [processes = 30, mappings = 65_000, seconds = 90] = Deno.args.map(Number);

await using held = new AsyncDisposableStack();
let capped = 0;
const pids: number[] = [];
for (let count = 0; count < processes; count++) {
  const workload = held.use(await Workload.start({ timeout: 300_000 }));
  await workload.anon("memory", mappings * PAGE);
  await workload.split("memory", 1);
  capped += rssOf(workload.pid);
  pids.push(workload.pid);
}

say(
  `Kernel ${Deno.osRelease()}; ${processes} processes of ${mappings} mappings, RSS of the daemon.\n`,
);
say("| policy | at the start | after | maximum |");
say("| --- | --- | --- | --- |");
for (const policy of POLICIES) await measure(policy);

/** Measures the daemon with a policy. */
async function measure(policy: PolicyName): Promise<void> {
  await using daemon = await TestDaemon.start({
    config: quicklyBy(policy) +
      cap(
        "many",
        pids.map((pid) => `pid:${pid}`),
        `${Math.ceil(capped / 0.95 / 1024)}K`,
      ),
  });
  const start = rssOf(daemon.pid);
  let most = start;
  for (let second = 0; second < seconds; second++) {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    most = Math.max(most, rssOf(daemon.pid));
  }
  const sizes = [start, rssOf(daemon.pid), most].map((size) =>
    formatSize(size)
  );
  say(`| ${policy} | ${sizes.join(" | ")} |`);
}
