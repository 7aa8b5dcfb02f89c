/**
 * Tests of virtual machines: their memory counts, and is left alone unless rcap is told
 * otherwise.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import type { InspectReport } from "../../lib/oneshot/inspect.ts";
import { describeSkipReason } from "../../lib/report/skip_reasons.ts";
import { CProcess } from "../support/c_program.ts";
import { cap, quicklyBy, TestDaemon } from "../support/daemon.ts";
import {
  BRIEFLY,
  MIB,
  requireRoot,
  scanJson,
  testEachPolicy,
} from "../support/live.ts";
import { cannotShow } from "../support/machine.ts";
import { rcap, rcapJson } from "../support/rcap.ts";
import { anySwap } from "../support/swap.ts";
import { rssOf } from "../support/workload.ts";

requireRoot();

const SIZE = 32;

/** Starts a virtual machine; `undefined` where KVM does not work. */
async function startMachine(
  descriptors = 0,
): Promise<CProcess | undefined> {
  const process = await CProcess.start(
    "virtual_machine",
    `${SIZE}`,
    `${descriptors}`,
  );
  const answer = await process.ask("create");
  if (answer === "+") return process;
  cannotShow(`virtual machines of KVM (${answer})`);
  await process[Symbol.asyncDispose]();
  return undefined;
}

const SOURCES = ["pte", "smaps"];

for (const source of SOURCES) {
  const from = ["--pagedata", source, ...BRIEFLY];

  Deno.test(`a scan leaves a virtual machine alone, unless told otherwise (${source})`, async () => {
    await using _swap = await anySwap({ size: 64 * MIB });
    await using machine = await startMachine();
    if (!machine) return;
    const { pid } = machine;
    const args = [`pid:${pid}`, "--cap", "8M", ...from];
    const before = rssOf(pid);
    const { code, report } = await scanJson(args);
    assertEquals(code, 3);
    const [{ error, attempted, skipped, unreferenced }] = report.processes;
    assertEquals([attempted, unreferenced], [0, 0]);
    assertStringIncludes(error ?? "", `process ${pid} is left alone: `);
    assert(skipped.some(({ reason }) => reason === "secondary-mmu"));
    assertEquals(rssOf(pid), before);
    const { stdout } = await rcap(["scan", ...args]);
    assertStringIncludes(stdout, describeSkipReason("secondary-mmu"));

    const told = await scanJson([...args, "--secondary-mmu", "scan"]);
    assertEquals(told.code, 0);
    assertEquals(told.report.processes[0].error, null);
    // Its size is proportional, so pages of libraries count in part.
    assert(told.report.rssAfter <= 8 * MIB);
    assert(rssOf(pid) <= 10 * MIB);
    assertEquals(await machine.ask("check"), "+");
  });

  Deno.test(`a process is a virtual machine only as long as it has one (${source})`, async () => {
    await using _swap = await anySwap({ size: 64 * MIB });
    await using machine = await startMachine();
    if (!machine) return;
    assertEquals(await machine.ask("destroy"), "+");
    const { code, report } = await scanJson([
      `pid:${machine.pid}`,
      ...["--cap", "8M", ...from],
    ]);
    assertEquals([code, report.processes[0].error], [0, null]);
  });

  Deno.test(`inspect says that it does not see the references of a virtual machine (${source})`, async () => {
    await using _swap = await anySwap({ size: 64 * MIB });
    await using machine = await startMachine();
    if (!machine) return;
    const { code, json, stderr } = await rcapJson<InspectReport>(
      ["inspect", `${machine.pid}`, ...from],
    );
    assertEquals(code, 0, stderr);
    assertStringIncludes(
      stderr,
      `process ${machine.pid} is left alone: a virtual machine or device uses its memory`,
    );
    const memory = json.mappings.find(({ rss }) => rss >= SIZE * MIB);
    assertEquals(memory?.verdict, "secondary-mmu");
  });
}

Deno.test("of a process with many descriptors, the first thousands are looked at", async () => {
  await using _swap = await anySwap({ size: 64 * MIB });
  for (const [descriptors, isKnown] of [[4000, true], [5000, false]] as const) {
    await using machine = await startMachine(descriptors);
    if (!machine) return;
    const { report } = await scanJson([
      `pid:${machine.pid}`,
      ...["--cap", "8M", "--dry-run", "--pagedata", "smaps", ...BRIEFLY],
    ]);
    assertEquals(report.processes[0].error !== null, isKnown);
  }
});

testEachPolicy(
  "the daemon leaves a process alone that is a virtual machine, and says so",
  async (policy) => {
    await using _swap = await anySwap({ size: 64 * MIB });
    await using machine = await startMachine();
    if (!machine) return;
    const { pid } = machine;
    await using daemon = await TestDaemon.start({
      config: quicklyBy(policy) + cap("machine", [`pid:${pid}`], "16M"),
    });
    const { warning, rss } = await daemon.untilGroup(
      "machine",
      ({ warning }) => warning !== null,
      "the warning",
    );
    assertStringIncludes(warning ?? "", describeSkipReason("secondary-mmu"));
    assert(rss >= SIZE * MIB && rssOf(pid) >= SIZE * MIB);
    assertEquals(await machine.ask("check"), "+");
  },
);

testEachPolicy(
  "the daemon pages out a virtual machine if the cap says so",
  async (policy) => {
    await using _swap = await anySwap({ size: 64 * MIB });
    await using machine = await startMachine();
    if (!machine) return;
    await using daemon = await TestDaemon.start({
      config: quicklyBy(policy) +
        cap("machine", [`pid:${machine.pid}`], "16M") +
        'secondary_mmu = "scan"\n',
    });
    await daemon.untilGroup(
      "machine",
      ({ rss }) => rss <= 16 * MIB,
      "the group to be under its cap",
    );
    assertEquals(await machine.ask("check"), "+");
  },
);
