/**
 * Tests of pagedata from page tables that do not agree with what the kernel counts:
 * tables that a test makes up, of the process that runs it.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { libc } from "../../../ffi/libc.ts";
import type { PagedataPurpose } from "../platform.ts";
import { MemoryCalls } from "./memory_calls.ts";
import { LinuxProcessMemory } from "./process_memory.ts";
import { readProcess } from "./process_list.ts";
import { PteSource, type ReadableTables } from "./pte_source.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();

/** Tables of this process that show every page of its mappings up to a number. */
class MadeUpTables implements ReadableTables {
  /** How many pages they show. */
  pages = 0;
  /** How often they were read. */
  reads = 0;

  addressSpaces() {
    return new Map([
      [Deno.pid, {
        topTable: 1n,
        address: 1n,
        runtime: 0,
        hasSecondaryMmu: false,
      }],
    ]);
  }

  lookAtLock() {
    return undefined;
  }

  read(
    _topTable: bigint,
    ...[intervals, sink]: [
      Parameters<ReadableTables["read"]>[1],
      Parameters<ReadableTables["read"]>[2],
    ]
  ): void {
    this.reads++;
    let left = this.pages;
    for (const [index, { firstPage, endPage }] of intervals.entries()) {
      const count = Math.min(left, endPage - firstPage);
      left -= count;
      if (count > 0) sink.addLargePage(index, firstPage, { count, bits: 0 });
    }
  }

  /** Map counts are not known. */
  tally() {
    return Promise.resolve(undefined);
  }

  [Symbol.dispose](): void {}
}

function ownMemory(tables: ReadableTables): LinuxProcessMemory {
  return new LinuxProcessMemory(readProcess(Deno.pid), {
    source: new PteSource(tables),
    calls: new MemoryCalls(),
  });
}

/** More pages than the process has in memory. */
function tooMany(): number {
  return readProcess(Deno.pid).rss / 4096 * 3;
}

Deno.test("a process whose page tables and RSS disagree is known by mapping only, and says why", async () => {
  const tables = new MadeUpTables();
  const memory = ownMemory(tables);
  for (const purpose of ["inspect", "glance"] satisfies PagedataPurpose[]) {
    tables.pages = tooMany();
    tables.reads = 0;
    const { bits } = await memory.read(purpose);
    // They are those of smaps: no more than are in memory.
    assert(bits.length > 0 && bits.length < tables.pages, `${bits.length}`);
    assert(tables.reads > 1, `the tables were read ${tables.reads} times`);
    assertEquals(memory.pagedata, "smaps");
    assertMatch(
      memory.coarseness ?? "",
      /^process \d+ is known more coarsely: its references are known by mapping only, because its page tables show \d+\.\d[MG] in memory, but its RSS is \d+\.\d[MG]$/,
    );
  }
  // As soon as they agree, it is known by the page again.
  tables.pages = readProcess(Deno.pid).rss / 4096;
  await memory.read("glance");
  assertEquals(memory.pagedata, undefined);
  assertEquals(memory.coarseness, undefined);
});
