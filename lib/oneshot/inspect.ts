/**
 * Inspects one process: its mappings, and what was touched while it was observed.
 * `rcap inspect` prints the result.
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
import { exclusive } from "../observer/exclusive_memory.ts";
import type { ResetRights } from "../observer/reset_rights.ts";
import { type Clock, systemClock } from "../platform/clock.ts";
import { progress } from "../platform/output.ts";
import {
  granularityOf,
  type MappingFigures,
  type MonitoredMemory,
  type PagedataSourceName,
  type Platform,
  type ProcessEntry,
} from "../platform/platform.ts";
import { formatSize, hex } from "../report/units.ts";
import { idleBytes, PageAges } from "../scanner/ages.ts";
import { mergePagedata } from "../scanner/merge.ts";
import {
  describeObservationCost,
  observationCostOf,
} from "./observation_cost.ts";
import type { Messages } from "./scan_once.ts";

/**
 * What a scan would do with a mapping: page it out (`cold`), page out its unused part
 * (`warm`), leave it (`hot`), or skip it for a reason.
 */
export type Verdict = "cold" | "warm" | "hot" | SkipReason;

/** Sizes of one mapping, or the totals of all, in bytes. */
export interface MappingSizes {
  readonly size: number;
  readonly rss: number;
  /** The part of `rss` that is mapped exactly once: only this can be paged out. */
  readonly own: number;
  readonly anon: number;
  /** Referenced while observing. */
  readonly referenced: number;
  /** Modified while observing. */
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

/** The common part of all reports. */
export interface ReportHead {
  readonly version: 1;
  readonly pid: number;
  readonly comm: string;
  readonly pagedata: PagedataSourceName;
  /** 0 if the references could not be reset, and so count since the process started. */
  readonly observedSeconds: number;
  /**
   * How many seconds of its time being observed has cost the process, about; null if that
   * is not known.
   */
  readonly observationCost: number | null;
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
   * One character per page: `.` not resident, `-` resident, `r` referenced, `m`
   * modified, `s` swapped.
   */
  readonly pages: string;
}

/** What `rcap inspect --ages --json` prints. Sizes in bytes, times in seconds. */
export interface AgesReport extends ReportHead {
  /** How often references were read and reset. */
  readonly interval: number;
  readonly resident: number;
  /** The resident memory by age. */
  readonly ages: readonly AgeRow[];
}

/** How much memory was not used for some time, and how much was. */
export interface AgeRow {
  readonly seconds: number;
  /** Not used for so long or longer. */
  readonly idle: number;
  /** The working set: used within that time. */
  readonly used: number;
}

/** A range of addresses; without `end`, up to the end of the mapping. */
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
  /** Decides whose references may be reset; by default all. */
  readonly rights?: ResetRights;
  /** The clock of the system by default. */
  readonly clock?: Clock;
}

/**
 * Observes a process and reports its mappings.
 *
 * @throws NoSuchProcess if there is no such process, or it exits meanwhile.
 * @throws ProcessAccessDenied if this user may not read it.
 * @throws the signal's reason if it is aborted.
 */
export async function inspect(options: InspectOptions): Promise<InspectReport> {
  const { head, memory, pagedata } = await observeProcess(options);
  const mappings = await memory.readMappings();
  const granularity = granularityOf(head.pagedata);
  const recorded = new Map(
    pagedata.mappings.map((mapping) => [mapping.start, mapping]),
  );
  const reports = mappings.map((mapping) => {
    const pages = recorded.get(mapping.start);
    const touched = granularity === "mapping" || !pages
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
 * Observes a process and reports single pages.
 *
 * @throws UsageError if the range is not within one mapping, or is too long.
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

/** The greatest number of pages in a report. */
const MOST_PAGES = 2 ** 24;

/**
 * Asserts that a report has at most {@linkcode MOST_PAGES} pages.
 *
 * @throws UsageError if there are more; it names a range that is short enough.
 */
function requireShort(
  start: bigint,
  pages: number,
  { pageSize }: { readonly pageSize: number },
): void {
  if (pages <= MOST_PAGES) return;
  const most = MOST_PAGES * pageSize;
  throw new UsageError(
    `--pages: the range from ${hex(start)} on has ${
      formatSize(pages * pageSize)
    }, but only ${formatSize(most)} can be shown at a time`,
    `give an end, at most --pages ${hex(start)}-${hex(start + BigInt(most))}`,
  );
}

/** The shortest interval of ages, in milliseconds. */
const SHORTEST_INTERVAL = 250;
/** The most intervals, each of which costs the process a reset. */
const MOST_INTERVALS = 256;

/**
 * Observes a process for many intervals and reports how long its memory has not been
 * used.
 *
 * @throws ProcessAccessDenied if its references cannot be reset.
 * @throws the signal's reason if it is aborted.
 */
export async function inspectAges(
  { pid, observation, signal, log, platform, rights, clock = systemClock }:
    InspectOptions,
): Promise<AgesReport> {
  const process = requireProcess(pid, platform);
  const { comm } = process;
  const memory = exclusive(platform.open(process), process, rights);
  await memory.checkAccess();
  const interval = Math.max(SHORTEST_INTERVAL, observation / MOST_INTERVALS);
  const intervals = Math.max(1, Math.round(observation / interval));
  using _progress = progress(
    `observing process ${pid} (${comm}) for ${observation / 1000} s…`,
  );
  const ages = new PageAges();
  await platform.costs?.({ ofPageIns: false });
  const began = clock.now();
  let since = began;
  await memory.reset();
  for (let count = 1; count <= intervals; count++) {
    // Other programs may reset references, too: see watch.
    await clock.sleep(SOON, signal);
    signal.throwIfAborted();
    ages.look(await memory.read("inspect"));
    await clock.sleep(
      began + observation * count / intervals - clock.now(),
      signal,
    );
    signal.throwIfAborted();
    const now = clock.now();
    const reading = await memory.read("inspect");
    ages.advance(reading, (now - since) / 1000);
    since = now;
    if (count < intervals) await memory.reset();
  }
  warnOf(memory, log);
  const head = headOf({ process, memory, platform, log }, observation / 1000);
  const resident = ages.residentBytes;
  const seconds = observation / intervals / 1000;
  const doublings = Math.floor(Math.log2(intervals));
  const times = Array.from(
    { length: doublings + 1 },
    (_, doubling) => Math.round(2 ** doubling * seconds * 1000) / 1000,
  );
  return {
    ...head,
    interval: seconds,
    resident,
    ages: idleBytes([ages], times).map(({ seconds, bytes }) => ({
      seconds,
      idle: bytes,
      used: resident - bytes,
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

/** Warns if the references that were read are not all, or not exact. */
export function warnOf(
  { coarseness, leftAlone }: MonitoredMemory,
  log: Messages,
): void {
  if (coarseness) log.warn(coarseness);
  if (leftAlone) log.warn(leftAlone);
}

/** Returns the common part of a report, and logs what the observation has cost. */
export function headOf(
  { process: { pid, comm }, memory, platform, log }: {
    process: ProcessEntry;
    memory: MonitoredMemory;
    platform: Platform;
    log: Messages;
  },
  observedSeconds: number,
): ReportHead {
  const observationCost = observationCostOf(memory);
  const process = { pid, comm, observationCost };
  const cost = describeObservationCost([process], observedSeconds);
  if (cost) log.info(cost);
  return {
    version: 1,
    pid,
    comm,
    pagedata: memory.pagedata ?? platform.pagedata,
    observedSeconds,
    observationCost,
  };
}

/** Resets the references of a process, waits, and reads its pagedata. */
async function observeProcess(
  { pid, observation, signal, log, platform, rights, clock = systemClock }:
    InspectOptions,
) {
  const process = requireProcess(pid, platform);
  const { comm } = process;
  const memory = exclusive(platform.open(process), process, rights);
  await memory.checkAccess();
  let observedSeconds = observation / 1000;
  let seen: Pagedata | undefined;
  const look = async () => {
    const now = await memory.read("inspect");
    if (seen) mergePagedata(seen, now);
    return seen = now;
  };
  await platform.costs?.({ ofPageIns: false });
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
      `references cannot be reset, so ref and mod show what was touched since the process started: ${error.message}`,
    );
    observedSeconds = 0;
  }
  const pagedata = await look();
  warnOf(memory, log);
  const head = headOf({ process, memory, platform, log }, observedSeconds);
  return { head, memory, pagedata };
}

/** How much of a mapping was touched, in bytes. */
type Touched = Pick<MappingSizes, "referenced" | "modified">;

/** Counts touched pages by their bits. */
function touchedByPages(
  pagedata: Pagedata,
  mapping: PagedataMapping,
): Touched {
  const size = mapping.pageSize;
  return {
    // A modified page was referenced, even if another program has reset that bit.
    referenced: countPages(pagedata, mapping, REFERENCED | MODIFIED) * size,
    modified: countPages(pagedata, mapping, MODIFIED) * size,
  };
}

function mappingReport(
  mapping: MappingFigures,
  { referenced, modified }: Touched,
): MappingReport {
  const { start, end, perm, name, pageSize, rss, own, anonymous } = mapping;
  const { swapped, locked, reason } = mapping;
  return {
    start: hex(start),
    end: hex(end),
    perm,
    name,
    pageSize,
    size: Number(end - start),
    rss,
    own,
    anon: anonymous,
    referenced,
    modified,
    swapped,
    locked,
    verdict: reason ?? temperature(mapping, referenced),
  };
}

/**
 * A mapping counts as `shared` if less than this share of its resident memory is mapped
 * once, although a scan takes even that.
 */
const LITTLE = 0.01;

/** What a scan would do with memory of which at least a part can be paged out. */
function temperature(
  { rss, own }: MappingFigures,
  referenced: number,
): Verdict {
  if (own < rss * LITTLE) return "shared";
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
    own: sum(({ own }) => own),
    anon: sum(({ anon }) => anon),
    referenced: sum(({ referenced }) => referenced),
    modified: sum(({ modified }) => modified),
    swapped: sum(({ swapped }) => swapped),
    locked: sum(({ locked }) => locked),
  };
}

/**
 * Finds the mapping that holds a range.
 *
 * @throws UsageError if no mapping does.
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
      "rcap inspect without --pages lists the mappings",
    );
  }
  if (end !== undefined && (end <= start || end > mappingEnd(mapping))) {
    throw new UsageError(
      `--pages: the end must be above the start, ${hex(start)}, and at most ${
        hex(mappingEnd(mapping))
      }, where its mapping ends; it is ${hex(end)}`,
    );
  }
  return mapping;
}

/**
 * Parses the value of `--pages`: `START` or `START-END`, hexadecimal.
 *
 * @throws UsageError if it is neither.
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
