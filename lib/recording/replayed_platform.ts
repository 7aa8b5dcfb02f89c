/**
 * A machine whose processes play a recording.
 *
 * @module
 */

import { NoSuchProcess } from "../errors.ts";
import type {
  MachineMemory,
  MonitoredMemory,
  Platform,
  ProcessEntry,
  ProcessSample,
} from "../platform/platform.ts";
import { UNIT } from "../scanner/moves.ts";
import { ReplayedMemory, ReplayedPages } from "./replayed_memory.ts";
import type { RecordedProcess, RecordedStep } from "./records.ts";

/** Swap enough for all that may go, in bytes. */
const SWAP = 2 ** 50;

/** A process that plays its part. */
interface Replayed {
  readonly source: RecordedProcess;
  readonly pages: ReplayedPages;
  readonly memory: ReplayedMemory;
}

/** The machine. There is swap for all that is paged out. */
export class ReplayedPlatform implements Platform {
  readonly pagedata = "pte";
  readonly granularity = "page";
  readonly pageSize = UNIT;
  /** By id in the recording; that is the pid here, which is never used twice. */
  readonly #processes = new Map<number, Replayed>();
  #machine: MachineMemory = {
    totalMemory: 0,
    availableMemory: 0,
    totalSwap: SWAP,
    freeSwap: SWAP,
  };
  /** What processes that are gone have done. */
  #pagedOut = 0;
  #refaults = 0;

  /** How many pages were paged out so far, and came back. */
  get pagedOut(): number {
    return this.#sum(({ pages }) => pages.pagedOut, this.#pagedOut);
  }

  get refaults(): number {
    return this.#sum(({ pages }) => pages.refaults, this.#refaults);
  }

  /** The size of all processes, in bytes. */
  get size(): number {
    return this.#sum(({ pages }) => pages.size, 0);
  }

  #sum(figure: (one: Replayed) => number, start: number): number {
    let sum = start;
    for (const one of this.#processes.values()) sum += figure(one);
    return sum;
  }

  /** Begins the interval that a step ends. The step must stay as it is meanwhile. */
  begin({ processes, machine }: RecordedStep): void {
    const { totalMemory, availableMemory } = machine;
    this.#machine = {
      totalMemory,
      availableMemory,
      totalSwap: SWAP,
      freeSwap: SWAP,
    };
    for (const [id, { pages }] of this.#processes) {
      if (processes.has(id)) continue;
      this.#pagedOut += pages.pagedOut;
      this.#refaults += pages.refaults;
      this.#processes.delete(id);
    }
    for (const [id, source] of processes) {
      let one = this.#processes.get(id);
      if (!one) {
        const pages = new ReplayedPages();
        const memory = new ReplayedMemory(id, pages);
        this.#processes.set(id, one = { source, pages, memory });
      }
      one.pages.begin(source);
    }
  }

  /** Plays the interval up to one of its `PARTS`. */
  playTo(part: number): void {
    for (const { pages } of this.#processes.values()) pages.playTo(part);
  }

  #find(pid: number): Replayed {
    const one = this.#processes.get(pid);
    if (one) return one;
    throw new NoSuchProcess(pid, `no process ${pid}`);
  }

  listPids(): number[] {
    return [...this.#processes.keys()];
  }

  listProcesses(): ProcessEntry[] {
    return this.listPids().map((pid) => this.sampleProcess(pid));
  }

  readProcess(pid: number): ProcessEntry {
    return this.sampleProcess(pid);
  }

  sampleProcess(pid: number): ProcessSample {
    const { source, pages } = this.#find(pid);
    const { size } = pages;
    return {
      pid,
      startTime: source.identity.startTime,
      comm: source.identity.comm,
      ppid: 1,
      layout: "",
      isSystem: false,
      isZombie: false,
      mainThreadExited: false,
      rss: size,
      // Only a process that exits has none.
      image: Math.max(size + pages.out, UNIT),
      majorFaults: pages.refaults,
      fileRss: 0,
      rssError: 0,
    };
  }

  userOf({ pid }: ProcessEntry): number | undefined {
    return this.#find(pid).source.identity.uid;
  }

  runsProgram(): Promise<boolean> {
    return Promise.resolve(false);
  }

  cgroupsOf(): readonly string[] {
    return [];
  }

  open({ pid }: ProcessEntry): MonitoredMemory {
    return this.#find(pid).memory;
  }

  memory(): MachineMemory {
    return this.#machine;
  }

  [Symbol.dispose](): void {}
}
