/**
 * What `rcap report` finds in a recording: figures over time, the mappings, a heat map, and
 * what caps would cost.
 *
 * @module
 */

import type { PagedataSourceName } from "../platform/platform.ts";
import { endOffset, firstOffset } from "../memory/pagedata.ts";
import { HeatLayout, type HeatMap } from "../recording/heat_map.ts";
import { type RecordedMapping, shareOf } from "../recording/records.ts";
import { hex } from "../report/units.ts";
import { UNIT } from "../scanner/moves.ts";
import { MOMENTS } from "../scanner/moments.ts";
import {
  type PlaybackFilter,
  type PlayedProcess,
  type PlayedStep,
  playRecording,
  type RecordingSource,
} from "./playback.ts";
import { GroupPlayback } from "./recorded_sizes.ts";
import type { RefaultLimit } from "../report/rates.ts";
import type { GroupSizeReport } from "./size_report.ts";

/** What was used within so many seconds is the working set. */
export const WORKING_SET = 120;
/** The most processes and mappings that are listed. */
const MOST_LISTED = 1000;

/** A step. Sizes in bytes, times in seconds, rates a second. */
export interface TimelineRow {
  readonly seconds: number;
  readonly processes: number;
  /** The size as the daemon counts it. */
  readonly size: number;
  /** What of it could be paged out. */
  readonly pageable: number;
  /** What of that was used in the interval, and within two minutes, as far as it was watched. */
  readonly used: number;
  readonly workingSet: number;
  /** What looks in use only because its references could not be reset. */
  readonly unjudged: number;
  readonly swapped: number;
  /** Page faults that waited for a disk or for swap. */
  readonly majorFaults: number;
  /** The share of time in which some process of the machine waited for memory; null if not known. */
  readonly pressure: number | null;
  readonly availableMemory: number;
  readonly freeSwap: number;
}

/** A process. Sizes in bytes, as of the end; times in seconds. */
export interface ReportedProcess {
  readonly pid: number;
  readonly comm: string;
  readonly joinedAt: number;
  /** null if it was there at the end. */
  readonly leftAt: number | null;
  readonly size: number;
  readonly pageable: number;
  readonly workingSet: number;
  readonly neverUsed: number;
  readonly swapped: number;
  /** How many in all. */
  readonly majorFaults: number;
  /** What being observed has cost it, as a share of its time; null if it is not known. */
  readonly observationCost: number | null;
}

/** The mappings of one name of a process, as of the end. Sizes in bytes. */
export interface ReportedMapping {
  readonly pid: number;
  readonly name: string;
  /** The address of the first. */
  readonly start: string;
  readonly mappings: number;
  readonly bytes: number;
  /** What of it could be paged out. */
  readonly pageable: number;
  readonly workingSet: number;
  /** Not used while it was recorded. */
  readonly neverUsed: number;
}

/** A heat map. Cells are by row, then by column. */
export interface ReportedHeat {
  readonly rows: readonly {
    readonly pid: number;
    readonly name: string;
    readonly isMixed: boolean;
    readonly start: string;
    readonly end: string;
    readonly bytes: number;
  }[];
  /** When each column ends, in seconds. */
  readonly columns: readonly number[];
  /** What was in memory on average, in bytes. */
  readonly resident: readonly number[];
  /** The share of that which was used in an interval, on average. */
  readonly used: readonly number[];
}

/** What `rcap report --json` prints. Sizes in bytes, times in seconds. */
export interface RecordingReport {
  readonly version: 1;
  readonly file: string;
  readonly rcap: string;
  readonly startedAt: number;
  readonly interval: number;
  readonly selectors: readonly string[];
  readonly pagedata: PagedataSourceName;
  readonly anonymous: boolean;
  /** How long the recording is. */
  readonly seconds: number;
  readonly steps: number;
  /** How it ended: `done`, `interrupted`; null if it was cut off, after the last step. */
  readonly ended: string | null;
  /** Where the file ends within a frame, in bytes; null if it does not. */
  readonly cutAt: number | null;
  /** What of it is shown. */
  readonly from: number;
  readonly to: number;
  readonly summary: {
    readonly processes: number;
    readonly size: number;
    readonly meanSize: number;
    readonly largestSize: number;
    readonly meanPageable: number;
    readonly meanUsed: number;
    readonly meanWorkingSet: number;
    readonly largestWorkingSet: number;
    readonly neverUsed: number;
    readonly swapped: number;
    /** A second. */
    readonly majorFaults: number;
    readonly highestPressure: number | null;
  };
  readonly timeline: readonly TimelineRow[];
  readonly processes: readonly ReportedProcess[];
  readonly mappings: readonly ReportedMapping[];
  readonly heat: ReportedHeat;
  /** What caps would have cost; null if too little was seen. */
  readonly sizing: GroupSizeReport | null;
}

export interface ReportOptions {
  readonly filter: PlaybackFilter;
  readonly limit: RefaultLimit;
  /** The most rows and columns of the heat map. */
  readonly heatRows: number;
  readonly heatColumns: number;
  /** The most cells, with fewer columns if there are many processes; no limit by default. */
  readonly heatCells?: number;
}

/**
 * Reads a recording, and reports what it shows.
 *
 * @throws RcapError if it cannot be read, is damaged, or has nothing of interest.
 */
export async function reportRecording(
  source: RecordingSource,
  { filter, limit, heatRows, heatColumns, heatCells = Infinity }: ReportOptions,
): Promise<RecordingReport> {
  const timeline: TimelineRow[] = [];
  const layout = new HeatLayout();
  const sizing = new GroupPlayback();
  const processes = new Processes();
  const playback = await playRecording(source, filter, (played, info) => {
    sizing.take(played, info.interval);
    processes.take(played);
    timeline.push(timelineRow(played, processes));
    layout.times.push(played.step.seconds);
    for (const { source, mappings } of played.processes) {
      layout.add(source, mappings);
    }
  });
  const rows = layout.rows(heatRows, filter.mapping !== undefined);
  const most = Math.floor(heatCells / Math.max(1, rows.rows.length));
  const map = rows.map(layout.times, Math.max(1, Math.min(heatColumns, most)));
  let step = 0;
  await playRecording(source, { ...filter, keepsNoAges: true }, (played) => {
    for (const { source } of played.processes) map.add(step, source);
    step++;
  });
  const { info, end, seconds, steps } = playback;
  const last = timeline[timeline.length - 1];
  const mean = (figure: (row: TimelineRow) => number) =>
    Math.round(
      timeline.reduce((sum, row) => sum + figure(row), 0) / timeline.length,
    );
  const largest = (figure: (row: TimelineRow) => number) =>
    timeline.reduce((most, row) => Math.max(most, figure(row)), 0);
  const from = filter.from ?? 0;
  const to = last.seconds;
  const sized = sizing.report({ limit, info });
  return {
    version: 1,
    file: source.path,
    rcap: info.rcap,
    startedAt: info.startedAt,
    interval: info.interval,
    selectors: info.selectors,
    pagedata: info.pagedata,
    anonymous: info.isAnonymous,
    seconds,
    steps,
    ended: end.how ?? null,
    cutAt: end.cutAt ?? null,
    from,
    to,
    summary: {
      processes: processes.count,
      size: last.size,
      meanSize: mean(({ size }) => size),
      largestSize: largest(({ size }) => size),
      meanPageable: mean(({ pageable }) => pageable),
      meanUsed: mean(({ used }) => used),
      meanWorkingSet: mean(({ workingSet }) => workingSet),
      largestWorkingSet: largest(({ workingSet }) => workingSet),
      neverUsed: processes.neverUsed,
      swapped: last.swapped,
      majorFaults: rounded(
        processes.majorFaults / Math.max(to - from, info.interval),
        3,
      ),
      highestPressure: timeline.some(({ pressure }) => pressure !== null)
        ? largest(({ pressure }) => pressure ?? 0)
        : null,
    },
    timeline,
    processes: processes.list(to - from),
    mappings: processes.mappings(),
    heat: reportedHeat(map.build(), (id) => processes.pidOf(id)),
    sizing: sized.groups[0] ?? null,
  };
}

/** The size of the pages of a process that were used within a time, in bytes. */
function usedWithin({ ages }: PlayedProcess, seconds: number): number {
  let bytes = 0;
  for (const [moment, some] of ages.bytesByMoment().entries()) {
    // The first moment is that of pages that were not used since.
    if (moment === 0 || some === 0) continue;
    if (ages.ageOf(moment) < seconds) bytes += some;
  }
  return bytes;
}

function timelineRow(
  { step, processes }: PlayedStep,
  known: Processes,
): TimelineRow {
  const sum = (figure: (one: PlayedProcess) => number) =>
    processes.reduce((total, one) => total + figure(one), 0);
  const { machine, seconds } = step;
  return {
    seconds,
    processes: processes.length,
    size: sum(({ size }) => size),
    pageable: sum(({ recorded }) => recorded),
    used: sum(({ ages, isRead }) => isRead ? ages.referencedBytes : 0),
    workingSet: sum((one) => usedWithin(one, WORKING_SET)),
    unjudged: sum(({ source }) => source.figures.unjudged),
    swapped: sum(({ out }) => out),
    majorFaults: rounded(known.faultsOfStep, 3),
    pressure: shareOf(machine.pressure) ?? null,
    availableMemory: machine.availableMemory,
    freeSwap: machine.freeSwap,
  };
}

/** What is known of a process over the whole playback. */
interface Known {
  readonly played: PlayedProcess;
  readonly firstFaults: number;
  lastFaults: number;
  figures: Omit<ReportedProcess, "leftAt" | "observationCost" | "majorFaults">;
  cost: number;
}

/** What is reported of a process that has left. */
type Departed =
  & Pick<Known, "firstFaults" | "lastFaults" | "figures" | "cost">
  & {
    readonly leftAt: number | undefined;
  };

/** The processes of a playback. */
class Processes {
  /** Those that are there. */
  readonly #known = new Map<PlayedProcess, Known>();
  /**
   * The largest of those that have left. There may be any number, with any size: of the
   * others, only the number is kept, and the pids.
   */
  #departed: Departed[] = [];
  readonly #pids = new Map<number, number>();
  /** Major faults a second in the last step. */
  faultsOfStep = 0;
  majorFaults = 0;

  get count(): number {
    return this.#pids.size;
  }

  take({ processes, left, interval }: PlayedStep): void {
    let faults = 0;
    for (const played of left) this.#leave(played);
    for (const played of processes) {
      const { figures, identity: { pid, comm } } = played.source;
      let known = this.#known.get(played);
      const now = {
        pid,
        comm,
        joinedAt: rounded(played.joinedAt, 1),
        size: played.size,
        pageable: played.recorded,
        workingSet: usedWithin(played, WORKING_SET),
        neverUsed: played.ages.neverReferencedBytes,
        swapped: played.out,
      };
      if (!known) {
        known = {
          played,
          firstFaults: figures.majorFaults,
          lastFaults: figures.majorFaults,
          figures: now,
          cost: 0,
        };
        this.#known.set(played, known);
        this.#pids.set(played.source.id, pid);
      }
      faults += Math.max(0, figures.majorFaults - known.lastFaults);
      known.lastFaults = figures.majorFaults;
      known.figures = now;
      known.cost = figures.observationCost / 1e6;
    }
    this.majorFaults += faults;
    this.faultsOfStep = interval > 0 ? faults / interval : 0;
  }

  #leave(played: PlayedProcess): void {
    const known = this.#known.get(played);
    if (!known) return;
    this.#known.delete(played);
    const { firstFaults, lastFaults, figures, cost } = known;
    const { leftAt } = played;
    this.#departed.push({ firstFaults, lastFaults, figures, cost, leftAt });
    if (this.#departed.length < 2 * MOST_LISTED) return;
    this.#departed.sort((a, b) => b.figures.size - a.figures.size);
    this.#departed.length = MOST_LISTED;
  }

  /** What was not used at all, of the processes that are there, in bytes. */
  get neverUsed(): number {
    let bytes = 0;
    for (const { played, figures } of this.#known.values()) {
      if (!played.hasExited) bytes += figures.neverUsed;
    }
    return bytes;
  }

  list(seconds: number): ReportedProcess[] {
    const there = Array.from(
      this.#known.values(),
      (known) => ({ ...known, leftAt: known.played.leftAt }),
    );
    return [...this.#departed, ...there].map((known) => ({
      ...known.figures,
      leftAt: known.leftAt === undefined ? null : rounded(known.leftAt, 1),
      majorFaults: known.lastFaults - known.firstFaults,
      observationCost: known.cost === 0
        ? null
        : rounded(known.cost / Math.max(seconds, 1), 6),
    })).sort((a, b) => b.size - a.size).slice(0, MOST_LISTED);
  }

  /** The pid of a process of the recording. */
  pidOf(id: number): number {
    return this.#pids.get(id) ?? 0;
  }

  mappings(): ReportedMapping[] {
    return [...this.#known.values()]
      .filter(({ played }) => !played.hasExited)
      .flatMap(({ played }) => mappingsOf(played))
      .sort((a, b) => b.pageable - a.pageable)
      .slice(0, MOST_LISTED);
  }
}

/** The mappings of a process, by name. */
function mappingsOf(
  { source: { identity: { pid } }, mappings, ages }: PlayedProcess,
): ReportedMapping[] {
  const { pagedata } = ages;
  if (!pagedata) return [];
  const names = new Map<bigint, RecordedMapping>(
    mappings.map((one) => [BigInt(one.start) * BigInt(UNIT), one]),
  );
  const isRecent = Array.from(
    { length: MOMENTS },
    (_, moment) => moment > 0 && ages.ageOf(moment) < WORKING_SET,
  );
  const last = ages.lastMomentBefore(0);
  const pages = new Uint32Array(MOMENTS);
  const byName = new Map<string, ReportedMapping>();
  for (const mapping of pagedata.mappings) {
    const { start, pageSize } = mapping;
    const name = names.get(start)?.name ?? "";
    const end = endOffset(pagedata, mapping);
    pages.fill(0);
    for (let at = firstOffset(pagedata, mapping); at < end; at++) {
      pages[ages.used[at]]++;
    }
    let [pageable, workingSet] = [0, 0];
    for (let moment = 0; moment <= last; moment++) {
      pageable += pages[moment] * pageSize;
      if (isRecent[moment]) workingSet += pages[moment] * pageSize;
    }
    const before = byName.get(name);
    byName.set(name, {
      pid,
      name,
      start: before?.start ?? hex(start),
      mappings: (before?.mappings ?? 0) + 1,
      bytes: (before?.bytes ?? 0) + mapping.pages * pageSize,
      pageable: (before?.pageable ?? 0) + pageable,
      workingSet: (before?.workingSet ?? 0) + workingSet,
      neverUsed: (before?.neverUsed ?? 0) +
        (last > 0 ? pages[0] * pageSize : 0),
    });
  }
  return [...byName.values()].filter(({ pageable }) => pageable > 0);
}

/**
 * Returns a heat map as reports have it.
 *
 * @param pidOf returns the pid of a process of the recording by its id.
 */
export function reportedHeat(
  { rows, columns, resident, used }: HeatMap,
  pidOf: (id: number) => number,
): ReportedHeat {
  return {
    rows: rows.map(({ process: id, name, isMixed, start, end, bytes }) => ({
      pid: pidOf(id),
      name,
      isMixed,
      start: hex(start),
      end: hex(end),
      bytes,
    })),
    columns: columns.map((seconds) => rounded(seconds, 1)),
    resident: Array.from(resident, Math.round),
    used: Array.from(used, (share) => rounded(share, 3)),
  };
}

function rounded(value: number, decimals: number): number {
  return Number(value.toFixed(decimals));
}
