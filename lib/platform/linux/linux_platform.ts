/**
 * The processes of a Linux machine, as the commands and the daemon see them.
 *
 * @module
 */

import { readTextFile } from "../../../ffi/file.ts";
import { pageSize } from "../../../ffi/system.ts";
import {
  CapabilityError,
  isDenied,
  isExhausted,
  isMissing,
  NotKnown,
  ProcessError,
  SystemError,
} from "../../errors.ts";
import {
  type Container,
  type CostOptions,
  granularityOf,
  type MachineMemory,
  type MemoryCosts,
  type MonitoredMemory,
  type OpenOptions,
  type PagedataSourceName,
  type Platform,
  type ProcessEntry,
  type ProcessSample,
  type ReclaimableCgroup,
} from "../platform.ts";
import { Avoidance } from "./avoidance.ts";
import { reachableCgroupMounts } from "./cgroup_mounts.ts";
import { CgroupReclaim, findCgroup } from "./cgroup_reclaim.ts";
import {
  type CgroupPlace,
  isOutside,
  parseCgroups,
  systemdPath,
  unifiedPath,
} from "./cgroups.ts";
import { NameFiles } from "./container_names.ts";
import { Containers } from "./containers.ts";
import type { HostFiles } from "./host_files.ts";
import { CgroupPressures, machinePressure } from "./memory_pressure.ts";
import { CostMeter } from "./memory_costs.ts";
import { MemoryCalls } from "./memory_calls.ts";
import type { PagedataSource } from "./pagedata_source.ts";
import { precisionBudgets } from "./precision.ts";
import { ofProcess, ProcDir } from "./proc_dir.ts";
import {
  listPids,
  listProcesses,
  readProcess,
  sampleProcess,
} from "./process_list.ts";
import { memoryOfSwap } from "./swap_memory.ts";
import { SwapLimits } from "./swap_limits.ts";
import { swapDisk, swapsIfKnown } from "./swaps.ts";
import { LinuxProcessMemory } from "./process_memory.ts";
import { sizeIn } from "./status_sizes.ts";
import { firstOfSpaces, kcmp, SpaceOrder } from "./shared_memory.ts";
import { ProgramFiles } from "./program_file.ts";
import { systemMemory } from "./system_calls.ts";

/** The processes of this machine. */
export class LinuxPlatform implements Platform {
  readonly pageSize: number = pageSize();
  readonly #source: PagedataSource;
  readonly #calls: MemoryCalls;
  readonly #order: SpaceOrder;
  readonly #budgets = precisionBudgets(systemMemory().totalMemory);
  readonly #programs = new ProgramFiles();
  readonly #avoidance = new Avoidance();
  readonly #containers: Containers;
  readonly #reclaim = new CgroupReclaim(this.#avoidance);
  readonly #swapLimits = new SwapLimits();
  readonly #pressures = new CgroupPressures();
  readonly #costs: CostMeter;

  /**
   * Takes ownership of the source, which is closed with the platform.
   *
   * @param signal ends all waiting for processes.
   * @param host the files that name containers.
   */
  constructor(source: PagedataSource, signal?: AbortSignal, host?: HostFiles) {
    this.#source = source;
    this.#containers = new Containers(new NameFiles(host));
    this.#calls = new MemoryCalls({
      lookAtLock: source.lookAtLock?.bind(source),
      signal,
    });
    this.#costs = new CostMeter(source, this.#calls, signal);
    this.#order = new SpaceOrder(kcmp(this.#calls));
  }

  get pagedata(): PagedataSourceName {
    return this.#source.name;
  }

  get granularity(): "page" | "mapping" {
    return granularityOf(this.#source.name);
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

  sampleProcess(pid: number): ProcessSample {
    return sampleProcess(pid);
  }

  async sharedMemory(
    entries: readonly ProcessEntry[],
  ): Promise<ReadonlyMap<number, number>> {
    const spaces = this.#source.addressSpaces?.();
    return spaces
      ? firstOfSpaces(entries, ({ pid }) => spaces.get(pid))
      : await this.#order.search(entries);
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

  async programOf(
    process: ProcessEntry,
  ): Promise<{ path: string; file: string } | undefined> {
    if (process.isSystem || process.isZombie) return undefined;
    return await this.#programs.identify(process);
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

  containerOf(process: ProcessEntry): Container | undefined {
    return lookUp(process, (directory) => {
      const places = placesOf(directory);
      if (places.length > 0 && places.every(({ path }) => isOutside(path))) {
        throw new NotKnown(
          process.pid,
          "it is not known in which containers processes are whose cgroups are outside of the cgroup namespace that rcap runs in; run rcap in that of the machine",
        );
      }
      return ofProcess(process.pid, () => this.#containers.of(places));
    });
  }

  unifiedCgroupOf(process: ProcessEntry): string | undefined {
    return unifiedPath(lookUp(process, placesOf) ?? []);
  }

  memoryOfSwap(): number | undefined {
    return memoryOfSwap();
  }

  memoryPressure(cgroup?: string): number | undefined {
    return cgroup === undefined
      ? machinePressure()
      : this.#pressures.of(cgroup);
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

  reclaimable(
    entries: readonly ProcessEntry[],
    matches: (path: string) => boolean,
  ): ReclaimableCgroup | string {
    return this.#reclaim.find(cgroupsOfAll(entries), matches);
  }

  open(process: ProcessEntry, options: OpenOptions = {}): MonitoredMemory {
    return new LinuxProcessMemory(process, {
      ...options,
      get observationBudget() {
        return options.observationBudget;
      },
      get maySwap() {
        return options.maySwap;
      },
      source: this.#source,
      calls: this.#calls,
      budgets: this.#budgets,
      swapLimits: this.#swapLimits,
      referenceCost: () => this.#costs.reference,
    });
  }

  async costs(
    { ofPageIns = true }: CostOptions = {},
  ): Promise<MemoryCosts | undefined> {
    return await this.#costs.measure({ ofPageIns });
  }

  get overload(): string | undefined {
    return this.#calls.overload;
  }

  memory(): MachineMemory {
    return machineMemory();
  }

  [Symbol.dispose](): void {
    this.#source[Symbol.dispose]();
  }
}

/**
 * Looks something up in a process's directory; `undefined` if it is not visible.
 *
 * @throws NotKnown if it cannot be found out at the moment.
 */
function lookUp<T>(
  process: ProcessEntry,
  look: (directory: ProcDir) => T,
): T | undefined {
  if (process.isSystem || process.isZombie) return undefined;
  try {
    using directory = ProcDir.open(process);
    return ofProcess(process.pid, () => look(directory));
  } catch (error) {
    throwUnlessHidden(process, error);
    return undefined;
  }
}

/** Ignores errors that mean that a process has exited, or is not visible to this user. */
function throwUnlessHidden({ pid }: ProcessEntry, error: unknown): void {
  if (error instanceof NotKnown || !(error instanceof ProcessError)) {
    throw error;
  }
  if (isExhausted(error)) {
    throw new NotKnown(pid, error.message, { cause: error });
  }
}

/**
 * Returns the real uid in a `/proc/<pid>/status`.
 *
 * @throws SyntaxError if there is none.
 */
export function realUid(status: string): number {
  // Users choose the name of a process, which is in the first line; the kernel escapes
  // its line feeds.
  const uid = Number(/^Uid:\s+(\d{1,10})\s/m.exec(status)?.[1]);
  if (Number.isNaN(uid)) {
    throw new SyntaxError(`no Uid in status: ${status.slice(0, 80)}`);
  }
  return uid;
}

/** Yields the cgroups of the processes that are visible. */
function* cgroupsOfAll(
  entries: Iterable<ProcessEntry>,
): Generator<CgroupPlace[]> {
  for (const entry of entries) {
    const places = lookUp(entry, placesOf);
    if (places) yield places;
  }
}

/** Why memory of the selected cgroup cannot be reclaimed: `OperatingSystem`. */
export function whyNotReclaimable(
  matches: (path: string) => boolean,
): string | undefined {
  const all = listProcesses();
  const mounts = reachableCgroupMounts();
  const found = findCgroup(cgroupsOfAll(all), matches, mounts);
  return typeof found === "string" ? found : undefined;
}

function placesOf(directory: ProcDir): CgroupPlace[] {
  return parseCgroups(directory.readText("cgroup"));
}

/**
 * The current state of the machine's memory: sysinfo(2), and `MemAvailable` of
 * proc_meminfo(5), which is only read on access.
 */
export function machineMemory(): MachineMemory {
  const memory = systemMemory();
  return {
    ...memory,
    get availableMemory() {
      return availableMemory();
    },
    get swapCached() {
      return sizeIn(readTextFile("/proc/meminfo"), "SwapCached");
    },
    get swapDisk() {
      return swapDisk(swapsIfKnown(), memory.totalSwap);
    },
  };
}

/** `MemAvailable` in a `meminfo`, in bytes; 0 if there is none. */
export function parseMemAvailable(meminfo: string): number {
  return sizeIn(meminfo, "MemAvailable") ?? 0;
}

/**
 * `MemAvailable` of proc_meminfo(5), in bytes.
 *
 * @throws CapabilityError if `/proc` does not show it.
 */
export function availableMemory(): number {
  try {
    const meminfo = readTextFile("/proc/meminfo");
    return parseMemAvailable(meminfo);
  } catch (error) {
    // Other errors are temporary, such as a lack of descriptors.
    if (
      !(error instanceof SystemError) || !isMissing(error) && !isDenied(error)
    ) throw error;
    throw new CapabilityError(
      `how much memory is available is not known (${error.message})`,
      {
        remedy:
          "mount proc without subset=pid (ProcSubset=all in a systemd unit)",
        cause: error,
      },
    );
  }
}
