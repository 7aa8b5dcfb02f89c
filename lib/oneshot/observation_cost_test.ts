/**
 * Tests of what an observation has cost, in words and in reports.
 *
 * @module
 */

import { assertEquals } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { parseSelector } from "../collection/selectors.ts";
import { POLICIES } from "../config/policy_names.ts";
import {
  FakeClock,
  FakePlatform,
  hot,
  PAGE,
  TICK,
} from "../platform/fake_testing.ts";
import { inspect, inspectAges } from "./inspect.ts";
import { describeObservationCost } from "./observation_cost.ts";
import { scanOnce } from "./scan_once.ts";

// Opened before the first test, which would otherwise seem to leak it.
libc();

Deno.test("only a cost above a hundredth of the observation is worth a message", () => {
  const one = { pid: 42, comm: "one" };
  const described = (...costs: (number | null)[]) =>
    describeObservationCost(
      costs.map((observationCost) => ({ ...one, observationCost })),
      2,
    );
  assertEquals(described(), undefined);
  assertEquals(described(null, 0, 0.02), undefined);
  assertEquals(
    described(null, 0.021),
    "being observed has cost process 42 (one) about 21 ms of 2 s (1.1 %)",
  );
  assertEquals(
    described(0.03, 0.0001, 0.5),
    "being observed has cost process 42 (one) about 500 ms of 2 s (25 %); 1 other process lost less, but more than 1.0 % of it",
  );
  const nothingObserved = [{ ...one, observationCost: 1 }];
  assertEquals(describeObservationCost(nothingObserved, 0), undefined);
});

/** A machine with a process that is in use. */
function machine(observationCost: number | undefined) {
  const clock = new FakeClock();
  const platform = new FakePlatform(clock);
  const process = platform.start("one", hot("hot"));
  process.fill("hot", 10);
  process.fill("cold", 20);
  process.observationCost = observationCost;
  let measured = 0;
  platform.costs = (options) => {
    assertEquals(options, { ofPageIns: false }, "what is not needed is not");
    assertEquals(process.resets, 0, "it is measured before the observation");
    measured++;
    return Promise.resolve({ reference: 9700, pageIns: [] });
  };
  const messages: string[] = [];
  const options = {
    signal: new AbortController().signal,
    log: {
      warn() {},
      info: (message: string) => messages.push(message),
      debug() {},
    },
    observation: 2000,
    platform,
    clock,
  };
  return {
    pid: process.pid,
    options,
    /** Runs a step while the clock runs, and returns its result and the messages. */
    async run<T>(step: () => Promise<T>) {
      const report = await clock.finish(step(), TICK);
      return { report, messages, measured };
    },
  };
}

const CASES = [[undefined, null], [0.01999, 0.02], [0.5, 0.5]] as const;

for (const [cost, reported] of CASES) {
  const words = (pid: number) =>
    cost === 0.5
      ? [
        `being observed has cost process ${pid} (one) about 500 ms of 2 s (25 %)`,
      ]
      : [];

  for (const [name, inspection] of Object.entries({ inspect, inspectAges })) {
    Deno.test(`${name} reports a cost of ${cost} s`, async () => {
      const { pid, options, run } = machine(cost);
      const { report, messages, measured } = await run(
        async () => await inspection({ ...options, pid }),
      );
      assertEquals(report.observationCost, reported);
      assertEquals(messages, words(pid));
      assertEquals(measured, 1);
    });
  }

  for (const policy of POLICIES) {
    Deno.test(`a scan by ${policy} reports a cost of ${cost} s`, async () => {
      const { pid, options, run } = machine(cost);
      const { report, messages } = await run(() =>
        scanOnce({
          ...options,
          selectors: [parseSelector("comm:one")],
          goal: { cap: 20 * PAGE },
          dryRun: false,
          policy,
        })
      );
      const [{ observationCost }] = report.processes;
      assertEquals(observationCost, reported);
      assertEquals(messages, words(pid));
    });
  }
}

Deno.test("a scan that has nothing to do observes nothing, and reports no cost", async () => {
  const { options, run } = machine(0.5);
  const { report, messages, measured } = await run(() =>
    scanOnce({
      ...options,
      selectors: [parseSelector("comm:one")],
      goal: { cap: 100 * PAGE },
      dryRun: false,
      policy: "clock",
    })
  );
  assertEquals(report.processes[0].observationCost, null);
  assertEquals([messages, measured], [[], 0]);
});
