/**
 * The BPF program that reads how often pages are mapped.
 *
 * The kernel has a `struct page` for every page of physical memory, in one array:
 * vmemmap, Documentation/arch/x86/x86_64/mm.rst. The program takes the entries of a
 * leaf page table and reads the `struct page` of each page that is present.
 *
 * Facts: include/linux/mm_types.h (`struct page`, `struct folio`),
 * `folio_precise_page_mapcount` of mm/internal.h (before Linux 6.10 `page_mapcount`),
 * `folio_maybe_dma_pinned` of include/linux/mm.h.
 *
 * @module
 */

import { BPF_LOOP, BPF_PROBE_READ_KERNEL } from "../../../ffi/bpf.ts";
import {
  add,
  and,
  call,
  exit,
  functionAt,
  jump,
  jumpIfAny,
  jumpIfEqual,
  jumpIfNotBelow,
  label,
  load32,
  load64,
  mapValue,
  move,
  moveWide,
  multiply,
  or,
  r0,
  r1,
  r10,
  r2,
  r3,
  r4,
  r5,
  r6,
  r7,
  r8,
  r9,
  type Register,
  shiftLeft,
  shiftRight,
  type Statement,
  store16,
  store64,
  subtract,
  xor,
} from "../../../ffi/bpf_assembler.ts";
import { type Btf, BtfError } from "../../../ffi/btf.ts";
import type { Geometry } from "./table_path.ts";

/** Entries of a leaf table. */
export const ENTRIES = 512;
const PAGE = 4096;
const PAGE_SHIFT = 12;

/** The size of a `struct page` that the program relies on, in bytes. */
export const PAGE_BYTES = 64;
/**
 * Neighbours in a table are often neighbours in memory, too. So if the pages of two
 * entries in a row are in one block of vmemmap, the program copies the whole block.
 * On a machine with two processors that do other work, a page took 14 ns with
 * blocks and 46 ns without; and where the memory is in random order, 150 ns if
 * blocks were always copied.
 */
const BLOCK = 512;
/**
 * The entries that one call of the program's function handles. The verifier goes
 * through each of them.
 */
const GROUP_SHIFT = 3;
const GROUP = 1 << GROUP_SHIFT;

/**
 * The program's map: the address of vmemmap; the address of the last head page, and
 * the copy of it and of the page after it; the address of the last block that was
 * copied, and its copy; that of the last block of which a page was; a count that is kept during a call; the entries; and the records.
 */
export const VMEMMAP_AT = 0;
const HEAD_AT = 8;
const BLOCK_START_AT = 16;
const LAST_BLOCK_AT = 24;
const COUNT_AT = 32;
const FOLIO_AT = 256;
const BLOCK_AT = 1024;
export const ENTRIES_AT = PAGE;
export const RECORDS_AT = 2 * PAGE;
/** The size of the map, in bytes. */
export const MAP_BYTES = 3 * PAGE;

/**
 * The parts of a record: how often the page is mapped, at most this; whether it lies
 * in a large folio that is mapped more than once; whether it is present; anonymous;
 * and pinned. The count is 0 if it is not known. A record of a page that is not
 * present, or does not count towards RSS, is 0.
 */
export const MAP_COUNT = 0x0fff;
export const IN_SHARED_FOLIO = 0x1000;
export const IS_PRESENT = 0x2000;
export const IS_ANONYMOUS = 0x4000;
export const IS_PINNED = 0x8000;

/** What a pin adds to the reference count of a page: include/linux/mm.h. */
const GUP_PIN_COUNTING_BIAS = 1024;

/** Where this kernel's `struct page` and `struct folio` have what is needed. */
export interface PageLayout {
  /** Size of a `struct page`, in bytes. */
  readonly size: number;
  /** Bit of a head page's `flags` that marks a large folio. */
  readonly headBit: number;
  readonly flags: number;
  readonly compoundHead: number;
  readonly mapping: number;
  readonly mapCount: number;
  readonly refCount: number;
  /** From the head page on: how often a large folio is mapped as a whole, less 1. */
  readonly entireMapCount: number;
  readonly pinCount: number;
  /**
   * The bit that marks a folio that several address spaces map is the highest of
   * these 64: `FOLIO_MM_IDS_SHARED_BITNUM`, since Linux 6.15. `undefined` where
   * `MADV_PAGEOUT` looks at the first page of the folio instead.
   */
  readonly mmIds: number | undefined;
  /**
   * Whether the counts of single pages of a file's folio include those of the
   * folio, and those of an anonymous one that is mapped in both ways do, too:
   * `__page_mapcount` of mm/util.c before Linux 6.2.
   */
  readonly countsInclude: boolean;
}

/**
 * Finds the layout.
 *
 * @throws BtfError if this kernel's types are not as expected.
 */
export function pageLayout(btf: Btf): PageLayout {
  const [entire, countsInclude] = entireMapCount(btf);
  return {
    size: btf.sizeOf("page"),
    headBit: btf.valueOf("pageflags", "PG_head"),
    flags: btf.offsetOf("page", "flags"),
    compoundHead: btf.offsetOf("page", "compound_head"),
    mapping: btf.offsetOf("page", "mapping"),
    mapCount: btf.offsetOf("page", "_mapcount"),
    refCount: btf.offsetOf("page", "_refcount"),
    entireMapCount: entire,
    pinCount: btf.offsetOf("folio", "_pincount"),
    mmIds: btf.offsetIfAny("folio", "_mm_ids"),
    countsInclude,
  };
}

/** The names of `_entire_mapcount`, the newest first, and whether counts include it. */
const ENTIRE_NAMES: readonly (readonly [name: string, include: boolean])[] = [
  ["_entire_mapcount", false],
  // Linux 6.2.
  ["_compound_mapcount", false],
  // Linux 6.0 and 6.1.
  ["_total_mapcount", true],
];

function entireMapCount(btf: Btf): [offset: number, include: boolean] {
  for (const [name, include] of ENTIRE_NAMES) {
    const offset = btf.offsetIfAny("folio", name);
    if (offset !== undefined) return [offset, include];
  }
  throw new BtfError("BTF: this kernel's struct folio has no known map count");
}

/**
 * The program. It calls a function for each group of entries, since the verifier
 * would take a quarter of a second for a loop of 512.
 */
export function countPages(
  mapFd: number,
  page: PageLayout,
  { layout, addressHigh }: Pick<Geometry, "layout" | "addressHigh">,
): Statement[] {
  const [record, value, index, address] = [r6, r7, r8, r9];
  /** On the stack: how many entries of the group are done. */
  const WITHIN_GROUP = -8;
  const addressMask = BigInt(layout.addressLow >>> 0) |
    BigInt(addressHigh) << 32n;
  return [
    move(r1, 0),
    mapValue(r2, mapFd),
    store64(r2, HEAD_AT, r1),
    store64(r2, BLOCK_START_AT, r1),
    store64(r2, LAST_BLOCK_AT, r1),
    move(r1, ENTRIES / GROUP),
    functionAt(r2, "pages"),
    move(r3, 0),
    move(r4, 0),
    call(BPF_LOOP),
    move(r0, 0),
    exit(),
    // The function: r1 = the number of a group of entries.
    label("pages"),
    jumpIfNotBelow(r1, ENTRIES / GROUP, "end"),
    move(index, r1),
    shiftLeft(index, GROUP_SHIFT),
    mapValue(value, mapFd),
    move(r1, 0),
    store64(r10, WITHIN_GROUP, r1),
    label("page"),
    move(r2, index),
    shiftLeft(r2, 3),
    add(r2, value),
    load64(address, r2, ENTRIES_AT),
    move(record, 0),
    jumpIfAny(address, layout.special, "store"),
    jumpIfAny(address, layout.present, "present"),
    jump("store"),
    label("present"),
    // The bits of an entry that is marked by the global bit alone are inverted:
    // arch/x86/include/asm/pgtable-invert.h.
    jumpIfAny(address, 1, "straight"),
    xor(address, -1),
    label("straight"),
    moveWide(r1, addressMask),
    and(address, r1),
    shiftRight(address, PAGE_SHIFT),
    multiply(address, PAGE_BYTES),
    load64(r1, value, VMEMMAP_AT),
    add(address, r1),
    // address = that of the struct page
    move(record, IS_PRESENT),
    // r5 = its block
    move(r5, address),
    and(r5, -BLOCK),
    load64(r3, value, BLOCK_START_AT),
    jumpIfEqual(r3, r5, "read"),
    load64(r3, value, LAST_BLOCK_AT),
    jumpIfEqual(r3, r5, "block"),
    store64(value, LAST_BLOCK_AT, r5),
    move(r1, 0),
    store64(value, BLOCK_START_AT, r1),
    move(r1, address),
    and(r1, BLOCK - PAGE_BYTES),
    add(r1, value),
    ...read(r1, BLOCK_AT, PAGE_BYTES, address),
    jumpIfEqual(r0, 0, "read"),
    jump("store"),
    label("block"),
    store64(value, BLOCK_START_AT, r5),
    ...read(value, BLOCK_AT, BLOCK, r5),
    jumpIfEqual(r0, 0, "read"),
    move(r1, 0),
    store64(value, BLOCK_START_AT, r1),
    jump("store"),
    label("read"),
    move(r1, address),
    and(r1, BLOCK - PAGE_BYTES),
    add(r1, value),
    ...count(r4, r1, BLOCK_AT + page.mapCount),
    load64(r5, r1, BLOCK_AT + page.mapping),
    load64(r2, r1, BLOCK_AT + page.compoundHead),
    jumpIfAny(r2, 1, "tail"),
    load64(r3, r1, BLOCK_AT + page.flags),
    shiftRight(r3, page.headBit),
    jumpIfAny(r3, 1, "head"),
    // A small folio: each map counts as a reference, too.
    load32(r3, r1, BLOCK_AT + page.refCount),
    subtract(r3, r4),
    add(r3, -GUP_PIN_COUNTING_BIAS),
    shiftRight(r3, 63),
    xor(r3, 1),
    jump("count"),
    label("tail"),
    add(r2, -1),
    move(address, r2),
    label("head"),
    // Neighbours mostly have the same head.
    load64(r3, value, HEAD_AT),
    jumpIfEqual(r3, address, "known"),
    store64(value, HEAD_AT, address),
    store64(value, COUNT_AT, r4),
    ...read(value, FOLIO_AT, 2 * PAGE_BYTES, address),
    load64(r4, value, COUNT_AT),
    jumpIfEqual(r0, 0, "known"),
    move(r1, 0),
    store64(value, HEAD_AT, r1),
    jump("store"),
    label("known"),
    ...countOfLarge(page, { value, record }),
    label("count"),
    // r3 = whether it is pinned, 0 or 1; r4 = the count; r5 = mapping
    shiftLeft(r3, 15),
    or(record, r3),
    and(r5, 1),
    shiftLeft(r5, 14),
    or(record, r5),
    jumpIfNotBelow(r4, 2 ** 31 - 1, "store"),
    jumpIfNotBelow(r4, MAP_COUNT, "many"),
    or(record, r4),
    jump("store"),
    label("many"),
    or(record, MAP_COUNT),
    label("store"),
    move(r1, index),
    shiftLeft(r1, 1),
    add(r1, value),
    store16(r1, RECORDS_AT, record),
    add(index, 1),
    load64(r1, r10, WITHIN_GROUP),
    add(r1, 1),
    store64(r10, WITHIN_GROUP, r1),
    jumpIfNotBelow(r1, GROUP, "end"),
    jump("page"),
    label("end"),
    move(r0, 0),
    exit(),
  ];
}

/** Copies kernel memory into the map. r0 = 0 if it was possible. */
function read(
  value: Register,
  at: number,
  size: number,
  address: Register,
): Statement[] {
  return [
    move(r3, address),
    move(r1, value),
    add(r1, at),
    move(r2, size),
    call(BPF_PROBE_READ_KERNEL),
  ];
}

/** `destination = ` a count that the kernel keeps less 1, without its sign. */
function count(
  destination: Register,
  value: Register,
  at: number,
): Statement[] {
  return [
    load32(destination, value, at),
    add(destination, 1),
    shiftLeft(destination, 32),
    shiftRight(destination, 32),
  ];
}

/**
 * For a page of a large folio: r3 = whether it is pinned, r4 = its count, r5 =
 * mapping; and in the record whether its folio is mapped more than once.
 */
function countOfLarge(
  page: PageLayout,
  { value, record }: { value: Register; record: Register },
): Statement[] {
  const [entire, ofHead] = [r2, r3];
  return [
    load64(r5, value, FOLIO_AT + page.mapping),
    ...count(entire, value, FOLIO_AT + page.entireMapCount),
    ...count(ofHead, value, FOLIO_AT + page.mapCount),
    ...(page.countsInclude
      ? [
        jumpIfAny(r5, 1, "anonymous"),
        jump("total"),
        label("anonymous"),
        jumpIfEqual(r4, 0, "whole"),
        jumpIfEqual(entire, 0, "total"),
        add(r4, -1),
        label("whole"),
        add(r4, entire),
        label("total"),
      ]
      : [add(r4, entire), add(ofHead, entire)]),
    ...(page.mmIds === undefined
      ? [
        jumpIfNotBelow(ofHead, 2, "shared"),
        jump("own"),
        label("shared"),
        or(record, IN_SHARED_FOLIO),
        label("own"),
      ]
      : [
        load64(r3, value, FOLIO_AT + page.mmIds),
        shiftRight(r3, 63),
        shiftLeft(r3, 12),
        or(record, r3),
      ]),
    load32(r3, value, FOLIO_AT + page.pinCount),
    jumpIfEqual(r3, 0, "count"),
    move(r3, 1),
  ];
}
