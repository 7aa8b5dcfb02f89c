/**
 * What the first reference to a page costs that was paged out, to swap or to a file:
 * measured on memory of rcap's own.
 *
 * Another thread references the pages, because each may have to wait for a disk. It does
 * so by system calls that read them, between two looks at the clock. Before each,
 * `mincore(2)` tells whether the page is out: the kernel may have read it ahead with
 * another one.
 *
 * @module
 */

import { CallList } from "../../../ffi/call_list.ts";
import { File } from "../../../ffi/file.ts";
import { MappedMemory, memoryFile } from "../../../ffi/mapped_memory.ts";
import { MADV_PAGEOUT, RemoteRanges } from "../../../ffi/pidfd.ts";
import { statusOf } from "../../../ffi/statx.ts";
import { systemClock } from "../clock.ts";
import { median } from "./median.ts";
import { openPidfd } from "./system_calls.ts";

const PAGE_SIZE = 4096;
/** How many pages are paged out and referenced: 256 KiB. */
const PAGES = 64;
/** How much swap this takes, in bytes. */
export const SWAP_NEEDED = PAGES * PAGE_SIZE;
/** How many of them must have been out for a measurement. */
const LEAST_OUT = 8;

/** How often pages are paged out until enough of them are out. */
const ATTEMPTS = 6;
/** The time between the first two attempts, in milliseconds; it doubles each time. */
const FIRST_PAUSE = 10;

/**
 * Measures what a page-in from swap takes.
 *
 * @param signal ends the measurement.
 * @returns nanoseconds; `undefined` if too few pages went out.
 * @throws RcapError if it cannot be measured.
 */
export async function measureSwapIn(
  signal?: AbortSignal,
): Promise<number | undefined> {
  using memory = MappedMemory.anonymous(PAGES * PAGE_SIZE);
  memory.adviseSmallPages();
  fillHalf(memory.contents);
  const pages = shuffled(pagesOf(memory.contents));
  using self = openPidfd(Deno.pid);
  const all = new RemoteRanges(1);
  all.add(memory.start, memory.contents.length);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    await self.madvise(all, { from: 0, advice: MADV_PAGEOUT });
    const touches = await touch(pages, signal);
    const cost = costOf(touches, await touch(pages, signal));
    if (cost !== undefined || signal?.aborted) return cost;
    // Pages that a device is still writing stay in memory, in the swap cache. They have
    // just been mapped again, and go at once after they were written: shrink_folio_list
    // of mm/vmscan.c.
    await systemClock.sleep(FIRST_PAUSE * 2 ** attempt, signal);
  }
  return undefined;
}

/** What a page-in from the file system of a file takes. */
export interface FilePageIn {
  /** The device of the file, as `MAJOR:MINOR`. */
  readonly device: string;
  readonly nanoseconds: number;
}

/**
 * Measures what a page-in of a file takes, without read-ahead: on some pages of a file
 * that nothing uses at the moment. Makes the kernel forget them first; writes nothing.
 *
 * @param path the file. mincore(2) tells only its owner which pages of it are out.
 * @param signal ends the measurement.
 * @returns `undefined` if too few pages could be dropped.
 * @throws RcapError if it cannot be measured.
 */
export async function measureFilePageIn(
  path: string,
  signal?: AbortSignal,
): Promise<FilePageIn | undefined> {
  using file = File.open(path);
  const { size, device } = statusOf(file.fd, path);
  const available = Math.floor(size / PAGE_SIZE);
  if (available < PAGES) return undefined;
  const offsets = Array.from(
    { length: PAGES },
    (_, index) =>
      Math.floor((index + Math.random()) * available / PAGES) * PAGE_SIZE,
  );
  const single = offsets.map((offset) => ({ offset, bytes: PAGE_SIZE }));
  // A large folio goes only as a whole: find_lock_entries of mm/filemap.c.
  const all = [{ offset: 0, bytes: available * PAGE_SIZE }];
  for (const ranges of [single, all]) {
    const drops = new CallList();
    for (const range of ranges) drops.dropCached(file.fd, range);
    await drops.make();
    // Mapped only now, because what is mapped does not go.
    using memory = MappedMemory.readOnly(available * PAGE_SIZE, file.fd);
    memory.adviseRandomAccess();
    const pages = offsets.map((offset) =>
      memory.contents.subarray(offset, offset + PAGE_SIZE)
    );
    const touches = await touch(shuffled(pages), signal);
    const nanoseconds = costOf(touches, await touch(pages, signal));
    if (nanoseconds !== undefined) return { device, nanoseconds };
    if (signal?.aborted) break;
  }
  return undefined;
}

type Page = Uint8Array<ArrayBuffer>;

/** What a reference to a page took. */
interface Touch {
  readonly wasOut: boolean;
  readonly nanoseconds: number;
}

/** What the references to pages that were out took longer than those to the same pages in memory. */
function costOf(
  first: readonly Touch[],
  again: readonly Touch[],
): number | undefined {
  const times = (touches: readonly Touch[], wasOut: boolean) =>
    touches.filter((touch) => touch.wasOut === wasOut)
      .map(({ nanoseconds }) => nanoseconds);
  const [out, usual] = [times(first, true), times(again, false)];
  if (out.length < LEAST_OUT || usual.length === 0) return undefined;
  return Math.max(0, median(out) - median(usual));
}

/**
 * References pages in turn.
 *
 * @param signal ends it after the reference in progress.
 * @returns what each took, up to the first that failed.
 */
async function touch(
  pages: readonly Page[],
  signal?: AbortSignal,
): Promise<Touch[]> {
  using sink = memoryFile("rcap", 0);
  const calls = new CallList();
  const touches = pages.map((page) => {
    const state = new Uint8Array(1);
    const times = new BigUint64Array(4);
    calls.inCore(page, state);
    calls.time(times.subarray(0, 2));
    const read = calls.write(sink.fd, page.subarray(0, 1));
    calls.time(times.subarray(2));
    return { state, times, read };
  });
  const cancel = () => calls.cancel();
  signal?.addEventListener("abort", cancel, { once: true });
  try {
    if (!signal?.aborted) await calls.make();
  } finally {
    signal?.removeEventListener("abort", cancel);
  }
  return touches.filter(({ read }) => calls.result(read) === 1)
    .map(({ state, times }) => ({
      wasOut: (state[0] & 1) === 0,
      nanoseconds: Number(times[2] - times[0]) * 1e9 +
        Number(times[3]) - Number(times[1]),
    }));
}

/**
 * Fills memory so that it compresses to half its size, as memory often does: every page
 * with random bytes and zeros.
 */
function fillHalf(contents: Page): void {
  for (const page of pagesOf(contents)) {
    crypto.getRandomValues(page.subarray(0, PAGE_SIZE / 2));
  }
}

function pagesOf(contents: Page): Page[] {
  return Array.from(
    { length: contents.length / PAGE_SIZE },
    (_, page) => contents.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE),
  );
}

/** Returns pages in another order, in which no page follows its neighbour. */
function shuffled(pages: readonly Page[]): Page[] {
  const STEP = 27;
  return pages.map((_, index) => pages[index * STEP % pages.length]);
}
