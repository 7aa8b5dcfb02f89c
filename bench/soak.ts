/**
 * Runs the daemon for a while with 20 groups of 400 processes in total, caps of 4
 * GiB in total and half of the memory idle, and reports its own usage. Fails if the
 * daemon uses more than 1 % of a core or 90 MiB, or if its memory grows.
 *
 * `bench/soak.ts [MINUTES]`; the default is 10. Needs root and zram for its own
 * swap. `RCAP_BIN` names a binary to run; by default rcap runs from source.
 *
 * @module
 */

import { statFields } from "../lib/platform/linux/stat.ts";
import { formatSize } from "../lib/report/units.ts";
import { cap, TestDaemon } from "../tests/support/daemon.ts";
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
const MOST_RSS = 90 * MIB;
/** Initial time that is not measured, in minutes. */
const SETTLING = 1;
/**
 * Largest growth from the maximum of the first third to that of the last, because
 * memory fluctuates.
 */
const MOST_GROWTH = 8 * MIB;

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

interface Usage {
  cpu: number;
  rss: number;
}

/** The daemon's usage: proc_pid_stat(5), fields 14 and 15, and proc_pid_status(5). */
function usage(): Usage {
  const stat = Deno.readTextFileSync(`/proc/${daemon.pid}/stat`);
  const fields = statFields(stat);
  const status = Deno.readTextFileSync(`/proc/${daemon.pid}/status`);
  return {
    cpu: (Number(fields[11]) + Number(fields[12])) / 100,
    rss: Number(/^VmRSS:\s*(\d+)/m.exec(status)?.[1]) * 1024,
  };
}

const wait = (minutes: number) =>
  new Promise((resolve) => setTimeout(resolve, minutes * 60_000));

await wait(SETTLING);
const first = usage();
const began = performance.now();
const sizes: number[] = [];
for (let minute = SETTLING + 1; minute <= minutes; minute++) {
  const before = usage();
  await wait(1);
  const now = usage();
  sizes.push(now.rss);
  const { groups } = daemon.state();
  const over = groups.filter(({ rss, cap }) => rss > cap * 1.02).length;
  const scans = groups.reduce(
    (n, { statistics }) => n + statistics.scans,
    0,
  );
  say(
    `minute ${minute}: ${
      ((now.cpu - before.cpu) / 0.6).toFixed(2)
    } % of a core, ${
      formatSize(now.rss)
    } resident, ${scans} scans so far, ${over} groups over 102 % of their cap`,
  );
}
const last = usage();
const share = (last.cpu - first.cpu) / ((performance.now() - began) / 1000);
const third = Math.ceil(sizes.length / 3);
const most = Math.max(...sizes);
const growth = Math.max(...sizes.slice(-third)) -
  Math.max(...sizes.slice(0, third));
const { groups } = daemon.state();
const processes = groups.reduce((n, one) => n + one.processes, 0);
say(
  `\n${groups.length} groups, ${processes} processes: ${
    (share * 100).toFixed(2)
  } % of a core, at most ${formatSize(most)} resident, ${
    formatSize(growth)
  } more in the last third than in the first`,
);
const complaints = [
  processes === GROUPS * PROCESSES ? "" : "processes are missing",
  share <= MOST_CPU ? "" : "too much processor time",
  most <= MOST_RSS ? "" : "too much memory",
  growth <= MOST_GROWTH ? "" : "memory grows",
  groups.every(({ rss, cap }) => rss <= cap * 1.02) ? "" : "caps are not kept",
].filter((text) => text !== "");
if (complaints.length > 0) throw new Error(complaints.join(", "));
