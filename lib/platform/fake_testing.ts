/**
 * Help for tests: a machine whose processes use their memory as a script says.
 *
 * @module
 */

import { NoSuchProcess } from "../errors.ts";
import { SimulatedClock as FakeClock } from "./simulated_clock.ts";
import type {
  MachineMemory,
  MonitoredMemory,
  OpenOptions,
  Platform,
  ProcessEntry,
  ProcessSample,
  ReclaimableCgroup,
} from "./platform.ts";
import { FakeProcess, FakeProcessMemory, PAGE } from "./process_testing.ts";

export { FakeClock, FakeProcess, PAGE };

/** What a process does; called every {@linkcode TICK} milliseconds of the clock. */
export type Script = (victim: FakeProcess, seconds: number) => void;

/** How often scripts are called, in milliseconds. */
export const TICK = 250;

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
  /** Of the machine, and by cgroup: the share of time in which some process waits for memory. */
  pressure: number | undefined;
  readonly pressures = new Map<string, number>();
  swapDisk: string | null | undefined;
  /** How much memory holds each byte in swap. */
  swapShare: number | undefined = 0;
  /** What it costs its processes to be observed and paged out, where that is measured. */
  costs: Platform["costs"];
  /** Thrown instead of the list of processes. */
  listFailure: Error | undefined;
  /** The cgroup directories that ask for processes to be left alone, by pid. */
  readonly avoided = new Map<number, string>();
  /** The cgroup whose memory can be reclaimed, or why it cannot. */
  reclaimed: ReclaimableCgroup | string = "there is none";
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

  sampleProcess(pid: number): ProcessSample {
    return this.#find(pid).sample;
  }

  sharedMemory(
    entries: readonly ProcessEntry[],
  ): Promise<ReadonlyMap<number, number>> {
    const pids = new Set(entries.map(({ pid }) => pid));
    const pairs = this.#running.flatMap(({ pid, memoryOf }) =>
      memoryOf && pids.has(memoryOf.pid) ? [[pid, memoryOf.pid] as const] : []
    );
    return Promise.resolve(new Map(pairs));
  }

  userOf(): number {
    return 0;
  }

  runsProgram(): Promise<boolean> {
    return Promise.resolve(false);
  }

  programOf({ pid }: ProcessEntry) {
    return Promise.resolve(this.#find(pid).program);
  }

  cgroupsOf({ pid }: ProcessEntry): readonly string[] {
    return [this.#find(pid).cgroup];
  }

  unifiedCgroupOf({ pid }: ProcessEntry): string | undefined {
    return this.#find(pid).cgroup;
  }

  reclaimable(): ReclaimableCgroup | string {
    return this.reclaimed;
  }

  memoryOfSwap(): number | undefined {
    return this.swapShare;
  }

  memoryPressure(cgroup?: string): number | undefined {
    return cgroup === undefined ? this.pressure : this.pressures.get(cgroup);
  }

  avoidanceOf({ pid }: ProcessEntry): string | undefined {
    return this.avoided.get(pid);
  }

  open({ pid }: ProcessEntry, options: OpenOptions = {}): MonitoredMemory {
    const process = this.#find(pid);
    process.openedWith = options;
    return new FakeProcessMemory(this, process, options);
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
      swapDisk: this.swapDisk,
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

/** Uses a region page by page, in rounds of so many seconds. */
export function rounds(name: string, seconds: number): Script {
  let done = 0;
  return (process, now) => {
    const length = process.length(name);
    const due = Math.floor(now / seconds * length);
    // In a longer step it is used more than once.
    for (let at = Math.max(done, due - length); at < due; at++) {
      process.touch(name, at % length, at % length + 1);
    }
    done = due;
  };
}

/** Does all of some scripts. */
export function together(...scripts: Script[]): Script {
  return (process, seconds) =>
    scripts.forEach((script) => script(process, seconds));
}
