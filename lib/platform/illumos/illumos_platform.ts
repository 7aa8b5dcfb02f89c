/**
 * The processes of an illumos machine, as the commands and the daemon see them.
 *
 * @module
 */

import { IllumosLibc } from "../../../ffi/illumos_libc.ts";
import { IllumosSystem } from "../../../ffi/illumos_system.ts";
import { Libproc } from "../../../ffi/libproc.ts";
import {
  isExhausted,
  NoSuchProcess,
  NotKnown,
  ProcessError,
} from "../../errors.ts";
import type {
  MachineMemory,
  MonitoredMemory,
  Platform,
  ProcessEntry,
  ProcessSample,
} from "../platform.ts";
import { DescriptorPool } from "./descriptor_pool.ts";
import { readPsinfo } from "./held_process.ts";
import { ofProcess, ProcessFiles } from "./process_files.ts";
import { type IllumosAccess, IllumosProcessMemory } from "./process_memory.ts";
import { decodePsinfo, type Psinfo } from "./psinfo_file.ts";

/** The paths of the system's interfaces. */
export interface IllumosPaths {
  readonly libc: string;
  readonly libproc: string;
  readonly libsocket: string;
  /** The directory of the processes. */
  readonly proc: string;
  /** The file of the projects: project(5). */
  readonly projects: string;
}

/** The paths on illumos. */
export const ILLUMOS_PATHS: IllumosPaths = {
  libc: "libc.so.1",
  libproc: "libproc.so.1",
  libsocket: "libsocket.so.1",
  proc: "/proc",
  projects: "/etc/project",
};

/** The processes of this machine. */
export class IllumosPlatform implements Platform {
  readonly pagedata = "proc";
  readonly granularity = "page";
  readonly pageSize: number;
  /** Descriptors of the files of processes. */
  readonly pool: DescriptorPool;
  readonly #access: IllumosAccess;

  /** @throws CapabilityError if a library cannot be used. */
  constructor({ libc: path, libproc, proc: root }: IllumosPaths) {
    const libc = new IllumosLibc(path);
    const system = new IllumosSystem(path, libc);
    this.pageSize = system.pageSize();
    const inUse = system.readDirectory(`${root}/self/fd`).length;
    const limit = system.descriptorLimit();
    this.pool = new DescriptorPool(libc, { limit, inUse });
    this.#access = {
      libc,
      system,
      pool: this.pool,
      root,
      libproc: new Libproc(libproc, libc),
    };
  }

  listPids(): number[] {
    const { system, root } = this.#access;
    return system.readDirectory(root)
      .filter((name) => /^\d+$/.test(name)).map(Number);
  }

  listProcesses(): ProcessEntry[] {
    const processes: ProcessEntry[] = [];
    for (const pid of this.listPids()) {
      try {
        processes.push(this.readProcess(pid));
      } catch (error) {
        // It has exited since the directory was read.
        if (!(error instanceof NoSuchProcess)) throw error;
      }
    }
    return processes.sort((a, b) => a.pid - b.pid);
  }

  /**
   * Reads a psinfo through a new descriptor. Those of the pool are for processes that
   * are read repeatedly.
   */
  readProcess(pid: number): Psinfo {
    const open = (path: string) => this.pool.open(path);
    return ofProcess(
      pid,
      () => decodePsinfo(readPsinfo(this.#access, pid, open)),
    );
  }

  /** The system counts each page of a process, but says nothing of files. */
  sampleProcess(pid: number): ProcessSample {
    return { ...this.readProcess(pid), fileRss: 0, rssError: 0 };
  }

  userOf(entry: ProcessEntry): number | undefined {
    return this.#lookUp(entry)?.uid;
  }

  runsProgram(
    entry: ProcessEntry,
    matches: (path: string) => boolean,
  ): Promise<boolean> {
    if (entry.isSystem || entry.isZombie) return Promise.resolve(false);
    const path = known(
      entry,
      () => this.files(entry).readLink("path/a.out"),
    );
    return Promise.resolve(path !== undefined && matches(path));
  }

  cgroupsOf(): readonly string[] {
    return [];
  }

  projectOf(entry: ProcessEntry): number | undefined {
    return this.#lookUp(entry)?.projectId;
  }

  zoneOf(entry: ProcessEntry): number | undefined {
    return this.#lookUp(entry)?.zoneId;
  }

  open(entry: ProcessEntry): MonitoredMemory {
    return new IllumosProcessMemory(entry, this.#access);
  }

  /** The files of a process. */
  files(entry: ProcessEntry): ProcessFiles {
    return new ProcessFiles(entry, this.#access);
  }

  memory(): MachineMemory {
    return machineMemory(this.#access.system);
  }

  /** Reads the psinfo of a process; `undefined` if it has exited. */
  #lookUp({ pid, startTime }: ProcessEntry): Psinfo | undefined {
    const psinfo = known({ pid }, () => this.readProcess(pid));
    return psinfo?.startTime === startTime ? psinfo : undefined;
  }

  [Symbol.dispose](): void {
    this.pool[Symbol.dispose]();
  }
}

/**
 * Looks something up about a process; `undefined` if it has exited, or this user may
 * not see it.
 *
 * @throws NotKnown if that cannot be found out at the moment.
 */
function known<T>({ pid }: { pid: number }, look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (!(error instanceof ProcessError)) throw error;
    if (!isExhausted(error)) return undefined;
    throw new NotKnown(pid, error.message, { cause: error });
  }
}

/** The current state of the machine's memory. */
export function machineMemory(system: IllumosSystem): MachineMemory {
  const swap = system.swap();
  return {
    totalMemory: system.totalMemory(),
    availableMemory: system.freeMemory(),
    totalSwap: swap.total,
    freeSwap: swap.free,
  };
}
