/**
 * The layout of page-table entries, by architecture. To support another
 * architecture, add its layout here.
 *
 * Facts: Intel SDM volume 3, "Paging"; arch/x86/include/asm/pgtable_types.h.
 *
 * @module
 */

/** The layout of 64-bit entries; `low` and `high` are their halves. */
export interface PageTableLayout {
  /** Size of the smallest page, in bytes; a table occupies one. */
  readonly pageSize: number;
  /** Entries in a table. */
  readonly entries: number;
  /** Possible numbers of table levels, the most likely first. */
  readonly levels: readonly number[];
  /** An entry with any of these bits of `low` maps memory. */
  readonly present: number;
  /** Bits of `low` of pages that do not count towards RSS: the zero page, device memory. */
  readonly special: number;
  /** The position of the accessed bit in `low`; the dirty bit is the next. */
  readonly accessedShift: number;
  /** Bit of `low` that makes an entry above the lowest level map a large page. */
  readonly large: number;
  /** Bits of `low` and `high` that hold a physical address. */
  readonly addressLow: number;
  readonly addressHigh: number;
  /** Bit of `low` in which some kernels record writes. */
  readonly softDirty: number;
}

/** The known layouts. */
export const PAGE_TABLE_LAYOUTS: Readonly<
  Partial<Record<typeof Deno.build.arch, PageTableLayout>>
> = {
  x86_64: {
    pageSize: 4096,
    entries: 512,
    levels: [4, 5],
    // Present; or global without present, which marks pages that Linux lets fault
    // to see which node uses them (_PAGE_PROTNONE).
    present: 1 << 0 | 1 << 8,
    // _PAGE_SPECIAL, a software bit.
    special: 1 << 9,
    accessedShift: 5,
    large: 1 << 7,
    addressLow: 0xffff_f000 | 0,
    addressHigh: 0x000f_ffff,
    // _PAGE_SOFT_DIRTY, a software bit.
    softDirty: 1 << 11,
  },
};
