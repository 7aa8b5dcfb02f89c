/**
 * Help for tests: a clock that moves when it is told to, and a machine whose
 * processes use their memory as a script says.
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
import type { Clock } from "./clock.ts";
import type {
  MachineMemory,
  MappingFigures,
  MonitoredMemory,
  PagedataPurpose,
  Platform,
  ProcessEntry,
} from "./platform.ts";

/** Size of every page, in bytes. */
export const PAGE = 4096;

/** When the clock starts, in seconds since the epoch. */
const EPOCH = 1_700_000_000;

/** Time that passes when a test lets it. */
export class FakeClock implements Clock {
  #now = 0;
  readonly #sleepers = new Set<{ at: number; wake: () => void }>();
  readonly #repeated: { every: number; next: number; step: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  wallTime(): number {
    return EPOCH + this.#now / 1000;
  }

  async sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const sleeper = {
      at: this.#now + Math.max(0, milliseconds),
      wake: resolve,
    };
    const stop = () => resolve();
    this.#sleepers.add(sleeper);
    signal?.addEventListener("abort", stop, { once: true });
    await promise;
    this.#sleepers.delete(sleeper);
    signal?.removeEventListener("abort", stop);
  }

  /** Does something every so many milliseconds, before anyone wakes then. */
  repeat(every: number, step: () => void): void {
    this.#repeated.push({ every, next: this.#now + every, step });
  }

  /** Lets time pass in which nobody wakes, as when the machine is suspended. */
  stall(milliseconds: number): void {
    this.#now += milliseconds;
  }

  /** Lets time pass, with all that is due meanwhile, in order. */
  async advance(milliseconds: number): Promise<void> {
    const end = this.#now + milliseconds;
    await settled();
    for (;;) {
      const sleepers = [...this.#sleepers].map(({ at }) => at);
      const steps = this.#repeated.map(({ next }) => next);
      const next = Math.min(...sleepers, ...steps);
      if (next > end) break;
      this.#now = Math.max(this.#now, next);
      for (const one of this.#repeated) {
        if (one.next > this.#now) continue;
        one.next += one.every;
        one.step();
      }
      const due = [...this.#sleepers].filter(({ at }) => at <= this.#now)
        .sort((a, b) => a.at - b.at);
      for (const sleeper of due) {
        this.#sleepers.delete(sleeper);
        sleeper.wake();
      }
      if (due.length > 0) await settled();
    }
    this.#now = end;
  }
}

/** Waits until everyone who can go on without time passing has done so. */
async function settled(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 0));
}

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
  /** How many processes share it. */
  readonly sharers?: number;
}

/** A mapping of a process. */
interface Region extends RegionOptions {
  readonly start: bigint;
  sharers?: number;
  /** A byte a page. */
  pages: Uint8Array;
}

/** What a process does; called every {@linkcode TICK} milliseconds of the clock. */
export type Script = (victim: FakeProcess, seconds: number) => void;

/** How often scripts are called, in milliseconds. */
export const TICK = 250;

/** How far apart regions are, in bytes: more than they ever grow. */
const REGION_SPACE = 0x1_0000_0000n;

/** A process of a {@linkcode FakePlatform}. */
export class FakeProcess {
  readonly pid: number;
  readonly comm: string;
  readonly startTime: number;
  /** Another one says that it runs another program. */
  layout = "first";
  majorFaults = 0;
  hasExited = false;
  /** Its memory does not answer, for this reason. */
  silence: string | undefined;
  /** Why its memory cannot be read, when it cannot. */
  failure: string | undefined;
  /** How often its references were reset. */
  resets = 0;
  /** Called when it is about to lose pages. */
  onPageOut: () => void = () => {};
  /** Called when it has lost pages. */
  afterPageOut: () => void = () => {};
  /** Called when what is in use has to show once more. */
  onRefresh: () => void = () => {};
  /** Whether it ran since its references were last read. */
  hasRun = true;
  readonly #machine: FakePlatform;
  readonly #regions = new Map<string, Region>();

  constructor(
    machine: FakePlatform,
    { pid, comm, startTime }: { pid: number; comm: string; startTime: number },
  ) {
    this.#machine = machine;
    this.pid = pid;
    this.comm = comm;
    this.startTime = startTime;
  }

  get regions(): Region[] {
    return [...this.#regions.values()];
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

  /** Has a region shared with nobody any more. */
  unshare(name: string): void {
    this.#region(name).sharers = 1;
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
      image: pages * PAGE,
      ppid: 1,
      isSystem: false,
      isZombie: false,
    };
  }
}

function residentOf({ pages }: Region): number {
  let count = 0;
  for (const page of pages) count += page & RESIDENT;
  return count;
}

/** The memory of a {@linkcode FakeProcess}. */
class FakeProcessMemory implements MonitoredMemory {
  readonly knowsProportional = true;
  readonly #machine: FakePlatform;
  readonly #process: FakeProcess;

  constructor(machine: FakePlatform, process: FakeProcess) {
    this.#machine = machine;
    this.#process = process;
  }

  get pid(): number {
    return this.#process.pid;
  }

  get silence(): string | undefined {
    return this.#process.silence;
  }

  /** The process, when it can be read. */
  #read(): FakeProcess {
    const { pid, failure, silence, hasExited } = this.#process;
    if (hasExited) throw new NoSuchProcess(pid, `no process ${pid}`);
    const reason = failure ?? silence;
    if (reason !== undefined) throw new ProcessError(pid, reason);
    return this.#process;
  }

  /** Why nothing of a region can go. */
  #reason({ isLocked, isFile }: Region): SkipReason | undefined {
    if (isLocked) return "locked";
    return !isFile && this.#machine.freeSwap === 0 ? "no-swap" : undefined;
  }

  // deno-lint-ignore require-await -- What it throws is a rejection.
  async checkAccess(): Promise<void> {
    this.#read();
  }

  // deno-lint-ignore require-await -- As above.
  async reset(): Promise<void> {
    this.#read().resetReferences();
    this.#process.resets++;
  }

  // deno-lint-ignore require-await -- As above.
  async refresh(): Promise<void> {
    this.#read().onRefresh();
  }

  readPagedata(): Promise<Pagedata> {
    return this.read("scan");
  }

  // deno-lint-ignore require-await -- As above.
  async read(purpose: PagedataPurpose): Promise<Pagedata> {
    const process = this.#read();
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
    if (purpose === "scan") {
      process.resets++;
      process.resetReferences();
    }
    return builder.build();
  }

  closePagedata(): void {}

  hasRun(): boolean {
    return this.#process.hasRun;
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
          reason,
        }];
      }),
    );
  }

  readSizes(): ProcessSizes {
    const { rss, entry: { image } } = this.#read();
    return { rss, image };
  }

  // deno-lint-ignore require-await -- As above.
  async readProportional(): Promise<number> {
    return this.#read().regions.reduce(
      (sum, region) => sum + residentOf(region) * PAGE / (region.sharers ?? 1),
      0,
    );
  }

  // deno-lint-ignore require-await -- As above.
  async readMappings(): Promise<MappingFigures[]> {
    return this.#read().regions.map((region) => {
      const rss = residentOf(region) * PAGE;
      return {
        start: region.start,
        end: region.start + BigInt(region.pages.length * PAGE),
        perm: region.isFile ? "r--p" : "rw-p",
        name: "",
        pageSize: PAGE,
        rss,
        anonymous: region.isFile ? 0 : rss,
        swapped: 0,
        locked: region.isLocked ? rss : 0,
        referenced: 0,
        modified: 0,
        reason: this.#reason(region),
      };
    });
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

  // deno-lint-ignore require-await -- As above.
  async #pageOutAll(
    ranges: readonly PageRange[],
    signal: AbortSignal | undefined,
  ): Promise<PageoutResult[]> {
    this.#process.onPageOut();
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
      region.pages[page] = GONE;
      if (!region.isFile) this.#machine.usedSwap += PAGE;
    }
    return { result: "done" };
  }
}

/** A machine whose processes do what their scripts say. */
export class FakePlatform implements Platform {
  readonly pagedata = "pte";
  readonly granularity = "page";
  readonly pageSize = PAGE;
  readonly clock: FakeClock;
  /** In bytes. */
  totalMemory = 2 ** 34;
  /** What others than the processes use, in bytes. */
  otherMemory = 2 ** 33;
  totalSwap = 2 ** 34;
  usedSwap = 0;
  overload: string | undefined;
  /** Thrown instead of the list of processes. */
  listFailure: Error | undefined;
  /** The cgroup directories that ask for processes to be left alone, by pid. */
  readonly avoided = new Map<number, string>();
  readonly #processes = new Map<number, FakeProcess>();
  #nextPid = 1000;

  constructor(clock: FakeClock) {
    this.clock = clock;
    // rcap looks at itself, too.
    this.#add({ pid: Deno.pid, comm: "rcap" });
  }

  /**
   * Starts a process.
   *
   * @param comm its name.
   * @param script what it does from then on.
   */
  start(comm: string, script: Script = () => {}): FakeProcess {
    if (this.#nextPid === Deno.pid) this.#nextPid++;
    const process = this.#add({ pid: this.#nextPid++, comm });
    const began = this.clock.now();
    this.clock.repeat(TICK, () => {
      if (process.hasExited) return;
      script(process, (this.clock.now() - began) / 1000);
    });
    return process;
  }

  /** Starts another process that has the pid of one that has exited. */
  reuse({ pid }: FakeProcess, comm: string): FakeProcess {
    return this.#add({ pid, comm });
  }

  #add({ pid, comm }: { pid: number; comm: string }): FakeProcess {
    const startTime = 100 + this.#processes.size + this.clock.now();
    const process = new FakeProcess(this, { pid, comm, startTime });
    this.#processes.set(pid, process);
    return process;
  }

  get #running(): FakeProcess[] {
    return [...this.#processes.values()].filter((one) => !one.hasExited);
  }

  get freeSwap(): number {
    return Math.max(0, this.totalSwap - this.usedSwap);
  }

  #find(pid: number): FakeProcess {
    const process = this.#processes.get(pid);
    if (process && !process.hasExited) return process;
    throw new NoSuchProcess(pid, `no process ${pid}`);
  }

  listPids(): number[] {
    if (this.listFailure) throw this.listFailure;
    return this.#running.map(({ pid }) => pid);
  }

  listProcesses(): ProcessEntry[] {
    return this.#running.map(({ entry }) => entry);
  }

  readProcess(pid: number): ProcessEntry {
    return this.#find(pid).entry;
  }

  userOf(): number {
    return 0;
  }

  runsProgram(): Promise<boolean> {
    return Promise.resolve(false);
  }

  cgroupsOf(): readonly string[] {
    return [];
  }

  avoidanceOf({ pid }: ProcessEntry): string | undefined {
    return this.avoided.get(pid);
  }

  open({ pid }: ProcessEntry): MonitoredMemory {
    return new FakeProcessMemory(this, this.#find(pid));
  }

  memory(): MachineMemory {
    const used = this.#running.reduce(
      (sum, { rss }) => sum + rss,
      this.otherMemory,
    );
    return {
      totalMemory: this.totalMemory,
      availableMemory: this.totalMemory - used,
      totalSwap: this.totalSwap,
      freeSwap: this.freeSwap,
    };
  }

  [Symbol.dispose](): void {}
}

// What processes do with their memory.

/** Uses all of some regions, always. */
export function hot(...names: string[]): Script {
  return (process) => names.forEach((name) => process.touch(name));
}

/**
 * Uses a window of a region that moves on.
 *
 * @param window how many pages it has.
 * @param speed by how many pages it moves in a second.
 */
export function drifting(name: string, window: number, speed: number): Script {
  return (process, seconds) => {
    const length = process.length(name);
    const from = Math.floor(seconds * speed) % length;
    process.touch(name, from, Math.min(from + window, length));
    process.touch(name, 0, Math.max(0, from + window - length));
  };
}

/** Uses all of a region for one second in so many. */
export function bursts(name: string, every: number): Script {
  return (process, seconds) => {
    if (seconds % every < 1) process.touch(name);
  };
}

/** Makes a region longer by so many pages a second, and uses none of them again. */
export function leak(name: string, speed: number): Script {
  return (process) => {
    const before = process.length(name);
    process.grow(name, speed * TICK / 1000);
    process.touch(name, before);
  };
}

/** Does all of some scripts. */
export function together(...scripts: Script[]): Script {
  return (process, seconds) =>
    scripts.forEach((script) => script(process, seconds));
}
