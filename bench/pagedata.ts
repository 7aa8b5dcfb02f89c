/**
 * Benchmark of pagedata: the cost per page of reading the page tables, reading the
 * files in `/proc`, and clearing references, all in one run on a process of known
 * size.
 *
 * `bench/pagedata.ts [MIB…]` takes the sizes of the process in MiB; the default is
 * from 64 MiB to half of the free memory.
 *
 * @module
 */

import { setTimeout } from "node:timers/promises";
import { File } from "../ffi/file.ts";
import { formatSize } from "../lib/report/units.ts";
import { BATCH, KernelMemory } from "../lib/platform/linux/kernel_memory.ts";
import { Attempt } from "../lib/platform/linux/memory_calls.ts";
import { MemoryFiles } from "../lib/platform/linux/memory_files.ts";
import { REFERENCED } from "../lib/memory/pagedata.ts";
import type { PageSink } from "../lib/platform/linux/page_queue.ts";
import { PageTables } from "../lib/platform/linux/page_tables.ts";
import { PassedOver } from "../lib/platform/linux/passed_over.ts";
import { ProcDir } from "../lib/platform/linux/proc_dir.ts";
import { readProcess } from "../lib/platform/linux/process_list.ts";
import { PteSource } from "../lib/platform/linux/pte_source.ts";
import {
  ClearRefs,
  Cooling,
  type ReferenceReset,
} from "../lib/platform/linux/reference_reset.ts";
import { ReferenceBlocks } from "../lib/platform/linux/reference_blocks.ts";
import { Workload } from "../tests/support/workload.ts";
import { say } from "../tests/support/say.ts";

const MIB = 2 ** 20;
const PAGE = 4096;
/** Table entries that one run of the copying program copies. */
const BATCH_ENTRIES = BATCH * 512;
const ROUNDS = 31;
const WARM_UP = 20;

/** Nanoseconds per page: median, minimum and maximum of the rounds. */
interface Cost {
  median: number;
  least: number;
  most: number;
}

const sizes = Deno.args.length > 0
  ? Deno.args.map((text) => Number(text) * MIB)
  : defaultSizes();

const { setup, tables } = openTables();
using source = new PteSource(tables);
say(`Setup of the pte source: ${setup.toFixed(1)} ms, once a run.`);
say(
  `Share of it that is kernel copy: ${show(await copyCost())} ns a page.\n`,
);
say(
  `Kernel ${Deno.osRelease()}; ns per resident 4 KiB page, median (least to most) of ${ROUNDS} rounds after a warm-up.\n`,
);
say(
  "| process | pte | pagemap read | smaps read | clear_refs | pagemap / pte |",
);
say("| --- | --- | --- | --- | --- | --- |");
for (const size of sizes) await benchmark(size);
say(
  "\nThe ways to reset references and flush TLBs, of memory that is read all the time, and of idle memory:\n",
);
say(
  "| process | clear_refs, used | MADV_COLD, used | clear_refs, idle | MADV_COLD, idle |",
);
say("| --- | --- | --- | --- | --- |");
for (const size of sizes) await benchmarkReset(size);

say("\nMap counts, ns per resident 4 KiB page:\n");
say("| process | pte | pte without shared pages | counting |");
say("| --- | --- | --- | --- |");
for (const size of sizes) await benchmarkCounts(size);

/** Measures every method on a process with `size` bytes of anonymous memory. */
async function benchmark(size: number): Promise<void> {
  await using workload = await Workload.start({ timeout: 300_000 });
  const region = await workload.anon("memory", size);
  using directory = ProcDir.open(readProcess(workload.pid));
  const process = directory.opened;
  const look = source.lookAtLock.bind(source);
  const files = () => new MemoryFiles(directory, new Attempt(process, look));
  const context = { swapFree: true, memoryDevices: new Set<string>() };
  const read = { purpose: "inspect" as const, context };

  const pages = size / PAGE;
  const pte = await cost(pages, () => source.read(files(), read));
  const pagemap = await cost(pages, () => readPagemap(directory, region));
  const smaps = await cost(pages, () => readWhole(directory, "smaps"));
  const clear = await cost(pages, () => files().clearReferences());
  const times = (pagemap.median / pte.median).toFixed(1);
  say(
    `| ${formatSize(size)} | ${show(pte)} | ${show(pagemap)} | ${
      show(smaps)
    } | ${show(clear)} | ${times} |`,
  );
}

/**
 * Measures what counting takes, and what it adds to the readings after it, on a process that shares half of its memory with another.
 */
async function benchmarkCounts(size: number): Promise<void> {
  await using workload = await Workload.start({ timeout: 300_000 });
  await workload.anon("shared", size / 2);
  await workload.fork();
  await workload.anon("own", size / 2);
  const { topTable = 0n } = tables.addressSpaces().get(workload.pid) ?? {};
  const everywhere = [{ firstPage: 0, endPage: 2 ** 35 }];
  const sink: PageSink = { addPages() {}, addLargePage() {}, passOver() {} };
  const read = (passedOver?: PassedOver) =>
    tables.read(topTable, everywhere, sink, passedOver);

  const pages = size / PAGE;
  const passedOver = new PassedOver();
  const count = () => tables.tally(topTable, everywhere, passedOver);
  const counting = await cost(pages, count);
  const alone = await cost(pages, () => read());
  const filtered = await cost(pages, () => read(passedOver));
  say(
    `| ${formatSize(size)} | ${show(alone)} | ${show(filtered)} | ${
      show(counting)
    } |`,
  );
}

/** Measures both ways to reset references. */
async function benchmarkReset(size: number): Promise<void> {
  await using workload = await Workload.start({ timeout: 300_000 });
  const { start } = await workload.anon("memory", size);
  using directory = ProcDir.open(readProcess(workload.pid));
  const process = directory.opened;
  const look = source.lookAtLock.bind(source);
  const pages = size / PAGE;
  const firstPage = Number(start / BigInt(PAGE));
  const interval = { firstPage, endPage: firstPage + pages };
  const used = new ReferenceBlocks();
  used.startReading([interval]);
  for (let page = 0; page < pages; page += 512) {
    used.addLargePage(0, firstPage + page, { count: 1, bits: REFERENCED });
  }
  used.endReading(0, false);
  used.chooseAll();
  const costs: string[] = [];
  for (const isUsed of [true, false]) {
    await (isUsed ? workload.hot("memory") : workload.cold("memory"));
    for (const reset of [new ClearRefs(), new Cooling()] as ReferenceReset[]) {
      costs.push(show(
        await cost(
          pages,
          () =>
            reset.reset(
              new MemoryFiles(directory, new Attempt(process, look)),
              used,
            ),
          // Time to read all of it.
          () => isUsed ? setTimeout(50 + size / MIB / 5) : undefined,
        ),
      ));
    }
  }
  say(`| ${formatSize(size)} | ${costs.join(" | ")} |`);
}

/** Reads the pagemap of a region into a buffer without evaluating it. */
function readPagemap(
  directory: ProcDir,
  { start, size }: { start: bigint; size: number },
): void {
  using pagemap = directory.openFile("pagemap");
  const buffer = new Uint8Array(MIB);
  const length = size / PAGE * 8;
  const offset = start / BigInt(PAGE) * 8n;
  for (let at = 0; at < length; at += buffer.length) {
    pagemap.readFrom(
      offset + BigInt(at),
      buffer.subarray(0, Math.min(buffer.length, length - at)),
    );
  }
}

function readWhole(directory: ProcDir, name: string): void {
  using file = directory.openFile(name);
  file.readAll();
}

/** The cost per entry of copying page tables without evaluating them. */
async function copyCost(): Promise<Cost> {
  using memory = new KernelMemory();
  const table = tables.addressSpaces().get(Deno.pid)?.topTable;
  if (table === undefined) throw new Error("BPF does not show this process");
  for (let i = 0; i < BATCH; i++) {
    memory.addresses[i * 2] = Number(table & 0xffff_ffffn);
    memory.addresses[i * 2 + 1] = Number(table >> 32n);
  }
  return await cost(BATCH_ENTRIES * 16, () => {
    for (let i = 0; i < 16; i++) memory.copy(BATCH);
  });
}

/** Runs a step many times and measures it, without what prepares it. */
async function cost(
  pages: number,
  step: () => unknown,
  prepare?: () => unknown,
): Promise<Cost> {
  for (let i = 0; i < WARM_UP; i++) await step();
  const rounds: number[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    await prepare?.();
    const began = performance.now();
    await step();
    rounds.push((performance.now() - began) * 1e6 / pages);
  }
  rounds.sort((a, b) => a - b);
  return {
    median: rounds[ROUNDS >> 1],
    least: rounds[0],
    most: rounds[ROUNDS - 1],
  };
}

function show({ median, least, most }: Cost): string {
  return `${median.toFixed(2)} (${least.toFixed(2)} to ${most.toFixed(2)})`;
}

function openTables(): { setup: number; tables: PageTables } {
  const began = performance.now();
  const tables = PageTables.open();
  return { setup: performance.now() - began, tables };
}

/**
 * Sizes from 64 MiB to half of the free memory, each four times the previous, and 2
 * GiB.
 */
function defaultSizes(): number[] {
  using meminfo = File.open("/proc/meminfo");
  const text = new TextDecoder().decode(meminfo.readAll());
  const available = Number(/^MemAvailable:\s*(\d+)/m.exec(text)?.[1]) * 1024;
  const sizes: number[] = [];
  for (const size of [64, 256, 1024, 2048, 4096, 8192, 16384, 65536]) {
    if (size * MIB <= available / 2) sizes.push(size * MIB);
  }
  return sizes;
}
