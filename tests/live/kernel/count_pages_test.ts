/**
 * Tests what the program that counts pages makes of each `struct page`, of this and
 * of older kernels: on pages of our own that are filled like the kernel's array.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { Btf } from "../../../ffi/btf.ts";
import { libc } from "../../../ffi/libc.ts";
import { MappedMemory } from "../../../ffi/mapped_memory.ts";
import {
  IN_SHARED_FOLIO,
  IS_ANONYMOUS,
  IS_PINNED,
  IS_PRESENT,
  PAGE_BYTES,
  type PageLayout,
  pageLayout,
} from "../../../lib/platform/linux/count_pages.ts";
import { KernelMemory } from "../../../lib/platform/linux/kernel_memory.ts";
import { MapCounts } from "../../../lib/platform/linux/map_counts.ts";
import {
  findGeometry,
  leafEntry,
} from "../../../lib/platform/linux/page_table_geometry.ts";
import { PAGE_TABLE_LAYOUTS } from "../../../lib/platform/linux/page_table_layout.ts";
import { pointTo } from "../../../lib/platform/linux/table_path.ts";
import { TaskList } from "../../../lib/platform/linux/task_list.ts";

// Opened before the first test, which would otherwise appear to leak it.
libc();

/** Fields of a `struct page`; counts as the kernel keeps them, less 1. */
interface Fields {
  head?: number;
  isHead?: boolean;
  isAnonymous?: boolean;
  mapCount?: number;
  refCount?: number;
  /** In the page after the head. */
  entire?: number;
  pins?: number;
  isShared?: boolean;
}

/** Layouts of Linux 6.1, 6.12 and of the running kernel's kind. */
const LAYOUT_6_1: PageLayout = {
  size: PAGE_BYTES,
  headBit: 16,
  flags: 0,
  compoundHead: 8,
  mapping: 24,
  mapCount: 48,
  refCount: 52,
  entireMapCount: PAGE_BYTES + 20,
  pinCount: PAGE_BYTES + 24,
  mmIds: undefined,
  countsInclude: true,
};
const LAYOUT_6_12: PageLayout = {
  ...LAYOUT_6_1,
  headBit: 6,
  countsInclude: false,
};
const LAYOUT_6_18: PageLayout = { ...LAYOUT_6_12, mmIds: PAGE_BYTES + 40 };

/** Counts pages that are described by fields, by a kernel's layout. */
function recordsOf(
  layout: PageLayout,
  pages: readonly Fields[],
): number[] {
  using tasks = new TaskList(Btf.ofKernel());
  using memory = new KernelMemory();
  const tableLayout = PAGE_TABLE_LAYOUTS[Deno.build.arch];
  const topTable = tasks.addressSpaces().get(Deno.pid)?.topTable;
  assert(tableLayout && topTable !== undefined);
  const geometry = findGeometry(memory, tableLayout, tasks);
  using counts = new MapCounts(layout, geometry);

  using array = MappedMemory.anonymous(4096);
  const view = new DataView(array.contents.buffer);
  array.contents[0] = 1;
  const number = Number(array.start / 4096n);
  const { low, high } = leafEntry(memory, geometry, topTable, number);
  const address = { low: 0, high: 0 };
  pointTo(address, low, high, geometry);
  const vmemmap = BigInt(address.high) << 32n | BigInt(address.low);
  counts.vmemmap = vmemmap;
  for (const [at, fields] of pages.entries()) {
    const { head, isHead = false, isAnonymous = false } = fields;
    const { mapCount = -1, refCount = 1, entire, pins, isShared } = fields;
    const page = at * PAGE_BYTES;
    view.setBigUint64(page, isHead ? 1n << BigInt(layout.headBit) : 0n, true);
    const compound = head === undefined
      ? 0n
      : vmemmap + BigInt(head * PAGE_BYTES) + 1n;
    view.setBigUint64(page + layout.compoundHead, compound, true);
    view.setBigUint64(
      page + layout.mapping,
      0xffff_8880_0000_1000n | (isAnonymous ? 1n : 0n),
      true,
    );
    view.setInt32(page + layout.mapCount, mapCount, true);
    view.setInt32(page + layout.refCount, refCount, true);
    const inFolio = (offset: number) => page - PAGE_BYTES + offset;
    if (entire !== undefined) {
      view.setInt32(inFolio(layout.entireMapCount), entire, true);
    }
    if (pins !== undefined) view.setInt32(inFolio(layout.pinCount), pins, true);
    if (layout.mmIds !== undefined && isShared) {
      view.setBigUint64(inFolio(layout.mmIds), 1n << 63n, true);
    }
  }
  for (const at of pages.keys()) {
    counts.entries[at * 2] = at * 4096 | 1;
    counts.entries[at * 2 + 1] = 0;
  }
  counts.count();
  assertEquals(counts.records[pages.length], 0);
  return Array.from(counts.records.subarray(0, pages.length));
}

/** A folio of two pages. */
function folio(
  { isAnonymous, counts: [first, second], ...rest }:
    & Pick<Fields, "isAnonymous" | "entire" | "pins" | "isShared">
    & { counts: [number, number] },
): Fields[] {
  return [
    { isHead: true, isAnonymous, mapCount: first },
    { head: 0, mapCount: second, pins: 0, ...rest },
  ];
}

Deno.test("small pages: how often they are mapped, and whether they are pinned", () => {
  const once = IS_PRESENT | 1;
  const cases: [Fields, number][] = [
    [{ mapCount: 0 }, once],
    [{ mapCount: 0, isAnonymous: true }, once | IS_ANONYMOUS],
    [{ mapCount: 2, refCount: 4 }, IS_PRESENT | 3],
    [{ mapCount: 5000, refCount: 5002 }, IS_PRESENT | 4095],
    [{ mapCount: 0, refCount: 1024 }, once],
    [{ mapCount: 0, refCount: 1025 }, once | IS_PINNED],
    [{ mapCount: 2000, refCount: 3024 }, IS_PRESENT | 2001],
    [{ mapCount: 2000, refCount: 3025 }, IS_PRESENT | 2001 | IS_PINNED],
    // A page that has just been unmapped, and one that has a type instead of a count.
    [{ mapCount: -1 }, IS_PRESENT],
    [{ mapCount: 0xf400_0000 | 0 }, IS_PRESENT],
  ];
  for (const layout of [LAYOUT_6_1, LAYOUT_6_12, LAYOUT_6_18]) {
    const records = recordsOf(layout, cases.map(([fields]) => fields));
    assertEquals(records, cases.map(([, record]) => record));
  }
});

Deno.test("large folios: single pages and the folio count together", () => {
  for (const layout of [LAYOUT_6_12, LAYOUT_6_18]) {
    const count = (fields: Fields[]) => recordsOf(layout, fields);
    // Mapped as a whole, once.
    assertEquals(
      count(folio({ isAnonymous: true, counts: [-1, -1], entire: 0 })),
      [IS_PRESENT | IS_ANONYMOUS | 1, IS_PRESENT | IS_ANONYMOUS | 1],
    );
    // By small entries, each page once; pinned.
    assertEquals(
      count(folio({ counts: [0, 0], entire: -1, pins: 3 })),
      [IS_PRESENT | IS_PINNED | 1, IS_PRESENT | IS_PINNED | 1],
    );
    // As a whole, and the second page by a small entry too.
    const [first, second] = count(
      folio({ counts: [-1, 0], entire: 0, isShared: true }),
    );
    assertEquals(first & ~IN_SHARED_FOLIO, IS_PRESENT | 1);
    assertEquals(second & ~IN_SHARED_FOLIO, IS_PRESENT | 2);
  }
});

Deno.test("a folio that several processes map is known", () => {
  assertEquals(
    recordsOf(
      LAYOUT_6_18,
      folio({ counts: [0, 0], entire: -1, isShared: true }),
    ),
    [IS_PRESENT | IN_SHARED_FOLIO | 1, IS_PRESENT | IN_SHARED_FOLIO | 1],
  );
  // Older kernels look at its first page.
  assertEquals(
    recordsOf(LAYOUT_6_12, folio({ counts: [1, 0], entire: -1 })),
    [IS_PRESENT | IN_SHARED_FOLIO | 2, IS_PRESENT | IN_SHARED_FOLIO | 1],
  );
});

Deno.test("Linux 6.1 counts a folio in its pages, too", () => {
  const count = (fields: Fields[]) => recordsOf(LAYOUT_6_1, fields);
  const anonymous = IS_PRESENT | IS_ANONYMOUS;
  // A file, mapped as a whole.
  assertEquals(
    count(folio({ counts: [0, 0], entire: 0 })),
    [IS_PRESENT | 1, IS_PRESENT | 1],
  );
  // Anonymous: as a whole; by small entries; and as a whole by one process, and the
  // second page by a small entry of another.
  assertEquals(
    count(folio({ isAnonymous: true, counts: [-1, -1], entire: 0 })),
    [anonymous | 1, anonymous | 1],
  );
  assertEquals(
    count(folio({ isAnonymous: true, counts: [0, 0], entire: -1 })),
    [anonymous | 1, anonymous | 1],
  );
  assertEquals(
    count(folio({ isAnonymous: true, counts: [0, 1], entire: 0 })),
    [anonymous | 1, anonymous | 2],
  );
});

Deno.test("the running kernel has a layout for which the program is made", () => {
  const layout = pageLayout(Btf.ofKernel());
  assertEquals(layout.size, PAGE_BYTES);
  assert(layout.entireMapCount > PAGE_BYTES);
});
