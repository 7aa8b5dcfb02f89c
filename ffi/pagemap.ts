/**
 * Which pages of a range are present: `/proc/<pid>/pagemap` and, on kernels that
 * have it (6.7), its `PAGEMAP_SCAN` call, which passes over what is not mapped
 * at no cost.
 *
 * Facts: Documentation/admin-guide/mm/pagemap.rst, include/uapi/linux/fs.h.
 *
 * @module
 */

import {
  PAGE_ABSENT,
  PAGE_PRESENT,
  PAGE_SWAPPED,
  type PageSpan,
} from "../lib/platform/page_states.ts";
import type { File } from "./file.ts";
import { Errno, errno, libc, SystemError } from "./libc.ts";

// _IOWR('f', 16, struct pm_scan_arg), 96 bytes.
const PAGEMAP_SCAN = 0xc0606610n;
const PAGE_IS_PRESENT = 1n << 3n;
const PAGE_IS_PFNZERO = 1n << 5n;

/** Regions a single call may return; struct page_region is 24 bytes. */
const SCAN_REGIONS = 4096;
/** Entries read at a time, 8 bytes each. */
const READ_ENTRIES = 64 * 1024;

const scanArgument = new BigUint64Array(12);
const regions = new BigUint64Array(SCAN_REGIONS * 3);
const entries = new Uint32Array(READ_ENTRIES * 2);
const entryBytes = new Uint8Array(entries.buffer);

/** Whether the kernel knows `PAGEMAP_SCAN`; unknown until first asked. */
let scanWorks: boolean | undefined;

/**
 * Tells the runs of present pages in a range, in order. A page that shares the
 * kernel's zero page counts as absent, as it does for RSS, where the kernel can
 * tell.
 *
 * @param pagemap the opened `/proc/<pid>/pagemap`.
 * @param span where to look.
 * @param onRun called with the first page, counted from the start of the range,
 * and the number of pages.
 * @throws SystemError when it cannot be read.
 */
export function presentRuns(
  pagemap: File,
  span: PageSpan,
  onRun: (firstPage: number, pages: number) => void,
): void {
  if (scanWorks !== false && scanPresent(pagemap, span, onRun)) return;
  readPresent(pagemap, span, onRun);
}

/** {@linkcode presentRuns} by `PAGEMAP_SCAN`; `false` where there is no such call. */
function scanPresent(
  pagemap: File,
  { firstPage, pages, pageSize }: PageSpan,
  onRun: (firstPage: number, pages: number) => void,
): boolean {
  const size = BigInt(pageSize);
  const end = BigInt(firstPage + pages) * size;
  let start = BigInt(firstPage) * size;
  while (start < end) {
    // struct pm_scan_arg, by index of 64 bits.
    scanArgument.fill(0n);
    scanArgument[0] = BigInt(scanArgument.byteLength);
    scanArgument[2] = start;
    scanArgument[3] = end;
    scanArgument[5] = address(regions);
    scanArgument[6] = BigInt(SCAN_REGIONS);
    scanArgument[8] = PAGE_IS_PFNZERO; // category_inverted
    scanArgument[9] = PAGE_IS_PRESENT | PAGE_IS_PFNZERO; // category_mask
    scanArgument[11] = PAGE_IS_PRESENT; // return_mask
    const count = libc().ioctl(
      pagemap.fd,
      PAGEMAP_SCAN,
      new Uint8Array(scanArgument.buffer),
    );
    if (count < 0) {
      const error = errno();
      if (error !== Errno.ENOTTY || scanWorks) {
        throw new SystemError("PAGEMAP_SCAN", error);
      }
      scanWorks = false;
      return false;
    }
    scanWorks = true;
    for (let i = 0; i < count; i++) {
      const from = Number(regions[i * 3] / size);
      const to = Number(regions[i * 3 + 1] / size);
      onRun(from - firstPage, to - from);
    }
    start = scanArgument[4]; // walk_end
    if (count < SCAN_REGIONS) return true;
  }
  return true;
}

/** {@linkcode presentRuns} by reading an entry a page, which every kernel can do. */
export function readPresent(
  pagemap: File,
  span: PageSpan,
  onRun: (firstPage: number, pages: number) => void,
): void {
  let runStart = -1;
  const end = eachEntry(pagemap, span, (page, high) => {
    if (high >>> 31) {
      if (runStart < 0) runStart = page;
    } else if (runStart >= 0) {
      onRun(runStart, page - runStart);
      runStart = -1;
    }
  });
  if (runStart >= 0) onRun(runStart, end - runStart);
}

/**
 * The state of every page of a range, a byte a page: `PAGE_*`.
 *
 * @param pagemap the opened `/proc/<pid>/pagemap`.
 * @throws SystemError when it cannot be read.
 */
export function pageStates(
  pagemap: File,
  span: PageSpan,
): Uint8Array<ArrayBuffer> {
  const states = new Uint8Array(span.pages);
  eachEntry(pagemap, span, (page, high) => {
    // Bit 63: present, bit 62: swapped.
    states[page] = high >>> 31
      ? PAGE_PRESENT
      : high & 0x4000_0000
      ? PAGE_SWAPPED
      : PAGE_ABSENT;
  });
  return states;
}

/**
 * Calls back with the high half of every page's entry.
 *
 * @returns how many pages there were; fewer than asked for where the address
 * space ends.
 */
function eachEntry(
  pagemap: File,
  { firstPage, pages }: PageSpan,
  onEntry: (page: number, high: number) => void,
): number {
  let page = 0;
  while (page < pages) {
    const wanted = Math.min(READ_ENTRIES, pages - page);
    const length = pagemap.readFrom(
      BigInt(firstPage + page) * 8n,
      entryBytes.subarray(0, wanted * 8),
    );
    if (length === 0) break;
    const read = length / 8;
    for (let i = 0; i < read; i++) onEntry(page + i, entries[i * 2 + 1]);
    page += read;
  }
  return page;
}

/** Whether the kernel knows `PAGEMAP_SCAN`, asked of an opened pagemap. */
export function hasPagemapScan(pagemap: File): boolean {
  const nothing = { firstPage: 1, pages: 1, pageSize: 4096 };
  scanWorks ??= scanPresent(pagemap, nothing, () => {});
  return scanWorks;
}

/** Whether the address space behind an opened pagemap still exists. */
export function isAddressSpaceAlive(pagemap: File): boolean {
  // An opened pagemap stays with the address space it was opened for. A read
  // gives nothing once that is gone, by exit or exec.
  return pagemap.readFrom(0n, probe) > 0;
}

const probe = new Uint8Array(8);

/** The address of a typed array's first byte. */
function address(array: BigUint64Array<ArrayBuffer>): bigint {
  return BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(array)));
}
