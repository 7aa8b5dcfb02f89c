/**
 * Tests of `rcap scan` on live processes: what goes, what stays, and the report.
 *
 * @module
 */

import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import {
  assertIntact,
  assertResident,
  BRIEFLY,
  diskFile,
  GIB,
  MIB,
  processOf,
  requireRoot,
  scanJson,
  skipReasonOf,
} from "../../support/live.ts";
import { hugePages } from "../../support/machine.ts";
import { rcap } from "../../support/rcap.ts";
import { anySwap, withoutSwap } from "../../support/swap.ts";
import {
  mappingFigures,
  type Region,
  residentOf,
  until,
  Workload,
} from "../../support/workload.ts";

requireRoot();

type Pageouts = readonly { start: string; end: string; bytes: number }[];

/**
 * Asserts that a scan paged out the ranges of the preceding dry run. The excess of
 * the two, and so the end of the last range, may differ by what the process did in
 * between, and by the lag of RSS on older kernels.
 */
function assertSameRanges(planned: Pageouts, done: Pageouts): void {
  const tolerance = MIB;
  for (const [index, { start, end }] of planned.entries()) {
    assertEquals(done[index]?.start, start);
    const difference = Number(BigInt(done[index].end) - BigInt(end));
    assert(Math.abs(difference) <= tolerance, `ends differ by ${difference}`);
  }
  const rest = done.slice(planned.length)
    .reduce((sum, { bytes }) => sum + bytes, 0);
  assert(rest <= tolerance, `${rest} bytes more than the dry run named`);
}

/** What a dry run must not change. */
function residency({ pid }: Workload, regions: readonly Region[]) {
  return regions.map(({ name, start }) => {
    const { rss, swap } = mappingFigures(pid, start);
    return { name, rss, swap };
  });
}

/** Pages go by address, and the same ones at each scan. */
const CLOCK = ["--policy", "clock"];

/** Scans a workload down to 100 MiB, first as a dry run, then in earnest. */
async function scanTo100M(
  workload: Workload,
  { hot, cold }: { hot: readonly Region[]; cold: readonly Region[] },
): Promise<void> {
  const { pid } = workload;
  for (const { name } of hot) await workload.hot(name);
  const regions = [...hot, ...cold];
  const before = residency(workload, regions);
  const args = [`pid:${pid}`, "--cap", "100M", ...CLOCK];

  const { report: plan } = await scanJson([...args, "--dry-run"]);
  assertEquals(residency(workload, regions), before);
  const { dryRun, observedSeconds, cap, capMet, effective } = plan;
  assertEquals(
    { dryRun, observedSeconds, cap, capMet, effective },
    {
      dryRun: true,
      observedSeconds: 2,
      cap: 100 * MIB,
      capMet: true,
      effective: null,
    },
  );
  const planned = processOf(plan, workload).pageouts;
  assert(planned.length > 0);

  const { code, report } = await scanJson(args);
  assertEquals(code, 0);
  assertSameRanges(planned, processOf(report, workload).pageouts);
  const { rss, excess, rssAfter } = report;
  assertEquals(rss - excess, 100 * MIB);
  assert(rssAfter <= 102 * MIB, `rssAfter ${rssAfter}`);
  const after = pssOf([workload]);
  assert(after <= 102 * MIB, `${after} after`);
  assert(
    report.effective !== null && report.effective >= excess - 2 * MIB,
    `effective ${report.effective} of ${excess}`,
  );
  for (const region of hot) assertResident(workload, region);

  for (const { name } of hot) await workload.cold(name);
  await assertIntact(workload);
  for (const region of regions) assertResident(workload, region);
}

Deno.test("scan pages out cold anonymous memory and leaves the hot part, as its dry run says", async () => {
  await using _swap = await anySwap({ size: 512 * MIB });
  await using workload = await Workload.start();
  const cold = [await workload.anon("cold", 256 * MIB)];
  const hot = [await workload.anon("hot", 64 * MIB)];
  await scanTo100M(workload, { hot, cold });
});

Deno.test("scan pages out cold file mappings, shared and private, without swap", async () => {
  await using _none = await withoutSwap();
  using coldShared = await diskFile(128 * MIB);
  using coldPrivate = await diskFile(128 * MIB);
  using hotShared = await diskFile(32 * MIB);
  using hotPrivate = await diskFile(32 * MIB);
  await using workload = await Workload.start();
  const cold = [
    await workload.file("coldShared", { path: coldShared.path, shared: true }),
    await workload.file("coldPrivate", { path: coldPrivate.path }),
  ];
  const hot = [
    await workload.file("hotShared", { path: hotShared.path, shared: true }),
    await workload.file("hotPrivate", { path: hotPrivate.path }),
  ];
  await scanTo100M(workload, { hot, cold });
});

/** The name and uid of a user without processes. */
function idleUser(): { name: string; uid: number } {
  const busy = new Set<number>();
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      busy.add(Deno.statSync(`/proc/${name}`).uid ?? 0);
    } catch (error) {
      // It exited after the directory was read.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  for (const line of Deno.readTextFileSync("/etc/passwd").split("\n")) {
    const [name, , uid] = line.split(":");
    if (Number(uid) > 0 && !busy.has(Number(uid))) {
      return { name, uid: Number(uid) };
    }
  }
  throw new Error("this test needs a user without processes in /etc/passwd");
}

/** The sum of the proportional set sizes of processes. */
function pssOf(workloads: readonly Workload[]): number {
  return workloads.reduce((sum, { pid }) => {
    const rollup = Deno.readTextFileSync(`/proc/${pid}/smaps_rollup`);
    return sum + Number(/^Pss: *(\d+) kB$/m.exec(rollup)?.[1]) * 1024;
  }, 0);
}

Deno.test("scan of a user lowers the sum, and unused memory of any process goes first", async () => {
  const { name, uid } = idleUser();
  await using _swap = await anySwap({ size: 512 * MIB });
  await using one = await Workload.start({ uid });
  await using two = await Workload.start({ uid });
  await using three = await Workload.start({ uid });
  const workloads = [one, two, three].sort((a, b) => a.pid - b.pid);
  const hot: Region[] = [];
  const cold: Region[] = [];
  // Nearly all unused memory is in the process that the scan reaches last.
  for (const [index, workload] of workloads.entries()) {
    cold.push(await workload.anon("cold", (index === 2 ? 96 : 4) * MIB));
    hot.push(await workload.anon("hot", 24 * MIB));
    await workload.hot("hot");
  }
  const before = pssOf(workloads);
  const cap = 112 * MIB;
  assert(before > cap + 64 * MIB, `${before} before`);

  const { code, report } = await scanJson([`user:${name}`, "--cap", `${cap}`]);
  const after = pssOf(workloads);

  assertEquals(code, 0);
  assertEquals(
    report.processes.map(({ pid }) => pid),
    workloads.map(({ pid }) => pid),
  );
  assertEquals(report.accounting, "pss");
  assert(after <= cap + 2 * MIB, `${after} after`);
  for (const [index, workload] of workloads.entries()) {
    assertResident(workload, hot[index]);
  }
  const { pid } = workloads[2];
  const left = residentOf(pid, cold[2].start, cold[2].end);
  // The others lost their cold regions and unused memory of the interpreter.
  const others = 3 * 12 * MIB;
  const most = 96 * MIB - (before - cap) + others;
  assert(left <= most, `${left} of the large cold region left`);
  for (const workload of workloads) {
    await workload.cold("hot");
    await assertIntact(workload);
  }
});

Deno.test("scan --excess lowers by a size; tables are for people, or with -H, -o and -p for scripts", async () => {
  using file = await diskFile(96 * MIB);
  await using workload = await Workload.start({ name: "table (of) it" });
  const { pid } = workload;
  const cold = await workload.file("cold", { path: file.path });
  const args = ["scan", `${pid}`, "--excess", "24M", ...BRIEFLY, ...CLOCK];

  const dry = await rcap([...args, "--dry-run"]);
  assertEquals(dry.code, 0);
  assertMatch(
    dry.stdout,
    /^ *PID +COMM +RSS +UNREFERENCED +ATTEMPTED +EFFECTIVE +ERROR\n/,
  );
  const row = new RegExp(
    String.raw`^ *${pid} +table \(of\) it +\d+\.\dM +\d+\.\dM +24\.0M +- +-$`,
    "m",
  );
  assertMatch(dry.stdout, row);
  assertStringIncludes(
    dry.stdout,
    "Dry run: nothing was paged out, only reference bits were reset.\n",
  );
  assertMatch(dry.stdout, /^\d+\.\dM proportional, 24\.0M over the cap of /m);
  assertStringIncludes(dry.stdout, "Would page out 24.0M in 1 range.\n");
  assertMatch(
    dry.stdout,
    /^That would leave \d+\.\dM: the cap would be met\.$/m,
  );
  assertResident(workload, cold);

  const real = await rcap(args);
  assertEquals(real.code, 0);
  assertMatch(real.stdout, /^Paged out 24\.0M in \d ranges? within \S+ s\.$/m);
  assertMatch(real.stdout, /^Now \d+\.\dM: the cap is met\.$/m);
  assertEquals(residentOf(pid, cold.start, cold.end), 72 * MIB);

  const bare = await rcap([...args, "-H", "-p", "-o", "rss,pid,effective"]);
  assertEquals(bare.code, 0);
  const [, rss, rowPid, effective] =
    /^(\d+)\t(\d+)\t(\d+)\n$/.exec(bare.stdout) ?? [];
  assertEquals(rowPid, `${pid}`, bare.stdout);
  assert(Number(rss) > 72 * MIB && Number(rss) < 90 * MIB, rss);
  assertEquals(Number(effective), 24 * MIB);
  assertEquals(residentOf(pid, cold.start, cold.end), 48 * MIB);
  await assertIntact(workload);
});

Deno.test("scan does nothing if the cap is already met", async () => {
  await using workload = await Workload.start();
  const cold = await workload.anon("cold", 8 * MIB);
  const { report } = await scanJson([`pid:${workload.pid}`, "--cap", "1G"]);
  const { capMet, excess, attempted, effective, observedSeconds } = report;
  assertEquals(
    { capMet, excess, attempted, effective, observedSeconds },
    { capMet: true, excess: 0, attempted: 0, effective: 0, observedSeconds: 0 },
  );
  assertEquals(processOf(report, workload).pageouts, []);
  assertResident(workload, cold);
  // References were not reset either.
  assertEquals(
    mappingFigures(workload.pid, cold.start).referenced,
    cold.size,
  );

  const { stdout } = await rcap(["scan", `pid:${workload.pid}`, "--cap", "1G"]);
  assertMatch(stdout, /under the cap of 1\.0G: nothing to do\.\n$/);
  await assertIntact(workload);
});

Deno.test("scan pages out memory in use if nothing else covers the excess", async () => {
  await using _swap = await anySwap({ size: 256 * MIB });
  await using workload = await Workload.start();
  await workload.anon("hot", 64 * MIB);
  await workload.hot("hot");
  const { code, report, stderr } = await scanJson([
    `pid:${workload.pid}`,
    "--excess",
    "48M",
    "--log-level",
    "debug",
    ...CLOCK,
  ]);
  assertMatch(
    stderr,
    /unreferenced pages \(\S+\) will not cover the excess \(48\.0M\): pages in use go too/,
  );
  // It returns as soon as it is used, so the cap may be missed.
  assert(code === 0 || code === 3);
  assert(report.attempted >= 48 * MIB);
  await workload.cold("hot");
  await assertIntact(workload);
});

Deno.test("scan exits with 3 if the cap cannot be met, and reports what it passed over and why", async () => {
  await using _swap = await anySwap({ size: 256 * MIB });
  await using workload = await Workload.start();
  const { pid } = workload;
  const locked = await workload.anon("locked", 32 * MIB);
  await workload.lock("locked");
  const shared = await workload.anon("shared", 16 * MIB);
  const reserved = await workload.reserve("reserved", GIB);
  await workload.fork();
  const own = await workload.anon("own", 32 * MIB);

  const args = [`pid:${pid}`, "--cap", "4M", ...BRIEFLY];
  const { code, report } = await scanJson(args);
  assertEquals(code, 3);
  // Half of what it has in common with its child counts.
  assert(report.rssAfter > 24 * MIB, `${report.rssAfter}`);
  const { skipped, error } = processOf(report, workload);
  assertEquals(error, null);
  const reasons = [locked, shared, reserved, own].map((region) =>
    skipReasonOf(report, workload, region)
  );
  assertEquals(reasons, ["locked", "shared", "nonresident", undefined]);
  const vdso = /^([0-9a-f]+)-([0-9a-f]+) .*\[vdso\]$/m.exec(
    Deno.readTextFileSync(`/proc/${pid}/maps`),
  );
  assert(vdso);
  assertEquals(
    skipped.find(({ start }) => start === `0x${vdso[1]}`),
    { start: `0x${vdso[1]}`, end: `0x${vdso[2]}`, reason: "special" },
  );
  assertResident(workload, locked);
  assertResident(workload, shared);
  assertEquals(residentOf(pid, own.start, own.end), 0);

  const { code: again, stdout } = await rcap(["scan", ...args]);
  assertEquals(again, 3);
  assertStringIncludes(stdout, "Stayed: 16.0M locked in memory.\n");
  assertMatch(
    stdout,
    /^Stayed: \d+\.\dM mapped more than once, which the kernel does not page out\.$/m,
  );
  assertMatch(stdout, /^Now \d+\.\dM: the cap is not met\.$/m);
  await assertIntact(workload);
});

/** Huge pages and a directory for files of them; released on disposal. */
async function hugeFiles(
  count: number,
): Promise<AsyncDisposable & { folder: string }> {
  await using cleanup = new AsyncDisposableStack();
  cleanup.use(hugePages(count));
  const folder = Deno.makeTempDirSync({ prefix: "rcap-huge-" });
  cleanup.defer(() => Deno.removeSync(folder));
  await run("mount", "-t", "hugetlbfs", "none", folder);
  cleanup.defer(() => run("umount", folder));
  const moved = cleanup.move();
  return { folder, [Symbol.asyncDispose]: () => moved.disposeAsync() };
}

async function run(program: string, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(program, { args })
    .output();
  assert(success, `${program}: ${new TextDecoder().decode(stderr)}`);
}

Deno.test("scan passes over hugetlb pages", async () => {
  await using huge = await hugeFiles(2);
  const path = `${huge.folder}/pages`;
  {
    using file = Deno.openSync(path, { createNew: true, write: true });
    file.truncateSync(4 * MIB);
  }
  await using workload = await Workload.start();
  const region = await workload.file("huge", { path, shared: true });
  const { code, report } = await scanJson([
    `pid:${workload.pid}`,
    "--cap",
    "1M",
    ...BRIEFLY,
  ]);
  assertEquals(code, 3);
  assertEquals(skipReasonOf(report, workload, region), "hugetlb");
  assertResident(workload, region);
  await assertIntact(workload);
});

Deno.test("scan of a terabyte with a few touched pages is as fast as any", async () => {
  await using _swap = await anySwap({ size: 256 * MIB });
  await using workload = await Workload.start();
  const { pid } = workload;
  const region = await workload.reserve("reserved", 1024 * GIB);
  const parts = [0, 300 * GIB, 1024 * GIB - 8 * MIB]
    .map((offset) => ({ offset, size: 8 * MIB }));
  const resident = () =>
    parts.map(({ offset, size }) => {
      const start = region.start + BigInt(offset);
      return residentOf(pid, start, start + BigInt(size));
    });
  for (const [index, part] of parts.entries()) {
    await workload.write("reserved", part);
    await until(() => resident()[index] === 8 * MIB, "pages to be touched");
  }
  await workload.cold("reserved");
  const cold = await workload.anon("cold", 16 * MIB);

  const { code, report } = await scanJson([
    `pid:${pid}`,
    "--excess",
    "32M",
    ...BRIEFLY,
    ...CLOCK,
  ]);
  assertEquals(code, 0);
  // By address, the reservation comes before the other region.
  assertEquals(resident(), [0, 0, 0]);
  const left = residentOf(pid, cold.start, cold.end);
  assert(left >= 7 * MIB && left <= 8 * MIB, `${left} left`);
  // Page by page, the reservation alone would have 2^40 / 4096 pages.
  assert(report.seconds < 60, `it took ${report.seconds} s`);
  await assertIntact(workload);
});

Deno.test("scan --log-level debug logs every decision in a line", async () => {
  await using _none = await withoutSwap();
  using file = await diskFile(32 * MIB);
  await using workload = await Workload.start();
  const { pid } = workload;
  const anon = await workload.anon("anon", 8 * MIB);
  const locked = await workload.file("locked", { path: file.path });
  await workload.lock("locked");
  using other = await diskFile(32 * MIB);
  const cold = await workload.file("cold", { path: other.path });
  const place = ({ start, end }: Region) =>
    `0x${start.toString(16)}-0x${end.toString(16)}`;

  const args = ["scan", `pid:${pid}`, "--cap", "8M", ...BRIEFLY, ...CLOCK];
  const quiet = await rcap([...args, "--dry-run", "--log-level", "error"]);
  assertEquals(quiet.stderr, "");

  const { code, stderr } = await rcap([...args, "--log-level", "debug"]);
  assertEquals(code, 3);
  const lines = stderr.trimEnd().split("\n");
  for (const line of lines) assert(line.startsWith("rcap: "), line);
  const told = [
    /unreferenced pages \(\S+\) will not cover the excess/,
    new RegExp(`victim ${pid} chosen, from its beginning: .* excess `),
    new RegExp(`mapping ${place(anon)} \\(8\\.0M\\) passed over: no-swap`),
    new RegExp(`mapping ${place(locked)} \\(32\\.0M\\) passed over: locked`),
    new RegExp(`range ${place(cold)}, 32\\.0M resident: done`),
    new RegExp(`victim ${pid}: RSS fell by \\S+, \\S+ of the excess remain`),
    /scan complete: \S+ of the excess remain/,
  ];
  let from = 0;
  for (const what of told) {
    const at = lines.findIndex((line, i) => i >= from && what.test(line));
    assert(at >= 0, `${what} is not told, or too early:\n${stderr}`);
    from = at;
  }
  assertEquals(residentOf(pid, cold.start, cold.end), 0);
  await assertIntact(workload);
});
