/**
 * Tests what is read of the kernel's map counts against what smaps says, on
 * processes that share memory in known ways.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { mappingBytes, recordedBytes } from "../../../lib/memory/pagedata.ts";
import { MemoryCalls } from "../../../lib/platform/linux/memory_calls.ts";
import { PageTables } from "../../../lib/platform/linux/page_tables.ts";
import { readProcess } from "../../../lib/platform/linux/process_list.ts";
import { LinuxProcessMemory } from "../../../lib/platform/linux/process_memory.ts";
import { ProcDir } from "../../../lib/platform/linux/proc_dir.ts";
import { PteSource } from "../../../lib/platform/linux/pte_source.ts";
import { SmapsSource } from "../../../lib/platform/linux/smaps_source.ts";
import type { PagedataSource } from "../../../lib/platform/linux/pagedata_source.ts";
import type { Footprint } from "../../../lib/platform/platform.ts";
import { libc } from "../../../ffi/libc.ts";
import { LockHolder } from "../../support/lock_holder.ts";
import { PinnedProcess } from "../../support/pinned_process.ts";
import { buildSharing, startProgram } from "../../support/sharing.ts";
import { anySwap } from "../../support/swap.ts";
import { mappingFigures, until, Workload } from "../../support/workload.ts";

const MIB = 2 ** 20;
const PAGE = 4096;
const LARGE = 2 * MIB;

// Opened before the first test, which would otherwise appear to leak it.
libc();

function openPte(): PteSource {
  const tables = PageTables.open();
  assertEquals(tables.whyNoCounts, undefined);
  return new PteSource(tables);
}

function memoryOf(pid: number, source: PagedataSource): LinuxProcessMemory {
  return new LinuxProcessMemory(readProcess(pid), {
    source,
    calls: new MemoryCalls(),
  });
}

/** The footprint by map counts; never the fallback. */
async function counted(pid: number, source: PteSource): Promise<Footprint> {
  using directory = ProcDir.open(readProcess(pid));
  const footprint = await source.countFootprint(directory);
  assert(footprint, "page tables and map counts agree with statm");
  return footprint;
}

/** How often footprints are compared if other processes change what they share. */
const ATTEMPTS = 20;

/** Asserts that a footprint by map counts is that of smaps_rollup. */
async function assertAgrees(pid: number): Promise<Footprint> {
  using source = openPte();
  using smaps = new SmapsSource();
  for (let attempt = 1;; attempt++) {
    const bySmaps = await memoryOf(pid, smaps).readFootprint();
    const footprint = await counted(pid, source);
    assertEquals(footprint.rss, bySmaps.rss, "RSS");
    assertEquals(footprint.fileRss, bySmaps.fileRss, "RSS of files");
    const off = Math.max(
      Math.abs(footprint.proportional - bySmaps.proportional),
      Math.abs(footprint.fileProportional - bySmaps.fileProportional),
    );
    // smaps_rollup is in KiB.
    if (off < 2048) return footprint;
    const shown = JSON.stringify({ footprint, bySmaps });
    // Programs that start and end map the same libraries.
    assert(attempt < ATTEMPTS, shown);
  }
}

/** The bytes that a reading for a scan records of each region. */
async function recorded(
  pid: number,
  source: PagedataSource,
  regions: readonly { start: bigint; end: bigint }[],
): Promise<number[]> {
  const pagedata = await memoryOf(pid, source).read("scan");
  return regions.map(({ start, end }) =>
    pagedata.mappings.reduce(
      (sum, mapping) =>
        mapping.start >= start && mapping.start < end
          ? sum + recordedBytes(pagedata, mapping)
          : sum,
      0,
    )
  );
}

/** What smaps, refined by map counts, says of the mapping at an address. */
async function figuresAt(pid: number, source: PagedataSource, start: bigint) {
  const mappings = await memoryOf(pid, source).readMappings();
  const mapping = mappings.find((one) => one.start <= start && start < one.end);
  assert(mapping);
  const { rss, own, pinned, pageable, reason } = mapping;
  return { rss, own, pinned, pageable, reason };
}

Deno.test("what a fork shares counts by halves, and a scan does not record it", async () => {
  await using _swap = await anySwap({ size: 64 * MIB });
  await using workload = await Workload.start();
  await workload.small();
  const shared = await workload.anon("shared", 32 * MIB);
  await workload.fork();
  const own = await workload.anon("own", 16 * MIB);
  const { rss, fileRss, proportional, fileProportional } = await assertAgrees(
    workload.pid,
  );
  const anonymous = rss - fileRss;
  const part = proportional - fileProportional;
  assert(
    Math.abs(anonymous - part - 16 * MIB) < 8 * MIB,
    `${anonymous} ${part}`,
  );
  for (const source of [openPte(), new SmapsSource()]) {
    using _source = source;
    const [ofShared, ofOwn] = await recorded(workload.pid, source, [
      shared,
      own,
    ]);
    assertEquals([ofShared, ofOwn], [0, own.size], source.name);
  }
});

Deno.test("pages that a fork shares are left out one by one", async () => {
  await using _swap = await anySwap({ size: 64 * MIB });
  await using workload = await Workload.start();
  await workload.small();
  const region = await workload.anon("memory", 8 * MIB);
  await workload.fork();
  // The parent gets its own copies of every third page.
  const pages = region.size / PAGE;
  const own = Array.from({ length: Math.ceil(pages / 3) }, (_, i) => i * 3);
  await workload.touch("memory", "write", own);
  const isOwn = () =>
    mappingFigures(workload.pid, region.start).own === own.length * PAGE;
  await until(isOwn, "the writes");
  for (const source of [openPte(), new SmapsSource()]) {
    using _source = source;
    const bytes = await recorded(workload.pid, source, [region]);
    assertEquals(bytes, [own.length * PAGE], source.name);
  }
});

Deno.test("a file that two processes map counts by halves", async () => {
  const path = Deno.makeTempFileSync();
  try {
    Deno.writeFileSync(path, crypto.getRandomValues(new Uint8Array(65536)));
    Deno.truncateSync(path, 16 * MIB);
    await using one = await Workload.start();
    await using two = await Workload.start();
    const region = await one.file("file", { path, shared: true });
    using source = openPte();
    const before = await figuresAt(one.pid, source, region.start);
    assertEquals([before.rss, before.own], [region.size, region.size]);
    await two.file("file", { path, shared: true });
    const after = await figuresAt(one.pid, source, region.start);
    assertEquals([after.rss, after.own], [region.size, 0]);
    assertEquals(after.reason, "shared");
    await assertAgrees(one.pid);
    await assertAgrees(two.pid);
    using anew = openPte();
    assertEquals(await recorded(one.pid, anew, [region]), [0]);
  } finally {
    Deno.removeSync(path);
  }
});

Deno.test("memory that one process maps three times counts once", async () => {
  await using _swap = await anySwap({ size: 128 * MIB });
  using program = await buildSharing();
  await using process = await startProgram([
    program.path,
    "twice",
    `${32 * MIB}`,
  ]);
  const { rss, proportional } = await assertAgrees(process.pid);
  assert(rss > 128 * MIB, `${rss}`);
  assert(Math.abs(proportional - 64 * MIB) < 2 * MIB, `${proportional}`);
  for (const source of [openPte(), new SmapsSource()]) {
    using _source = source;
    const pagedata = await memoryOf(process.pid, source).read("scan");
    const large = pagedata.mappings
      .filter((mapping) => mappingBytes(mapping) === 32 * MIB)
      .map((mapping) => recordedBytes(pagedata, mapping));
    assertEquals(large.sort((a, b) => a - b), [0, 0, 0, 32 * MIB]);
  }
});

Deno.test("large pages count like small ones", async () => {
  await using _swap = await anySwap({ size: 64 * MIB });
  await using workload = await Workload.start();
  const region = await workload.reserve("large", 16 * MIB + LARGE);
  await workload.advise("large", "hugepage");
  await workload.advise("large", "populate_write");
  const huge = () =>
    Number(
      /^AnonHugePages: +(\d+)/m.exec(
        Deno.readTextFileSync(`/proc/${workload.pid}/smaps_rollup`),
      )?.[1],
    ) * 1024;
  assert(huge() >= 16 * MIB, "there are large pages");
  await assertAgrees(workload.pid);
  using source = openPte();
  const alone = await figuresAt(workload.pid, source, region.start);
  assertEquals([alone.rss, alone.own], [region.size, region.size]);
  assertEquals(await recorded(workload.pid, source, [region]), [region.size]);
  const child = await workload.fork();
  const shared = await figuresAt(workload.pid, source, region.start);
  assertEquals([shared.rss, shared.own], [region.size, 0]);
  await assertAgrees(workload.pid);
  await assertAgrees(child);
  {
    using anew = openPte();
    assertEquals(await recorded(workload.pid, anew, [region]), [0]);
  }
  // A part is dropped: the rest is mapped by small entries.
  await workload.advise("large", "dontneed", {
    offset: 0,
    size: LARGE * 4 + PAGE,
  });
  await assertAgrees(workload.pid);
  await assertAgrees(child);
});

Deno.test("pinned memory is known, and a scan does not record it", async () => {
  await using _swap = await anySwap({ size: 64 * MIB });
  await using pinned = await PinnedProcess.start(64 * MIB);
  using source = openPte();
  const mappings = await memoryOf(pinned.pid, source).readMappings();
  const [mapping] = mappings.filter(({ rss }) => rss >= 64 * MIB);
  assert(mapping);
  const { own, pinned: bytes = 0, pageable, reason } = mapping;
  assertEquals(own, mapping.rss);
  assertEquals(bytes, 64 * MIB);
  assertEquals(pageable, own - bytes);
  assertEquals(reason, pageable === 0 ? "pinned" : undefined);
  const residency = await memoryOf(pinned.pid, source).readResidency();
  assertEquals(residency.get(mapping.start)?.pageable, pageable / PAGE);
  const all = await recorded(pinned.pid, source, [mapping]);
  assertEquals(all, [pageable]);
  await assertAgrees(pinned.pid);
  await pinned.end();
});

Deno.test("a footprint needs no mmap lock", async () => {
  await using holder = await LockHolder.start({ size: 32 * MIB });
  using source = openPte();
  const before = await counted(holder.pid, source);
  await holder.lock();
  const during = await memoryOf(holder.pid, source).readFootprint();
  await holder.unlock();
  assert(Math.abs(during.rss - before.rss) < MIB);
  assert(await holder.isIntact());
});
