/**
 * The mappings of one process, and what was touched while it was observed: what
 * `rcap inspect` shows.
 *
 * @module
 */

import { ProcessAccessDenied, UsageError } from "../errors.ts";
import { PAGE_PRESENT, PAGE_SWAPPED } from "../../ffi/pagemap.ts";
import { pageable } from "../platform/linux/candidates.ts";
import {
  LinuxProcessMemory,
  type LinuxReading,
} from "../platform/linux/process_memory.ts";
import type { LinuxMapping } from "../platform/linux/smaps.ts";
import { mappingBits } from "../platform/linux/smaps_source.ts";
import type { SkipReason } from "../platform/platform.ts";
import { hex } from "../report/units.ts";
import { MODIFIED, REFERENCED } from "../scanner/pagedata.ts";
import { requireProcess } from "./members.ts";
import { observe } from "./observe.ts";
import type { Messages } from "./scan_once.ts";

/**
 * What a scan would do with a mapping: page it out (`cold`), page out the part of
 * it that is not in use (`warm`), leave it (`hot`), or pass it over, and why.
 */
export type Verdict = "cold" | "warm" | "hot" | SkipReason;

/** Sizes of one mapping or of all, in bytes. */
export interface MappingSizes {
  readonly size: number;
  readonly rss: number;
  readonly anon: number;
  /** What was referenced while observing. */
  readonly referenced: number;
  /** What was modified while observing. */
  readonly modified: number;
  readonly swapped: number;
  readonly locked: number;
}

/** One mapping. Addresses are hexadecimal, with 0x. */
export interface MappingReport extends MappingSizes {
  readonly start: string;
  readonly end: string;
  readonly perm: string;
  readonly name: string;
  readonly pageSize: number;
  readonly verdict: Verdict;
}

/** What `rcap inspect --json` prints. */
export interface InspectReport {
  readonly version: 1;
  readonly pid: number;
  readonly comm: string;
  readonly pagedata: "smaps";
  /** 0 when the references could not be reset: then they are those since the process started. */
  readonly observedSeconds: number;
  readonly mappings: readonly MappingReport[];
  readonly totals: MappingSizes;
}

/** What `rcap inspect --pages --json` prints. */
export interface PagesReport {
  readonly version: 1;
  readonly pid: number;
  readonly comm: string;
  readonly pagedata: "smaps";
  readonly observedSeconds: number;
  readonly start: string;
  readonly end: string;
  readonly pageSize: number;
  /**
   * A character a page: `.` not resident, `-` resident, `r` referenced, `m`
   * modified, `s` swapped.
   */
  readonly pages: string;
}

/** A range of addresses; to the end of the mapping where `end` is not given. */
export interface AddressRange {
  readonly start: bigint;
  readonly end?: bigint;
}

export interface InspectOptions {
  readonly pid: number;
  /** In milliseconds. */
  readonly observation: number;
  readonly signal: AbortSignal;
  readonly log: Messages;
}

/**
 * Observes a process and tells of its mappings.
 *
 * @throws NoSuchProcess when there is none, or it exits meanwhile.
 * @throws ProcessAccessDenied when it may not be read.
 * @throws the signal's reason when it is aborted.
 */
export async function inspect(options: InspectOptions): Promise<InspectReport> {
  const { pid, comm, observedSeconds, reading } = await observeProcess(options);
  const mappings = reading.mappings.map((mapping) =>
    mappingReport(mapping, reading)
  );
  return {
    version: 1,
    pid,
    comm,
    pagedata: "smaps",
    observedSeconds,
    mappings,
    totals: totalsOf(mappings),
  };
}

/**
 * Observes a process and tells of single pages.
 *
 * @throws UsageError when the range does not lie in one mapping.
 */
export async function inspectPages(
  range: AddressRange,
  options: InspectOptions,
): Promise<PagesReport> {
  const { pid, comm, observedSeconds, memory, reading } = await observeProcess(
    options,
  );
  const mapping = mappingAt(range, reading.mappings);
  const { pageSize } = mapping;
  const size = BigInt(pageSize);
  const start = range.start - (range.start - mapping.start) % size;
  const end = range.end === undefined
    ? mapping.end
    : range.end + (mapping.end - range.end) % size;
  const pages = Number((end - start) / size);
  const firstPage = Number(start / size);
  const states = memory.readPageStates({ firstPage, pages, pageSize });
  // smaps knows one thing a mapping: every resident page has the same bits.
  const bits = mappingBits(mapping);
  const resident = bits & MODIFIED ? "m" : bits & REFERENCED ? "r" : "-";
  let picture = "";
  for (const state of states) {
    picture += state === PAGE_PRESENT
      ? resident
      : state === PAGE_SWAPPED
      ? "s"
      : ".";
  }
  return {
    version: 1,
    pid,
    comm,
    pagedata: "smaps",
    observedSeconds,
    start: hex(start),
    end: hex(end),
    pageSize,
    pages: picture,
  };
}

/** Clears the references of a process, waits, and reads it. */
async function observeProcess(
  { pid, observation, signal, log }: InspectOptions,
) {
  const process = requireProcess(pid);
  const { comm } = process;
  const memory = new LinuxProcessMemory(process);
  memory.checkAccess();
  let observedSeconds = observation / 1000;
  try {
    await memory.clearReferences();
    await observe(observation, { what: `process ${pid} (${comm})`, signal });
  } catch (error) {
    if (!(error instanceof ProcessAccessDenied)) throw error;
    log.warn(
      `references cannot be reset, so ref and mod tell what was touched since the process started: ${error.message}`,
    );
    observedSeconds = 0;
  }
  const reading = await memory.read({ clear: false });
  return { pid, comm, observedSeconds, memory, reading };
}

function mappingReport(
  mapping: LinuxMapping,
  { context }: LinuxReading,
): MappingReport {
  const { start, end, perm, name, pageSize, rss, referenced } = mapping;
  const isModified = (mappingBits(mapping) & MODIFIED) !== 0;
  return {
    start: hex(start),
    end: hex(end),
    perm,
    name,
    pageSize,
    size: Number(end - start),
    rss,
    anon: mapping.anonymous,
    referenced,
    modified: isModified ? Math.min(referenced, mapping.dirty) : 0,
    swapped: mapping.swap,
    locked: mapping.locked,
    verdict: pageable(mapping, context).reason ?? temperature(mapping),
  };
}

/** What a scan would do with memory that can be paged out. */
function temperature({ rss, referenced }: LinuxMapping): Verdict {
  if (referenced === 0) return "cold";
  return referenced < rss ? "warm" : "hot";
}

/** Sums over mappings. */
function totalsOf(mappings: readonly MappingReport[]): MappingSizes {
  const sum = (figure: (mapping: MappingReport) => number) =>
    mappings.reduce((total, mapping) => total + figure(mapping), 0);
  return {
    size: sum(({ size }) => size),
    rss: sum(({ rss }) => rss),
    anon: sum(({ anon }) => anon),
    referenced: sum(({ referenced }) => referenced),
    modified: sum(({ modified }) => modified),
    swapped: sum(({ swapped }) => swapped),
    locked: sum(({ locked }) => locked),
  };
}

/**
 * The mapping in which a range lies.
 *
 * @throws UsageError when there is none.
 */
function mappingAt(
  { start, end }: AddressRange,
  mappings: readonly LinuxMapping[],
): LinuxMapping {
  const mapping = mappings.find((m) => m.start <= start && start < m.end);
  if (!mapping) {
    throw new UsageError(
      `--pages: no mapping holds address ${
        hex(start)
      }; rcap inspect without --pages lists those there are`,
    );
  }
  if (end !== undefined && (end <= start || end > mapping.end)) {
    throw new UsageError(
      `--pages: ${hex(end)} is not behind ${
        hex(start)
      } in its mapping, which ends at ${hex(mapping.end)}`,
    );
  }
  return mapping;
}

/**
 * Parses the value of `--pages`: `START` or `START-END`, hexadecimal.
 *
 * @throws UsageError when it is neither.
 */
export function parseAddressRange(text: string): AddressRange {
  const match = /^(?:0x)?([0-9a-f]{1,16})(?:-(?:0x)?([0-9a-f]{1,16}))?$/i.exec(
    text,
  );
  if (!match) {
    throw new UsageError(
      `--pages: "${text}" is not START or START-END, hexadecimal addresses as in the table`,
    );
  }
  const [, start, end] = match;
  return {
    start: BigInt(`0x${start}`),
    end: end === undefined ? undefined : BigInt(`0x${end}`),
  };
}
