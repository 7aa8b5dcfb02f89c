/**
 * The interface to the processes of an operating system and their memory.
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

/** Whether a source knows references for every page, or only for every mapping. */
export function granularityOf(
  source: PagedataSourceName,
): Platform["granularity"] {
  return source === "smaps" ? "mapping" : "page";
}

/**
 * What to do with a process whose memory a virtual machine or device maps by page
 * tables of its own: its references are not visible, so memory in use looks idle.
 */
export const SECONDARY_MMU_CHOICES = [
  /** Page out none of its memory. */
  "leave",
  /** Treat it like any other process. */
  "scan",
] as const;
export type SecondaryMmuChoice = typeof SECONDARY_MMU_CHOICES[number];

/**
 * Whether the kernel is asked to reclaim memory that no page-out of a process can take,
 * because several processes map it.
 */
export const RECLAIM_CHOICES = [
  "off",
  /** Where all processes are in one cgroup, and the kernel can. */
  "auto",
] as const;
export type ReclaimChoice = typeof RECLAIM_CHOICES[number];

/** A cgroup whose memory the kernel can be asked to reclaim. The kernel chooses the pages. */
export interface ReclaimableCgroup {
  /** Its path, as its processes show it. */
  readonly path: string;
  /** The paths of the cgroups right below it, whose memory goes as well. */
  readonly children: readonly string[];
  /**
   * Asks for some bytes, and waits for a limited time.
   *
   * @param signal ends the wait, not the request.
   * @returns `done` if at least as much was reclaimed, `less` if not, as far as the kernel
   * counts; `busy` if a request has not returned yet.
   * @throws SystemError if the kernel refuses.
   */
  reclaim(
    bytes: number,
    signal: AbortSignal,
  ): Promise<"done" | "less" | "busy">;
}

/** The kinds of memory of which a cap may allow only one to go. */
export const MEMORY_KINDS = [
  /** What goes to swap: anonymous memory, shared memory, and files in memory. */
  "anon",
  /** What goes back to files on a disk. */
  "file",
] as const;
export type MemoryKind = typeof MEMORY_KINDS[number];

/** How the memory of a process is accessed. */
export interface OpenOptions {
  /** The group whose processes share a limit on calls that do not return. */
  readonly group?: string;
  /** `leave` by default. */
  readonly secondaryMmu?: SecondaryMmuChoice;
  /**
   * The most that being observed may cost the process: a share of its time, averaged
   * over a minute. Unlimited by default. Read whenever it matters, so it may change.
   */
  readonly observationBudget?: number;
  /** Whether to treat memory as if there were swap for it, whether or not there is. */
  readonly assumesSwap?: boolean;
  /** The kind of memory that may be paged out; both by default. */
  readonly only?: MemoryKind;
  /** Whether memory may be paged out to swap; it may by default. Read whenever it matters. */
  readonly maySwap?: boolean;
}

/**
 * What it costs a process on this machine to be observed and paged out, as measured on
 * memory of rcap's own, in nanoseconds.
 */
export interface MemoryCosts {
  /**
   * By how much longer the first reference to a page takes after its reference bit was
   * reset. A large page counts once.
   */
  readonly reference: number;
  /** What the first reference to a page takes that was paged out, by device. */
  readonly pageIns: readonly PageInCost[];
}

/** What to measure besides the cost of a reference. */
export interface CostOptions {
  /**
   * Whether page-ins are measured, too; they are by default. What was measured before is
   * returned in any case.
   */
  readonly ofPageIns?: boolean;
}

/** What page-ins from one device cost. */
export interface PageInCost {
  /**
   * What was measured: page-ins from swap or from a file, or how long the reads of
   * others take that a device is seen to do, on average.
   */
  readonly from: "swap" | "file" | "reads";
  /** The name of the device, like `zram0`. */
  readonly device: string;
  readonly nanoseconds: number;
}

/**
 * The purpose of a read.
 *
 * - `scan`: which pages can be paged out. Other pages are not recorded, so that they do
 *   not count as unreferenced. The reference bits are reset right after they are read.
 * - `glance`: the same, but nothing is reset.
 * - `inspect`: how every resident page is used. Nothing is reset.
 * - `lend`: as `scan`, for another rcap that observes the process from now on. All bits are
 *   reset, whatever the budget.
 */
export type PagedataPurpose = "scan" | "glance" | "inspect" | "lend";

/** The system's figures of one mapping. Sizes are in bytes. */
export interface MappingFigures {
  readonly start: bigint;
  readonly end: bigint;
  /** In the notation of Linux: `rw-p`, with `s` instead of `p` for shared. */
  readonly perm: string;
  /** Path of the file, or a name like `[heap]`; empty for anonymous memory. */
  readonly name: string;
  readonly pageSize: number;
  readonly rss: number;
  /** The part of `rss` that is mapped exactly once. */
  readonly own: number;
  /** `rss`, with each page divided by how often it is mapped, where that is known. */
  readonly proportional: number;
  /** The part of `own` that is pinned; `undefined` if only {@linkcode HeldMemory} is known. */
  readonly pinned: number | undefined;
  /** The part of `rss` that belongs to no file. */
  readonly anonymous: number;
  /** How much of it is in swap; 0 if the system does not report this. */
  readonly swapped: number;
  /** The part of `rss` that is locked in memory. */
  readonly locked: number;
  /** The parts of `rss` that were referenced and modified; 0 if only pagedata shows this. */
  readonly referenced: number;
  readonly modified: number;
  /** The part of `rss` that can be paged out. */
  readonly pageable: number;
  /** The part of `pageable` that can only go to swap; 0 if this is not known. */
  readonly toSwap: number;
  /** Why `pageable` is 0; `undefined` if it is not. */
  readonly reason: SkipReason | undefined;
}

/**
 * The resident memory of a process, counted page by page, in bytes. Proportional: each
 * page counts divided by how often it is mapped. `file` parts belong to files and
 * shared memory, the rest is anonymous.
 */
export interface Footprint {
  readonly rss: number;
  readonly fileRss: number;
  readonly proportional: number;
  readonly fileProportional: number;
}

/**
 * The memory of a process that is to stay in memory, as the system accounts for it, in
 * bytes. Neither need be resident or mapped any more.
 */
export interface HeldMemory {
  /**
   * Pinned by the kernel or a device, as io_uring's registered buffers and the memory
   * regions of RDMA are. What is pinned twice counts twice.
   */
  readonly pinned: number;
  /** The size of the locked mappings and, besides, of what VFIO has pinned. */
  readonly locked: number;
}

/** The footprint of a process if nothing is known of it but its RSS: an upper bound. */
export function unshared({ rss }: { readonly rss: number }): Footprint {
  return { rss, fileRss: 0, proportional: rss, fileProportional: 0 };
}

/** What reads of pagedata cost. */
export interface ReadCost {
  /** The resident pages that were read, whether or not they can be paged out. */
  pages: number;
  /**
   * The processor time that this took the system and rcap, in seconds. Waiting, for a
   * thread, for a lock or for other reads, does not count, if the system can tell.
   */
  seconds: number;
}

/** The memory of one process, with what the commands need besides the scanner. */
export interface MonitoredMemory extends ProcessMemory {
  /**
   * Checks that the process can be read, before anything is done to it.
   *
   * @throws NoSuchProcess if it has exited.
   * @throws ProcessAccessDenied if this user may not read it.
   */
  checkAccess(): Promise<void>;
  /** Resets the bits without reading them, to start an observation. */
  reset(): Promise<void>;
  /** Makes references to pages in use visible again, shortly before an observation ends. */
  refresh(): Promise<void>;
  /** What reads of pagedata have cost so far. */
  readonly readCost: Readonly<ReadCost>;
  /**
   * How much longer references of the process have taken so far because their bits had
   * been reset, in seconds: the pages found referenced after a reset, times the cost of a
   * reference. `undefined` if the cost is not known.
   */
  readonly observationCost?: number;
  /**
   * How much of it looks in use only because its references could not be reset and read
   * since observation began, for lack of budget; in bytes, as of the last reading. None
   * by default.
   */
  readonly unjudged?: number;
  /**
   * How much of it looks in use, and was last reset longer ago than a number of
   * milliseconds, for lack of budget; in bytes, as of the last reading. None by default.
   */
  unresetFor?(milliseconds: number): number;
  /** Reads pagedata for a purpose. */
  read(purpose: PagedataPurpose): Promise<Pagedata>;
  /**
   * Whether the process may have run, and used memory, since its pagedata was last
   * read. May miss what happened within the last tenth of a second.
   */
  hasRun(): boolean;
  /**
   * Whether nothing but the threads of the process use its memory: no other process has
   * its address space, and no virtual machine or device maps it. `false` if that is not
   * known.
   */
  isAlone?(): boolean;
  /**
   * Whether the threads of the process cannot run: a signal has stopped it, or its cgroup is
   * frozen.
   */
  isHalted?(): boolean;
  /**
   * Why the process is set aside, in words for users: it has not answered, and is tried
   * again less and less often. `undefined` if it is not set aside.
   */
  readonly silence?: string;
  /**
   * Why the process cannot be read, in words for users, from a failed reading or
   * reset of its references to the next one that succeeds; `undefined` if it can, or was not read yet.
   */
  readonly unreadable?: string;
  /**
   * Why the process is known more coarsely than others, in words for users: its records
   * would exceed the limit of one process. `undefined` if it is not, or was not read yet.
   */
  readonly coarseness?: string;
  /**
   * Why none of its memory is paged out, in words for users, as of the last reading: a
   * virtual machine or device uses it. `undefined` if it may be.
   */
  readonly leftAlone?: string;
  /**
   * Where its references came from when they were last read; `undefined` if from the
   * source of the platform.
   */
  readonly pagedata?: PagedataSourceName;
  /** Whether the system reports proportional sizes. */
  readonly knowsProportional: boolean;
  /**
   * Counts the resident memory. Walks the page tables. If this user may not, or the
   * system does not report it, proportional sizes are those of RSS, which are larger.
   */
  readFootprint(): Promise<Footprint>;
  /** Reads how much of the memory is pinned and locked, if the system accounts for it. */
  readHeld?(): HeldMemory;
  /**
   * Which cgroup lets the process swap no more, and its limit, in words for users;
   * `undefined` if it may swap.
   */
  swapLimit?(): string | undefined;
  /**
   * Reads the mappings with all figures, in address order.
   *
   * @param purpose with `inspect`, the default, mappings have names; otherwise they are
   * those of a scan, without names.
   */
  readMappings(purpose?: PagedataPurpose): Promise<MappingFigures[]>;
  /** Reads how much of it is in swap, in bytes, if the system knows. Cheap. */
  readSwap?(): number;
  /** Brings back what of it is in swap, if the system can. */
  restore?(options: RestoreOptions): Promise<RestoreResult>;
  /** Reads the state of every page of a range, one byte per page: `PAGE_*` of `../memory/page_states.ts`. */
  readPageStates(span: PageSpan): Promise<Uint8Array>;
}

/** How memory is brought back that is in swap. */
export interface RestoreOptions {
  /**
   * Asked before so many bytes are read; `false` ends the reading. Synchronous, so that
   * it goes by the moment.
   */
  readonly mayRead: (bytes: number) => boolean;
}

/** What was brought back of a process, in bytes. */
export interface RestoreResult {
  /** How much of it was in swap before. */
  readonly out: number;
  /** How much of that the system was asked to read. */
  readonly requested: number;
  /** How much of it comes back only when the process uses it. */
  readonly outOfReach: number;
  /** Whether it ended since its cgroups leave no room for more. */
  readonly isAtLimit: boolean;
}

/** Identifies a process, even if its pid is reused. */
export interface ProcessId {
  readonly pid: number;
  /** When it started. The unit depends on the system. */
  readonly startTime: number;
}

/** One process, as listed by the system. */
export interface ProcessEntry extends ProcessId {
  /** Name of the command, without its path. */
  readonly comm: string;
  readonly ppid: number;
  /**
   * Identifies the address space: changes when the process executes another program.
   * The format depends on the system.
   */
  readonly layout: string;
  /** Whether it belongs to the system, like a kernel thread, and has no memory of its own. */
  readonly isSystem: boolean;
  /** Whether it has exited and only waits to be reaped. */
  readonly isZombie: boolean;
  /**
   * Whether its main thread has exited while others run. Nothing of it can be paged
   * out, because the kernel finds the memory of a process through its main thread.
   */
  readonly mainThreadExited: boolean;
  /** Resident set size and image size in bytes: cheap to read, and approximate. */
  readonly rss: number;
  readonly image: number;
  /** Page faults that waited for a disk since it started; 0 if the system does not report this. */
  readonly majorFaults: number;
}

/** The container of a process, or the pod if it is in none of its containers. */
export interface Container {
  /** The id that its engine has given it; `undefined` if only the pod is known. */
  readonly id: string | undefined;
  /** The name that its engine has given it, if the engine tells one. */
  readonly name: string | undefined;
  /** The user whose own engine runs it; `undefined` if it is the machine's. */
  readonly uid: number | undefined;
  /** `undefined` if it is in no pod of Kubernetes, or that of which the name is not known. */
  readonly pod: PodName | undefined;
}

/** The names of a pod of Kubernetes. */
export interface PodName {
  readonly namespace: string;
  readonly name: string;
  /** The container in it; `undefined` if it is none of those of its specification. */
  readonly container: string | undefined;
}

/** A process and its sizes at one moment, in bytes. `rss` is as exact as it can be read cheaply. */
export interface ProcessSample extends ProcessEntry {
  /** The part of `rss` that belongs to files and shared memory; 0 if the system does not report this. */
  readonly fileRss: number;
  /** The most by which `rss` may differ from what the page tables hold. */
  readonly rssError: number;
}

/** Memory of the machine, in bytes. */
export interface MachineMemory {
  /** Physical memory. */
  readonly totalMemory: number;
  /** How much of it programs can allocate without anything being paged out. */
  readonly availableMemory: number;
  readonly totalSwap: number;
  readonly freeSwap: number;
  /** Memory that is in swap, too: read back, or not dropped yet; if the system knows. */
  readonly swapCached?: number;
  /**
   * The device or file of the swap that is used next, if it is on a disk; null if there is
   * swap, and it is not known where.
   */
  readonly swapDisk?: string | null;
}

/** The processes of a running system and their memory. */
export interface Platform extends Disposable {
  /** Where reference bits come from. */
  readonly pagedata: PagedataSourceName;
  /** Whether references are known for every page, or only for every mapping. */
  readonly granularity: "page" | "mapping";
  /** Size of a page in bytes; the smallest if there are several. */
  readonly pageSize: number;
  /** The pids of all processes, in no particular order. */
  listPids(): number[];
  /** All processes, including zombies and those of the system, ordered by pid. */
  listProcesses(): ProcessEntry[];
  /**
   * Reads one process. Cheap enough to read hundreds every few seconds.
   *
   * @throws NoSuchProcess if there is no process with that pid.
   */
  readProcess(pid: number): ProcessEntry;
  /**
   * Reads one process and its sizes, all of the same process. Cheap enough to sample
   * hundreds every few seconds.
   *
   * @throws NoSuchProcess if there is no process with that pid.
   */
  sampleProcess(pid: number): ProcessSample;
  /**
   * Finds the processes that share one address space, as after `clone(CLONE_VM)` or
   * `vfork`. A process that cannot be examined counts as one that shares nothing.
   *
   * @returns for each process whose memory is that of one before it in the list, the
   * pid of the first such process.
   */
  sharedMemory?(
    entries: readonly ProcessEntry[],
  ): Promise<ReadonlyMap<number, number>>;
  /**
   * The real user id of a process; `undefined` if it is not visible.
   *
   * @throws NotKnown if it cannot be found out at the moment, as all methods below that
   * examine a process.
   */
  userOf(entry: ProcessEntry): number | undefined;
  /**
   * Whether the path of its program matches, and leads to that program for the machine
   * too, not only for the process itself.
   *
   * @param matches called before the file is looked up.
   */
  runsProgram(
    entry: ProcessEntry,
    matches: (path: string) => boolean,
  ): Promise<boolean>;
  /**
   * Its program: the path by which the process reached it, and a word for its device,
   * inode and time of modification. `undefined` if its file system does not tell.
   */
  programOf?(
    entry: ProcessEntry,
  ): Promise<{ readonly path: string; readonly file: string } | undefined>;
  /** The paths of its cgroups; empty if they are not visible. */
  cgroupsOf(entry: ProcessEntry): readonly string[];
  /** The path of its cgroup of version 2, if the system has such and it is visible. */
  unifiedCgroupOf?(entry: ProcessEntry): string | undefined;
  /**
   * The share of the last ten seconds, 0 to 1, in which some process of a cgroup of
   * version 2 waited for memory, or of the machine without one; `undefined` if it is not
   * known.
   */
  memoryPressure?(cgroup?: string): number | undefined;
  /**
   * How many bytes of memory the machine spends for each byte in swap, since it keeps
   * that there in compressed form; `undefined` if it is not known.
   */
  memoryOfSwap?(): number | undefined;
  /** The path of the cgroup in which systemd keeps it, if the system has systemd. */
  systemdCgroupOf?(entry: ProcessEntry): string | undefined;
  /** Its container, if the system has containers; `undefined` if it is in none. */
  containerOf?(entry: ProcessEntry): Container | undefined;
  /**
   * The directory of the cgroup whose owner wants the process to be left alone;
   * `undefined` if there is none.
   */
  avoidanceOf?(entry: ProcessEntry): string | undefined;
  /**
   * Finds the cgroup of version 2 that holds all of some processes.
   *
   * @param matches whether the path of a cgroup is selected. Of nested ones the topmost
   * counts.
   * @returns the cgroup, or why the kernel cannot be asked to reclaim its memory, in words
   * for users.
   */
  reclaimable?(
    entries: readonly ProcessEntry[],
    matches: (path: string) => boolean,
  ): ReclaimableCgroup | string;
  /** The id of its project, if the system has projects. */
  projectOf?(entry: ProcessEntry): number | undefined;
  /** The id of its zone, if the system has zones. */
  zoneOf?(entry: ProcessEntry): number | undefined;
  /** Gives access to the memory of a process. The result need not be closed. */
  open(entry: ProcessEntry, options?: OpenOptions): MonitoredMemory;
  /**
   * Why processes cannot be reached through no fault of theirs, in words for users;
   * `undefined` if all can.
   */
  readonly overload?: string;
  /** The current state of the machine's memory. */
  memory(): MachineMemory;
  /**
   * What it costs a process to be observed and paged out. Measures it at the first call,
   * which takes a fraction of a second, and page-ins from another swap once that is used
   * first, or the reads of other devices once they are in use. `undefined` if the cost of a reference cannot be measured.
   */
  costs?(options?: CostOptions): Promise<MemoryCosts | undefined>;
}

/** One capability that rcap can use, and whether it works on this machine. */
export interface Finding {
  readonly name: string;
  readonly status: "ok" | "degraded" | "missing";
  /** What was found. */
  readonly detail: string;
  /** What it means for rcap. */
  readonly meaning: string;
  /** What to do about it; null if nothing need be done. */
  readonly remedy: string | null;
  /** Whether scans depend on it. */
  readonly required: boolean;
}

/** The cap of a project. */
export interface ProjectCap {
  readonly name: string;
  readonly id: number;
  /** In bytes. */
  readonly maxRss: number;
}

/** Caps of projects, and problems in their definitions, in words for users. */
export interface ProjectCaps {
  /** `undefined` if they cannot be read: then the previous caps stay in force. */
  readonly caps: readonly ProjectCap[] | undefined;
  readonly problems: readonly string[];
}

/** The system's source of caps of projects. */
export interface ProjectCapSource {
  /** The file, for messages. */
  readonly path: string;
  /** The caps; `undefined` if nothing has changed since the last call. */
  changedCaps(): ProjectCaps | undefined;
}
