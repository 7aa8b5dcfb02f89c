/**
 * What a recording consists of: see docs/recording.md.
 *
 * @module
 */

import type { SkipReason } from "../memory/process_memory.ts";
import type {
  MachineMemory,
  PagedataSourceName,
  PageInCost,
} from "../platform/platform.ts";
import { type BitsMapping, PageBits } from "./page_bits.ts";

/** The kinds of records, by the byte that each begins with. */
export const RECORD = {
  info: 1,
  step: 2,
  join: 3,
  leave: 4,
  figures: 5,
  stays: 6,
  name: 7,
  mappings: 8,
  pages: 9,
  stepEnd: 10,
  end: 11,
} as const;

// What a recording holds at one moment, at the most. A reader refuses more, so that its
// memory is bounded; a writer leaves more out.
export const MOST_PROCESSES = 32_768;
/** Two MiB of address space each. */
export const MOST_BLOCKS = 2 ** 20;
export const MOST_MAPPINGS = 2 ** 18;
export const MOST_NAMES = 2 ** 15;
/** The longest name of a command, in UTF-16 units. */
export const LONGEST_COMM = 64;
export const MOST_STAYS = 64;
/** The size of the information about a recording, in bytes. */
export const LARGEST_INFO = 65_536;

/** What is known of a recording as a whole. Times are in seconds. */
export interface RecordingInfo {
  /** The version of rcap that made it. */
  readonly rcap: string;
  /** When it began, since the epoch. */
  readonly startedAt: number;
  /** How often references were read and reset. */
  readonly interval: number;
  /** What was recorded; empty with `isAnonymous`. */
  readonly selectors: readonly string[];
  readonly pagedata: PagedataSourceName;
  /** Whether names, paths and absolute addresses were left out. */
  readonly isAnonymous: boolean;
  /** What page-ins cost on the machine. */
  readonly pageIns: readonly PageInCost[];
}

/** Why a process is not in a recording any more. */
export const LEAVE_REASONS = [
  "exited",
  /** It runs another program, as another process of the recording. */
  "exec",
  /** It is not selected any more. */
  "deselected",
  /** It could not be read. */
  "unreadable",
] as const;
export type LeaveReason = typeof LEAVE_REASONS[number];

/** The figures of a process. Sizes are in bytes. */
export const PROCESS_FIGURES = [
  /** 1 if its references were read in the step, 0 if not. */
  "isRead",
  "rss",
  "fileRss",
  /** The size by which the daemon counts it. */
  "size",
  /** In swap. */
  "swapped",
  /** Page faults that waited for a disk, since it started. */
  "majorFaults",
  /** What looks in use only because its references could not be reset. */
  "unjudged",
  /** What being observed has cost it so far, in microseconds. */
  "observationCost",
  /** The parts that can go: to swap only, and to files. */
  "toSwap",
  "toFiles",
] as const;
export type ProcessFigure = typeof PROCESS_FIGURES[number];
export type ProcessFigures = Record<ProcessFigure, number>;

/** The figures of the machine. Sizes are in bytes. */
export const MACHINE_FIGURES = [
  "totalMemory",
  "availableMemory",
  "totalSwap",
  "freeSwap",
  /** In millionths of time, and 1; 0 if it is not known. */
  "pressure",
  /** Bytes of memory for each million bytes in swap, and 1; 0 if it is not known. */
  "memoryOfSwap",
] as const;
export type MachineFigure = typeof MACHINE_FIGURES[number];
export type MachineFigures = Record<MachineFigure, number>;

/** Returns the figures of a machine. */
export function machineFigures(
  { totalMemory, availableMemory, totalSwap, freeSwap }: MachineMemory,
  { pressure, memoryOfSwap }: { pressure?: number; memoryOfSwap?: number },
): MachineFigures {
  const millionths = (share: number | undefined) =>
    share === undefined ? 0 : Math.round(Math.max(0, share) * 1e6) + 1;
  return {
    totalMemory,
    availableMemory,
    totalSwap,
    freeSwap,
    pressure: millionths(pressure),
    memoryOfSwap: millionths(memoryOfSwap),
  };
}

/** A share that {@linkcode machineFigures} wrote; `undefined` if it is not known. */
export function shareOf(millionths: number): number | undefined {
  return millionths === 0 ? undefined : (millionths - 1) / 1e6;
}

/** All figures of a list, 0. */
export function noFigures<T extends string>(
  names: readonly T[],
): Record<T, number> {
  // All names are keys.
  return Object.fromEntries(names.map((name) => [name, 0])) as Record<
    T,
    number
  >;
}

/** A mapping of a process. Addresses are in units of 4 KiB. */
export interface RecordedMapping extends BitsMapping {
  /** Whether its pages go to a file, and not to swap. */
  readonly isFile: boolean;
  /** Path of the file, or a name like `[heap]`; empty if there is none, or it is not known. */
  readonly name: string;
}

/** A part of a process that cannot go. */
export interface RecordedStay {
  readonly reason: SkipReason;
  /** In bytes, with every page divided by how often it is mapped. */
  readonly bytes: number;
}

/** What identifies a process of a recording. */
export interface RecordedIdentity {
  readonly pid: number;
  readonly startTime: number;
  readonly comm: string;
  /** `undefined` if it is not known, or left out. */
  readonly uid: number | undefined;
}

/** A process of a recording, as of a step. */
export class RecordedProcess {
  /** How many processes joined before it. */
  readonly id: number;
  readonly identity: RecordedIdentity;
  readonly figures: ProcessFigures = noFigures(PROCESS_FIGURES);
  stays: readonly RecordedStay[] = [];
  mappings: readonly RecordedMapping[] = [];
  readonly bits = new PageBits();

  constructor(id: number, identity: RecordedIdentity) {
    this.id = id;
    this.identity = identity;
  }
}

/** A process that has left. */
export interface Departure {
  readonly process: RecordedProcess;
  readonly reason: LeaveReason;
  /** In words, for `unreadable`. */
  readonly message: string;
}

/** A step: what an interval showed. Valid until the next one is read. */
export interface RecordedStep {
  /** How many steps are before it. */
  readonly number: number;
  /** Since the recording began, in seconds. */
  readonly seconds: number;
  readonly machine: Readonly<MachineFigures>;
  /** The processes, by id, in ascending order. */
  readonly processes: ReadonlyMap<number, RecordedProcess>;
  /** Those that are new. */
  readonly joined: readonly RecordedProcess[];
  /** Those that left since the step before. */
  readonly left: readonly Departure[];
}
