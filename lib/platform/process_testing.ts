/**
 * Help for tests: a process and its memory, which live in memory only.
 *
 * @module
 */

import { NoSuchProcess, ProcessError } from "../errors.ts";
import { MA_ANON, MA_READ, MA_WRITE } from "../memory/mapping_flags.ts";
import {
  type Pagedata,
  PagedataBuilder,
  REFERENCED,
} from "../memory/pagedata.ts";
import type {
  PageoutControl,
  PageoutResult,
  PageRange,
  ProcessSizes,
  Residency,
  SkipReason,
} from "../memory/process_memory.ts";
import type {
  Footprint,
  HeldMemory,
  MappingFigures,
  MonitoredMemory,
  OpenOptions,
  PagedataPurpose,
  ProcessEntry,
  ProcessSample,
} from "./platform.ts";
import { Readability } from "./readability.ts";

/** Size of every page, in bytes. */
export const PAGE = 4096;

// What there is to know of a page.
const RESIDENT = 1;
const TOUCHED = 2;
/** It was in memory before and was paged out. */
const GONE = 4;

/** What a region of memory is, beyond how long. */
export interface RegionOptions {
  /** Of a file that nobody writes to, instead of anonymous. */
  readonly isFile?: boolean;
  readonly isLocked?: boolean;
  /** Pinned: a page-out says that it is done, and nothing goes. */
  readonly isPinned?: boolean;
  /** The same, for no reason that anything tells. */
  readonly isStubborn?: boolean;
  /** How many processes map it. */
  readonly sharers?: number;
  /** How many of its pages, from the first on, are mapped once despite sharers. */
  readonly own?: number;
}

/** A mapping of a process. */
interface Region extends RegionOptions {
  readonly start: bigint;
  sharers?: number;
  /** A byte a page. */
  pages: Uint8Array;
}

/** What processes of a machine have in common. */
export interface FakeSwap {
  /** In bytes. */
  usedSwap: number;
  readonly freeSwap: number;
}

/** How far apart regions are, in bytes: more than they ever grow. */
const REGION_SPACE = 0x1_0000_0000n;

/** A process of a machine that lives in memory only. */
export class FakeProcess {
  readonly pid: number;
  readonly comm: string;
  readonly startTime: number;
  /** Another one says that it runs another program. */
  layout = "first";
  majorFaults = 0;
  hasExited = false;
  /** Its program, if that is known. */
  program: { path: string; file: string } | undefined;
  /** The path of its cgroup. */
  cgroup = "/";
  /** Whether its main thread has exited while others run. */
  mainThreadExited = false;
  /** The process whose address space it has, too. */
  memoryOf: FakeProcess | undefined;
  /** By how much its counter of RSS is off, and by how much it may be, in bytes. */
  rssOffset = 0;
  rssError = 0;
  /** How often its footprint was read. */
  footprints = 0;
  /** Its memory does not answer, for this reason. */
  silence: string | undefined;
  /** Why its memory cannot be read, when it cannot. */
  failure: string | undefined;
  /** The cgroup that lets it swap no more, and its limit, in words. */
  swapLimit: string | undefined;
  /** Why its pagedata cannot be read, although its sizes can. */
  readFailure: string | undefined;
  /** Whether a virtual machine uses its memory. */
  hasSecondaryMmu = false;
  /** How much of it looks in use because its references were not reset, in bytes. */
  unjudged = 0;
  /** What of it is in swap, in bytes. */
  swapped = 0;
  /** How often its references were reset. */
  resets = 0;
  /** How its memory was last opened. */
  openedWith: OpenOptions = {};
  /** What being observed has cost it, in seconds; `undefined` if that is not known. */
  observationCost: number | undefined;
  /** How often its memory was accessed in any way, or looked at more closely than by a sample. */
  accesses = 0;
  /** Called when it is about to lose pages; delays that by the promise it returns. */
  onPageOut: () => void | Promise<void> = () => {};
  /** Called when it has lost pages. */
  afterPageOut: () => void = () => {};
  /** Called when what is in use has to show once more. */
  onRefresh: () => void = () => {};
  /** Whether it ran since its references were last read. */
  hasRun = true;
  /** Whether nothing else uses its memory, and whether it is stopped. */
  isAlone = true;
  isHalted = false;
  /** How often its references were read. */
  readings = 0;
  readonly #machine: FakeSwap;
  readonly #regions = new Map<string, Region>();

  constructor(
    machine: FakeSwap,
    { pid, comm, startTime }: { pid: number; comm: string; startTime: number },
  ) {
    this.#machine = machine;
    this.pid = pid;
    this.comm = comm;
    this.startTime = startTime;
  }

  get regions(): Region[] {
    return this.memoryOf?.regions ?? [...this.#regions.values()];
  }

  /** Maps a region of so many pages; nothing of it is in memory until it is touched. */
  map(name: string, pages: number, options: RegionOptions = {}): void {
    const start = BigInt(this.#regions.size + 1) * REGION_SPACE;
    this.#regions.set(name, {
      ...options,
      start,
      pages: new Uint8Array(pages),
    });
  }

  /** Maps a region and touches all of it. */
  fill(name: string, pages: number, options?: RegionOptions): void {
    this.map(name, pages, options);
    this.touch(name);
  }

  /** Makes a region longer. */
  grow(name: string, pages: number): void {
    const region = this.#region(name);
    const before = region.pages;
    region.pages = new Uint8Array(before.length + pages);
    region.pages.set(before);
  }

  /** Gives back what a region has in memory. */
  free(name: string): void {
    this.#region(name).pages.fill(0);
  }

  /** Takes up to so many pages of a region that are in memory, as the kernel does. */
  evict(name: string, most: number): number {
    const region = this.#region(name);
    let count = 0;
    for (const [page, state] of region.pages.entries()) {
      if (count === most) break;
      if (!(state & RESIDENT)) continue;
      region.pages[page] = GONE;
      if (!region.isFile) this.#machine.usedSwap += PAGE;
      count++;
    }
    return count;
  }

  /** Has a region shared with nobody any more. */
  unshare(name: string): void {
    this.share(name, 1);
  }

  /** Has a region shared by so many processes. */
  share(name: string, sharers: number): void {
    this.#region(name).sharers = sharers;
  }

  /** Uses pages of a region; those that were paged out come back. */
  touch(name: string, from = 0, to = this.length(name)): void {
    const region = this.#region(name);
    this.hasRun = true;
    for (let page = from; page < to; page++) {
      if (region.pages[page] & GONE) {
        this.majorFaults++;
        if (!region.isFile) this.#machine.usedSwap -= PAGE;
      }
      region.pages[page] = RESIDENT | TOUCHED;
    }
  }

  /** How many pages a region has, resident or not. */
  length(name: string): number {
    return this.#region(name).pages.length;
  }

  /** How many pages of a region are in memory. */
  resident(name: string): number {
    return residentOf(this.#region(name));
  }

  /** In bytes. */
  get rss(): number {
    return this.regions.reduce(
      (sum, region) => sum + residentOf(region) * PAGE,
      0,
    );
  }

  exit(): void {
    this.hasExited = true;
  }

  #region(name: string): Region {
    const region = this.#regions.get(name);
    if (!region) throw new Error(`no region ${name}`);
    return region;
  }

  /** Resets all references, as others than rcap do too. */
  resetReferences(): void {
    for (const { pages } of this.regions) {
      for (let page = 0; page < pages.length; page++) pages[page] &= ~TOUCHED;
    }
  }

  get entry(): ProcessEntry {
    const { pid, comm, startTime, layout, majorFaults, rss } = this;
    const { mainThreadExited } = this;
    const pages = this.regions.reduce(
      (sum, { pages }) => sum + pages.length,
      0,
    );
    return {
      pid,
      comm,
      startTime,
      layout,
      majorFaults,
      rss,
      // Only a process that exits has none.
      image: Math.max(pages, 1) * PAGE,
      ppid: 1,
      isSystem: false,
      isZombie: false,
      mainThreadExited,
    };
  }

  get sample(): ProcessSample {
    const { entry, rssError, rssOffset } = this;
    const files = this.regions.filter(({ isFile }) => isFile);
    return {
      ...entry,
      rss: entry.rss + rssOffset,
      fileRss: files.reduce((sum, one) => sum + residentOf(one) * PAGE, 0),
      rssError,
    };
  }
}

/** How many pages of a region, from the first on, are mapped once. */
function ownOf(
  { sharers = 1, own = 0, pages }: Pick<Region, "sharers" | "own" | "pages">,
): number {
  return sharers > 1 ? own : pages.length;
}

function residentOf({ pages }: Pick<Region, "pages">): number {
  let count = 0;
  for (const page of pages) count += page & RESIDENT;
  return count;
}

/** The memory of a {@linkcode FakeProcess}. */
export class FakeProcessMemory implements MonitoredMemory {
  readonly knowsProportional = true;
  readonly readCost = { pages: 0, seconds: 0 };
  readonly #machine: FakeSwap;
  readonly #process: FakeProcess;
  readonly #options: OpenOptions;
  readonly #readability = new Readability();

  constructor(
    machine: FakeSwap,
    process: FakeProcess,
    options: OpenOptions = {},
  ) {
    this.#machine = machine;
    this.#process = process;
    this.#options = options;
  }

  get observationCost(): number | undefined {
    return this.#process.observationCost;
  }

  get pid(): number {
    return this.#process.pid;
  }

  get silence(): string | undefined {
    return this.#process.silence;
  }

  get leftAlone(): string | undefined {
    return this.#isLeftAlone ? `process ${this.pid} is left alone` : undefined;
  }

  get #isLeftAlone(): boolean {
    const { secondaryMmu = "leave" } = this.#options;
    return secondaryMmu === "leave" && this.#process.hasSecondaryMmu;
  }

  get unjudged(): number {
    return this.#process.unjudged;
  }

  get unreadable(): string | undefined {
    return this.#readability.failure;
  }

  /** The process, when it can be read. */
  #read(): FakeProcess {
    const { pid, failure, silence, hasExited } = this.#process;
    if (hasExited) throw new NoSuchProcess(pid, `no process ${pid}`);
    const reason = failure ?? silence;
    if (reason !== undefined) throw new ProcessError(pid, reason);
    this.#process.accesses++;
    return this.#process;
  }

  /** Why nothing of a region can go. */
  #reason({ isLocked, isFile, ...region }: Region): SkipReason | undefined {
    if (this.#process.mainThreadExited) return "no-main-thread";
    if (isLocked) return "locked";
    if (this.#isLeftAlone) return "secondary-mmu";
    if (ownOf(region) === 0) return "shared";
    const { only, maySwap = true, assumesSwap = false } = this.#options;
    if (only && only !== (isFile ? "file" : "anon")) return "spared";
    if (isFile || assumesSwap) return undefined;
    if (this.#machine.freeSwap === 0) return "no-swap";
    if (!maySwap) return "swap-writes";
    return this.#process.swapLimit === undefined ? undefined : "swap-limit";
  }

  // deno-lint-ignore require-await -- What it throws is a rejection.
  async checkAccess(): Promise<void> {
    this.#read();
  }

  reset(): Promise<void> {
    // deno-lint-ignore require-await -- As above.
    return this.#readability.note(async () => {
      this.#read().resetReferences();
      this.#process.resets++;
    });
  }

  // deno-lint-ignore require-await -- As above.
  async refresh(): Promise<void> {
    this.#read().onRefresh();
  }

  readPagedata(): Promise<Pagedata> {
    return this.read("scan");
  }

  read(purpose: PagedataPurpose): Promise<Pagedata> {
    return this.#readability.note(() => this.#readPagedata(purpose));
  }

  // deno-lint-ignore require-await -- As above.
  async #readPagedata(purpose: PagedataPurpose): Promise<Pagedata> {
    const process = this.#read();
    const { pid, readFailure } = process;
    if (readFailure !== undefined) throw new ProcessError(pid, readFailure);
    const builder = new PagedataBuilder();
    for (const region of process.regions) {
      const { start, pages, isFile } = region;
      const flags = MA_READ | (isFile ? 0 : MA_WRITE | MA_ANON);
      builder.addMapping({ start, pages: pages.length, pageSize: PAGE, flags });
      if (purpose !== "inspect" && this.#reason(region)) continue;
      for (const [page, state] of pages.entries()) {
        if (!(state & RESIDENT)) continue;
        const bits = state & TOUCHED ? REFERENCED : 0;
        builder.addPages(page, { count: 1, bits });
      }
    }
    process.hasRun = false;
    process.readings++;
    if (purpose === "scan" || purpose === "lend") {
      process.resets++;
      process.resetReferences();
    }
    return builder.build();
  }

  closePagedata(): void {}

  hasRun(): boolean {
    return this.#process.hasRun;
  }

  isAlone(): boolean {
    return this.#process.isAlone;
  }

  isHalted(): boolean {
    return this.#process.isHalted;
  }

  // deno-lint-ignore require-await -- As above.
  async readResidency(): Promise<ReadonlyMap<bigint, Residency>> {
    return new Map(
      this.#read().regions.map((region) => {
        const reason = this.#reason(region);
        return [region.start, {
          start: region.start,
          bytes: region.pages.length * PAGE,
          pageable: reason ? 0 : residentOf(region),
          toSwap: reason || region.isFile ? 0 : residentOf(region),
          reason,
        }];
      }),
    );
  }

  readSwap(): number {
    return this.#process.swapped;
  }

  readSizes(): ProcessSizes {
    const { sample: { rss, image, rssError } } = this.#read();
    return { rss, image, rssError };
  }

  // deno-lint-ignore require-await -- As above.
  async readFootprint(): Promise<Footprint> {
    this.#read().footprints++;
    const sum = (size: (region: Region) => number) =>
      this.#read().regions.reduce((sum, region) => sum + size(region), 0);
    const rss = (region: Region) => residentOf(region) * PAGE;
    const proportional = (region: Region) =>
      rss(region) / (region.sharers ?? 1);
    const ofFile = (size: (region: Region) => number) => (region: Region) =>
      region.isFile ? size(region) : 0;
    return {
      rss: sum(rss),
      fileRss: sum(ofFile(rss)),
      proportional: sum(proportional),
      fileProportional: sum(ofFile(proportional)),
    };
  }

  // deno-lint-ignore require-await -- As above.
  async readMappings(): Promise<MappingFigures[]> {
    return this.#read().regions.map((region) => {
      const { isFile, isLocked, sharers = 1, pages } = region;
      const rss = residentOf(region) * PAGE;
      const own = residentOf({ pages: pages.subarray(0, ownOf(region)) }) *
        PAGE;
      const reason = this.#reason(region);
      const pageable = reason ? 0 : own;
      return {
        start: region.start,
        end: region.start + BigInt(region.pages.length * PAGE),
        perm: isFile ? "r--p" : "rw-p",
        name: "",
        pageSize: PAGE,
        rss,
        own,
        proportional: own + (rss - own) / sharers,
        anonymous: isFile ? 0 : rss,
        pinned: undefined,
        swapped: 0,
        locked: isLocked ? rss : 0,
        referenced: 0,
        modified: 0,
        pageable,
        toSwap: isFile ? 0 : pageable,
        reason,
      };
    });
  }

  readHeld(): HeldMemory {
    const sum = (of: (region: Region) => boolean | undefined) =>
      this.#read().regions.filter(of)
        .reduce((sum, { pages }) => sum + pages.length * PAGE, 0);
    return {
      pinned: sum(({ isPinned }) => isPinned),
      locked: sum(({ isLocked }) => isLocked),
    };
  }

  swapLimit(): string | undefined {
    return this.#read().swapLimit;
  }

  readPageStates(): Promise<Uint8Array> {
    throw new Error("not asked for here");
  }

  // deno-lint-ignore require-await -- As above.
  async control(): Promise<PageoutControl> {
    this.#read();
    return {
      maxRanges: 16,
      pageOut: (ranges, signal) => this.#pageOutAll(ranges, signal),
      [Symbol.dispose]() {},
    };
  }

  async #pageOutAll(
    ranges: readonly PageRange[],
    signal: AbortSignal | undefined,
  ): Promise<PageoutResult[]> {
    await this.#process.onPageOut();
    const results: PageoutResult[] = [];
    for (const range of ranges) {
      if (signal?.aborted || results.at(-1)?.result === "failed") break;
      results.push(this.#pageOut(range));
    }
    this.#process.afterPageOut();
    return results;
  }

  #pageOut({ start, end, mappingStart }: PageRange): PageoutResult {
    const { regions, hasExited } = this.#process;
    if (hasExited) return { result: "failed", message: "it has exited" };
    const region = regions.find((one) => one.start === mappingStart);
    if (!region) return { result: "busy", message: "not mapped" };
    const first = Number((start - mappingStart) / BigInt(PAGE));
    const last = Number((end - mappingStart) / BigInt(PAGE));
    for (let page = first; page < last; page++) {
      if (!(region.pages[page] & RESIDENT)) continue;
      const reason = this.#reason(region);
      if (reason) return { result: "busy", reason };
      if (region.isPinned || region.isStubborn) continue;
      region.pages[page] = GONE;
      if (!region.isFile) this.#machine.usedSwap += PAGE;
    }
    return { result: "done" };
  }
}
