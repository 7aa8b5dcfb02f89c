/**
 * Tests of several rcaps that observe one process: none may take for idle what
 * another has reset.
 *
 * @module
 */

import { assert } from "@std/assert";
import { POLICIES } from "../../lib/config/policy_names.ts";
import { cap, TestDaemon } from "../support/daemon.ts";
import { assertIntact, MIB, requireRoot } from "../support/live.ts";
import { rcap } from "../support/rcap.ts";
import { zramSwap } from "../support/swap.ts";
import { majorFaults, rssOf, Workload } from "../support/workload.ts";

requireRoot();

const PAGE = 4096;

/** How often the hot memory is used, in milliseconds: several times an interval. */
const USE_INTERVAL = 2000;

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Uses a region every two seconds, and leaks memory; disposing ends it. */
function useAndLeak(workload: Workload, hot: string): AsyncDisposable {
  let isOver = false;
  const loop = async () => {
    for (let at = 0; !isOver; at++) {
      assert(await workload.checksum(hot));
      await workload.anon(`leak${at}`, 8 * MIB);
      await pause(USE_INTERVAL);
    }
  };
  const end = loop();
  return {
    async [Symbol.asyncDispose]() {
      isOver = true;
      await end;
    },
  };
}

for (const policy of POLICIES) {
  Deno.test(`${policy}: what a process uses stays while all commands run beside the daemon`, async () => {
    await using _swap = await zramSwap({ size: 768 * MIB });
    await using workload = await Workload.start();
    await workload.small();
    const hot = await workload.anon("hot", 48 * MIB);
    const size = rssOf(workload.pid) + 64 * MIB;
    await using daemon = await TestDaemon.start({
      config: `[daemon]
sample_interval = "4s"
report_interval = "500ms"
policy = "${policy}"
` + cap("one", [`pid:${workload.pid}`], `${size}`),
    });
    await using _use = useAndLeak(workload, "hot");
    await daemon.untilGroup(
      "one",
      ({ statistics }) => statistics.effective >= 16 * MIB,
      "the daemon to page out",
    );
    const faults = majorFaults(workload.pid);
    const pid = String(workload.pid);
    const few = String(size - 16 * MIB);
    const end = hot.start + 65536n;
    const pages = `${hot.start.toString(16)}-${end.toString(16)}`;
    const scan = ["scan", `pid:${pid}`, "--cap", few, "--observe", "5s"];
    const began = performance.now();
    for (
      const args of [
        ["inspect", pid, "--ages", "--observe", "5s"],
        ["inspect", pid],
        ["inspect", pid, "--pages", pages],
        [...scan, "--dry-run", "--policy", "clock"],
        ["inspect", pid, "--ages", "--observe", "5s"],
        ["stat", "1", "1", ...daemon.place.stateArgs],
        [...scan, "--dry-run", "--policy", "coldest"],
        ["inspect", pid, "--ages", "--observe", "5s"],
        ["doctor"],
        [...scan, "--policy", "clock"],
        [...scan, "--policy", "coldest"],
        ["inspect", pid, "--ages", "--observe", "10s"],
      ]
    ) {
      const { code, stderr } = await rcap(args);
      assert([0, 3, 4].includes(code), `${args.join(" ")}: ${stderr}`);
    }
    const seconds = (performance.now() - began) / 1000;
    const cameBack = majorFaults(workload.pid) - faults;
    console.log(
      `${policy}: ${cameBack} of ${hot.size / PAGE} pages came back in ${
        seconds.toFixed(0)
      } s`,
    );
    // Single pages may be lost: others, like DAMON, reset references too.
    assert(cameBack <= hot.size / PAGE / 20, `${cameBack} pages came back`);
    await assertIntact(workload);
    const { stderr } = await daemon.stop();
    assert(!stderr.includes("warning"), stderr);
  });
}
