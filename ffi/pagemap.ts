/**
 * Which pages of a range are present: `/proc/<pid>/pagemap` and, since Linux 6.7,
 * its `PAGEMAP_SCAN` call, which skips unmapped ranges at no cost.
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
} from "../lib/memory/page_states.ts";
import { CallList } from "./call_list.ts";
import type { File } from "./file.ts";
import { Errno, systemError } from "./libc.ts";
import { ThreadClock } from "./thread_clock.ts";

// _IOWR('f', 16, struct pm_scan_arg), 96 bytes.
const PAGEMAP_SCAN = 0xc0606610;
const PAGE_IS_PRESENT = 1n << 3n;
const PAGE_IS_SWAPPED = 1n << 4n;
const PAGE_IS_PFNZERO = 1n << 5n;

/** Which pages a scan finds: `category_inverted`, `category_mask` and `return_mask`. */
interface Categories {
  readonly inverted: bigint;
  readonly mask: bigint;
  readonly returned: bigint;
}
const PRESENT: Categories = {
  inverted: PAGE_IS_PFNZERO,
  mask: PAGE_IS_PRESENT | PAGE_IS_PFNZERO,
  returned: PAGE_IS_PRESENT,
};
const SWAPPED: Categories = {
  inverted: 0n,
  mask: PAGE_IS_SWAPPED,
  returned: PAGE_IS_SWAPPED,
};

/** The most regions that a single call returns; struct page_region is 24 bytes. */
const SCAN_REGIONS = 4096;
/** Entries read at a time, 8 bytes each. */
const READ_ENTRIES = 64 * 1024;

/** Whether the kernel has `PAGEMAP_SCAN`; `undefined` until it is first used. */
let scanWorks: boolean | undefined;

/** A pagemap and a way to make calls on it, which take the mmap lock of its process. */
export interface OpenedPagemap {
  /** The opened `/proc/<pid>/pagemap`. */
  readonly pagemap: File;
  readonly make: (calls: CallList) => Promise<void>;
  /** Called with the processor time that calls have taken, in seconds. */
  readonly onWork?: (seconds: number) => void;
}

/** A pagemap on which calls are made directly, such as rcap's own. */
export function ownPagemap(pagemap: File): OpenedPagemap {
  return { pagemap, make: (calls) => calls.make() };
}

/**
 * Reports the runs of present pages in a range, in order. A page that maps the
 * kernel's zero page counts as absent, as it does in RSS, if the kernel can tell.
 *
 * @param opened the pagemap.
 * @param span the range.
 * @param onRun called with the first page, relative to the start of the range, and
 * the number of pages.
 * @throws SystemError if it cannot be read.
 */
export async function presentRuns(
  opened: OpenedPagemap,
  span: PageSpan,
  onRun: (firstPage: number, pages: number) => void,
): Promise<void> {
  if (scanWorks !== false && await scanRuns(opened, span, PRESENT, onRun)) {
    return;
  }
  await readPresent(opened, span, onRun);
}

/**
 * Reports the runs of pages in a range that page tables name as swapped, in order. Of
 * shared memory, page tables name none.
 *
 * @param onRun as that of {@linkcode presentRuns}.
 * @throws SystemError if they cannot be read.
 */
export async function swappedRuns(
  opened: OpenedPagemap,
  span: PageSpan,
  onRun: (firstPage: number, pages: number) => void,
): Promise<void> {
  if (scanWorks !== false && await scanRuns(opened, span, SWAPPED, onRun)) {
    return;
  }
  await readRuns(opened, span, SWAPPED_BIT, onRun);
}

/**
 * Finds runs by `PAGEMAP_SCAN`; `false` if the kernel does not have it.
 *
 * @param categories which pages are found.
 */
async function scanRuns(
  { pagemap, make, onWork }: OpenedPagemap,
  { firstPage, pages, pageSize }: PageSpan,
  { inverted, mask, returned }: Categories,
  onRun: (firstPage: number, pages: number) => void,
): Promise<boolean> {
  const size = BigInt(pageSize);
  const end = BigInt(firstPage + pages) * size;
  let start = BigInt(firstPage) * size;
  // Not shared: a call that does not return keeps its buffer.
  const regions = regionBuffers.pop() ?? new BigUint64Array(SCAN_REGIONS * 3);
  const argument = new BigUint64Array(12);
  while (start < end) {
    // struct pm_scan_arg, by index of 64 bits.
    argument.fill(0n);
    argument[0] = BigInt(argument.byteLength);
    argument[2] = start;
    argument[3] = end;
    argument[5] = address(regions);
    argument[6] = BigInt(SCAN_REGIONS);
    argument[8] = inverted; // category_inverted
    argument[9] = mask; // category_mask
    argument[11] = returned; // return_mask
    const calls = new CallList();
    const clock = new ThreadClock();
    const scan = calls.timed(
      clock,
      () => calls.ioctl(pagemap.fd, PAGEMAP_SCAN, argument),
    );
    await make(calls);
    onWork?.(clock.seconds);
    const count = calls.result(scan) ?? 0;
    if (count < 0) {
      if (-count !== Errno.ENOTTY || scanWorks) {
        throw systemError("PAGEMAP_SCAN", -count);
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
    start = argument[4]; // walk_end
    if (count < SCAN_REGIONS) break;
  }
  if (regionBuffers.length < MOST_BUFFERS) regionBuffers.push(regions);
  return true;
}

/**
 * {@linkcode presentRuns} by reading one entry per page, which works on every
 * kernel.
 */
export async function readPresent(
  opened: OpenedPagemap,
  span: PageSpan,
  onRun: (firstPage: number, pages: number) => void,
): Promise<void> {
  await readRuns(opened, span, PRESENT_BIT, onRun);
}

/** Finds the runs of pages whose entries have a bit in their high half. */
async function readRuns(
  opened: OpenedPagemap,
  span: PageSpan,
  bit: number,
  onRun: (firstPage: number, pages: number) => void,
): Promise<void> {
  let runStart = -1;
  const end = await eachEntry(opened, span, (page, high) => {
    if (high & bit) {
      if (runStart < 0) runStart = page;
    } else if (runStart >= 0) {
      onRun(runStart, page - runStart);
      runStart = -1;
    }
  });
  if (runStart >= 0) onRun(runStart, end - runStart);
}

/** Bits 63, present, and 62, swapped, of an entry, in its high half. */
const PRESENT_BIT = 1 << 31;
const SWAPPED_BIT = 1 << 30;

/** Bits of an entry's high half: bit 63, present, and bit 56, exclusively mapped. */
const PRESENT_AND_EXCLUSIVE = 1 << 31 | 1 << 24;

/**
 * Finds the pages of a range that are present and mapped exactly once:
 * Documentation/admin-guide/mm/pagemap.rst, bit 56.
 *
 * @param onRun receives consecutive ones, by page number in the range.
 * @throws SystemError if they cannot be read.
 */
export async function exclusiveRuns(
  opened: OpenedPagemap,
  span: PageSpan,
  onRun: (firstPage: number, pages: number) => void,
): Promise<void> {
  // Most of a large reservation is absent; its entries are not read.
  const present: [page: number, pages: number][] = [];
  await presentRuns(opened, span, (page, pages) => present.push([page, pages]));
  const { pageSize } = span;
  for (const [from, pages] of present) {
    const firstPage = span.firstPage + from;
    let start = -1;
    const end = await eachEntry(
      opened,
      { firstPage, pages, pageSize },
      (page, high) => {
        if ((high & PRESENT_AND_EXCLUSIVE) === PRESENT_AND_EXCLUSIVE) {
          if (start < 0) start = page;
        } else if (start >= 0) {
          onRun(from + start, page - start);
          start = -1;
        }
      },
    );
    if (start >= 0) onRun(from + start, end - start);
  }
}

/**
 * Reads the state of every page of a range, one byte per page: `PAGE_*`.
 *
 * @throws SystemError if it cannot be read.
 */
export async function pageStates(
  opened: OpenedPagemap,
  span: PageSpan,
): Promise<Uint8Array<ArrayBuffer>> {
  const states = new Uint8Array(span.pages);
  await eachEntry(opened, span, (page, high) => {
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
 * Calls `onEntry` with the high half of every page's entry.
 *
 * @returns the number of pages read; fewer than requested if the address space
 * ends.
 */
async function eachEntry(
  { pagemap, make, onWork }: OpenedPagemap,
  { firstPage, pages }: PageSpan,
  onEntry: (page: number, high: number) => void,
): Promise<number> {
  const entries = new Uint32Array(Math.min(READ_ENTRIES, pages) * 2);
  const entryBytes = new Uint8Array(entries.buffer);
  let page = 0;
  while (page < pages) {
    const wanted = Math.min(READ_ENTRIES, pages - page);
    const calls = new CallList();
    const clock = new ThreadClock();
    const call = calls.timed(clock, () =>
      calls.readAt(
        pagemap.fd,
        entryBytes.subarray(0, wanted * 8),
        (firstPage + page) * 8,
      ));
    await make(calls);
    onWork?.(clock.seconds);
    const length = calls.checked(call, "read pagemap");
    if (length === 0) break;
    const read = length / 8;
    for (let i = 0; i < read; i++) onEntry(page + i, entries[i * 2 + 1]);
    page += read;
  }
  return page;
}

/** Whether the kernel has `PAGEMAP_SCAN`, tested on an opened pagemap. */
export async function hasPagemapScan(opened: OpenedPagemap): Promise<boolean> {
  const nothing = { firstPage: 1, pages: 1, pageSize: 4096 };
  scanWorks ??= await scanRuns(opened, nothing, PRESENT, () => {});
  return scanWorks;
}

/**
 * Adds a read to a list of calls that ends the list if the address space of an
 * opened pagemap is gone because of exit or exec. A pagemap belongs to the address
 * space for which it was opened, and reads nothing once that is gone.
 *
 * @returns the index of the call; its result is greater than 0 while the address
 * space exists.
 */
export function lookWhetherAlive(pagemap: File, calls: CallList): number {
  return calls.readAt(pagemap.fd, new Uint8Array(8), 0);
}

/** Buffers for regions that are not in use. */
const regionBuffers: BigUint64Array<ArrayBuffer>[] = [];
/** The most buffers that are kept. */
const MOST_BUFFERS = 4;

/** The address of a typed array's first byte. */
function address(array: BigUint64Array<ArrayBuffer>): bigint {
  return BigInt(Deno.UnsafePointer.value(Deno.UnsafePointer.of(array)));
}
