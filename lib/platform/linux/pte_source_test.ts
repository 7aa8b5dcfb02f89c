/**
 * Tests of pagedata from page tables that do not agree with what the kernel counts:
 * tables that a test makes up, of the process that runs it.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { libc } from "../../../ffi/libc.ts";
import { REFERENCED } from "../../memory/pagedata.ts";
import type { PagedataPurpose, SecondaryMmuChoice } from "../platform.ts";
import { MemoryCalls } from "./memory_calls.ts";
import { LinuxProcessMemory } from "./process_memory.ts";
import { readProcess } from "./process_list.ts";
import { PteSource, type ReadableTables } from "./pte_source.ts";
import { ClearRefs, type ReferenceReset } from "./reference_reset.ts";
import type { ReferenceBlocks } from "./reference_blocks.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();

/** Tables of this process that show every page of its mappings up to a number. */
class MadeUpTables implements ReadableTables {
  /** How many pages they show. */
  pages = 0;
  /** How often they were read. */
  reads = 0;
  /** The bits of all their pages. */
  bits = 0;
  hasSecondaryMmu: boolean | undefined = false;
  /** Whether another process has the address space, too. */
  isShared = false;
  readonly hasSoftDirty = false;

  addressSpaces() {
    return new Map([
      [Deno.pid, {
        topTable: 1n,
        address: 1n,
        pid: Deno.pid,
        isShared: this.isShared,
        runtime: 0,
        hasSecondaryMmu: this.hasSecondaryMmu,
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
      if (count > 0) {
        sink.addLargePage(index, firstPage, { count, bits: this.bits });
      }
    }
  }

  /** Map counts are not known. */
  tally() {
    return Promise.resolve(undefined);
  }

  [Symbol.dispose](): void {}
}

function ownMemory(
  tables: ReadableTables,
  {
    reset = new ClearRefs(),
    secondaryMmu = "leave",
  }: { reset?: ReferenceReset; secondaryMmu?: SecondaryMmuChoice } = {},
): LinuxProcessMemory {
  return new LinuxProcessMemory(readProcess(Deno.pid), {
    source: new PteSource(tables, reset),
    calls: new MemoryCalls(),
    secondaryMmu,
  });
}

/** Notes whether there are blocks to cool, and cools none. */
class NotingReset implements ReferenceReset {
  readonly needsBlocks = true;
  readonly found: boolean[] = [];

  reset(_files: unknown, blocks: ReferenceBlocks) {
    this.found.push([...blocks.lists(1, 2 ** 30)].length > 0);
    return Promise.resolve();
  }

  afterReading(files: unknown, blocks: ReferenceBlocks) {
    return this.reset(files, blocks);
  }

  refresh() {
    return Promise.resolve();
  }
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

Deno.test("a process that is left alone because of a secondary MMU is not cooled", async () => {
  const tables = new MadeUpTables();
  tables.bits = REFERENCED;
  for (
    const [hasSecondaryMmu, secondaryMmu, isCooled] of [
      [false, "leave", true],
      [true, "leave", false],
      [true, "scan", true],
    ] as const
  ) {
    tables.hasSecondaryMmu = hasSecondaryMmu;
    const reset = new NotingReset();
    const memory = ownMemory(tables, { reset, secondaryMmu });
    tables.pages = readProcess(Deno.pid).rss / 4096;
    await memory.reset();
    await memory.read("scan");
    assertEquals(reset.found, [isCooled, isCooled]);
  }
});

Deno.test("a process is alone only if nothing else is known to use its memory", () => {
  for (
    const [isShared, hasSecondaryMmu, isAlone] of [
      [false, false, true],
      [true, false, false],
      [false, true, false],
      [false, undefined, false],
    ] as const
  ) {
    const tables = Object.assign(new MadeUpTables(), {
      isShared,
      hasSecondaryMmu,
    });
    using source = new PteSource(tables);
    assertEquals(source.isAlone(Deno.pid), isAlone);
    assertEquals(source.isAlone(0), false);
  }
});
