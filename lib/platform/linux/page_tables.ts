/**
 * Reads the page tables of processes, in which the processor records which pages
 * were accessed and modified.
 *
 * Tables may be freed or reused while they are read. The copies are memory-safe,
 * but their contents may then be wrong, so callers compare counts and read again.
 *
 * @module
 */

import { BpfError } from "../../../ffi/bpf.ts";
import { Btf, BtfError } from "../../../ffi/btf.ts";
import { Errno } from "../../../ffi/libc.ts";
import { CapabilityError, SystemError } from "../../errors.ts";
import { MODIFIED, REFERENCED } from "../../memory/pagedata.ts";
import { bpfRefusal } from "./bpf_refusal.ts";
import { BATCH, KernelMemory, PAGE_WORDS } from "./kernel_memory.ts";
import type { LockLook } from "./memory_calls.ts";
import { MmapLocks } from "./mmap_lock.ts";
import { isNested } from "./namespaces.ts";
import { findGeometry } from "./page_table_geometry.ts";
import { PAGE_TABLE_LAYOUTS } from "./page_table_layout.ts";
import { isSysMounted } from "./sysfs.ts";
import {
  type Geometry,
  type Halves,
  halves,
  leadsTo,
  pointTo,
  TablePath,
} from "./table_path.ts";
import { type AddressSpace, TaskList } from "./task_list.ts";

/** Pages that a table of the lowest level maps: 2 MiB. */
const LEAF_PAGES = 512;

/** A range of pages, by page number: the address divided by the page size. */
export interface PageInterval {
  readonly firstPage: number;
  readonly endPage: number;
}

/** Receives the present pages, interval by interval, in address order. */
export interface PageSink {
  /**
   * Receives consecutive pages.
   *
   * @param interval index of the interval they lie in.
   * @param page number of the first.
   * @param bits one byte per page; valid only during the call.
   */
  addPages(interval: number, page: number, bits: Uint8Array): void;
  /** Receives a large page, or a part of one: `count` pages with the same bits. */
  addLargePage(
    interval: number,
    page: number,
    { count, bits }: { count: number; bits: number },
  ): void;
}

/** Reads page tables; closed by `using`. Set up once, it serves all processes. */
export class PageTables implements Disposable {
  readonly #held: DisposableStack;
  readonly #tasks: TaskList;
  readonly #locks: MmapLocks;
  readonly #geometry: Geometry;
  readonly #path: TablePath;
  readonly #queue: PageQueue;

  private constructor(
    held: DisposableStack,
    { memory, tasks, locks, geometry }: {
      memory: KernelMemory;
      tasks: TaskList;
      locks: MmapLocks;
      geometry: Geometry;
    },
  ) {
    this.#held = held;
    this.#tasks = tasks;
    this.#locks = locks;
    this.#geometry = geometry;
    this.#path = new TablePath(memory, geometry);
    this.#queue = new PageQueue(memory, geometry);
  }

  /**
   * Sets up the BPF programs and finds the geometry of the tables.
   *
   * @throws CapabilityError if page tables cannot be read here; the message gives
   * the cause and the remedy.
   */
  static open(): PageTables {
    const layout = PAGE_TABLE_LAYOUTS[Deno.build.arch];
    if (!layout) {
      throw new CapabilityError(
        `rcap does not know the page tables of ${Deno.build.arch}`,
      );
    }
    requireFirstPidNamespace();
    try {
      using held = new DisposableStack();
      const btf = Btf.ofKernel();
      const tasks = held.use(new TaskList(btf));
      const memory = held.use(new KernelMemory());
      const locks = new MmapLocks(btf, memory);
      const geometry = findGeometry(memory, layout, tasks);
      return new PageTables(held.move(), { memory, tasks, locks, geometry });
    } catch (error) {
      throw refusal(error);
    }
  }

  /** Returns the current address spaces of all processes, by pid. */
  addressSpaces(): ReadonlyMap<number, AddressSpace> {
    return this.#tasks.addressSpaces();
  }

  /**
   * Looks at the mmap lock of an address space; `undefined` where this kernel's
   * locks cannot be read.
   */
  lookAtLock({ address }: AddressSpace): LockLook | undefined {
    return this.#locks.look(address);
  }

  /**
   * Finds the present pages of a process.
   *
   * @param topTable the address of its top table.
   * @param intervals where to look, in address order.
   */
  read(
    topTable: bigint,
    intervals: readonly PageInterval[],
    sink: PageSink,
  ): void {
    const { layout, largeZeroPage } = this.#geometry;
    const path = this.#path;
    const queue = this.#queue;
    path.start(halves(topTable));
    queue.start(sink);
    for (const [interval, { firstPage, endPage }] of intervals.entries()) {
      let page = firstPage;
      while (page < endPage) {
        const behind = path.enter(page, endPage);
        const end = Math.min(behind, endPage);
        if (path.low & layout.present) {
          if (path.isTable) {
            queue.addLeaf(interval, page, end, path);
          } else if (
            !(path.low & layout.special) &&
            !(largeZeroPage && leadsTo(largeZeroPage, path, this.#geometry))
          ) {
            queue.addLarge(interval, page, end, path);
          }
        }
        page = end;
      }
    }
    queue.flush();
  }

  [Symbol.dispose](): void {
    this.#held[Symbol.dispose]();
  }
}

/** Present pages on their way to the sink: leaf tables are copied many at a time. */
class PageQueue {
  readonly #memory: KernelMemory;
  readonly #geometry: Geometry;
  #sink!: PageSink;
  /** The result of {@linkcode bitsByFlags}. */
  readonly #bitsByFlags: Uint8Array;
  /** The bits of the pages of one leaf table. */
  readonly #bits = new Uint8Array(LEAF_PAGES);
  readonly #address: Halves = { low: 0, high: 0 };
  /** Parts of leaf tables and large pages, in order; one entry each in all arrays. */
  #count = 0;
  readonly #interval = new Int32Array(QUEUE);
  readonly #page = new Float64Array(QUEUE);
  readonly #end = new Float64Array(QUEUE);
  /** The index of the table's copy, or `LARGE`. */
  readonly #slot = new Int32Array(QUEUE);
  /** The bits of a large page. */
  readonly #largeBits = new Uint8Array(QUEUE);
  /** The number of tables to copy, and the entry that led to the last. */
  #tables = 0;
  #lastLow = 0;
  #lastHigh = 0;

  constructor(memory: KernelMemory, geometry: Geometry) {
    this.#memory = memory;
    this.#geometry = geometry;
    this.#bitsByFlags = bitsByFlags(geometry);
  }

  start(sink: PageSink): void {
    this.#sink = sink;
    this.#count = 0;
    this.#tables = 0;
  }

  /** Queues pages of the leaf table that an entry leads to. */
  addLeaf(
    interval: number,
    page: number,
    end: number,
    { low, high }: { low: number; high: number },
  ): void {
    const isLast = this.#tables > 0 && low === this.#lastLow &&
      high === this.#lastHigh;
    if (this.#count === QUEUE || (!isLast && this.#tables === BATCH)) {
      this.flush();
    }
    if (!isLast || this.#tables === 0) {
      pointTo(this.#address, low, high, this.#geometry);
      const { addresses } = this.#memory;
      addresses[this.#tables * 2] = this.#address.low;
      addresses[this.#tables * 2 + 1] = this.#address.high;
      this.#tables++;
      this.#lastLow = low;
      this.#lastHigh = high;
    }
    this.#push(interval, page, end, this.#tables - 1, 0);
  }

  /** Queues a large page, or a part of one. */
  addLarge(
    interval: number,
    page: number,
    end: number,
    { low }: { low: number },
  ): void {
    if (this.#count === QUEUE) this.flush();
    this.#push(interval, page, end, LARGE, this.#bitsByFlags[low & FLAGS]);
  }

  #push(
    interval: number,
    page: number,
    end: number,
    slot: number,
    bits: number,
  ): void {
    const at = this.#count++;
    this.#interval[at] = interval;
    this.#page[at] = page;
    this.#end[at] = end;
    this.#slot[at] = slot;
    this.#largeBits[at] = bits;
  }

  /** Passes all queued pages to the sink. */
  flush(): void {
    if (this.#tables > 0) this.#memory.copy(this.#tables);
    for (let at = 0; at < this.#count; at++) {
      const page = this.#page[at];
      const count = this.#end[at] - page;
      if (this.#slot[at] === LARGE) {
        const bits = this.#largeBits[at];
        this.#sink.addLargePage(this.#interval[at], page, { count, bits });
      } else {
        this.#readLeaf(this.#interval[at], page, count, this.#slot[at]);
      }
    }
    this.#count = 0;
    this.#tables = 0;
  }

  /** Finds the present pages of a leaf table. */
  #readLeaf(
    interval: number,
    page: number,
    count: number,
    slot: number,
  ): void {
    const at = slot * PAGE_WORDS + (page % LEAF_PAGES) * 2;
    if (count === LEAF_PAGES && this.#takeFullLeaf(at)) {
      this.#sink.addPages(interval, page, this.#bits);
      return;
    }
    const { words } = this.#memory;
    const bits = this.#bits;
    let run = 0;
    for (let i = 0; i < count; i++) {
      const found = this.#bitsByFlags[words[at + i * 2] & FLAGS];
      if (found !== ABSENT) {
        bits[run++] = found;
      } else if (run > 0) {
        this.#sink.addPages(interval, page + i - run, bits.subarray(0, run));
        run = 0;
      }
    }
    if (run > 0) {
      this.#sink.addPages(interval, page + count - run, bits.subarray(0, run));
    }
  }

  /**
   * Reads the bits of a whole leaf table, four entries at a time, as if all its
   * pages were present.
   *
   * @returns Whether they are.
   */
  #takeFullLeaf(first: number): boolean {
    const { words } = this.#memory;
    const bitsByFlags = this.#bitsByFlags;
    const bits = this.#bits;
    let all = 0;
    for (let i = 0, at = first; i < LEAF_PAGES; i += 4, at += 8) {
      const a = bitsByFlags[words[at] & FLAGS];
      const b = bitsByFlags[words[at + 2] & FLAGS];
      const c = bitsByFlags[words[at + 4] & FLAGS];
      const d = bitsByFlags[words[at + 6] & FLAGS];
      all |= a | b | c | d;
      bits[i] = a;
      bits[i + 1] = b;
      bits[i + 2] = c;
      bits[i + 3] = d;
    }
    return (all & ABSENT) === 0;
  }
}

/** The most parts of tables and large pages that are queued. */
const QUEUE = 4 * BATCH;
const LARGE = -1;

/** The flags of an entry: the bits of its low half that are not part of the address. */
const FLAGS = 0xfff;

/** The value for a page that is absent or does not count towards RSS. */
const ABSENT = 0x80;

/** Returns the bits of a page, or `ABSENT`, for every combination of flags. */
function bitsByFlags({ layout, softDirty }: Geometry): Uint8Array {
  const { present, special, accessedShift } = layout;
  return Uint8Array.from({ length: FLAGS + 1 }, (_, flags) => {
    if (!(flags & present) || flags & special) return ABSENT;
    const isAccessed = (flags >>> accessedShift & 1) !== 0;
    const isDirty = (flags >>> accessedShift & 2) !== 0;
    // A page that is dirty but not accessed was modified earlier.
    const isModified = softDirty === 0
      ? isAccessed && isDirty
      : (flags & softDirty) !== 0;
    // Soft-dirty alone means that the page was moved, or that something else reset
    // the accessed bit.
    return (isModified ? MODIFIED : 0) | (isAccessed ? REFERENCED : 0);
  });
}

/** BPF shows the machine's pids, so rcap must run in the initial pid namespace. */
function requireFirstPidNamespace(): void {
  if (isNested("pid")) {
    throw new CapabilityError(
      "rcap runs in a container's own pid namespace, and BPF shows the machine's pids",
      { remedy: "run it outside, or in the pid namespace of the host" },
    );
  }
}

/** Returns the error that says why page tables cannot be read, with the remedy. */
function refusal(error: unknown): unknown {
  if (error instanceof CapabilityError) return error;
  if (error instanceof SystemError && error.errno === Errno.ENOENT) {
    return isSysMounted()
      ? new CapabilityError(`the kernel has no BTF (${error.message})`, {
        remedy: "use one with CONFIG_DEBUG_INFO_BTF",
        cause: error,
      })
      : new CapabilityError(`/sys is not there (${error.message})`, {
        remedy: "mount -t sysfs sysfs /sys",
        cause: error,
      });
  }
  if (error instanceof BtfError) {
    return new CapabilityError(error.message, {
      remedy: "use another kernel",
      cause: error,
    });
  }
  if (error instanceof BpfError) return bpfRefusal(error);
  return error instanceof SystemError
    ? new CapabilityError(error.message, { cause: error })
    : error;
}
