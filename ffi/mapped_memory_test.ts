/**
 * Tests of anonymous memory.
 *
 * @module
 */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { SystemError } from "../lib/errors.ts";
import { MappedMemory } from "./mapped_memory.ts";
import { File } from "./file.ts";
import { ownPagemap, presentRuns } from "./pagemap.ts";
import { pageSize } from "./system.ts";
import "./testing.ts";

const PAGES = 16;

/** Counts the present pages of the `PAGES` pages from an address on. */
async function presentPages(start: bigint): Promise<number> {
  using pagemap = File.open("/proc/self/pagemap");
  const size = pageSize();
  const firstPage = Number(start) / size;
  let present = 0;
  await presentRuns(
    ownPagemap(pagemap),
    { firstPage, pages: PAGES, pageSize: size },
    (_, pages) => present += pages,
  );
  return present;
}

Deno.test("memory is resident once filled, and gone once disposed", async () => {
  let start: bigint;
  {
    using memory = MappedMemory.anonymous(PAGES * pageSize());
    start = memory.start;
    assertEquals(await presentPages(start), 0);
    memory.contents.fill(7);
    assertEquals(await presentPages(start), PAGES);
  }
  // Another thread may have reused some of the addresses by now, but not all of
  // them.
  assert(await presentPages(start) < PAGES);
});

Deno.test("a failed allocation is an error", () => {
  assertThrows(
    () => MappedMemory.anonymous(2 ** 52),
    SystemError,
    "mmap: Cannot allocate memory (ENOMEM)",
  );
});

Deno.test("memory that is unmapped has no contents, so that nobody uses its address", () => {
  const memory = MappedMemory.anonymous(8192);
  const view = new DataView(memory.contents.buffer);
  memory[Symbol.dispose]();
  assertEquals(memory.contents.length, 0);
  assertThrows(() => view.setUint8(0, 1), TypeError);
  memory[Symbol.dispose]();
});
