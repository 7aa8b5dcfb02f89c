/**
 * States of single pages, as `rcap inspect --pages` shows them.
 *
 * @module
 */

/** Not present. */
export const PAGE_ABSENT = 0;
/** In memory. */
export const PAGE_PRESENT = 1;
/** In swap. */
export const PAGE_SWAPPED = 2;

/** A range of pages, by page number: the address divided by the page size. */
export interface PageSpan {
  readonly firstPage: number;
  readonly pages: number;
  /** Size of a page, in bytes. */
  readonly pageSize: number;
}
