/**
 * Cuts ranges into pieces that one page-out call can take.
 *
 * @module
 */

import { type OpenedPagemap, presentRuns } from "../../../ffi/pagemap.ts";
import { pageSize } from "../../../ffi/system.ts";
import type { PageRange } from "../../memory/process_memory.ts";
import { isMissing } from "../../errors.ts";
import { NotAnswering } from "./memory_calls.ts";

/** Pieces end at the boundaries of large pages, so that none is split without need. */
const LARGE_PAGE = 2 << 20;
/** A piece does not span a gap of this many nonresident bytes or more. */
const LARGEST_GAP = LARGE_PAGE;
/**
 * Pieces and calls that span this many bytes of address space do not grow further.
 * One call takes less than 2 GiB (`MAX_RW_COUNT` of include/linux/fs.h); the kernel
 * ignores the rest.
 */
export const LARGE_SPAN = 512 << 20;
/** How many bytes of address space one look at the pagemap covers. */
const LOOK_AHEAD = 4 * 2 ** 30;

/** A part of a range, small enough for one call. */
export interface Piece {
  /** Index of the range that it is a part of. */
  readonly range: number;
  readonly start: bigint;
  readonly bytes: number;
  /** How many of its bytes are resident. */
  readonly resident: number;
}

/** What cutting depends on. */
export interface PieceOptions {
  /** The pagemap of the process. */
  readonly pagemap: OpenedPagemap;
  /** Returns how many resident bytes one call takes; may change between pieces. */
  readonly bytesOfCall: () => number;
}

/**
 * Cuts the resident parts of a range into pieces that one call can take. The
 * resident bytes of a piece are read from the pagemap, not estimated from the range:
 * a range may span any amount of address space that was never touched.
 *
 * @param index of the range, which its pieces carry.
 */
export function piecesOf(
  range: PageRange,
  index: number,
  options: PieceOptions,
): Iterable<Piece> | AsyncIterable<Piece> {
  const bytes = Number(range.end - range.start);
  // A look would cost more than it could save.
  return range.isResident && bytes <= LARGE_PAGE
    ? [{ range: index, start: range.start, bytes, resident: bytes }]
    : cut(range, index, options);
}

async function* cut(
  range: PageRange,
  index: number,
  { pagemap, bytesOfCall }: PieceOptions,
): AsyncGenerator<Piece> {
  // In bytes from the start of the range, like the runs.
  let from = 0;
  let to = 0;
  let resident = 0;
  const piece = (): Piece => ({
    range: index,
    start: range.start + BigInt(from),
    bytes: to - from,
    resident,
  });
  const misalignment = Number(range.start % BigInt(LARGE_PAGE));
  for await (const run of residentRuns(range, pagemap)) {
    for (let start = run.start; start < run.end; start = to) {
      const isFull = resident >= bytesOfCall() ||
        start - to >= LARGEST_GAP || start - from >= LARGE_SPAN;
      if (isFull && resident > 0) {
        yield piece();
        resident = 0;
      }
      if (resident === 0) from = start;
      const wanted = start + misalignment + bytesOfCall() - resident;
      const aligned = Math.ceil(wanted / LARGE_PAGE) * LARGE_PAGE;
      to = Math.min(aligned - misalignment, run.end);
      resident += to - start;
    }
  }
  if (resident > 0) yield piece();
}

/** The resident runs of a range, in bytes from its start. */
async function* residentRuns(
  range: PageRange,
  pagemap: OpenedPagemap,
): AsyncGenerator<{ start: number; end: number }> {
  const bytes = pageSize();
  const firstPage = Number(range.start / BigInt(bytes));
  const pages = Number(range.end / BigInt(bytes)) - firstPage;
  // In parts, since looking at all of a large range takes long.
  const most = LOOK_AHEAD / bytes;
  for (let page = 0; page < pages; page += most) {
    const runs: { start: number; end: number }[] = [];
    try {
      await presentRuns(pagemap, {
        firstPage: firstPage + page,
        pages: Math.min(most, pages - page),
        pageSize: bytes,
      }, (first, count) => {
        const start = (page + first) * bytes;
        runs.push({ start, end: start + count * bytes });
      });
    } catch (error) {
      // An address space that is gone has no resident pages. A process that does not
      // answer is asked again when the caller checks whether it is gone.
      if (!isMissing(error) && !(error instanceof NotAnswering)) throw error;
    }
    yield* runs;
  }
}
