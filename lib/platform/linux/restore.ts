/**
 * Brings memory of a process back that is in swap: `process_madvise(MADV_WILLNEED)`.
 *
 * Of anonymous memory and of shared memory, the kernel reads what is in swap into its
 * swap cache (`madvise_willneed` of mm/madvise.c, `read_swap_cache_async`). The page
 * tables go on naming swap until the process uses a page, which then takes no read. Of
 * a file it would read the whole range ahead, and not what a private mapping has in
 * swap; so files are left out. Reading starts at once, and is not waited for.
 *
 * @module
 */

import { CallList } from "../../../ffi/call_list.ts";
import type { File } from "../../../ffi/file.ts";
import { Errno } from "../../../ffi/libc.ts";
import {
  lookWhetherAlive,
  type OpenedPagemap,
  swappedRuns,
} from "../../../ffi/pagemap.ts";
import {
  MADV_WILLNEED,
  MAX_RANGES,
  type Pidfd,
  RemoteRanges,
} from "../../../ffi/pidfd.ts";
import { pageSize } from "../../../ffi/system.ts";
import { SystemError } from "../../errors.ts";
import type { ProcessId, RestoreOptions, RestoreResult } from "../platform.ts";
import type { LinuxMapping } from "./linux_mapping.ts";
import { whyLost } from "./proc_dir.ts";

/** The device of memory without a file in `maps`. */
const NO_DEVICE = "00:00";

/** How much address space one look at the pagemap covers, in bytes. */
const LOOK = 1 << 30;

/** Limits of the size of a call, in bytes, and its target duration, in milliseconds. */
const SMALLEST_CALL = 256 << 10;
const LARGEST_CALL = 16 << 20;
const CALL_MS = 100;

/** The access to a process that is restored. */
export interface RestoreAccess {
  readonly id: ProcessId;
  readonly pidfd: Pidfd;
  readonly pagemap: File;
  /** Makes calls that take the process's mmap lock. */
  readonly make: (
    calls: CallList,
    options?: { isUnstoppable: boolean },
  ) => Promise<void>;
}

/** How a mapping's memory comes back from swap; `undefined` if advice does not do it. */
function wayOf({ device, perm }: LinuxMapping): "pages" | "all" | undefined {
  if (device === NO_DEVICE) return "pages";
  // A shared mapping of a file on a disk has nothing in swap. Page tables do not show
  // what of shared memory is.
  return perm[3] === "s" ? "all" : undefined;
}

/** How much of mappings is out, and how much of that advice does not bring back, in bytes. */
export function outOf(
  mappings: readonly LinuxMapping[],
): Pick<RestoreResult, "out" | "outOfReach"> {
  let [out, outOfReach] = [0, 0];
  for (const mapping of mappings) {
    out += mapping.swap;
    if (!wayOf(mapping)) outOfReach += mapping.swap;
  }
  return { out, outOfReach };
}

/**
 * Reads what is in swap, mapping by mapping, in small calls.
 *
 * @returns how much was asked for, in bytes.
 * @throws ProcessError if the process exits, executes another program, or does not
 * answer.
 */
export async function restore(
  mappings: readonly LinuxMapping[],
  access: RestoreAccess,
  { mayRead }: RestoreOptions,
): Promise<number> {
  const reader = new Reader(access, mayRead);
  for (const mapping of mappings) {
    const way = mapping.swap > 0 ? wayOf(mapping) : undefined;
    if (!way) continue;
    const goesOn = way === "pages"
      ? await readPages(mapping, access, reader)
      : await readAll(mapping, reader);
    if (!goesOn) return reader.requested;
  }
  await reader.flush();
  return reader.requested;
}

/** Reads the pages of a mapping that are in swap. */
async function readPages(
  { start, end }: LinuxMapping,
  { pagemap, make }: RestoreAccess,
  reader: Reader,
): Promise<boolean> {
  const opened: OpenedPagemap = { pagemap, make };
  const bytes = pageSize();
  const last = Number(end / BigInt(bytes));
  const most = LOOK / bytes;
  for (let page = Number(start / BigInt(bytes)); page < last; page += most) {
    const runs: number[] = [];
    await swappedRuns(opened, {
      firstPage: page,
      pages: Math.min(most, last - page),
      pageSize: bytes,
    }, (first, count) => void runs.push(page + first, count));
    for (let at = 0; at < runs.length; at += 2) {
      if (!await reader.add(runs[at], runs[at + 1] * bytes)) return false;
    }
  }
  return true;
}

/** Reads a mapping of shared memory, of which the kernel takes what is in swap. */
async function readAll(
  { start, end, swap }: LinuxMapping,
  reader: Reader,
): Promise<boolean> {
  const firstPage = Number(start / BigInt(pageSize()));
  return await reader.add(firstPage, Number(end - start), swap);
}

/** Collects ranges, and asks for them in calls. */
class Reader {
  /** How much was asked for, in bytes. */
  requested = 0;
  readonly #access: RestoreAccess;
  readonly #mayRead: RestoreOptions["mayRead"];
  readonly #ranges = new RemoteRanges(MAX_RANGES);
  /** How much of each range is in swap, in bytes. */
  readonly #swapped: number[] = [];
  #bytes = 0;
  #callBytes = SMALLEST_CALL;

  constructor(access: RestoreAccess, mayRead: RestoreOptions["mayRead"]) {
    this.#access = access;
    this.#mayRead = mayRead;
  }

  /**
   * Adds a range.
   *
   * @param swapped how much of it is in swap, in bytes.
   * @returns `false` if nothing more may be read.
   */
  async add(
    firstPage: number,
    bytes: number,
    swapped = bytes,
  ): Promise<boolean> {
    let done = 0;
    while (done < bytes) {
      const left = Math.max(this.#callBytes - this.#bytes, pageSize());
      // If only some of it is in swap, nobody knows which.
      const share = swapped / bytes;
      const part = Math.min(bytes - done, roundedUp(left / share));
      const start = BigInt(firstPage * pageSize() + done);
      this.#ranges.add(start, part);
      this.#swapped.push(part * share);
      this.#bytes += part * share;
      done += part;
      const isFull = this.#bytes >= this.#callBytes || this.#ranges.isFull;
      if (isFull && !await this.flush()) return false;
    }
    return true;
  }

  /** Asks for the ranges that were added; `false` if they may not be read. */
  async flush(): Promise<boolean> {
    const ranges = this.#ranges;
    if (ranges.count === 0) return true;
    const mayRead = this.#mayRead(this.#bytes);
    if (mayRead) {
      const began = performance.now();
      await this.#ask();
      const elapsed = performance.now() - began;
      const wanted = this.#bytes * CALL_MS / Math.max(elapsed, 1);
      this.#callBytes = Math.min(
        Math.max(wanted, SMALLEST_CALL),
        this.#callBytes * 2,
        LARGEST_CALL,
      );
    }
    ranges.clear();
    this.#swapped.length = 0;
    this.#bytes = 0;
    return mayRead;
  }

  async #ask(): Promise<void> {
    const { pidfd, pagemap, make, id } = this.#access;
    for (let from = 0; from < this.#ranges.count;) {
      const calls = new CallList();
      const alive = lookWhetherAlive(pagemap, calls);
      const options = { from, advice: MADV_WILLNEED };
      const advised = pidfd.advise(calls, this.#ranges, options);
      await make(calls, { isUnstoppable: true });
      if ((calls.result(alive) ?? 0) <= 0) throw whyLost(id);
      let left = 0;
      try {
        left = calls.checked(advised, "process_madvise");
      } catch (error) {
        if (!(error instanceof SystemError)) throw error;
        if (error.errno === Errno.ESRCH) throw whyLost(id);
        if (!PASSED_OVER.has(error.errno)) throw error;
        // A part of it is not mapped any more.
        from++;
        continue;
      }
      // No range is asked for twice, so the loop ends whatever the kernel returns.
      do {
        left -= this.#ranges.bytesOf(from);
        this.requested += this.#swapped[from++];
      } while (from < this.#ranges.count && left >= this.#ranges.bytesOf(from));
    }
  }
}

/** The errors of a range that is passed over: it is not mapped as it was. */
const PASSED_OVER: ReadonlySet<number> = new Set([
  Errno.EINVAL,
  Errno.ENOMEM,
  Errno.EAGAIN,
  Errno.EINTR,
]);

/** Rounds up to whole pages. */
function roundedUp(bytes: number): number {
  return Math.ceil(bytes / pageSize()) * pageSize();
}
