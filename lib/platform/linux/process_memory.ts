/**
 * The memory of one Linux process, for the scanner and `inspect`.
 *
 * No descriptor is held between calls: every call finds its process again by pid
 * and start time, so any number of processes can be scanned with few descriptors.
 *
 * @module
 */

import { pageStates } from "../../../ffi/pagemap.ts";
import { memoryInfo } from "../../../ffi/system.ts";
import { ProcessAccessDenied, ProcessError } from "../../errors.ts";
import type { PageSpan } from "../../memory/page_states.ts";
import type { Pagedata } from "../../memory/pagedata.ts";
import type {
  PageoutControl,
  ProcessSizes,
  Residency,
} from "../../memory/process_memory.ts";
import {
  type Footprint,
  type HeldMemory,
  type MappingFigures,
  type MonitoredMemory,
  type OpenOptions,
  type PagedataPurpose,
  type PagedataSourceName,
  type ProcessId,
  type ReadCost,
  type RestoreOptions,
  type RestoreResult,
  unshared,
} from "../platform.ts";
import {
  pageable,
  type PageableContext,
  type WhyNoSwap,
} from "./candidates.ts";
import { parseCgroups } from "./cgroups.ts";
import { isFrozen } from "./frozen_cgroups.ts";
import type { LinuxMapping } from "./linux_mapping.ts";
import type { MemoryCalls } from "./memory_calls.ts";
import { MemoryFiles, readSizes } from "./memory_files.ts";
import type { PagedataSource } from "./pagedata_source.ts";
import { LinuxPageout, openForAdvice } from "./pageout.ts";
import { memoryRoom } from "./memory_room.ts";
import { outOf, restore } from "./restore.ts";
import { sizeIn } from "./status_sizes.ts";
import { Precision, type PrecisionBudgets } from "./precision.ts";
import { replaced } from "../process_errors.ts";
import {
  ofProcess,
  ofProcessSlowly,
  ProcDir,
  requireMemory,
} from "./proc_dir.ts";
import { Readability } from "../readability.ts";
import { ResetPlan } from "./reset_plan.ts";
import type { SmapsParser } from "./smaps.ts";
import {
  describeSwapLimit,
  type SwapLimit,
  type SwapLimits,
} from "./swap_limits.ts";

/** The means to access the memory of processes. */
export interface MemoryAccess extends OpenOptions {
  readonly source: PagedataSource;
  readonly calls: MemoryCalls;
  /** Limits what is kept of the processes. */
  readonly budgets?: PrecisionBudgets;
  /** Finds the cgroups that may not swap; all processes share what it caches. */
  readonly swapLimits?: SwapLimits;
  /**
   * By how much longer the first reference to a page takes after its reference bit was
   * reset, in nanoseconds; `undefined` while it is not known.
   */
  readonly referenceCost?: () => number | undefined;
}

/** The memory of one process. */
export class LinuxProcessMemory implements MonitoredMemory {
  readonly knowsProportional = true;
  readonly readCost: ReadCost = { pages: 0, seconds: 0 };
  readonly #id: ProcessId;
  readonly #access: MemoryAccess;
  readonly #precision: Precision;
  readonly #plan: ResetPlan;
  readonly #readability = new Readability();
  /** The address space that is under observation or was last read. */
  #layout: string | undefined;
  /** Whether it is left alone, as of the last reading. */
  #hasSecondaryMmu = false;
  /** Start addresses of the mappings that can only go to swap, as of the last reading. */
  #needSwap: ReadonlySet<bigint> = new Set();

  constructor(id: ProcessId, access: MemoryAccess) {
    this.#id = id;
    this.#access = access;
    const { pid, startTime } = id;
    this.#precision = new Precision(`${pid}:${startTime}`, access.budgets);
    this.#plan = new ResetPlan({
      // The budget may change.
      budget: () => access.observationBudget,
      referenceCost: access.referenceCost,
    });
  }

  get pid(): number {
    return this.#id.pid;
  }

  get silence(): string | undefined {
    return this.#access.calls.silenceOf(this.#id);
  }

  get unreadable(): string | undefined {
    return this.#readability.failure;
  }

  get coarseness(): string | undefined {
    const reason = this.#precision.coarseness;
    return reason && `process ${this.pid} is known more coarsely: ${reason}`;
  }

  get leftAlone(): string | undefined {
    return this.#hasSecondaryMmu
      ? `process ${this.pid} is left alone: a virtual machine or device uses its memory, whose references are not visible`
      : undefined;
  }

  get observationCost(): number | undefined {
    return this.#plan.cost;
  }

  get unjudged(): number {
    return this.#plan.unjudged;
  }

  unresetFor(milliseconds: number): number {
    return this.#plan.unresetFor(milliseconds);
  }

  get pagedata(): PagedataSourceName | undefined {
    return this.#precision.isByMapping ? "smaps" : undefined;
  }

  async readPagedata(): Promise<Pagedata> {
    return await this.read("scan");
  }

  read(purpose: PagedataPurpose): Promise<Pagedata> {
    return this.#readability.note(() => this.#read(purpose));
  }

  async #read(purpose: PagedataPurpose): Promise<Pagedata> {
    return await this.#withFiles(async (files) => {
      const { directory } = files;
      const { layout } = directory.opened;
      if (this.#layout !== undefined && this.#layout !== layout) {
        throw replaced(this.pid);
      }
      this.#layout = layout;
      // The file system of a file matters only if not everything may go.
      const context = await this.#contextOf(
        files,
        (whyNoSwap) =>
          whyNoSwap !== undefined || this.#access.only !== undefined,
      );
      const precision = this.#precision;
      const plan = this.#plan;
      const resetsAll = purpose === "lend";
      const request = {
        purpose: resetsAll ? "scan" : purpose,
        context,
        precision,
        plan,
        resetsAll,
      } as const;
      const pagedata = await this.#access.source.read(files, request);
      this.readCost.pages += files.cost.pages;
      this.readCost.seconds += files.cost.seconds;
      return pagedata;
    });
  }

  hasRun(): boolean {
    return this.#access.source.hasRun(this.pid);
  }

  isAlone(): boolean {
    return this.#access.source.isAlone?.(this.pid) ?? false;
  }

  isHalted(): boolean {
    using directory = ProcDir.open(this.#id);
    if (directory.opened.isStopped) return true;
    return ofProcess(
      this.pid,
      () => isFrozen(parseCgroups(directory.readText("cgroup"))),
    );
  }

  async readMappings(
    purpose: PagedataPurpose = "inspect",
  ): Promise<MappingFigures[]> {
    const names = purpose === "inspect" ? "all" : "kinds";
    const parser = this.#precision.parser(purpose, names);
    const { mappings, context } = await this.#readSmaps(parser, {
      isExact: true,
    });
    return mappings.map((mapping) => figuresOf(mapping, context));
  }

  /**
   * Reads the mappings and the context that decides what a page-out can take of them.
   *
   * @param isExact whether each page is counted in any case. Counting takes as long as
   * smaps does; without, only pinned pages and parts of shared large pages count as
   * pageable that are not, and pinned memory is looked for where the kernel has some.
   */
  async #readSmaps(parser: SmapsParser, { isExact = false } = {}) {
    return await this.#withFiles(async (files) => {
      const mappings = await files.readSmaps(parser);
      if (isExact || heldOf(files.directory).pinned > 0) {
        await this.#access.source.refine?.(this.pid, mappings);
      }
      return { mappings, context: await this.#contextOf(files, () => true) };
    });
  }

  /**
   * Finds out what decides what a page-out can take of a process.
   *
   * @param needsDevices whether it matters which files are in memory file systems.
   */
  async #contextOf(
    files: MemoryFiles,
    needsDevices: (whyNoSwap: WhyNoSwap | undefined) => boolean,
  ): Promise<PageableContext> {
    const { directory } = files;
    const whyNoSwap = this.#whyNoSwap(directory);
    return {
      swapFree: !whyNoSwap,
      whyNoSwap,
      only: this.#access.only,
      hasSecondaryMmu: this.#isLeftAlone(files),
      memoryDevices: needsDevices(whyNoSwap)
        ? await files.readMemoryDevices()
        : NO_DEVICES,
      mainThreadExited: directory.opened.mainThreadExited,
    };
  }

  /**
   * Whether the process is left alone. It may get a virtual machine at any time, so it is
   * asked at each reading.
   */
  #isLeftAlone(files: MemoryFiles): boolean {
    const { source, secondaryMmu = "leave" } = this.#access;
    return this.#hasSecondaryMmu = secondaryMmu === "leave" &&
      source.hasSecondaryMmu(files);
  }

  async checkAccess(): Promise<void> {
    await this.#withFiles(async (files) => {
      using _pagemap = await files.openPagemap();
    });
  }

  reset(): Promise<void> {
    return this.#readability.note(() =>
      this.#withFiles(async (files) => {
        this.#layout = files.directory.opened.layout;
        await this.#access.source.reset(files, {
          isLeftAlone: () => this.#isLeftAlone(files),
          precision: this.#precision,
          plan: this.#plan,
        });
      })
    );
  }

  async refresh(): Promise<void> {
    await this.#withFiles((files) => this.#access.source.refresh(files));
  }

  closePagedata(): void {
    // Nothing stays open.
  }

  async readResidency(): Promise<ReadonlyMap<bigint, Residency>> {
    const parser = this.#precision.parser("scan");
    const { mappings, context } = await this.#readSmaps(parser);
    const withoutSwap = { ...context, swapFree: false };
    const residency = new Map<bigint, Residency>();
    const needSwap = new Set<bigint>();
    for (const mapping of mappings) {
      const { bytes, toSwap, reason } = pageable(mapping, context);
      const needsSwap = pageable(mapping, withoutSwap).bytes === 0;
      const { end, pageSize } = mapping;
      const size = Number(end - mapping.start);
      for (const part of this.#precision.partsOf(size, pageSize)) {
        const start = mapping.start + BigInt(part.offset);
        residency.set(start, {
          start,
          bytes: part.pages * part.pageSize,
          pageable: Math.ceil(bytes / pageSize),
          toSwap: Math.ceil(toSwap / pageSize),
          reason,
        });
        if (needsSwap) needSwap.add(start);
      }
    }
    this.#needSwap = needSwap;
    return residency;
  }

  readSizes(): ProcessSizes {
    using directory = ProcDir.open(this.#id);
    const sizes = readSizes(directory);
    requireMemory({ pid: this.pid, image: sizes.image });
    return sizes;
  }

  async readFootprint(): Promise<Footprint> {
    try {
      return await this.#countFootprint() ??
        await this.#withFiles((files) => files.readFootprint());
    } catch (error) {
      if (!(error instanceof ProcessAccessDenied)) throw error;
      return unshared(this.readSizes());
    }
  }

  swapLimit(): string | undefined {
    using directory = ProcDir.open(this.#id);
    const limit = this.#swapLimit(directory);
    return limit && describeSwapLimit(limit);
  }

  #swapLimit(directory: ProcDir): SwapLimit | undefined {
    const { swapLimits } = this.#access;
    if (!swapLimits) return undefined;
    return ofProcess(
      this.pid,
      () => swapLimits.reachedBy(parseCgroups(directory.readText("cgroup"))),
    );
  }

  /** Why the process cannot use swap; `undefined` if it can. */
  #whyNoSwap(directory: ProcDir): WhyNoSwap | undefined {
    if (this.#access.assumesSwap) return undefined;
    if (memoryInfo().freeSwap === 0) return "no-swap";
    if (this.#access.maySwap === false) return "swap-writes";
    return this.#swapLimit(directory) && "swap-limit";
  }

  readHeld(): HeldMemory {
    using directory = ProcDir.open(this.#id);
    return heldOf(directory);
  }

  readSwap(): number {
    using directory = ProcDir.open(this.#id);
    return sizeIn(directory.readText("status"), "VmSwap") ?? 0;
  }

  async restore({ mayRead }: RestoreOptions): Promise<RestoreResult> {
    const id = this.#id;
    const { calls, group } = this.#access;
    let isAtLimit = false;
    const { mappings, layout } = await this.#withFiles(async (files) => ({
      mappings: await files.readSmaps(
        this.#precision.parser("inspect", "kinds"),
      ),
      layout: files.directory.opened.layout,
    }));
    const found = outOf(mappings);
    if (found.out === found.outOfReach) {
      return { ...found, requested: 0, isAtLimit };
    }
    using access = await openForAdvice(id, { calls, group, layout });
    const requested = await restore(mappings, {
      id,
      ...access,
      make: (list, options) =>
        calls.patiently(id, (attempt) => attempt.make(list, options), group),
    }, {
      mayRead: (bytes) => {
        using directory = ProcDir.open(id);
        const places = parseCgroups(directory.readText("cgroup"));
        isAtLimit = memoryRoom(places) < bytes + LEAST_ROOM;
        return !isAtLimit && mayRead(bytes);
      },
    });
    return { ...found, requested, isAtLimit };
  }

  async #countFootprint(): Promise<Footprint | undefined> {
    using directory = ProcDir.open(this.#id);
    return await this.#access.source.countFootprint?.(directory);
  }

  async readPageStates(span: PageSpan): Promise<Uint8Array<ArrayBuffer>> {
    return await this.#withFiles(async (files) => {
      using pagemap = await files.openPagemap();
      return await ofProcessSlowly(
        this.pid,
        () => pageStates({ pagemap, make: (calls) => files.make(calls) }, span),
      );
    });
  }

  async control(): Promise<PageoutControl> {
    const { calls, group } = this.#access;
    return await LinuxPageout.open(this.#id, {
      calls,
      group,
      layout: this.#layout,
      needsSwap: (mappingStart) => this.#needSwap.has(mappingStart),
      whyNoSwap: () => {
        try {
          using directory = ProcDir.open(this.#id);
          return this.#whyNoSwap(directory);
        } catch (error) {
          // The page-out itself finds out what is wrong with the process.
          if (!(error instanceof ProcessError)) throw error;
          return undefined;
        }
      },
    });
  }

  /** Runs a step on the memory files of the process. */
  async #withFiles<T>(step: (files: MemoryFiles) => Promise<T>): Promise<T> {
    const { calls, group } = this.#access;
    return await calls.patiently(this.#id, async (attempt) => {
      using directory = ProcDir.open(this.#id);
      return await step(new MemoryFiles(directory, attempt));
    }, group);
  }
}

/** How much room is left to cgroups with a limit when memory is brought back, in bytes. */
const LEAST_ROOM = 4 << 20;

const NO_DEVICES: ReadonlySet<string> = new Set();

/**
 * Converts a mapping of smaps. Memory that is both referenced and dirty may be
 * modified.
 */
function figuresOf(
  mapping: LinuxMapping,
  context: PageableContext,
): MappingFigures {
  const { start, end, perm, name, pageSize, rss, own, pinned, proportional } =
    mapping;
  const { anonymous, swap, locked, referenced, dirty } = mapping;
  const { bytes, toSwap, reason } = pageable(mapping, context);
  return {
    start,
    end,
    perm,
    name,
    pageSize,
    rss,
    own,
    pinned,
    proportional,
    anonymous,
    swapped: swap,
    locked,
    referenced,
    modified: Math.min(referenced, dirty),
    pageable: bytes,
    toSwap,
    reason,
  };
}

/** How much of a process is pinned and locked. */
function heldOf(directory: ProcDir): HeldMemory {
  return parseHeld(directory.readText("status"));
}

/** What a `/proc/<pid>/status` says of pinned and locked memory: proc_pid_status(5). */
export function parseHeld(status: string): HeldMemory {
  return {
    pinned: sizeIn(status, "VmPin") ?? 0,
    locked: sizeIn(status, "VmLck") ?? 0,
  };
}
