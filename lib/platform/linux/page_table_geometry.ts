/**
 * Finds the layout of this machine's page tables.
 *
 * Unknown are where the kernel's direct map of physical memory begins, how many
 * levels the tables have, and which bit marks encrypted memory. A guess is right if
 * our own tables then lead to a page of our own with known contents. The page's
 * frame number would be a short cut, but needs CAP_SYS_ADMIN.
 *
 * @module
 */

import { MappedMemory } from "../../../ffi/mapped_memory.ts";
import { CapabilityError } from "../../errors.ts";
import { BATCH, type KernelMemory, PAGE_WORDS } from "./kernel_memory.ts";
import type { PageTableLayout } from "./page_table_layout.ts";
import {
  copyPage,
  type Geometry,
  type Halves,
  halves,
  pointTo,
  TablePath,
} from "./table_path.ts";
import type { TaskList } from "./task_list.ts";

const GIB = 1n << 30n;
/** The largest physical memory to search, in GiB. */
const LARGEST_MEMORY = 65_536;

/**
 * Finds the geometry of this machine's page tables.
 *
 * @throws CapabilityError if no guess is right.
 */
export function findGeometry(
  memory: KernelMemory,
  layout: PageTableLayout,
  tasks: TaskList,
): Geometry {
  using page = MappedMemory.anonymous(layout.pageSize);
  crypto.getRandomValues(page.contents);
  const topTable = tasks.addressSpaces().get(Deno.pid)?.topTable;
  if (topTable === undefined) {
    throw new CapabilityError("BPF does not show this process to itself");
  }
  const number = Number(page.start / BigInt(layout.pageSize));
  const contents = new Uint32Array(page.contents.slice().buffer);
  for (const geometry of candidates(memory, { layout, topTable, number })) {
    const entry = leafEntry(memory, geometry, topTable, number);
    if (!isPageAt(memory, geometry, { entry, contents })) continue;
    return {
      ...geometry,
      // The page was just written to, so the bit is set if the kernel has it.
      softDirty: entry.low & layout.softDirty,
      largeZeroPage: findLargeZeroPage(memory, geometry, topTable),
    };
  }
  throw new CapabilityError(
    "our own page tables do not lead to our own page: kernel memory cannot be read here, as under lockdown, or their layout is unknown to rcap",
  );
}

/** Whether an entry of a leaf table leads to a page with the given contents. */
function isPageAt(
  memory: KernelMemory,
  geometry: Geometry,
  { entry, contents }: { entry: Halves; contents: Uint32Array },
): boolean {
  if (!(entry.low & geometry.layout.present)) return false;
  const address = { low: 0, high: 0 };
  pointTo(address, entry.low, entry.high, geometry);
  const copy = new Uint32Array(PAGE_WORDS);
  copyPage(memory, address, copy);
  return copy.every((word, at) => word === contents[at]);
}

/**
 * Yields the geometries by which the top table leads to a table with an entry for
 * our page. Nearly all wrong ones lead nowhere, or to other memory.
 */
function* candidates(
  memory: KernelMemory,
  { layout, topTable, number }: {
    layout: PageTableLayout;
    /** An address in the direct map. */
    topTable: bigint;
    number: number;
  },
): Generator<Geometry> {
  const { entries, present } = layout;
  const top = new Uint32Array(PAGE_WORDS);
  copyPage(memory, halves(topTable), top);
  const nearest = topTable - topTable % GIB;
  for (let gib = 0; gib < LARGEST_MEMORY; gib += BATCH) {
    const bases = Array.from(
      { length: BATCH },
      (_, at) => halves(BigInt.asUintN(64, nearest - BigInt(gib + at) * GIB)),
    );
    for (const levels of layout.levels) {
      const index = Math.floor(number / entries ** (levels - 1)) % entries;
      const below = Math.floor(number / entries ** (levels - 2)) % entries;
      const [low, high] = top.subarray(index * 2, index * 2 + 2);
      if (!(low & present)) continue;
      for (const addressHigh of addressMasks(layout, high)) {
        const geometries = bases.map((base) => ({
          layout,
          levels,
          base,
          addressHigh,
          softDirty: 0,
          largeZeroPage: undefined,
        }));
        const address = { low: 0, high: 0 };
        for (const [at, geometry] of geometries.entries()) {
          pointTo(address, low, high, geometry);
          memory.addresses[at * 2] = address.low;
          memory.addresses[at * 2 + 1] = address.high;
        }
        memory.copy(BATCH);
        // Filter all before yielding the first, since the caller then reads other
        // memory.
        yield* geometries.filter((_, at) =>
          memory.words[at * PAGE_WORDS + below * 2] & present
        );
      }
    }
  }
}

/**
 * Yields the masks of an entry's high half to try: all address bits, and all but
 * one of those that are set, which may be the encryption bit (AMD APM volume 2,
 * "Secure Memory Encryption").
 */
function* addressMasks(
  { addressHigh }: PageTableLayout,
  high: number,
): Generator<number> {
  yield addressHigh;
  for (let bit = 19; bit >= 4; bit--) {
    if (high & 1 << bit) yield addressHigh & ~(1 << bit);
  }
}

/**
 * Finds the physical address of the large zero page: all large pages of ours that
 * are read before they are written are that page. Once a process has used it, it
 * stays in place for as long as that process lives.
 *
 * If the kernel has none, as with `use_zero_page` of
 * Documentation/admin-guide/mm/transhuge.rst, each is an ordinary page, which
 * belongs to another process a moment later.
 */
function findLargeZeroPage(
  memory: KernelMemory,
  geometry: Geometry,
  topTable: bigint,
): Halves | undefined {
  const { pageSize, entries } = geometry.layout;
  const size = pageSize * entries;
  using large = MappedMemory.anonymous(3 * size);
  large.adviseLargePages();
  const skip = (size - Number(large.start % BigInt(size))) % size;
  const path = new TablePath(memory, geometry);
  const pageAt = (offset: number): Halves | undefined => {
    path.start(halves(topTable));
    path.enter((Number(large.start) + offset) / pageSize);
    if (path.isTable || !(path.low & geometry.layout.present)) return undefined;
    return {
      low: (path.low & geometry.layout.addressLow) >>> 0,
      high: (path.high & geometry.addressHigh) >>> 0,
    };
  };
  // Reading them makes them present. They always read as 0.
  const offsets = [skip, skip + size];
  if (offsets.some((offset) => large.contents[offset] !== 0)) return undefined;
  const [first, second] = offsets.map(pageAt);
  const isShared = first !== undefined && first.low === second?.low &&
    first.high === second.high;
  return isShared ? first : undefined;
}

/** Returns the leaf table entry of a page of our own; zero if there is none. */
export function leafEntry(
  memory: KernelMemory,
  geometry: Geometry,
  topTable: bigint,
  page: number,
): Halves {
  const path = new TablePath(memory, geometry);
  path.start(halves(topTable));
  path.enter(page);
  if (!path.isTable) return { low: 0, high: 0 };
  const address = { low: 0, high: 0 };
  pointTo(address, path.low, path.high, geometry);
  const table = new Uint32Array(PAGE_WORDS);
  copyPage(memory, address, table);
  const index = page % geometry.layout.entries;
  return { low: table[index * 2], high: table[index * 2 + 1] };
}
