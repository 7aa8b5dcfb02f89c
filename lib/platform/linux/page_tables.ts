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
import { bpfRefusal } from "./bpf_refusal.ts";
import { KernelMemory } from "./kernel_memory.ts";
import type { LockLook } from "./memory_calls.ts";
import { MmapLocks } from "./mmap_lock.ts";
import type { MapCounts } from "./map_counts.ts";
import { isNested } from "./namespaces.ts";
import { PageQueue, type PageSink } from "./page_queue.ts";
import { PageTally, type TalliedPages } from "./page_tally.ts";
import type { PassedOver } from "./passed_over.ts";
import { findGeometry } from "./page_table_geometry.ts";
import { PAGE_TABLE_LAYOUTS } from "./page_table_layout.ts";
import { isSysMounted } from "./sysfs.ts";
import { type Geometry, halves, leadsTo, TablePath } from "./table_path.ts";
import { type AddressSpace, TaskList } from "./task_list.ts";
import { openMapCounts } from "./vmemmap.ts";

/** A range of pages, by page number: the address divided by the page size. */
export interface PageInterval {
  readonly firstPage: number;
  readonly endPage: number;
}

/** A place in a walk. */
interface Place {
  readonly interval: number;
  readonly page: number;
}

/** How long counting goes on before other work gets its turn, in milliseconds. */
const SLICE = 20;

/** Reads page tables; closed by `using`. Set up once, it serves all processes. */
export class PageTables implements Disposable {
  readonly #held: DisposableStack;
  readonly #tasks: TaskList;
  readonly #locks: MmapLocks;
  readonly #geometry: Geometry;
  readonly #memory: KernelMemory;
  readonly #counts: MapCounts | undefined;
  readonly #path: TablePath;
  readonly #queue: PageQueue;
  /** Why map counts cannot be read; `undefined` if they can. */
  readonly whyNoCounts: CapabilityError | undefined;

  private constructor(
    held: DisposableStack,
    { memory, tasks, locks, geometry, counts }: {
      memory: KernelMemory;
      tasks: TaskList;
      locks: MmapLocks;
      geometry: Geometry;
      counts: MapCounts | CapabilityError;
    },
  ) {
    this.#held = held;
    this.#tasks = tasks;
    this.#locks = locks;
    this.#geometry = geometry;
    this.#memory = memory;
    if (counts instanceof CapabilityError) this.whyNoCounts = counts;
    else this.#counts = counts;
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
      const counts = countsIfAny(btf, { memory, tasks, geometry });
      if (!(counts instanceof CapabilityError)) held.use(counts);
      return new PageTables(held.move(), {
        memory,
        tasks,
        locks,
        geometry,
        counts,
      });
    } catch (error) {
      throw refusal(error);
    }
  }

  /** Whether the kernel keeps soft-dirty bits, by which others may track writes. */
  get hasSoftDirty(): boolean {
    return this.#geometry.softDirty !== 0;
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
   * @param passedOver the pages to leave out, which a page-out passes over.
   */
  read(
    topTable: bigint,
    intervals: readonly PageInterval[],
    sink: PageSink,
    passedOver?: PassedOver,
  ): void {
    this.#queue.start(sink, passedOver);
    this.#walk(topTable, intervals, this.#queue);
    this.#queue.flush();
  }

  /**
   * Counts the pages of a process and how often they are mapped, by interval;
   * `undefined` where map counts cannot be read. Other work goes on meanwhile.
   *
   * @param intervals where to look, in address order; everywhere by default.
   * @param passedOver is told which pages a page-out passes over.
   */
  async tally(
    topTable: bigint,
    intervals: readonly PageInterval[] = [this.#userHalf],
    passedOver?: PassedOver,
  ): Promise<readonly TalliedPages[] | undefined> {
    const counts = this.#counts;
    if (!counts) return undefined;
    const geometry = this.#geometry;
    const means = { memory: this.#memory, geometry, counts, passedOver };
    const tally = new PageTally(intervals.length, means);
    let place: Place | undefined = { interval: 0, page: 0 };
    for (;;) {
      const until = performance.now() + SLICE;
      place = this.#walk(topTable, intervals, tally, { place, until });
      if (!place) return tally.totals;
      await new Promise((resolve) => setTimeout(resolve, 0));
      // Others have counted in between.
      tally.forgetTable();
    }
  }

  /** All pages that a process can map by itself. */
  get #userHalf(): PageInterval {
    const { layout, levels } = this.#geometry;
    return { firstPage: 0, endPage: layout.entries ** levels / 2 };
  }

  /**
   * Passes the entries of leaf tables and of large pages on.
   *
   * @param place where to begin.
   * @param until when to stop: {@linkcode performance.now}.
   * @returns where to go on; `undefined` at the end.
   */
  #walk(
    topTable: bigint,
    intervals: readonly PageInterval[],
    to: PageQueue | PageTally,
    { place = { interval: 0, page: 0 }, until = Infinity }: {
      place?: Place;
      until?: number;
    } = {},
  ): Place | undefined {
    const { layout, largeZeroPage } = this.#geometry;
    const path = this.#path;
    path.start(halves(topTable));
    for (let interval = place.interval; interval < intervals.length;) {
      const { firstPage, endPage } = intervals[interval];
      let page = interval === place.interval
        ? Math.max(firstPage, place.page)
        : firstPage;
      while (page < endPage) {
        const behind = path.enter(page, endPage);
        const end = Math.min(behind, endPage);
        if (path.low & layout.present) {
          if (path.isTable) {
            to.addLeaf(interval, page, end, path);
          } else if (
            !(path.low & layout.special) &&
            !(largeZeroPage && leadsTo(largeZeroPage, path, this.#geometry))
          ) {
            to.addLarge(interval, page, end, path);
          }
        }
        page = end;
        if (until < Infinity && performance.now() > until) {
          return { interval, page };
        }
      }
      interval++;
    }
    return undefined;
  }

  [Symbol.dispose](): void {
    this.#held[Symbol.dispose]();
  }
}

/** Sets up the reading of map counts, or returns why they cannot be read. */
function countsIfAny(
  btf: Btf,
  { memory, tasks, geometry }: {
    memory: KernelMemory;
    tasks: TaskList;
    geometry: Geometry;
  },
): MapCounts | CapabilityError {
  const own = tasks.addressSpaces().get(Deno.pid);
  if (!own) {
    return new CapabilityError("BPF does not show this process to itself");
  }
  try {
    return openMapCounts(btf, { memory, geometry, topTable: own.topTable });
  } catch (error) {
    if (error instanceof CapabilityError) return error;
    throw error;
  }
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
