/**
 * The mappings of one process, and what was touched while it was observed: what
 * `rcap inspect` shows.
 *
 * @module
 */

import { requireProcess } from "../collection/members.ts";
import { SOON, watch } from "../collection/observe.ts";
import { ProcessAccessDenied, UsageError } from "../errors.ts";
import { PAGE_PRESENT, PAGE_SWAPPED } from "../memory/page_states.ts";
import {
  bitsOfPages,
  countPages,
  mappingEnd,
  MODIFIED,
  type Pagedata,
  type PagedataMapping,
  REFERENCED,
} from "../memory/pagedata.ts";
import type { SkipReason } from "../memory/process_memory.ts";
import { type Clock, systemClock } from "../platform/clock.ts";
import { progress } from "../platform/output.ts";
import type {
  MappingFigures,
  PagedataSourceName,
  Platform,
} from "../platform/platform.ts";
import { formatSize, hex } from "../report/units.ts";
import { idleBytes, MAX_AGE, PageAges } from "../scanner/ages.ts";
import { mergePagedata } from "../scanner/merge.ts";
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

/** How every report begins. */
interface ReportHead {
  readonly version: 1;
  readonly pid: number;
  readonly comm: string;
  readonly pagedata: PagedataSourceName;
  /** 0 when the references could not be reset: then they are those since the process started. */
  readonly observedSeconds: number;
}

/** What `rcap inspect --json` prints. */
export interface InspectReport extends ReportHead {
  readonly mappings: readonly MappingReport[];
  readonly totals: MappingSizes;
}

/** What `rcap inspect --pages --json` prints. */
export interface PagesReport extends ReportHead {
  readonly start: string;
  readonly end: string;
  readonly pageSize: number;
  /**
   * A character a page: `.` not resident, `-` resident, `r` referenced, `m`
   * modified, `s` swapped.
   */
  readonly pages: string;
}

/** What `rcap inspect --ages --json` prints. Sizes in bytes, times in seconds. */
export interface AgesReport extends ReportHead {
  /** Length of an interval. */
  readonly interval: number;
  /** What is in memory. */
  readonly resident: number;
  /** By how long it was not used. */
  readonly ages: readonly AgeRow[];
}

/** What was not used for so long, and what was. */
export interface AgeRow {
  readonly intervals: number;
  readonly seconds: number;
  /** Not used for so many intervals or longer. */
  readonly idle: number;
  /** The working set: used within that time. */
  readonly used: number;
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
  readonly platform: Platform;
  /** That of the system when not given. */
  readonly clock?: Clock;
}

/**
 * Observes a process and tells of its mappings.
 *
 * @throws NoSuchProcess when there is none, or it exits meanwhile.
 * @throws ProcessAccessDenied when it may not be read.
 * @throws the signal's reason when it is aborted.
 */
export async function inspect(options: InspectOptions): Promise<InspectReport> {
  const { head, memory, pagedata } = await observeProcess(options);
  const mappings = await memory.readMappings();
  if (memory.coarseness) options.log.warn(memory.coarseness);
  const recorded = new Map(
    pagedata.mappings.map((mapping) => [mapping.start, mapping]),
  );
  const reports = mappings.map((mapping) => {
    const pages = recorded.get(mapping.start);
    const touched = options.platform.granularity === "mapping" || !pages
      ? mapping
      : touchedByPages(pagedata, pages);
    return mappingReport(mapping, touched);
  });
  return {
    ...head,
    mappings: reports,
    totals: totalsOf(reports),
  };
}

/**
 * Observes a process and tells of single pages.
 *
 * @throws UsageError when the range does not lie in one mapping, or is too long.
 */
export async function inspectPages(
  range: AddressRange,
  options: InspectOptions,
): Promise<PagesReport> {
  const { platform } = options;
  if (range.end !== undefined) {
    const bytes = range.end - range.start;
    requireShort(range.start, Number(bytes) / platform.pageSize, platform);
  }
  const { head, memory, pagedata } = await observeProcess(options);
  const mapping = mappingAt(range, pagedata.mappings);
  const { pageSize } = mapping;
  const size = BigInt(pageSize);
  const from = Number((range.start - mapping.start) / size);
  const to = range.end === undefined
    ? mapping.pages
    : Number((range.end - mapping.start + size - 1n) / size);
  const start = mapping.start + BigInt(from) * size;
  requireShort(start, to - from, mapping);
  const firstPage = Number(start / size);
  const states = await memory.readPageStates({
    firstPage,
    pages: to - from,
    pageSize,
  });
  const bits = bitsOfPages(pagedata, mapping, { from, to });
  const pages = new Uint8Array(states.length);
  for (let page = 0; page < pages.length; page++) {
    pages[page] = pictureOf(states[page], bits[page]);
  }
  return {
    ...head,
    start: hex(start),
    end: hex(start + BigInt(to - from) * size),
    pageSize,
    pages: new TextDecoder().decode(pages),
  };
}

/** How many pages are shown at the most. */
const MOST_PAGES = 2 ** 24;

/**
 * Makes sure that no more pages are to be shown than can be.
 *
 * @throws UsageError when there are more; it says what to give instead.
 */
function requireShort(
  start: bigint,
  pages: number,
  { pageSize }: { readonly pageSize: number },
): void {
  if (pages <= MOST_PAGES) return;
  const most = MOST_PAGES * pageSize;
  throw new UsageError(
    `--pages: from ${hex(start)} on there are ${
      formatSize(pages * pageSize)
    }, and ${formatSize(most)} can be shown at a time`,
    `give the end, at most --pages ${hex(start)}-${hex(start + BigInt(most))}`,
  );
}

/** Intervals of ages are at least this long, in milliseconds. */
const SHORTEST_INTERVAL = 250;

/**
 * Observes a process for many intervals and tells how long its memory has not been
 * used.
 *
 * @throws ProcessAccessDenied when its references cannot be reset.
 * @throws the signal's reason when it is aborted.
 */
export async function inspectAges(
  { pid, observation, signal, platform, clock = systemClock }: InspectOptions,
): Promise<AgesReport> {
  const process = requireProcess(pid, platform);
  const { comm } = process;
  const memory = platform.open(process);
  await memory.checkAccess();
  const interval = Math.max(SHORTEST_INTERVAL, observation / MAX_AGE);
  const intervals = Math.max(1, Math.round(observation / interval));
  using _progress = progress(
    `observing process ${pid} (${comm}) for ${observation / 1000} s…`,
  );
  const ages = new PageAges();
  const began = clock.now();
  await memory.reset();
  for (let count = 1; count <= intervals; count++) {
    // Others may reset references too: see watch.
    await clock.sleep(SOON, signal);
    signal.throwIfAborted();
    ages.look(await memory.read("inspect"));
    await clock.sleep(
      began + observation * count / intervals - clock.now(),
      signal,
    );
    signal.throwIfAborted();
    ages.advance(await memory.read("inspect"));
    if (count < intervals) await memory.reset();
  }
  const bytesByAge = new Float64Array(MAX_AGE + 1);
  ages.addBytesByAge(bytesByAge);
  const resident = bytesByAge.reduce((sum, bytes) => sum + bytes, 0);
  const seconds = observation / intervals / 1000;
  return {
    version: 1,
    pid,
    comm,
    pagedata: platform.pagedata,
    observedSeconds: observation / 1000,
    interval: seconds,
    resident,
    ages: idleBytes([ages])
      .filter((row) => row.intervals <= intervals)
      .map((row) => ({
        intervals: row.intervals,
        seconds: Math.round(row.intervals * seconds * 1000) / 1000,
        idle: row.bytes,
        used: resident - row.bytes,
      })),
  };
}

const [SWAPPED, ABSENT, WAS_MODIFIED, WAS_REFERENCED, RESIDENT] =
  new TextEncoder().encode("s.mr-");

/** The character of a page. */
function pictureOf(state: number, bits: number): number {
  if (state === PAGE_SWAPPED) return SWAPPED;
  if (state !== PAGE_PRESENT) return ABSENT;
  return bits & MODIFIED
    ? WAS_MODIFIED
    : bits & REFERENCED
    ? WAS_REFERENCED
    : RESIDENT;
}

/** Clears the references of a process, waits, and reads it; `head` begins every report. */
async function observeProcess(
  { pid, observation, signal, log, platform, clock = systemClock }:
    InspectOptions,
) {
  const process = requireProcess(pid, platform);
  const { comm } = process;
  const memory = platform.open(process);
  await memory.checkAccess();
  let observedSeconds = observation / 1000;
  let seen: Pagedata | undefined;
  const look = async () => {
    const now = await memory.read("inspect");
    if (seen) mergePagedata(seen, now);
    return seen = now;
  };
  try {
    await memory.reset();
    await watch([{
      async glance() {
        if (platform.granularity === "page") await look();
      },
      refresh: () => memory.refresh(),
    }], {
      milliseconds: observation,
      what: `process ${pid} (${comm})`,
      signal,
      clock,
    });
  } catch (error) {
    if (!(error instanceof ProcessAccessDenied)) throw error;
    log.warn(
      `references cannot be reset, so ref and mod tell what was touched since the process started: ${error.message}`,
    );
    observedSeconds = 0;
  }
  const pagedata = await look();
  const head: ReportHead = {
    version: 1,
    pid,
    comm,
    pagedata: platform.pagedata,
    observedSeconds,
  };
  return { head, memory, pagedata };
}

/** What of a mapping was touched, in bytes. */
type Touched = Pick<MappingSizes, "referenced" | "modified">;

/** What the bits of the pages tell. */
function touchedByPages(
  pagedata: Pagedata,
  mapping: PagedataMapping,
): Touched {
  const size = mapping.pageSize;
  return {
    // What was modified was referenced, whatever others have reset since.
    referenced: countPages(pagedata, mapping, REFERENCED | MODIFIED) * size,
    modified: countPages(pagedata, mapping, MODIFIED) * size,
  };
}

function mappingReport(
  mapping: MappingFigures,
  { referenced, modified }: Touched,
): MappingReport {
  const { start, end, perm, name, pageSize, rss, anonymous } = mapping;
  const { swapped, locked, reason } = mapping;
  return {
    start: hex(start),
    end: hex(end),
    perm,
    name,
    pageSize,
    size: Number(end - start),
    rss,
    anon: anonymous,
    referenced,
    modified,
    swapped,
    locked,
    verdict: reason ?? temperature(rss, referenced),
  };
}

/** What a scan would do with memory that can be paged out. */
function temperature(rss: number, referenced: number): Verdict {
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
  mappings: readonly PagedataMapping[],
): PagedataMapping {
  const mapping = mappings.find((mapping) =>
    mapping.start <= start && start < mappingEnd(mapping)
  );
  if (!mapping) {
    throw new UsageError(
      `--pages: no mapping holds address ${hex(start)}`,
      "rcap inspect without --pages lists those there are",
    );
  }
  if (end !== undefined && (end <= start || end > mappingEnd(mapping))) {
    throw new UsageError(
      `--pages: the end must lie behind the start, ${
        hex(start)
      }, and at most at ${
        hex(mappingEnd(mapping))
      }, where its mapping ends; it is ${hex(end)}`,
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
