/**
 * The processes of a Linux machine, as the commands and the daemon see them.
 *
 * @module
 */

import { readTextFile } from "../../../ffi/file.ts";
import { isExhausted } from "../../../ffi/libc.ts";
import { memoryInfo, pageSize } from "../../../ffi/system.ts";
import { NotKnown, ProcessError } from "../../errors.ts";
import type {
  MachineMemory,
  MonitoredMemory,
  PagedataSourceName,
  Platform,
  ProcessEntry,
} from "../platform.ts";
import { Avoidance } from "./avoidance.ts";
import {
  type CgroupPlace,
  isOutside,
  parseCgroups,
  systemdPath,
} from "./cgroups.ts";
import type { PagedataSource } from "./pagedata_source.ts";
import { ofProcess, ProcDir } from "./proc_dir.ts";
import { listPids, listProcesses, readProcess } from "./process_list.ts";
import { LinuxProcessMemory } from "./process_memory.ts";
import { ProgramFiles } from "./program_file.ts";

/** The processes of this machine. */
export class LinuxPlatform implements Platform {
  readonly pageSize: number = pageSize();
  readonly #source: PagedataSource;
  readonly #programs = new ProgramFiles();
  readonly #avoidance = new Avoidance();

  /** Takes over the source: it is closed with the platform. */
  constructor(source: PagedataSource) {
    this.#source = source;
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

  async runsProgram(
    process: ProcessEntry,
    matches: (path: string) => boolean,
  ): Promise<boolean> {
    if (process.isSystem || process.isZombie) return false;
    try {
      return await this.#programs.matches(process, matches);
    } catch (error) {
      throwUnlessHidden(process, error);
      return false;
    }
  }

  cgroupsOf(process: ProcessEntry): readonly string[] {
    return lookUp(process, placesOf)?.map(({ path }) => path) ?? [];
  }

  systemdCgroupOf(process: ProcessEntry): string | undefined {
    const path = systemdPath(lookUp(process, placesOf) ?? []);
    if (path === undefined || !isOutside(path)) return path;
    throw new NotKnown(
      process.pid,
      "it is not known to which units processes belong whose cgroups are outside of the cgroup namespace that rcap runs in; run rcap in that of the machine",
    );
  }

  avoidanceOf(process: ProcessEntry): string | undefined {
    return lookUp(process, (directory) => {
      const places = placesOf(directory);
      return ofProcess(
        process.pid,
        () =>
          this.#avoidance.directoryFor(
            places,
            () => realUid(directory.readText("status")),
          ),
      );
    });
  }

  open(process: ProcessEntry): MonitoredMemory {
    return new LinuxProcessMemory(process, this.#source);
  }

  memory(): MachineMemory {
    return machineMemory();
  }

  [Symbol.dispose](): void {
    this.#source[Symbol.dispose]();
  }
}

/**
 * Looks into a process's directory; `undefined` where there is nothing to be seen.
 *
 * @throws NotKnown when that cannot be told for the moment.
 */
function lookUp<T>(
  process: ProcessEntry,
  look: (directory: ProcDir) => T,
): T | undefined {
  if (process.isSystem || process.isZombie) return undefined;
  try {
    using directory = ProcDir.open(process);
    return look(directory);
  } catch (error) {
    throwUnlessHidden(process, error);
    return undefined;
  }
}

/** Passes over an error that says that a process is gone, or not for this user. */
function throwUnlessHidden({ pid }: ProcessEntry, error: unknown): void {
  if (error instanceof NotKnown || !(error instanceof ProcessError)) {
    throw error;
  }
  if (isExhausted(error)) {
    throw new NotKnown(pid, error.message, { cause: error });
  }
}

/** The real uid in a `/proc/<pid>/status`. */
function realUid(status: string): number {
  return Number(/^Uid:\s+(\d+)/m.exec(status)?.[1]);
}

function placesOf(directory: ProcDir): CgroupPlace[] {
  return parseCgroups(directory.readText("cgroup"));
}

/** Memory of the machine now: sysinfo(2), and `MemAvailable` of proc_meminfo(5). */
export function machineMemory(): MachineMemory {
  const kilobytes = /^MemAvailable: *(\d+) kB$/m.exec(
    readTextFile("/proc/meminfo"),
  )?.[1];
  return { ...memoryInfo(), availableMemory: Number(kilobytes ?? 0) * 1024 };
}
