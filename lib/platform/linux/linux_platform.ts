/**
 * The processes of a Linux machine, as the commands and the daemon see them.
 *
 * @module
 */

import { readTextFile } from "../../../ffi/file.ts";
import { memoryInfo, pageSize } from "../../../ffi/system.ts";
import { ProcessError } from "../../errors.ts";
import type {
  MachineMemory,
  MonitoredMemory,
  PagedataSourceName,
  Platform,
  ProcessEntry,
} from "../platform.ts";
import { MemoryCalls } from "./memory_calls.ts";
import type { PagedataSource } from "./pagedata_source.ts";
import { precisionBudgets } from "./precision.ts";
import { ProcDir } from "./proc_dir.ts";
import { listPids, listProcesses, readProcess } from "./process_list.ts";
import { LinuxProcessMemory } from "./process_memory.ts";

/** The processes of this machine. */
export class LinuxPlatform implements Platform {
  readonly pageSize: number = pageSize();
  readonly #source: PagedataSource;
  readonly #calls: MemoryCalls;
  readonly #budgets = precisionBudgets(memoryInfo().totalMemory);

  /**
   * Takes over the source: it is closed with the platform.
   *
   * @param signal has nobody wait for a process any longer.
   */
  constructor(source: PagedataSource, signal?: AbortSignal) {
    this.#source = source;
    this.#calls = new MemoryCalls({
      lookAtLock: source.lookAtLock?.bind(source),
      signal,
    });
  }

  get pagedata(): PagedataSourceName {
    return this.#source.name;
  }

  get granularity(): "page" | "mapping" {
    return this.#source.name === "smaps" ? "mapping" : "page";
  }

  listPids(): number[] {
    return listPids();
  }

  listProcesses(): ProcessEntry[] {
    return listProcesses();
  }

  readProcess(pid: number): ProcessEntry {
    return readProcess(pid);
  }

  userOf(process: ProcessEntry): number | undefined {
    return lookUp(
      process,
      (directory) => realUid(directory.readText("status")),
    );
  }

  executableOf(process: ProcessEntry): string | undefined {
    return lookUp(
      process,
      (directory) => directory.readLink("exe").replace(/ \(deleted\)$/, ""),
    );
  }

  cgroupsOf(process: ProcessEntry): readonly string[] {
    return lookUp(
      process,
      (directory) => cgroupPaths(directory.readText("cgroup")),
    ) ?? [];
  }

  open(process: ProcessEntry, group?: string): MonitoredMemory {
    return new LinuxProcessMemory(process, {
      source: this.#source,
      calls: this.#calls,
      budgets: this.#budgets,
      group,
    });
  }

  unstoppable(): number[] {
    return this.#calls.unstoppable();
  }

  memory(): MachineMemory {
    return machineMemory();
  }

  [Symbol.dispose](): void {
    this.#source[Symbol.dispose]();
  }
}

/** Looks into a process's directory; `undefined` where there is nothing to be seen. */
function lookUp<T>(
  process: ProcessEntry,
  look: (directory: ProcDir) => T,
): T | undefined {
  if (process.isSystem || process.isZombie) return undefined;
  try {
    using directory = ProcDir.open(process);
    return look(directory);
  } catch (error) {
    if (!(error instanceof ProcessError)) throw error;
    return undefined;
  }
}

/** The real uid in a `/proc/<pid>/status`. */
function realUid(status: string): number {
  return Number(/^Uid:\s+(\d+)/m.exec(status)?.[1]);
}

/** Paths in a `/proc/<pid>/cgroup`: `hierarchy:controllers:path` lines, cgroups(7). */
function cgroupPaths(text: string): string[] {
  return text.trimEnd().split("\n").map((line) =>
    line.split(":").slice(2).join(":")
  );
}

/** Memory of the machine now: sysinfo(2), and `MemAvailable` of proc_meminfo(5). */
export function machineMemory(): MachineMemory {
  const kilobytes = /^MemAvailable: *(\d+) kB$/m.exec(
    readTextFile("/proc/meminfo"),
  )?.[1];
  return { ...memoryInfo(), availableMemory: Number(kilobytes ?? 0) * 1024 };
}
