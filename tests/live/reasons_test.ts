/**
 * Tests of the reasons why memory stays that a mapping does not show: pinned pages,
 * and the limits of cgroups.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { libc } from "../../ffi/libc.ts";
import { whatStays } from "../../lib/collection/what_stays.ts";
import type { ScanReport } from "../../lib/oneshot/scan_once.ts";
import type { PagedataSourceName } from "../../lib/platform/platform.ts";
import { openPlatform } from "../../lib/platform/system_testing.ts";
import { Cgroup, cgroupMounts, uniqueWord } from "../support/cgroups.ts";
import { cap, quicklyBy, TestDaemon } from "../support/daemon.ts";
import { BRIEFLY, MIB, requireRoot, testEachPolicy } from "../support/live.ts";
import { PinnedProcess } from "../support/pinned_process.ts";
import { rcapJson } from "../support/rcap.ts";
import { anySwap } from "../support/swap.ts";
import { rssOf, Workload } from "../support/workload.ts";

requireRoot();

// Opened before the first test, which would otherwise appear to leak it.
libc();

const PINNED = 64 * MIB;

const SOURCES: PagedataSourceName[] = ["pte", "smaps"];
for (const source of SOURCES) {
  Deno.test(`registered buffers of io_uring are known to stay (${source})`, async () => {
    await using _swap = await anySwap({ size: 128 * MIB });
    await using pinned = await PinnedProcess.start(PINNED);
    using platform = openPlatform(source, () => {});
    const memory = platform.open(platform.readProcess(pinned.pid));
    const staying = whatStays(memory, await memory.readMappings("scan"));
    const [{ rss }] = staying.filter(({ reason }) => reason === "pinned");
    assertEquals(rss, PINNED);
    await pinned.end();
  });
}

testEachPolicy(
  "a cap below idle pinned memory: the warning says that it is pinned",
  async (policy) => {
    await using _swap = await anySwap({ size: 128 * MIB });
    await using pinned = await PinnedProcess.start(PINNED);
    await using daemon = await TestDaemon.start({
      config: quicklyBy(policy) + cap("ring", [`pid:${pinned.pid}`], "32M"),
    });
    const { warning } = await daemon.untilGroup(
      "ring",
      ({ warning }) => warning !== null,
      "a warning",
    );
    assertStringIncludes(
      warning ?? "",
      "cannot be brought under the cap of 32.0M: 64.0M pinned by a device or the kernel",
    );
    assert(!warning?.includes("working set"), warning ?? "");
    await pinned.end();
  },
);

// The virtual machines of tests/vm show what version 2 does.
Deno.test("limits of version 1 do not stop page-outs, and are no reason", async () => {
  const mount = cgroupMounts().find(({ version, options }) =>
    version === 1 && options.includes("memory")
  );
  // Version 2 has the controller.
  if (!mount) return;
  await using cgroup = new Cgroup(mount.path, uniqueWord());
  const write = (file: string, value: number) =>
    Deno.writeTextFileSync(`${cgroup.path}/${file}`, `${value}`);
  await using _swap = await anySwap({ size: 128 * MIB });
  await using workload = await Workload.start();
  write("cgroup.procs", workload.pid);
  await workload.anon("idle", 32 * MIB);
  write("memory.swappiness", 0);
  const used = Number(
    Deno.readTextFileSync(`${cgroup.path}/memory.usage_in_bytes`),
  );
  // Kernels that do not account for swap have no limit of the sum.
  const sum = "memory.memsw.limit_in_bytes";
  const hasSum = Array.from(Deno.readDirSync(cgroup.path))
    .some(({ name }) => name === sum);
  write("memory.limit_in_bytes", used);
  if (hasSum) write(sum, used);
  const before = rssOf(workload.pid);
  const { json } = await rcapJson<ScanReport>(
    ["scan", `pid:${workload.pid}`, "--excess", "24M", ...BRIEFLY],
  );
  assert(before - rssOf(workload.pid) >= 23 * MIB);
  assertEquals(
    json.processes[0].skipped.filter(({ reason }) => reason === "swap-limit"),
    [],
  );
  // Within its limits it could not read the memory again without being killed.
  if (hasSum) write(sum, -1);
  write("memory.limit_in_bytes", -1);
  assert(await workload.checksum());
});
