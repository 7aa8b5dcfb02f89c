/**
 * Runs the daemon for a while with 20 groups of 400 processes in total, caps of 4
 * GiB in total and half of the memory idle, and reports its own usage, with that of the
 * processes it starts. Fails if they use more than 1 % of a core or 60 MiB (proportional
 * size), or if their memory grows.
 *
 * `bench/soak.ts [MINUTES]`; the default is 10. Needs root and zram for its own
 * swap. `RCAP_BIN` names a binary to run; by default rcap runs from source.
 *
 * @module
 */

import type { GroupState } from "../lib/group/state.ts";
import { formatSize } from "../lib/report/units.ts";
import { cap, TestDaemon } from "../tests/support/daemon.ts";
import { usageOf } from "./support/usage.ts";
import { Fleet } from "../tests/support/fleet.ts";
import { zramSwap } from "../tests/support/swap.ts";
import { say } from "../tests/support/say.ts";

const MIB = 2 ** 20;
const GROUPS = 20;
const PROCESSES = 20;
const CAP = 4096 * MIB / GROUPS;
/** Somewhat more than fits under the caps, so that the daemon has work to do. */
const SIZE = Math.floor(CAP * 1.1 / PROCESSES);
const MOST_CPU = 0.01;
const MOST_PSS = 60 * MIB;
/** Initial time that is not measured, in minutes. */
const SETTLING = 1;
/** How often a minute memory is looked at: right after the daemon has released some, it is small. */
const LOOKS = 20;
/** How long the last part of a run is in which memory must not grow, in minutes. */
const LAST = 60;
/** Largest growth of the maximum from a part to the next, because memory fluctuates. */
const MOST_GROWTH = 4 * MIB;

const minutes = Number(Deno.args[0] ?? 10);

await using held = new AsyncDisposableStack();
Deno.addSignalListener("SIGINT", async () => {
  // Otherwise the swap would stay and disturb others.
  await held.disposeAsync();
  Deno.exit(130);
});
held.use(await zramSwap({ size: 6144 * MIB }));
for (let i = 0; i < GROUPS; i++) {
  held.use(
    await Fleet.start({
      count: PROCESSES,
      size: SIZE,
      hot: SIZE / 2,
      name: `rcap-soak-${i}`,
    }),
  );
}
const caps = Array.from(
  { length: GROUPS },
  (_, i) => cap(`soak-${i}`, [`comm:rcap-soak-${i}`], `${CAP}`),
);
// The daemon uses its default intervals.
const daemon = held.use(await TestDaemon.start({ config: caps.join("\n") }));

const wait = (minutes: number) =>
  new Promise((resolve) => setTimeout(resolve, minutes * 60_000));

await wait(SETTLING);
const first = usageOf(daemon.pid);
const began = performance.now();
const sizes: number[] = [];
for (let minute = SETTLING + 1; minute <= minutes; minute++) {
  const before = usageOf(daemon.pid);
  let largest = 0;
  for (let look = 0; look < LOOKS; look++) {
    await wait(1 / LOOKS);
    largest = Math.max(largest, usageOf(daemon.pid).pss);
  }
  const now = usageOf(daemon.pid);
  sizes.push(largest);
  const { groups } = daemon.state();
  const over = groups.filter(isOver).length;
  const scans = groups.reduce(
    (n, { statistics }) => n + statistics.scans,
    0,
  );
  say(
    `minute ${minute}: ${
      ((now.cpu - before.cpu) / 0.6).toFixed(2)
    } % of a core, ${
      formatSize(largest)
    }, ${scans} scans so far, ${over} groups over 102 % of their cap`,
  );
}
const last = usageOf(daemon.pid);
const share = (last.cpu - first.cpu) / ((performance.now() - began) / 1000);
// The last hour and the one before, or the last third and the first of a shorter run.
const part = Math.min(LAST, Math.ceil(sizes.length / 3));
const most = Math.max(...sizes);
const earlier = part === LAST
  ? sizes.slice(-2 * part, -part)
  : sizes.slice(0, part);
const growth = Math.max(...sizes.slice(-part)) - Math.max(...earlier);
const { groups } = daemon.state();
const processes = groups.reduce((n, one) => n + one.processes, 0);
say(
  `\n${groups.length} groups, ${processes} processes: ${
    (share * 100).toFixed(2)
  } % of a core, at most ${formatSize(most)}, ${
    formatSize(growth)
  } more in the last ${part} min than ${
    part === LAST ? "before" : "in the first"
  }`,
);
const complaints = [
  processes === GROUPS * PROCESSES ? "" : "processes are missing",
  share <= MOST_CPU ? "" : "too much processor time",
  most <= MOST_PSS ? "" : "too much memory",
  growth <= MOST_GROWTH ? "" : "memory grows",
  groups.some(isOver) ? "caps are not kept" : "",
].filter((text) => text !== "");
if (complaints.length > 0) throw new Error(complaints.join(", "));

/** Whether a group is over its cap by more than may come between two scans. */
function isOver({ rss, cap }: GroupState): boolean {
  return cap !== null && rss > cap * 1.02;
}
