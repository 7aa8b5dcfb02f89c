/**
 * Tests pagedata from page tables, and rcap with it, against programs that touch
 * exactly known pages.
 *
 * An untouched page must not show as referenced, and a page that is touched
 * repeatedly must. A page shows as modified only if it was written, provided that
 * its entry was clean at the start, since the dirty bit stays set: here the entries
 * were made by reads.
 *
 * @module
 */

import { say } from "../../support/say.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { libc } from "../../../ffi/libc.ts";
import { watch } from "../../../lib/collection/observe.ts";
import {
  MODIFIED,
  type Pagedata,
  REFERENCED,
} from "../../../lib/memory/pagedata.ts";
import type { InspectReport } from "../../../lib/oneshot/inspect.ts";
import type { ScanReport } from "../../../lib/oneshot/scan_once.ts";
import { systemClock } from "../../../lib/platform/clock.ts";
import { MemoryCalls } from "../../../lib/platform/linux/memory_calls.ts";
import { openPagedataSource } from "../../../lib/platform/linux/open_source.ts";
import type { PagedataSource } from "../../../lib/platform/linux/pagedata_source.ts";
import { readProcess } from "../../../lib/platform/linux/process_list.ts";
import { LinuxProcessMemory } from "../../../lib/platform/linux/process_memory.ts";
import { mergePagedata } from "../../../lib/scanner/merge.ts";
import { cannotShow, largeZeroPage, zeroBytes } from "../../support/machine.ts";
import { commandLine, rcap, rcapJson } from "../../support/rcap.ts";
import { anySwap } from "../../support/swap.ts";
import {
  type Region,
  residentOf,
  rssOf,
  until,
  Workload,
} from "../../support/workload.ts";

const MIB = 1024 * 1024;
const PAGE = 4096;
/** Pages of 4 KiB in a large page. */
const LARGE = 512;
const LARGE_PAGE = LARGE * PAGE;

/** Longer than the TLB delays a reference bit. */
const OBSERVATION_MS = 3000;

/** An unprivileged user. */
const NOBODY = 65534;

const delay = (milliseconds: number) =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

// Opened before the first test, which would otherwise appear to leak it.
libc();

/** The source under test; never the fallback. */
function openPte(): PagedataSource {
  return openPagedataSource("pte", () => {});
}

function memoryOf(pid: number, source: PagedataSource): LinuxProcessMemory {
  return new LinuxProcessMemory(readProcess(pid), {
    source,
    calls: new MemoryCalls(),
  });
}

/** Pseudo-random numbers that are the same in every run: mulberry32. */
function randomNumbers(seed: number): () => number {
  return () => {
    seed = seed + 0x6d2b79f5 | 0;
    let t = Math.imul(seed ^ seed >>> 15, 1 | seed);
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t;
    return (t ^ t >>> 14) >>> 0;
  };
}

/** The numbers below `count`, in random order. */
function shuffled(count: number, seed: number): number[] {
  const random = randomNumbers(seed);
  const numbers = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = random() % (i + 1);
    [numbers[i], numbers[j]] = [numbers[j], numbers[i]];
  }
  return numbers;
}

/** The pages of a region that are touched. */
interface Touches {
  readonly read: readonly number[];
  readonly written: readonly number[];
}

/** Picks a random tenth of the pages to read and another tenth to write. */
function tenths(
  pages: number,
  seed: number,
  mayWrite = (_page: number) => true,
): Touches {
  const order = shuffled(pages, seed);
  const tenth = Math.ceil(pages / 10);
  const written = order.filter(mayWrite).slice(0, tenth);
  const taken = new Set(written);
  const read = order.filter((page) => !taken.has(page)).slice(0, tenth);
  return { read, written };
}

/** Makes a workload touch pages of a region repeatedly. */
async function touch(
  workload: Workload,
  { name }: Region,
  { read, written }: Touches,
): Promise<void> {
  await workload.touch(name, "read", read);
  await workload.touch(name, "write", written);
}

const ABSENT = 0x80;

/**
 * The bits of every page of a region in the pagedata; `ABSENT` for pages that it
 * does not record.
 */
function pagesOf(pagedata: Pagedata, region: Region): Uint8Array {
  const pages = new Uint8Array(region.size / PAGE).fill(ABSENT);
  for (const mapping of pagedata.mappings) {
    const before = Number(mapping.start - region.start) / PAGE;
    for (let run = mapping.firstRun; run < mapping.endRun; run++) {
      const bits = pagedata.bits.subarray(
        pagedata.runOffset[run],
        pagedata.runOffset[run + 1],
      );
      const first = before + pagedata.runPage[run];
      if (first >= pages.length || first + bits.length <= 0) continue;
      // A mapping, such as the stack, may be larger than the region.
      const from = Math.max(first, 0);
      pages.set(
        bits.subarray(from - first, from - first + pages.length - from),
        from,
      );
    }
  }
  return pages;
}

interface Expectation {
  /** The first page and number of pages that share a page's bits. */
  readonly grainOf?: (page: number) => number;
  /** Whether all entries were clean before: then modified pages were written. */
  readonly clean: boolean;
}

/** A region with the pages that are touched. */
interface Touched extends Expectation {
  readonly region: Region;
  readonly touches: Touches;
}

/** Asserts that exactly the touched pages show as touched. */
function assertTouched(
  pagedata: Pagedata,
  region: Region,
  { read, written }: Touches,
  { grainOf = () => 1, clean }: Expectation,
): void {
  const pages = pagesOf(pagedata, region);
  const expected = new Uint8Array(pages.length);
  const mark = (page: number, bits: number) => {
    const grain = grainOf(page);
    const start = page - page % grain;
    for (let i = start; i < start + grain; i++) expected[i] |= bits;
  };
  for (const page of read) mark(page, REFERENCED);
  for (const page of written) mark(page, REFERENCED | MODIFIED);
  // Compare counts first: millions of pages make no readable diff.
  const wrong = { absent: 0, missed: 0, invented: 0, unwritten: 0, unseen: 0 };
  for (const [page, bits] of pages.entries()) {
    const right = expected[page];
    if (bits === ABSENT) wrong.absent++;
    else if (right & ~bits & REFERENCED) wrong.missed++;
    else if (bits & ~right & REFERENCED) wrong.invented++;
    else if (right & ~bits & MODIFIED) wrong.unseen++;
    else if (clean && bits & ~right & MODIFIED) wrong.unwritten++;
  }
  assertEquals(
    wrong,
    { absent: 0, missed: 0, invented: 0, unwritten: 0, unseen: 0 },
    `${region.name}, ${pages.length} pages`,
  );
}

/** How often an observation is repeated if others reset references during it. */
const OBSERVATIONS = 5;

/**
 * Clears, waits while the workloads touch, and reads, like rcap. Others, such as
 * DAMON, may clear bits too. Bits cleared in one observation show in another: if
 * others did, a failed check is repeated with the union of all observations.
 *
 * @param check receives what was read of each process, and asserts that it is
 * right.
 */
async function observe(
  pids: readonly number[],
  source: PagedataSource,
  check: (read: Pagedata[]) => void,
): Promise<void> {
  let shown: Pagedata[] | undefined;
  for (let observation = 1;; observation++) {
    const { read, haveVanished } = await observeOnce(pids, source);
    for (const [i, pagedata] of read.entries()) {
      if (shown) mergePagedata(shown[i], pagedata);
    }
    shown = read;
    try {
      return check(read);
    } catch (error) {
      if (!haveVanished || observation === OBSERVATIONS) throw error;
      say("others have reset references; observing once more");
    }
  }
}

/** Makes one observation; also returns whether references disappeared during it. */
async function observeOnce(pids: readonly number[], source: PagedataSource) {
  let haveVanished = false;
  const looks = pids.map((pid) => {
    const memory = memoryOf(pid, source);
    let seen: Pagedata | undefined;
    const look = async () => {
      const now = await memory.read("inspect");
      if (seen) {
        const before = referencedPages(now);
        mergePagedata(seen, now);
        haveVanished ||= referencedPages(now) > before;
      }
      return seen = now;
    };
    return { memory, look };
  });
  for (const { memory } of looks) await memory.reset();
  await watch(
    looks.map(({ memory, look }) => ({
      glance: async () => void await look(),
      refresh: () => memory.refresh(),
    })),
    {
      milliseconds: OBSERVATION_MS,
      what: "the workloads",
      signal: new AbortController().signal,
      clock: systemClock,
    },
  );
  const read = await Promise.all(looks.map(({ look }) => look()));
  return { read, haveVanished };
}

function referencedPages({ bits }: Pagedata): number {
  return bits.reduce((sum, bit) => sum + (bit & REFERENCED ? 1 : 0), 0);
}

/** The bytes of a region in large pages of any kind. */
function largeBytes(pid: number, region: Region): number {
  const head = `${region.start.toString(16)}-`;
  const smaps = Deno.readTextFileSync(`/proc/${pid}/smaps`);
  const [, mapping = ""] = `\n${smaps}`.split(`\n${head}`);
  const [, anon] = /^AnonHugePages: +(\d+)/m.exec(mapping) ?? [];
  const [, shmem] = /^ShmemPmdMapped: +(\d+)/m.exec(mapping) ?? [];
  return (Number(anon) + Number(shmem)) * 1024;
}

/** A file of random bytes, removed on disposal. */
function randomFile(size: number): Disposable & { path: string } {
  const path = Deno.makeTempFileSync();
  const bytes = new Uint8Array(size);
  for (let offset = 0; offset < size; offset += 65536) {
    crypto.getRandomValues(bytes.subarray(offset, offset + 65536));
  }
  Deno.writeFileSync(path, bytes);
  return { path, [Symbol.dispose]: () => Deno.removeSync(path) };
}

/** Defines a test that runs with and without the kernel's large zero page. */
function testEachLargeZero(name: string, test: () => Promise<void>): void {
  for (const isUsed of [true, false]) {
    const whether = isUsed ? "with" : "without";
    Deno.test(`${name} (${whether} a large zero page)`, async () => {
      using _zero = largeZeroPage(isUsed);
      await test();
    });
  }
}

Deno.test("512 MiB of small pages: exactly the touched pages show", async () => {
  using source = openPte();
  await using workload = await Workload.start();
  await workload.small();
  const kind = "memfd";
  const region = await workload.reserve("memory", 512 * MIB, { kind });
  await workload.advise("memory", "populate_read");
  const touches = tenths(region.size / PAGE, 1);
  await touch(workload, region, touches);
  await observe([workload.pid], source, ([pagedata]) => {
    assertTouched(pagedata, region, touches, { clean: true });
  });
});

Deno.test("anonymous memory that was in swap: exactly the touched pages show", async () => {
  await using _swap = await anySwap({ size: 128 * MIB });
  using source = openPte();
  await using workload = await Workload.start();
  await workload.small();
  const region = await workload.anon("memory", 64 * MIB);
  // Pages that another processor is handling stay.
  for (let attempt = 0; attempt < 100; attempt++) {
    await workload.pageout("memory");
    if (await workload.resident("memory") === 0) break;
    await delay(10);
  }
  assertEquals(await workload.resident("memory"), 0);
  await workload.advise("memory", "populate_read");
  const touches = tenths(region.size / PAGE, 2);
  await touch(workload, region, touches);
  await observe([workload.pid], source, ([pagedata]) => {
    assertTouched(pagedata, region, touches, { clean: true });
  });
});

testEachLargeZero(
  "large pages, and mixtures with small ones: exactly the touched pages show",
  async () => {
    using source = openPte();
    await using workload = await Workload.start();
    const { pid } = workload;
    // Random blocks become large pages; the others stay small.
    const blocks = 64;
    const isLarge = shuffled(blocks, 3).map((number) => number % 2 === 0);
    const collapse = async (
      { name }: Region,
      wanted: (block: number) => boolean,
    ) => {
      await workload.advise(name, "hugepage");
      for (let block = 0; block < blocks; block++) {
        if (!wanted(block)) continue;
        const part = { offset: block * LARGE_PAGE, size: LARGE_PAGE };
        await workload.advise(name, "collapse", part);
      }
    };
    const size = blocks * LARGE_PAGE;
    const half = size / 2;
    const everyBlock = (_block: number) => true;
    const everySecond = (block: number) => isLarge[block];
    const cases = [
      { name: "anonLarge", wanted: everyBlock, large: size, clean: false },
      { name: "anonMixed", wanted: everySecond, large: half, clean: false },
      { name: "memfdLarge", wanted: everyBlock, large: size, clean: true },
      { name: "memfdMixed", wanted: everySecond, large: half, clean: true },
    ];
    const made: Touched[] = [];
    for (const [seed, { name, wanted, large, clean }] of cases.entries()) {
      const region = name.startsWith("anon")
        ? await workload.reserve(name, size)
        : await workload.reserve(name, size, { kind: "memfd" });
      await workload.advise(name, "nohugepage");
      await workload.advise(name, clean ? "populate_read" : "populate_write");
      await collapse(region, wanted);
      assertEquals(largeBytes(pid, region), large, name);
      const grainOf = (page: number) =>
        wanted(Math.floor(page / LARGE)) ? LARGE : 1;
      // A tenth of the large pages, each by one of its pages, and a tenth of the
      // small ones.
      const inLarge = shuffled(blocks, seed).filter(wanted)
        .map((block, i) => block * LARGE + (i * 97) % LARGE);
      const inSmall = shuffled(blocks * LARGE, seed)
        .filter((page) => grainOf(page) === 1);
      const tenth = (pages: number[], which: number) => {
        const count = Math.ceil(pages.length / 10);
        return pages.slice(which * count, (which + 1) * count);
      };
      const touches = {
        read: [...tenth(inLarge, 0), ...tenth(inSmall, 0)],
        written: [...tenth(inLarge, 1), ...tenth(inSmall, 1)],
      };
      await touch(workload, region, touches);
      made.push({ region, touches, grainOf, clean });
    }
    // From now on the kernel leaves the mixtures unchanged.
    await workload.small();
    await observe([pid], source, ([pagedata]) => {
      for (const { region, touches, grainOf, clean } of made) {
        assertTouched(pagedata, region, touches, { grainOf, clean });
      }
    });
  },
);

Deno.test("every kind of memory: exactly the touched pages show", async () => {
  using shared = randomFile(32 * MIB);
  using own = randomFile(32 * MIB);
  using source = openPte();
  await using workload = await Workload.start();
  const { pid } = workload;
  await workload.small();
  const shm = await workload.reserve("shm", 32 * MIB, { kind: "shm" });
  await workload.advise("shm", "populate_read");
  const cases: { region: Region; clean: boolean }[] = [
    { region: await workload.anon("anon", 32 * MIB), clean: false },
    { region: await workload.memfd("memfd", 32 * MIB), clean: false },
    { region: shm, clean: true },
    {
      region: await workload.file("fileShared", { ...shared, shared: true }),
      clean: true,
    },
    { region: await workload.file("filePrivate", own), clean: true },
    { region: await workload.stack("stack", 4 * MIB), clean: false },
  ];
  const made: Touched[] = [];
  for (const [seed, { region, clean }] of cases.entries()) {
    const touches = tenths(region.size / PAGE, 10 + seed);
    await touch(workload, region, touches);
    made.push({ region, touches, clean });
  }
  await observe([pid], source, ([pagedata]) => {
    for (const { region, touches, clean } of made) {
      assertTouched(pagedata, region, touches, { clean });
    }
  });
});

Deno.test("10,000 small mappings: exactly the touched pages show", async () => {
  using source = openPte();
  await using workload = await Workload.start();
  await workload.small();
  const region = await workload.anon("many", 20_000 * PAGE);
  await workload.split("many", 2);
  const isWritable = (page: number) => page % 4 < 2;
  const touches = tenths(region.size / PAGE, 20, isWritable);
  await touch(workload, region, touches);
  await observe([workload.pid], source, ([pagedata]) => {
    const mappings = pagedata.mappings.filter(({ start }) =>
      region.start <= start && start < region.end
    );
    assertEquals(mappings.length, 10_000);
    assertTouched(pagedata, region, touches, { clean: false });
  });
});

Deno.test("forked processes with copy-on-write: each shows its own touches", async () => {
  using source = openPte();
  const none = { read: [], written: [] };
  const start = async (seed: number) => {
    const workload = await Workload.start();
    await workload.small();
    const region = await workload.anon("memory", 64 * MIB);
    const touches = tenths(region.size / PAGE, seed);
    return { workload, region, touches };
  };
  const first = await start(30);
  await using parent = first.workload;
  const idleChild = await parent.fork();
  await touch(parent, first.region, first.touches);

  const second = await start(31);
  await using idleParent = second.workload;
  await touch(idleParent, second.region, second.touches);
  const child = await idleParent.fork({ touching: true });
  await idleParent.cold("memory");

  const pids = [parent.pid, idleChild, idleParent.pid, child];
  await observe(pids, source, (read) => {
    assertTouched(read[0], first.region, first.touches, { clean: false });
    assertTouched(read[1], first.region, none, { clean: false });
    assertTouched(read[2], second.region, none, { clean: false });
    assertTouched(read[3], second.region, second.touches, { clean: false });
  });
});

// Bits of /proc/<pid>/pagemap and /proc/kpageflags: pagemap.rst.
const FRAME = (1n << 55n) - 1n;
const PRESENT = 1n << 63n;
const ZERO_PAGE = 1n << 24n;

/** Reads 64-bit numbers from a file by index. */
function readEntries(
  file: Deno.FsFile,
  first: number,
  count: number,
): BigUint64Array {
  const entries = new BigUint64Array(count);
  const bytes = new Uint8Array(entries.buffer);
  file.seekSync(first * 8, Deno.SeekMode.Start);
  for (let done = 0; done < bytes.length;) {
    const read = file.readSync(bytes.subarray(done));
    assert(read !== null, `entry ${first} ends too early`);
    done += read;
  }
  return entries;
}

testEachLargeZero(
  "a stopped process: the present pages equal those of pagemap, page by page",
  async () => {
    await using _swap = await anySwap({ size: 64 * MIB });
    using file = randomFile(5 * MIB);
    using source = openPte();
    await using workload = await Workload.start();
    const { pid } = workload;
    await workload.anon("anon", 8 * MIB + 5 * PAGE);
    await workload.shm("shm", 3 * MIB);
    await workload.memfd("memfd", 3 * MIB);
    await workload.file("filePrivate", file);
    await workload.file("fileShared", { ...file, shared: true });
    await workload.stack("stack", MIB);
    await workload.anon("many", 1000 * PAGE);
    await workload.split("many", 1);
    await workload.anon("locked", MIB);
    await workload.lock("locked");
    await workload.anon("hidden", 2 * MIB + PAGE);
    await workload.protect("hidden", "none");
    await workload.anon("swapped", 8 * MIB);
    await workload.pageout("swapped");
    const back = shuffled(8 * MIB / PAGE, 40).slice(0, 500);
    await workload.touch("swapped", "read", back);
    const sparse = await workload.reserve("sparse", 2 ** 40);
    await workload.touch("sparse", "write", [0, 700, 2 ** 27, 2 ** 28 - 1]);
    // Memory that was only read shares the small or large zero page, if they are in
    // use.
    const zeros = await workload.reserve("zeros", 4 * MIB);
    await workload.advise("zeros", "nohugepage");
    await workload.advise("zeros", "populate_read");
    const largeZeros = await workload.reserve("largeZeros", 32 * MIB);
    await workload.advise("largeZeros", "hugepage");
    await workload.advise("largeZeros", "populate_read");
    let shared = 0;
    for (const region of [zeros, largeZeros]) {
      const bytes = zeroBytes(workload, region);
      if (bytes === 0) cannotShow(`that ${region.name} count to nobody`);
      else assertEquals(bytes, region.size, region.name);
      shared += bytes / PAGE;
    }
    const large = await workload.reserve("large", 16 * MIB);
    await workload.advise("large", "hugepage");
    const each = (pages: number) =>
      Array.from({ length: 8 }, (_, i) => i * LARGE + pages);
    await workload.touch("large", "write", each(3));
    await delay(200);
    assertEquals(largeBytes(pid, large), large.size);
    // Release one page of some of them, which splits them.
    for (const block of [1, 4]) {
      const offset = block * LARGE_PAGE + 8 * PAGE;
      await workload.advise("large", "dontneed", { offset, size: PAGE });
    }
    await workload.cold("large");
    await workload.cold("swapped");
    await workload.cold("sparse");
    workload.kill("SIGSTOP");
    await until(() => stateOf(pid) === "T", "the process to stop");

    // Pages return from swap if another test removes swap.
    let problem: unknown;
    for (let attempt = 0; attempt < 3; attempt++) {
      const pagedata = await memoryOf(pid, source).read("inspect");
      try {
        const zero = assertAsPagemap(pid, pagedata, sparse);
        assertEquals(zero, shared);
        // Exactly as many pages as the kernel counts.
        assertEquals(pagedata.bits.length * PAGE, rssOf(pid));
        return;
      } catch (error) {
        problem = error;
      }
    }
    throw problem;
  },
);

/**
 * Asserts that pagedata records exactly the pages that are present in pagemap.
 *
 * @param sparse a region so large that only a part of it is checked.
 * @returns How many zero pages were left out.
 */
function assertAsPagemap(
  pid: number,
  pagedata: Pagedata,
  sparse: Region,
): number {
  using pagemap = Deno.openSync(`/proc/${pid}/pagemap`);
  using pageFlags = Deno.openSync("/proc/kpageflags");
  const special = specialMappings(pid);
  let present = 0;
  let zero = 0;
  for (const [index, mapping] of pagedata.mappings.entries()) {
    // [vsyscall] is in the kernel's half of the address space, which has no
    // pagemap.
    if (mapping.start >> 63n === 1n) continue;
    const isPresent = presentIn(pagedata, index);
    // The whole reservation would be 2 GiB of pagemap, so read its written parts
    // and some more.
    const parts = mapping.start === sparse.start
      ? [[0, 100_000], [2 ** 27 - 1000, 2000], [2 ** 28 - 1000, 1000]]
      : [[0, mapping.pages]];
    for (const [from, count] of parts) {
      const first = Number(mapping.start / BigInt(PAGE)) + from;
      const entries = readEntries(pagemap, first, count);
      for (const [i, entry] of entries.entries()) {
        const here = isPresent(from + i);
        if (here) present++;
        if (here === ((entry & PRESENT) !== 0n)) continue;
        const where = `page ${from + i} of the mapping at 0x${
          mapping.start.toString(16)
        }`;
        assert(!here, `${where} is present in pagedata only`);
        // Two kinds of present pages do not count towards RSS: the zero pages that
        // all processes share, and pages that a driver or the kernel maps.
        if (special.has(mapping.start)) continue;
        const [flags] = readEntries(pageFlags, Number(entry & FRAME), 1);
        assert(
          (flags & ZERO_PAGE) !== 0n,
          `${where} is present in pagemap only`,
        );
        zero++;
      }
    }
  }
  assertEquals(present, pagedata.bits.length);
  return zero;
}

/** The state of a process: `T` if it is stopped. */
function stateOf(pid: number): string | undefined {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return /^State:\s+(\w)/m.exec(status)?.[1];
}

/** The start addresses of mappings without ordinary memory: `VmFlags` pf or io. */
function specialMappings(pid: number): Set<bigint> {
  const smaps = Deno.readTextFileSync(`/proc/${pid}/smaps`);
  const pattern =
    /^([0-9a-f]+)-[0-9a-f]+ (?:.*\n(?![0-9a-f]+-))+?VmFlags:(.*)/gm;
  const starts = [...smaps.matchAll(pattern)]
    .filter(([, , flags]) => /\b(?:pf|io)\b/.test(flags))
    .map(([, start]) => BigInt(`0x${start}`));
  return new Set(starts);
}

/** Returns whether pages of a mapping, asked in order, are recorded. */
function presentIn(
  { mappings, runPage, runOffset }: Pagedata,
  index: number,
): (page: number) => boolean {
  const { firstRun, endRun } = mappings[index];
  let run = firstRun;
  return (page) => {
    const endOf = (run: number) =>
      runPage[run] + runOffset[run + 1] - runOffset[run];
    while (run < endRun && endOf(run) <= page) run++;
    return run < endRun && runPage[run] <= page;
  };
}

Deno.test("an untouched reservation of 1 TiB costs neither memory nor time", async () => {
  using source = openPte();
  await using workload = await Workload.start();
  await workload.anon("memory", 256 * MIB);
  const memory = memoryOf(workload.pid, source);
  const read = async () => {
    const began = performance.now();
    const pagedata = await memory.read("inspect");
    return { time: performance.now() - began, size: sizeOf(pagedata) };
  };
  // Alternate between the two, so that other load affects both.
  const compare = async () => {
    const without: Reading[] = [];
    const reserved: Reading[] = [];
    for (let i = 0; i < 200; i++) {
      for (const isReserved of i % 2 === 0 ? [false, true] : [true, false]) {
        if (isReserved) await workload.reserve("reservation", 2 ** 40);
        await read();
        (isReserved ? reserved : without).push(await read());
        if (isReserved) await workload.unmap("reservation");
      }
    }
    const ratio = (figure: (reading: Reading) => number) =>
      median(reserved.map(figure)) / median(without.map(figure));
    return { time: ratio(({ time }) => time), size: ratio(({ size }) => size) };
  };
  let ratio = await compare();
  for (let again = 0; again < 4 && ratio.time > 1.05; again++) {
    // Other load on the machine may have interfered.
    ratio = await compare();
  }
  assert(ratio.time <= 1.05, `it takes ${ratio.time} times as long`);
  // The workload's own few pages come and go.
  assert(
    Math.abs(ratio.size - 1) < 0.001,
    `it is ${ratio.size} times as large`,
  );
});

interface Reading {
  readonly time: number;
  readonly size: number;
}

/** The bytes of a pagedata without its list of mappings. */
function sizeOf({ bits, runPage, runOffset }: Pagedata): number {
  return bits.buffer.byteLength + runPage.buffer.byteLength +
    runOffset.buffer.byteLength;
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1];
}

/** A memory size for the command line, in exact bytes. */
const bytes = (size: number) => String(Math.floor(size));

/** The address ranges of one process that a scan paged out. */
function pagedOut({ processes }: ScanReport): { start: bigint; end: bigint }[] {
  return processes.flatMap(({ pageouts }) => pageouts)
    .map(({ start, end }) => ({ start: BigInt(start), end: BigInt(end) }));
}

/** Asserts that a scan left a part of memory alone, and that all of it is resident. */
function assertSpared(
  pid: number,
  report: ScanReport,
  { start, end }: Pick<Region, "start" | "end">,
): void {
  const hit = pagedOut(report).filter((range) =>
    range.start < end && start < range.end
  );
  assertEquals(hit, [], `paged out in 0x${start.toString(16)}`);
  assertEquals(residentOf(pid, start, end), Number(end - start));
}

Deno.test("small hot loops are not paged out while there is cold memory", async () => {
  await using _swap = await anySwap({ size: 256 * MIB });
  await using workload = await Workload.start();
  const { pid } = workload;
  await workload.small();
  const loops: Region[] = [];
  for (const pages of [8, 64, 1024]) {
    loops.push(await workload.anon(`hot${pages}`, pages * PAGE));
    await workload.hot(`hot${pages}`);
  }
  const cold = await workload.anon("cold", 100 * MIB);
  for (let round = 0; round < 3; round++) {
    await workload.advise("cold", "populate_read");
    const cap = rssOf(pid) - 90 * MIB;
    const { code, json } = await rcapJson<ScanReport>(
      [
        "scan",
        `${pid}`,
        "--cap",
        bytes(cap),
        "--observe",
        "2s",
        "--pagedata",
        "pte",
      ],
    );
    assertEquals(code, 0);
    for (const loop of loops) assertSpared(pid, json, loop);
    const gone = cold.size - residentOf(pid, cold.start, cold.end);
    assert(gone >= 85 * MIB, `only ${gone} bytes of cold memory are gone`);
  }
  assert(await workload.checksum());
});

Deno.test("a half hot mapping is warm, and half of it is paged out", async () => {
  await using _swap = await anySwap({ size: 128 * MIB });
  await using workload = await Workload.start();
  const { pid } = workload;
  await workload.small();
  const region = await workload.anon("half", 64 * MIB);
  const half = region.size / 2;
  await workload.hot("half", { offset: half, size: half });
  const { json: seen } = await rcapJson<InspectReport>(
    ["inspect", `${pid}`, "--pagedata", "pte"],
  );
  const mapping = seen.mappings.find(({ start }) =>
    BigInt(start) === region.start
  );
  assertEquals(mapping?.verdict, "warm");
  // Others, such as DAMON, may just have cleared some bits.
  const referenced = mapping?.referenced ?? 0;
  assert(
    referenced <= half && referenced > half * 0.99,
    `${referenced} of ${half} bytes are referenced`,
  );

  const cap = rssOf(pid) - 30 * MIB;
  const { code, json } = await rcapJson<ScanReport>(
    ["scan", `${pid}`, "--cap", bytes(cap), "--pagedata", "pte"],
  );
  assertEquals(code, 0);
  const middle = region.start + BigInt(half);
  assertSpared(pid, json, { start: middle, end: region.end });
  const gone = half - residentOf(pid, region.start, middle);
  assert(gone >= 25 * MIB, `only ${gone} bytes of the cold half are gone`);
  assert(await workload.checksum());
});

Deno.test("both sources agree on sizes", async () => {
  using file = randomFile(3 * MIB);
  await using workload = await Workload.start();
  const { pid } = workload;
  await workload.anon("anon", 16 * MIB + PAGE);
  await workload.memfd("memfd", 4 * MIB);
  await workload.file("file", file);
  await workload.reserve("reserved", 2 ** 30);
  const sizes = async (source: string) => {
    const args = ["inspect", `${pid}`, "--observe", "0", "--pagedata", source];
    const { code, json } = await rcapJson<InspectReport>(args);
    assertEquals([code, json.pagedata], [0, source]);
    return json.mappings
      .filter(({ name }) => !name.startsWith("["))
      .map(({ start, end, size, rss, anon }) => ({
        start,
        end,
        size,
        rss,
        anon,
      }));
  };
  assertEquals(await sizes("pte"), await sizes("smaps"));
});

/** The warnings on standard error. */
function warnings(stderr: string): string[] {
  return stderr.split("\n").filter((line) => line.includes("warn"));
}

Deno.test("without privileges, auto uses smaps with one warning, and pte fails", async () => {
  await using workload = await Workload.start({ uid: NOBODY });
  await workload.anon("memory", 4 * MIB);
  const inspect = ["inspect", `${workload.pid}`];
  const auto = await rcapJson<InspectReport>(inspect, { uid: NOBODY });
  assertEquals([auto.code, auto.json.pagedata], [0, "smaps"]);
  assertEquals(warnings(auto.stderr).length, 1, auto.stderr);
  assertMatch(
    auto.stderr,
    /references are known a mapping at a time only.*CAP_BPF/,
  );

  const pte = await rcap([...inspect, "--pagedata", "pte"], { uid: NOBODY });
  assertEquals([pte.code, pte.stdout], [4, ""]);
  assertMatch(pte.stderr, /--pagedata pte.*CAP_BPF/);
});

Deno.test("in a container's pid namespace, auto uses smaps and says why, and pte fails", async () => {
  // Runs rcap on a process in that namespace.
  const inContainer = async (...args: string[]) => {
    const { command, commandArgs } = commandLine(["inspect", "PID", ...args]);
    const script = "perl -e sleep & for arg; do shift; " +
      '[ "$arg" = PID ] && arg=$!; set -- "$@" "$arg"; done; "$@"; ' +
      "code=$?; kill $!; exit $code";
    const { code, stdout, stderr } = await new Deno.Command("unshare", {
      args: [
        "--pid",
        "--fork",
        "--mount-proc",
        "sh",
        "-c",
        script,
        "sh",
        command,
        ...commandArgs,
      ],
      stdin: "null",
    }).output();
    const decoder = new TextDecoder();
    return {
      code,
      stdout: decoder.decode(stdout),
      stderr: decoder.decode(stderr),
    };
  };
  const auto = await inContainer("--json", "--pagedata", "auto");
  assertEquals(auto.code, 0, auto.stderr);
  const report: InspectReport = JSON.parse(auto.stdout);
  assertEquals(report.pagedata, "smaps");
  assertEquals(warnings(auto.stderr).length, 1, auto.stderr);
  assertMatch(auto.stderr, /container's own pid namespace/);

  const pte = await inContainer("--pagedata", "pte");
  assertEquals([pte.code, pte.stdout], [4, ""], pte.stderr);
  assertMatch(pte.stderr, /container's own pid namespace/);
});

Deno.test("whether a process has run is known without reading it", async () => {
  using source = openPte();
  await using workload = await Workload.start();
  await workload.anon("data", 4 * MIB);
  const memory = memoryOf(workload.pid, source);
  assert(memory.hasRun(), "it was never read");
  // A list of all processes is used for a tenth of a second.
  const LIST = 150;
  await delay(LIST);
  await memory.read("glance");
  await delay(LIST);
  assert(!memory.hasRun(), "it sleeps");
  await workload.write("data");
  await delay(LIST);
  assert(memory.hasRun(), "it has written");
});
