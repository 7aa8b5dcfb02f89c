/**
 * Finds out how the page tables of this machine are laid out.
 *
 * Where the kernel's direct map of physical memory begins is found by looking for
 * a page of our own, whose contents and frame we know. That our own tables then
 * lead to that page proves the number of levels and the memory-encryption bit.
 *
 * @module
 */

import { MappedMemory } from "../../../ffi/mapped_memory.ts";
import { File } from "../../../ffi/file.ts";
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
/** The largest physical memory to look through, in GiB. */
const LARGEST_MEMORY = 65_536;

/**
 * Finds out how the tables of this machine are laid out.
 *
 * @throws CapabilityError when that fails.
 */
export function findGeometry(
  memory: KernelMemory,
  layout: PageTableLayout,
  tasks: TaskList,
): Geometry {
  using page = MappedMemory.anonymous(layout.pageSize);
  crypto.getRandomValues(page.contents);
  const topTable = tasks.topTables().get(Deno.pid);
  const frame = frameOf(page.start, layout.pageSize);
  if (topTable === undefined) {
    throw new CapabilityError("BPF does not show this process to itself");
  }
  if (frame === 0n) {
    throw new CapabilityError(
      "frame numbers read as zero: CAP_SYS_ADMIN is missing; run as root",
    );
  }
  const base = findDirectMap(memory, {
    near: topTable,
    offset: frame * BigInt(layout.pageSize),
    contents: new Uint32Array(page.contents.slice().buffer),
  });
  const number = Number(page.start / BigInt(layout.pageSize));
  for (const levels of layout.levels) {
    for (const addressHigh of addressMasks(layout)) {
      const geometry = {
        layout,
        levels,
        base,
        addressHigh,
        softDirty: 0,
        largeZeroPage: undefined,
      };
      const entry = leafEntry(memory, geometry, topTable, number);
      if (frameIn(entry, geometry) !== Number(frame)) continue;
      return {
        ...geometry,
        // The page was just written to, so that its bit is set where there is one.
        softDirty: entry.low & layout.softDirty,
        largeZeroPage: findLargeZeroPage(memory, geometry, topTable),
      };
    }
  }
  throw new CapabilityError(
    "our own page tables do not lead to our own page: their layout is unknown to rcap",
  );
}

/** Where a physical page lies in the direct map says where that begins. */
function findDirectMap(
  memory: KernelMemory,
  { near, offset, contents }: {
    /** An address in the direct map. */
    near: bigint;
    /** The physical address of the page. */
    offset: bigint;
    contents: Uint32Array;
  },
): Halves {
  const top = near - near % GIB;
  for (let gib = 0; gib < LARGEST_MEMORY; gib += BATCH) {
    for (let i = 0; i < BATCH; i++) {
      const { low, high } = halves(
        BigInt.asUintN(64, top - BigInt(gib + i) * GIB + offset),
      );
      memory.addresses[i * 2] = low;
      memory.addresses[i * 2 + 1] = high;
    }
    memory.copy(BATCH);
    for (let i = 0; i < BATCH; i++) {
      const copy = memory.words.subarray(i * PAGE_WORDS, (i + 1) * PAGE_WORDS);
      if (copy.every((word, at) => word === contents[at])) {
        return halves(BigInt.asUintN(64, top - BigInt(gib + i) * GIB));
      }
    }
  }
  throw new CapabilityError(
    "the kernel's direct map was not found: kernel memory cannot be read here, as under lockdown",
  );
}

/**
 * Masks of an entry's high half to try: all address bits, and all but one, which
 * may say that the memory is encrypted (AMD APM volume 2, "Secure Memory Encryption").
 */
function* addressMasks({ addressHigh }: PageTableLayout): Generator<number> {
  yield addressHigh;
  for (let bit = 19; bit >= 4; bit--) yield addressHigh & ~(1 << bit);
}

/**
 * Where the large zero page lies, physically: large pages of ours that are read
 * before they are written to are that page. Once a process has had it, it stays
 * where it is as long as that process lives.
 */
function findLargeZeroPage(
  memory: KernelMemory,
  geometry: Geometry,
  topTable: bigint,
): Halves | undefined {
  const { pageSize, entries } = geometry.layout;
  const size = pageSize * entries;
  using large = MappedMemory.anonymous(2 * size);
  large.adviseLargePages();
  const skip = (size - Number(large.start % BigInt(size))) % size;
  // Reading it makes it present. It is always 0.
  if (large.contents[skip] !== 0) return undefined;
  const path = new TablePath(memory, geometry);
  path.start(halves(topTable));
  path.enter((Number(large.start) + skip) / pageSize);
  if (path.isTable || !(path.low & geometry.layout.present)) return undefined;
  return {
    low: (path.low & geometry.layout.addressLow) >>> 0,
    high: (path.high & geometry.addressHigh) >>> 0,
  };
}

/** The entry of a page of our own, in the lowest table; zero when there is none. */
function leafEntry(
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

/** The frame number in an entry. */
function frameIn({ low, high }: Halves, { layout, addressHigh }: Geometry) {
  const address = (high & addressHigh) * 2 ** 32 +
    ((low & layout.addressLow) >>> 0);
  return address / layout.pageSize;
}

/** The frame of a page of our own, 0 when we may not know: pagemap.rst, bits 0 to 54. */
function frameOf(address: bigint, pageSize: number): bigint {
  using pagemap = File.open("/proc/self/pagemap");
  const entry = new BigUint64Array(1);
  pagemap.readFrom(
    address / BigInt(pageSize) * 8n,
    new Uint8Array(entry.buffer),
  );
  return entry[0] & (1n << 55n) - 1n;
}
