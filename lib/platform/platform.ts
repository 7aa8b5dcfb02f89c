/**
 * What rcap needs of an operating system.
 *
 * @module
 */

import type { PageSpan } from "../memory/page_states.ts";
import type { Pagedata } from "../memory/pagedata.ts";
import type { ProcessMemory, SkipReason } from "../memory/process_memory.ts";

/** Where reference bits come from, by name. */
export type PagedataSourceName =
  /** The page tables of Linux. */
  | "pte"
  /** `/proc/<pid>/smaps` of Linux. */
  | "smaps"
  /** `/proc/<pid>/pagedata` of illumos. */
  | "proc";

/**
 * What a reading is for.
 *
 * - `scan`: which pages can go. Pages that no page-out could take are not
 *   recorded, so that they do not count as unreferenced. The reference bits are
 *   reset right after they are read.
 * - `glance`: the same, and nothing is reset.
 * - `inspect`: how every resident page is used. Nothing is reset.
 */
export type PagedataPurpose = "scan" | "glance" | "inspect";

/** What the system says of one mapping. Sizes in bytes. */
export interface MappingFigures {
  readonly start: bigint;
  readonly end: bigint;
  /** As Linux has it: `rw-p`, with `s` instead of `p` for shared. */
  readonly perm: string;
  /** Path of the file, or a name like `[heap]`; empty for anonymous memory. */
  readonly name: string;
  readonly pageSize: number;
  readonly rss: number;
  /** Of `rss`, what belongs to no file. */
  readonly anonymous: number;
  /** What of it is in swap; 0 where the system does not tell. */
  readonly swapped: number;
  /** Of `rss`, what is locked in memory. */
  readonly locked: number;
  /** Of `rss`, what was referenced and modified; 0 where only pagedata tells. */
  readonly referenced: number;
  readonly modified: number;
  /** Why a page-out could take nothing of it; `undefined` when it could. */
  readonly reason: SkipReason | undefined;
}

/** The memory of one process, with what the commands need beside the scanner. */
export interface MonitoredMemory extends ProcessMemory {
  /**
   * Finds out whether the process can be read, before anything is done to it.
   *
   * @throws NoSuchProcess when it has exited.
   * @throws ProcessAccessDenied when this user may not read it.
   */
  checkAccess(): Promise<void>;
  /** Resets the bits without reading them: an observation starts. */
  reset(): Promise<void>;
  /** Has what is in use show once more, shortly before an observation ends. */
  refresh(): Promise<void>;
  /** Reads pagedata for a purpose. */
  read(purpose: PagedataPurpose): Promise<Pagedata>;
  /**
   * Whether the process may have run, and used memory, since its pagedata was last
   * read. What happened within the last tenth of a second may be missed.
   */
  hasRun(): boolean;
  /**
   * Why the process is set aside, for a person: it has not answered before, and is
   * tried again less and less often. `undefined` when it is not.
   */
  readonly silence?: string;
  /**
   * Why the process is known more coarsely than others, for a person: more of it
   * would have to be kept than is kept of one. `undefined` when it is not, or was not
   * read yet.
   */
  readonly coarseness?: string;
  /** Whether the system tells of proportional sizes. */
  readonly knowsProportional: boolean;
  /**
   * Proportional set size in bytes: every page counts divided by the number of
   * processes that map it. The RSS, which is more, where that is not for this
   * user, or the system does not tell. Costs a walk of the page tables.
   */
  readProportional(): Promise<number>;
  /**
   * The mappings with all figures, in address order.
   *
   * @param purpose `inspect`, as by default, tells of each by its name; otherwise
   * they are those of a scan, without their names.
   */
  readMappings(purpose?: PagedataPurpose): Promise<MappingFigures[]>;
  /** The state of every page of a range, a byte a page: `PAGE_*` of `../memory/page_states.ts`. */
  readPageStates(span: PageSpan): Promise<Uint8Array>;
}

/** A process, told apart from every other that has or had the same pid. */
export interface ProcessId {
  readonly pid: number;
  /** When it started. What it counts is the system's own affair. */
  readonly startTime: number;
}

/** One process, as the list of processes shows it. */
export interface ProcessEntry extends ProcessId {
  /** Name of the command, without its path. */
  readonly comm: string;
  readonly ppid: number;
  /**
   * Tells address spaces of one process apart: it changes when the process starts
   * another program. What it says is the system's own affair.
   */
  readonly layout: string;
  /** Whether it belongs to the system, like a kernel thread, and has no memory of its own. */
  readonly isSystem: boolean;
  /** Whether it has exited and only waits to be reaped. */
  readonly isZombie: boolean;
  /** Resident set size and image size in bytes, as the list has them: cheap, and about right. */
  readonly rss: number;
  readonly image: number;
  /** Page faults that had to wait for a disk since it started; 0 where the system does not tell. */
  readonly majorFaults: number;
}

/** Memory of the machine, in bytes. */
export interface MachineMemory {
  /** Physical memory. */
  readonly totalMemory: number;
  /** How much of it programs can have without anything being paged out. */
  readonly availableMemory: number;
  readonly totalSwap: number;
  readonly freeSwap: number;
}

/** The processes of a running system and their memory. */
export interface Platform extends Disposable {
  /** Where reference bits come from. */
  readonly pagedata: PagedataSourceName;
  /** Whether references are known a page or only a mapping at a time. */
  readonly granularity: "page" | "mapping";
  /** Size of a page in bytes; the smallest where there are several. */
  readonly pageSize: number;
  /** The pid of every process there is, in no order. */
  listPids(): number[];
  /** Every process there is, of the system and zombies too, by pid. */
  listProcesses(): ProcessEntry[];
  /**
   * One process. Cheap: hundreds can be read every few seconds.
   *
   * @throws NoSuchProcess when there is none with that pid.
   */
  readProcess(pid: number): ProcessEntry;
  /**
   * The real user id of a process; `undefined` where that cannot be seen.
   *
   * @throws NotKnown, as all that look closer at a process, when it cannot be found
   * out for the moment.
   */
  userOf(entry: ProcessEntry): number | undefined;
  /**
   * Whether the path of its program matches, and is where the machine has that
   * program: not only where the process itself sees it.
   *
   * @param matches is asked before the file is looked for.
   */
  runsProgram(
    entry: ProcessEntry,
    matches: (path: string) => boolean,
  ): Promise<boolean>;
  /** The paths of its cgroups; none where that cannot be seen. */
  cgroupsOf(entry: ProcessEntry): readonly string[];
  /** The path of the cgroup that systemd has it in, where the system has that. */
  systemdCgroupOf?(entry: ProcessEntry): string | undefined;
  /**
   * The directory of the cgroup whose owner wants the process to be left alone;
   * `undefined` when there is none.
   */
  avoidanceOf?(entry: ProcessEntry): string | undefined;
  /** The id of its project, where the system has such. */
  projectOf?(entry: ProcessEntry): number | undefined;
  /** The id of its zone, where the system has such. */
  zoneOf?(entry: ProcessEntry): number | undefined;
  /**
   * Access to the memory of a process. Opens nothing that would have to be closed.
   *
   * @param group whose processes share a limit on calls that do not come back.
   */
  open(entry: ProcessEntry, group?: string): MonitoredMemory;
  /**
   * Why processes cannot be reached that have done nothing for it, for a person;
   * `undefined` while all can.
   */
  readonly overload?: string;
  /** Memory of the machine now. */
  memory(): MachineMemory;
}

/** One thing that rcap can use, and whether it works on this machine. */
export interface Finding {
  readonly name: string;
  readonly status: "ok" | "degraded" | "missing";
  /** What was found. */
  readonly detail: string;
  /** What it means for rcap. */
  readonly meaning: string;
  /** What to do about it; null where nothing need be done. */
  readonly remedy: string | null;
  /** Whether no scan works without it. */
  readonly required: boolean;
}

/** The cap of a project, where the system has such. */
export interface ProjectCap {
  readonly name: string;
  readonly id: number;
  /** In bytes. */
  readonly maxRss: number;
}

/** Caps of projects, and what is wrong with what the system says of them, for a person. */
export interface ProjectCaps {
  /** `undefined` when they cannot be read: those there were hold on. */
  readonly caps: readonly ProjectCap[] | undefined;
  readonly problems: readonly string[];
}

/** Where the system keeps caps of projects. */
export interface ProjectCapSource {
  /** The file, for messages. */
  readonly path: string;
  /** The caps; `undefined` when nothing has changed since this was last asked. */
  changedCaps(): ProjectCaps | undefined;
}
