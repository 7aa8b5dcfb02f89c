/**
 * What page-table entries look like, by architecture. To support another
 * architecture, add its layout here.
 *
 * Facts: Intel SDM volume 3, "Paging"; arch/x86/include/asm/pgtable_types.h.
 *
 * @module
 */

/** The layout of the entries of 64 bits; `low` and `high` are their halves. */
export interface PageTableLayout {
  /** Size of the smallest page, in bytes; a table takes one. */
  readonly pageSize: number;
  /** Entries in a table. */
  readonly entries: number;
  /** Levels of tables that processes may have, the most likely first. */
  readonly levels: readonly number[];
  /** An entry with any of these bits of `low` maps memory. */
  readonly present: number;
  /** Bits of `low` of pages that count to nobody: the zero page, device memory. */
  readonly special: number;
  /** Where in `low` the accessed bit stands; the dirty bit is the next. */
  readonly accessedShift: number;
  /** Bit of `low` by which an entry above the lowest level maps a large page. */
  readonly large: number;
  /** Bits of `low` and `high` that hold a physical address. */
  readonly addressLow: number;
  readonly addressHigh: number;
  /** Bit of `low` by which some kernels note what was written to. */
  readonly softDirty: number;
}

/** The layouts there are. */
export const PAGE_TABLE_LAYOUTS: Readonly<
  Partial<Record<typeof Deno.build.arch, PageTableLayout>>
> = {
  x86_64: {
    pageSize: 4096,
    entries: 512,
    levels: [4, 5],
    // Present; or global without present, by which Linux marks pages that it
    // lets fault to see who uses them (_PAGE_PROTNONE).
    present: 1 << 0 | 1 << 8,
    // _PAGE_SPECIAL, a bit that is left to software.
    special: 1 << 9,
    accessedShift: 5,
    large: 1 << 7,
    addressLow: 0xffff_f000 | 0,
    addressHigh: 0x000f_ffff,
    // _PAGE_SOFT_DIRTY, a bit that is left to software.
    softDirty: 1 << 11,
  },
};
