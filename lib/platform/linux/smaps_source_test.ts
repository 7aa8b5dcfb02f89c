/**
 * Tests of pagedata from smaps: the memory of the test itself.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { File } from "../../../ffi/file.ts";
import { ownPagemap } from "../../../ffi/pagemap.ts";
import { OwnMemory } from "../../../ffi/testing.ts";
import {
  MA_ANON,
  MA_EXEC,
  MA_READ,
  MA_SHARED,
  MA_WRITE,
} from "../../memory/mapping_flags.ts";
import {
  MODIFIED,
  type Pagedata,
  recordedBytes,
  REFERENCED,
} from "../../memory/pagedata.ts";
import type { LinuxMapping } from "./linux_mapping.ts";
import type { PagedataRequest } from "./pagedata_source.ts";
import { parseSmaps } from "./testing.ts";
import { pagedataOfSmaps } from "./smaps_source.ts";

/** Reads the pagedata of mappings of this process, as if swap had room or not. */
async function pagedataOf(
  choose: (mapping: LinuxMapping) => boolean,
  swapFree = true,
): Promise<Pagedata> {
  using smaps = File.open("/proc/self/smaps");
  using pagemap = File.open("/proc/self/pagemap");
  const mappings = parseSmaps(smaps.readAll()).filter(choose);
  return await pagedataOfSmaps(
    mappings,
    ownPagemap(pagemap),
    scanning(swapFree),
  );
}

/** The request of a scan, with or without room in swap. */
function scanning(swapFree: boolean): PagedataRequest {
  const context = { swapFree, memoryDevices: new Set<string>() };
  return { purpose: "scan", context };
}

/** Returns the recorded runs of the first mapping: the first page and the count of each. */
function runsOf({ mappings: [mapping], runPage, runOffset }: Pagedata) {
  const runs: [number, number][] = [];
  for (let run = mapping.firstRun; run < mapping.endRun; run++) {
    runs.push([runPage[run], runOffset[run + 1] - runOffset[run]]);
  }
  return runs;
}

Deno.test("only the resident pages of a sparse mapping are recorded", async () => {
  // 16 GiB with 12 resident pages.
  using memory = new OwnMemory(2 ** 22);
  memory.write(10, 10);
  memory.write(500_000);
  memory.write(memory.pages - 1);
  const pagedata = await pagedataOf(({ start }) => start === memory.start);
  assertEquals(pagedata.mappings.length, 1);
  assertEquals(pagedata.mappings[0].pages, memory.pages);
  assertEquals(runsOf(pagedata), [[10, 10], [500_000, 1], [
    memory.pages - 1,
    1,
  ]]);
  assertEquals(pagedata.bits, new Uint8Array(12).fill(REFERENCED | MODIFIED));
});

Deno.test("if every second page is resident, every second page is recorded", async () => {
  using memory = new OwnMemory(10_000);
  for (let page = 1; page < memory.pages; page += 2) memory.write(page);
  const runs = runsOf(await pagedataOf(({ start }) => start === memory.start));
  assertEquals(runs, Array.from({ length: 5000 }, (_, at) => [at * 2 + 1, 1]));
});

Deno.test("a fully resident mapping is one run", async () => {
  using memory = new OwnMemory(64);
  memory.write(0, 64);
  const pagedata = await pagedataOf(({ start }) => start === memory.start);
  assertEquals(runsOf(pagedata), [[0, 64]]);
});

Deno.test("pages that no page-out can take are not recorded", async () => {
  using memory = new OwnMemory(8);
  memory.write(0, 8);
  const isOwn = ({ start }: LinuxMapping) => start === memory.start;
  const withoutSwap = await pagedataOf(isOwn, false);
  assertEquals(recordedBytes(withoutSwap, withoutSwap.mappings[0]), 0);
  memory.lock(0, 8);
  const locked = await pagedataOf(isOwn);
  assertEquals(recordedBytes(locked, locked.mappings[0]), 0);
});

Deno.test("mappings have the flags that the scanner uses", async () => {
  const flags = async (choose: (mapping: LinuxMapping) => boolean) =>
    (await pagedataOf(choose)).mappings[0].flags;
  assertEquals(await flags(({ name }) => name === "[vdso]"), MA_READ | MA_EXEC);
  assertEquals(
    await flags(({ name, perm }) => name === "" && perm === "rw-p"),
    MA_READ | MA_WRITE | MA_ANON,
  );
  const shared: LinuxMapping = {
    start: 0n,
    end: 4096n,
    perm: "-w-s",
    device: "fe:01",
    name: "/file",
    pageSize: 4096,
    rss: 0,
    own: 0,
    proportional: 0,
    dirty: 0,
    referenced: 0,
    anonymous: 0,
    swap: 0,
    locked: 0,
    flags: new Set(),
  };
  using pagemap = File.open("/proc/self/pagemap");
  const { mappings } = await pagedataOfSmaps(
    [shared],
    ownPagemap(pagemap),
    scanning(true),
  );
  assertEquals(mappings[0].flags, MA_WRITE | MA_SHARED);
});

Deno.test("a mapping is modified if it is both referenced and dirty", async () => {
  using memory = new OwnMemory(4);
  memory.write(0, 4);
  using smaps = File.open("/proc/self/smaps");
  const mapping = parseSmaps(smaps.readAll()).find(({ start }) =>
    start === memory.start
  );
  assert(mapping);
  using pagemap = File.open("/proc/self/pagemap");
  const bits = async (figures: Partial<LinuxMapping>) => {
    const mappings = [{ ...mapping, ...figures }];
    const opened = ownPagemap(pagemap);
    return (await pagedataOfSmaps(mappings, opened, scanning(true))).bits[0];
  };
  assertEquals(
    await bits({ referenced: 4096, dirty: 8192 }),
    REFERENCED | MODIFIED,
  );
  assertEquals(await bits({ referenced: 4096, dirty: 0 }), REFERENCED);
  assertEquals(await bits({ referenced: 0, dirty: 8192 }), 0);
});
