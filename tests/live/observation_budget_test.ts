/**
 * Live tests of the budget for references, with a cost as it is under a hypervisor that
 * shadows page tables.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { POLICIES, type PolicyName } from "../../lib/config/policy_names.ts";
import { CappedGroup } from "../../lib/group/capped_group.ts";
import { Member } from "../../lib/group/member.ts";
import { systemClock } from "../../lib/platform/clock.ts";
import { MemoryCalls } from "../../lib/platform/linux/memory_calls.ts";
import { PageTables } from "../../lib/platform/linux/page_tables.ts";
import { LinuxProcessMemory } from "../../lib/platform/linux/process_memory.ts";
import { PteSource } from "../../lib/platform/linux/pte_source.ts";
import { SmapsSource } from "../../lib/platform/linux/smaps_source.ts";
import { Log } from "../../lib/platform/output.ts";
import { openPlatform } from "../../lib/platform/system_testing.ts";
import { policyOf } from "../../lib/policy/policies.ts";
import { MIB, requireRoot } from "../support/live.ts";
import { Spinner } from "../support/spinner.ts";
import { zramSwap } from "../support/swap.ts";
import { majorFaults, residentOf } from "../support/workload.ts";

requireRoot();

// Opened before the first test, which would otherwise appear to leak it.
libc();

const PAGE = 4096;
/** What the tests take a reference to cost, in nanoseconds. */
const COST = 10_000;
/** A block of small pages, in seconds. */
const BLOCK = 512 * COST / 1e9;

/** Pages in use, and others. */
const HOT = 256 * MIB / PAGE;
const COLD = 128 * MIB / PAGE;

/** A group of one process under a policy, without a daemon. */
function capped(
  spinner: Spinner,
  { name, maxRss, observationBudget }: {
    name: PolicyName;
    maxRss: number;
    observationBudget?: number;
  },
) {
  const platform = openPlatform("auto", () => {});
  const source = new PteSource(PageTables.open());
  const calls = new MemoryCalls({ lookAtLock: source.lookAtLock.bind(source) });
  const entry = platform.readProcess(spinner.pid);
  const memory = new LinuxProcessMemory(entry, {
    source,
    calls,
    observationBudget,
    referenceCost: () => COST,
  });
  const group = new CappedGroup(
    1,
    { name: "one", select: [], maxRss, place: "test:1" },
    { platform, newMember: (entry) => new Member(entry, memory, () => {}) },
  );
  const { signal } = new AbortController();
  const clock = systemClock;
  const log = new Log("error");
  const policy = policyOf(name).forGroup(group, { clock, log, signal });
  group.update([entry]);
  const interval = 1000;
  return {
    memory,
    /** Does for some seconds what the daemon does. */
    async run(seconds: number): Promise<void> {
      const until = clock.now() + seconds * 1000;
      while (clock.now() < until) {
        const next = clock.now() + interval;
        const { excess } = policy.judge(group.sample(clock.now()));
        await policy.observe({ interval });
        if (policy.hasWork(excess)) {
          await policy.enforce(excess, { interval }, signal);
        }
        await clock.sleep(Math.max(0, next - clock.now()), signal);
      }
    },
    [Symbol.dispose]() {
      source[Symbol.dispose]();
      platform[Symbol.dispose]();
    },
  };
}

/** How many bytes of the hot and the cold part are resident. */
function residentParts({ pid, start }: Spinner) {
  const middle = start + BigInt(HOT * PAGE);
  return {
    hot: residentOf(pid, start, middle),
    cold: residentOf(pid, middle, middle + BigInt(COLD * PAGE)),
  };
}

for (const name of POLICIES) {
  Deno.test(`${name}: a process that is watched pays no more than its budget, its hot memory stays and its cold memory goes`, async () => {
    await using _swap = await zramSwap({ size: 512 * MIB });
    await using spinner = await Spinner.start({
      pages: HOT + COLD,
      hot: HOT,
    });
    const faults = majorFaults(spinner.pid);
    const seconds = 45;
    const maxRss = (HOT * PAGE) + 32 * MIB;
    using watched = capped(spinner, { name, maxRss, observationBudget: 0.02 });
    await watched.run(seconds);
    const { observationCost = NaN, unjudged } = watched.memory;
    assert(observationCost > 0.3, `${observationCost} s`);
    assert(observationCost <= 0.02 * 60 + BLOCK, `${observationCost} s`);
    assertEquals(unjudged, 0);
    const { hot, cold } = residentParts(spinner);
    assert(hot >= 0.99 * HOT * PAGE, `${hot} of what is hot`);
    assert(cold <= 40 * MIB, `${cold} of what is cold`);
    const cameBack = majorFaults(spinner.pid) - faults;
    assert(cameBack < HOT / 100, `${cameBack} faults`);
  });

  Deno.test(`${name}: memory in use stays as long as the budget leaves any not judged`, async () => {
    await using _swap = await zramSwap({ size: 512 * MIB });
    await using spinner = await Spinner.start({ pages: HOT, hot: HOT });
    const maxRss = 64 * MIB;
    const faults = majorFaults(spinner.pid);
    {
      using watched = capped(spinner, {
        name,
        maxRss,
        observationBudget: 0.001,
      });
      await watched.run(10);
      const { observationCost = NaN, unjudged } = watched.memory;
      assert(observationCost <= 0.06 + BLOCK, `${observationCost} s`);
      assert(unjudged > 200 * MIB, `${unjudged} bytes`);
      const { hot } = residentParts(spinner);
      assert(hot >= 0.99 * HOT * PAGE, `${hot} of what is hot`);
      const cameBack = majorFaults(spinner.pid) - faults;
      assert(cameBack < HOT / 100, `${cameBack} faults`);
    }
    // Once all is judged, the cap decides.
    using watched = capped(spinner, { name, maxRss });
    await watched.run(10);
    const cameBack = majorFaults(spinner.pid) - faults;
    assert(cameBack > HOT / 20, `${cameBack} faults`);
  });
}

Deno.test("without page tables, the whole process is reset, and again when that is paid for", async () => {
  await using spinner = await Spinner.start({ pages: HOT, hot: HOT });
  using platform = openPlatform("smaps", () => {});
  const memory = new LinuxProcessMemory(platform.readProcess(spinner.pid), {
    source: new SmapsSource(),
    calls: new MemoryCalls(),
    observationBudget: 0.01,
    referenceCost: () => COST,
  });
  await memory.reset();
  const whole = HOT * COST / 1e9;
  for (let reading = 0; reading < 10; reading++) {
    await systemClock.sleep(500);
    await memory.read("scan");
  }
  const { observationCost = NaN } = memory;
  // The first reset, and all that had its bits set before the first reading.
  assert(observationCost > 0, `${observationCost} s`);
  assert(observationCost <= 2 * whole + BLOCK, `${observationCost} s`);
  assertEquals(memory.unjudged, 0);
});
