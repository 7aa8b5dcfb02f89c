/**
 * Finds vmemmap, the kernel's array of `struct page`, whose address is random
 * (`kernel_randomize_memory` of arch/x86/mm/kaslr.c) and, in many kernels, not in
 * kallsyms.
 *
 * It begins at a multiple of 1 GiB in the kernel's half of the address space. For
 * each part of that half that is mapped, one address is possible. A guess is right
 * if what it says of pages of our own is so, also after we map one of them again.
 *
 * @module
 */

import { BpfError } from "../../../ffi/bpf.ts";
import { type Btf, BtfError } from "../../../ffi/btf.ts";
import { MappedMemory, memoryFile } from "../../../ffi/mapped_memory.ts";
import { CapabilityError, SystemError } from "../../errors.ts";
import type { KernelMemory } from "./kernel_memory.ts";
import {
  IS_ANONYMOUS,
  IS_PRESENT,
  PAGE_BYTES,
  pageLayout,
} from "./count_pages.ts";
import { MapCounts } from "./map_counts.ts";
import { leafEntry } from "./page_table_geometry.ts";
import { type Geometry, type Halves, halves, TablePath } from "./table_path.ts";

const PAGE = 4096;
/** vmemmap begins at a multiple of this, in bytes. */
const ALIGNMENT = 2 ** 30;
const ALIGNED_PAGES = ALIGNMENT / PAGE;
/** Entries of a table, as a power of two. */
const TABLE_BITS = 9;

/** Where to look. */
interface Place {
  readonly memory: KernelMemory;
  readonly geometry: Geometry;
  /** The address of our own top table. */
  readonly topTable: bigint;
}

/**
 * Sets up the reading of map counts.
 *
 * @throws CapabilityError if they cannot be read here.
 */
export function openMapCounts(btf: Btf, place: Place): MapCounts {
  try {
    using held = new DisposableStack();
    const counts = held.use(new MapCounts(pageLayout(btf), place.geometry));
    findVmemmap(counts, place);
    held.move();
    return counts;
  } catch (error) {
    const isExpected = error instanceof BpfError || error instanceof BtfError ||
      error instanceof SystemError;
    if (!isExpected) throw error;
    const [problem] = error.message.split("\n");
    throw new CapabilityError(problem, { cause: error });
  }
}

/**
 * Finds vmemmap and sets it in the map counts.
 *
 * @throws CapabilityError if no guess is right.
 */
function findVmemmap(counts: MapCounts, place: Place): void {
  using pages = new OwnPages(counts, place);
  for (const guess of guesses(place, pages.frame)) {
    counts.vmemmap = guess;
    if (pages.areCountedRight()) return;
  }
  throw new CapabilityError(
    "the kernel's records of our own pages cannot be found",
  );
}

/**
 * Yields the addresses of vmemmap by which the `struct page` of a frame is in
 * mapped kernel memory.
 *
 * @param frame the page's physical address, divided by the page size.
 */
function* guesses(
  { memory, geometry, topTable }: Place,
  frame: number,
): Generator<bigint> {
  const path = new TablePath(memory, geometry);
  path.start(halves(topTable));
  // Page numbers of the kernel's half, without the bits above the tables' levels.
  const endPage = 2 ** (TABLE_BITS * geometry.levels);
  const offset = Math.floor(frame * PAGE_BYTES / PAGE);
  const within = offset % ALIGNED_PAGES;
  let page = endPage / 2 + within;
  while (page < endPage) {
    const behind = path.enter(page, endPage);
    if (path.low & geometry.layout.present) {
      const first = BigInt(page - offset) * BigInt(PAGE);
      const sign = -BigInt(endPage) * BigInt(PAGE);
      yield BigInt.asUintN(64, first + sign);
    }
    const next = Math.ceil((behind - within) / ALIGNED_PAGES);
    page = Math.max(next * ALIGNED_PAGES + within, page + ALIGNED_PAGES);
  }
}

/** How often a page of ours is looked at: the kernel may move it meanwhile. */
const ATTEMPTS = 3;

/** Pages of our own, of which everything is known. */
class OwnPages implements Disposable {
  readonly #held: DisposableStack;
  readonly #counts: MapCounts;
  readonly #place: Place;
  readonly #anonymous: MappedMemory;
  readonly #shared: MappedMemory;
  readonly #fd: number;

  constructor(counts: MapCounts, place: Place) {
    using held = new DisposableStack();
    this.#counts = counts;
    this.#place = place;
    this.#anonymous = held.use(MappedMemory.anonymous(PAGE));
    this.#anonymous.contents[0] = 1;
    const file = held.use(memoryFile("rcap", PAGE));
    this.#fd = file.fd;
    this.#shared = held.use(MappedMemory.shared(PAGE, file.fd));
    this.#shared.contents[0] = 1;
    this.#held = held.move();
  }

  /** The frame of one of them. */
  get frame(): number {
    const { low, high } = this.#entryOf(this.#anonymous);
    const { layout, addressHigh } = this.#place.geometry;
    return ((low & layout.addressLow) >>> 12) + (high & addressHigh) * 2 ** 20;
  }

  /** Whether the counts say of them what is so. */
  areCountedRight(): boolean {
    const isRight = (memory: MappedMemory, record: number) => {
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        if (this.#recordOf(memory) === record) return true;
      }
      return false;
    };
    const once = IS_PRESENT | 1;
    if (!isRight(this.#anonymous, once | IS_ANONYMOUS)) return false;
    if (!isRight(this.#shared, once)) return false;
    {
      using again = MappedMemory.shared(PAGE, this.#fd);
      again.contents[0] = 1;
      if (!isRight(this.#shared, IS_PRESENT | 2)) return false;
    }
    return isRight(this.#shared, once);
  }

  #recordOf(memory: MappedMemory): number {
    const { entries, records } = this.#counts;
    const { low, high } = this.#entryOf(memory);
    entries[0] = low;
    entries[1] = high;
    this.#counts.count();
    return records[0];
  }

  #entryOf({ start }: MappedMemory): Halves {
    const { memory, geometry, topTable } = this.#place;
    return leafEntry(memory, geometry, topTable, Number(start / BigInt(PAGE)));
  }

  [Symbol.dispose](): void {
    this.#held[Symbol.dispose]();
  }
}
