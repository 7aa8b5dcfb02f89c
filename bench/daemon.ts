/**
 * Benchmark of the daemon: the cost of an interval and of its parts, by the number
 * of processes and by the size of one.
 *
 * `bench/daemon.ts [PROCESSES…]` takes the numbers of processes; the default is
 * from 10 to 5,000. `bench/daemon.ts applications [POLICY…]` measures the daemon as a
 * whole beside nine applications, after it has settled, which the default does too.
 * Needs root and zram for its own swap.
 *
 * @module
 */

import { complain, say } from "../tests/support/say.ts";
import { readTextFile } from "../ffi/file.ts";
import { ownUsage } from "../ffi/usage.ts";
import { POLICIES, type PolicyName } from "../lib/config/policy_names.ts";
import { parseSelector } from "../lib/collection/selectors.ts";
import { CappedGroup } from "../lib/group/capped_group.ts";
import { Member } from "../lib/group/member.ts";
import { Membership } from "../lib/group/membership.ts";
import { mappingBytes, mappingEnd } from "../lib/memory/pagedata.ts";
import { openPlatform } from "../lib/platform/system_testing.ts";
import { formatSize } from "../lib/report/units.ts";
import { ScannedProcess } from "../lib/scanner/collection.ts";
import { Fleet } from "../tests/support/fleet.ts";
import { zramSwap } from "../tests/support/swap.ts";
import {
  measureSettled,
  missingApplications,
  startCollections,
} from "./support/collections.ts";

const MIB = 2 ** 20;
const PAGE = 4096;
const ROUNDS = 7;
const WARM_UP = 2;
const NAME = "rcap-bench";
/** How long a daemon settles, and is measured, beside applications, in seconds. */
const SETTLE = 180;
const MEASURE = 60;

/** Processor time of each part of an interval, in milliseconds. */
interface Costs {
  /** The baseline: a small file of each process is read, and nothing else. */
  baseline: number;
  membership: number;
  sampling: number;
  reading: number;
  clearing: number;
  paging: number;
}

using platform = openPlatform("auto", (message) => complain(message));
await using _swap = await zramSwap({ size: 8192 * MIB });
const [first, ...others] = Deno.args;
say(`Kernel ${Deno.osRelease()}, source ${platform.pagedata}`);
if (first !== "applications") {
  await measureParts(
    Deno.args.length > 0 ? Deno.args.map(Number) : [10, 100, 1000, 5000],
  );
}
if (first === undefined || first === "applications") {
  await measureWhole(
    POLICIES.filter((name) => others.length === 0 || others.includes(name)),
  );
}

/** Measures the parts of an interval, with numbers of processes and sizes of one. */
async function measureParts(counts: readonly number[]): Promise<void> {
  say(`\nms of processor time, median of ${ROUNDS} rounds\n`);
  const header =
    "baseline | membership | sampling | reading | clearing | paging";
  say(`| processes of 1 MiB | ${header} |`);
  say("| --- ".repeat(7) + "|");
  for (const count of counts) {
    print(String(count), await measure({ count, size: MIB }));
  }
  say(`\n| one process of | ${header} |`);
  say("| --- ".repeat(7) + "|");
  for (const size of [64, 256, 1024, 4096]) {
    const costs = await measure({ count: 1, size: size * MIB });
    print(formatSize(size * MIB), costs);
  }
}

/** Measures a daemon beside nine applications. */
async function measureWhole(policies: readonly PolicyName[]): Promise<void> {
  const missing = await missingApplications();
  if (missing.length > 0) {
    say(
      `\nskipped: nine applications, of which some are not installed: ${
        missing.join(", ")
      }`,
    );
    return;
  }
  await using held = new AsyncDisposableStack();
  const collections = await startCollections(held);
  const total = collections.reduce((sum, { size }) => sum + size, 0);
  say(
    `\n${collections.length} applications of ${
      formatSize(total)
    } in all, from ${SETTLE} s to ${SETTLE + MEASURE} s after the start\n`,
  );
  say(
    "| policy | of a core | in the kernel | PSS | scans | of caps that cannot be met |",
  );
  say("| --- ".repeat(6) + "|");
  for (const policy of policies) {
    const { cpu, kernel, pss, scans, vainScans, unmet } = await measureSettled(
      collections,
      policy,
      { settle: SETTLE, measure: MEASURE },
    );
    const percent = (share: number) => `${(share * 100).toFixed(2)} %`;
    say(
      `| ${policy} | ${percent(cpu)} | ${percent(kernel)} | ${
        formatSize(pss)
      } | ${scans + vainScans} | ${vainScans} (${unmet.join(", ")}) |`,
    );
  }
}

function print(what: string, costs: Costs): void {
  const cells = Object.values(costs).map((one) => one.toFixed(2));
  say(`| ${what} | ${cells.join(" | ")} |`);
}

/** Measures an interval with a number of processes of a size. */
async function measure(
  { count, size }: { count: number; size: number },
): Promise<Costs> {
  await using fleet = await Fleet.start({ count, size, hot: 0, name: NAME });
  const select = [parseSelector(`comm:${NAME}`)];
  const definition = { name: NAME, select, maxRss: 1, place: "" };
  const membership = new Membership(platform, [definition]);
  const group = new CappedGroup(
    1,
    definition,
    {
      platform,
      newMember: (entry) => new Member(entry, platform.open(entry), () => {}),
    },
  );
  const histories = new Map<Member, ScannedProcess>();
  const historyOf = (member: Member) => {
    let history = histories.get(member);
    if (!history) {
      histories.set(member, history = new ScannedProcess(member.scanMemory));
    }
    return history;
  };
  const rounds: Costs[] = [];
  for (let round = 0; round < WARM_UP + ROUNDS; round++) {
    const costs: Costs = {
      baseline: await cost(() => {
        for (const pid of fleet.pids) readTextFile(`/proc/${pid}/statm`);
      }),
      membership: await cost(async () => {
        const { members: [members] } = await membership.refresh();
        group.update(members);
      }),
      sampling: await cost(() => {
        group.sample(performance.now());
      }),
      clearing: await cost(async () => {
        for (const { memory } of group.members) await memory.reset();
      }),
      reading: await cost(async () => {
        for (const member of group.members) {
          historyOf(member).merge(await member.memory.read("glance"));
        }
      }),
      paging: await cost(() =>
        pageOut(group.members.map(historyOf), size / 16)
      ),
    };
    if (group.members.length !== count) {
      throw new Error(`${group.members.length} of ${count} are members`);
    }
    if (round >= WARM_UP) rounds.push(costs);
  }
  const median = (part: keyof Costs) =>
    rounds.map((costs) => costs[part]).sort((a, b) => a - b)[ROUNDS >> 1];
  return {
    baseline: median("baseline"),
    membership: median("membership"),
    sampling: median("sampling"),
    reading: median("reading"),
    clearing: median("clearing"),
    paging: median("paging"),
  };
}

/** Pages out the next part of each process's memory, as a scan does if necessary. */
async function pageOut(
  processes: readonly ScannedProcess[],
  bytes: number,
): Promise<void> {
  for (const { memory, pagedata } of processes) {
    await memory.readResidency();
    const largest = pagedata?.mappings.reduce((a, b) =>
      mappingBytes(a) > mappingBytes(b) ? a : b
    );
    if (!largest) continue;
    const { start: mappingStart, firstRun } = largest;
    // The part behind what earlier rounds have taken.
    const page = pagedata?.runPage[firstRun] ?? 0;
    const start = mappingStart + BigInt(page * PAGE);
    const wanted = start + BigInt(bytes / PAGE * PAGE);
    const end = wanted < mappingEnd(largest) ? wanted : mappingEnd(largest);
    using control = await memory.control();
    await control.pageOut([{ start, end, bytes, mappingStart }]);
  }
}

/** Processor time of a step on all threads, in milliseconds. */
async function cost(step: () => unknown): Promise<number> {
  const before = ownUsage().cpu;
  await step();
  return (ownUsage().cpu - before) * 1000;
}
