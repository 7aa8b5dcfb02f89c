/**
 * Tests of finding present pages in memory of the test itself.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import {
  PAGE_ABSENT,
  PAGE_PRESENT,
  type PageSpan,
} from "../../../lib/memory/page_states.ts";
import { CallList } from "../../../ffi/call_list.ts";
import { File } from "../../../ffi/file.ts";
import {
  hasPagemapScan,
  lookWhetherAlive,
  ownPagemap,
  pageStates,
  presentRuns,
  readPresent,
} from "../../../ffi/pagemap.ts";
import { OwnMemory, Sleeper } from "../../../ffi/testing.ts";
import { say } from "../../support/say.ts";

/** The first page and the number of pages of every run. */
async function runsBy(
  how: typeof presentRuns,
  span: PageSpan,
): Promise<[number, number][]> {
  using pagemap = File.open("/proc/self/pagemap");
  const runs: [number, number][] = [];
  const opened = ownPagemap(pagemap);
  await how(opened, span, (page, pages) => runs.push([page, pages]));
  return runs;
}

/** Whether the address space of an open pagemap exists. */
async function isAddressSpaceAlive(pagemap: File): Promise<boolean> {
  const calls = new CallList();
  const look = lookWhetherAlive(pagemap, calls);
  await calls.make();
  return calls.checked(look, "read pagemap") > 0;
}

/** Asserts that every method finds exactly these present pages. */
async function assertRuns(
  span: PageSpan,
  expected: [number, number][],
): Promise<void> {
  assertEquals(await runsBy(presentRuns, span), expected);
  assertEquals(await runsBy(readPresent, span), expected);
}

Deno.test("every second page is found, in more runs than a call returns", async () => {
  using memory = new OwnMemory(10_000);
  const expected: [number, number][] = [];
  for (let page = 0; page < memory.pages; page += 2) {
    memory.write(page);
    expected.push([page, 1]);
  }
  await assertRuns(memory.span, expected);
});

Deno.test("a run is not split at the parts in which pagemap is read", async () => {
  using memory = new OwnMemory(70_000);
  memory.write(0);
  memory.write(65_530, 20);
  memory.write(69_999);
  await assertRuns(memory.span, [[0, 1], [65_530, 20], [69_999, 1]]);
});

Deno.test("runs end at the end of the range", async () => {
  using memory = new OwnMemory(16);
  memory.write(2, 12);
  const { firstPage, pageSize } = memory;
  const span = { firstPage: firstPage + 4, pages: 6, pageSize };
  await assertRuns(span, [[0, 6]]);
});

Deno.test("untouched memory of any size has no runs", async () => {
  using memory = new OwnMemory(2 ** 20);
  await assertRuns(memory.span, []);
});

/** The resident pages of a memory range: `Rss` of proc_pid_smaps(5). */
function residentPages({ start, pageSize }: OwnMemory): number {
  const smaps = `\n${Deno.readTextFileSync("/proc/self/smaps")}`;
  const [, mapping = ""] = smaps.split(`\n${start.toString(16)}-`);
  const [, kilobytes] = /^Rss: +(\d+) kB$/m.exec(mapping) ?? [];
  return Number(kilobytes) * 1024 / pageSize;
}

Deno.test("a page that was only read is present if it counts as resident: not the zero page", async () => {
  using memory = new OwnMemory(4);
  memory.read(0, 4);
  const resident = residentPages(memory);
  const hasZeroPage = resident === 0;
  if (!hasZeroPage) {
    say("this machine cannot show the zero page: it has none");
    assertEquals(resident, 4);
  }
  memory.write(2);
  assertEquals(residentPages(memory), hasZeroPage ? 1 : 4);
  using pagemap = File.open("/proc/self/pagemap");
  // Without PAGEMAP_SCAN, the kernel does not distinguish them.
  const opened = ownPagemap(pagemap);
  const tells = hasZeroPage && await hasPagemapScan(opened);
  const expected = tells ? [[2, 1]] : [[0, 4]];
  assertEquals<number[][]>(await runsBy(presentRuns, memory.span), expected);
});

Deno.test("page states distinguish present and absent pages", async () => {
  using memory = new OwnMemory(6);
  memory.write(1, 2);
  memory.write(5);
  using pagemap = File.open("/proc/self/pagemap");
  const [o, x] = [PAGE_ABSENT, PAGE_PRESENT];
  assertEquals([...await pageStates(ownPagemap(pagemap), memory.span)], [
    o,
    x,
    x,
    o,
    o,
    x,
  ]);
});

Deno.test("an open pagemap shows that its process has exited", async () => {
  await using sleeper = await Sleeper.start();
  using pagemap = File.open(`/proc/${sleeper.pid}/pagemap`);
  assert(await isAddressSpaceAlive(pagemap));
  await sleeper.end();
  assertEquals(await isAddressSpaceAlive(pagemap), false);
});
