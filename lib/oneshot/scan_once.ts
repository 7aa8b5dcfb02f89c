/**
 * One scan of some processes, from selectors to a report, for `rcap scan`.
 *
 * @module
 */

import { residentSize } from "../collection/accounting.ts";
import { selectProcesses } from "../collection/members.ts";
import { narrate } from "../collection/narrate.ts";
import { watch, type Watched } from "../collection/observe.ts";
import type { Selector } from "../collection/selectors.ts";
import type { PolicyName } from "../config/policy_names.ts";
import { ProcessAccessDenied, ProcessError } from "../errors.ts";
import { mappingEnd } from "../memory/pagedata.ts";
import type { PageoutResult, SkipReason } from "../memory/process_memory.ts";
import { type Clock, systemClock } from "../platform/clock.ts";
import { DryRunMemory } from "../platform/dry_run.ts";
import { mainThreadExited } from "../platform/process_errors.ts";
import type {
  MonitoredMemory,
  PagedataSourceName,
  Platform,
  ProcessEntry,
  SecondaryMmuChoice,
} from "../platform/platform.ts";
import { exclusive } from "../observer/exclusive_memory.ts";
import type { ResetRights } from "../observer/reset_rights.ts";
import { policyOf } from "../policy/policies.ts";
import type { ObservedProcess } from "../policy/policy.ts";
import {
  describeObservationCost,
  observationCostOf,
} from "./observation_cost.ts";
import { type Stay, stayed } from "./stayed.ts";
import { formatSize, hex } from "../report/units.ts";
import type { ScanTarget } from "../scanner/collection.ts";
import type { ScanEvent } from "../scanner/scan.ts";

/** The result of one range. Addresses are hexadecimal, with 0x. */
export interface PageoutReport {
  readonly start: string;
  readonly end: string;
  /** Size of the resident pages in it. */
  readonly bytes: number;
  readonly result: PageoutResult["result"];
}

/** A mapping that was skipped, or a range that was not paged out in full. */
export interface SkipReport {
  readonly start: string;
  readonly end: string;
  readonly reason: SkipReason;
}

/** What a scan did with one process. Sizes in bytes. */
export interface ProcessReport {
  readonly pid: number;
  readonly comm: string;
  /** RSS before the scan; null if it could not be read, or counts as that of another process. */
  rss: number | null;
  /** Size of the unreferenced pages; null if they were not observed. */
  unreferenced: number | null;
  /**
   * How many seconds of its time being observed has cost it, about; null if that is not
   * known, or it was not observed.
   */
  observationCost: number | null;
  /** Size of the ranges that were to be paged out; in a dry run, how much would go. */
  attempted: number;
  /** By how much that lowered RSS; null in a dry run. */
  effective: number | null;
  readonly pageouts: PageoutReport[];
  readonly skipped: SkipReport[];
  /** Why the process was not scanned, or not in full. */
  error: string | null;
}

/** What a scan did. Sizes in bytes. The JSON form of `rcap scan`. */
export interface ScanReport {
  readonly version: 1;
  readonly dryRun: boolean;
  readonly pagedata: PagedataSourceName;
  /** How long the processes were observed; 0 if they were under the cap from the start. */
  readonly observedSeconds: number;
  /** How `rss` and `rssAfter` count shared pages. */
  readonly accounting: "rss" | "pss";
  readonly rss: number;
  readonly cap: number;
  readonly excess: number;
  readonly processes: readonly ProcessReport[];
  readonly attempted: number;
  /** Null in a dry run. */
  readonly effective: number | null;
  /** As measured after the scan; an estimate in a dry run. */
  readonly rssAfter: number;
  /** Whether `rssAfter` is at or under the cap. */
  readonly capMet: boolean;
  /** What stays and why, the most first; empty if there was nothing to do. */
  readonly stayed: readonly Stay[];
  /** Whether memory in use went, too, because unreferenced memory did not suffice. */
  readonly workingSetToo: boolean;
  /** How long the scan itself took. */
  readonly seconds: number;
}

/** Receives messages about progress. */
export interface Messages {
  warn(message: string): void;
  info(message: string): void;
  debug(message: string): void;
}

export interface ScanOnceOptions {
  readonly selectors: readonly Selector[];
  /** The size to reach, or by how much to lower it; in bytes. */
  readonly goal: { readonly cap: number } | { readonly excess: number };
  readonly dryRun: boolean;
  /** In milliseconds. */
  readonly observation: number;
  readonly policy: PolicyName;
  /** What to do with virtual machines; `leave` by default. */
  readonly secondaryMmu?: SecondaryMmuChoice;
  readonly signal: AbortSignal;
  readonly log: Messages;
  readonly platform: Platform;
  /** Decides whose references may be reset; by default all. */
  readonly rights?: ResetRights;
  /** The clock of the system by default. */
  readonly clock?: Clock;
}

/** How often processes are scanned to make up for what has come back meanwhile. */
const MOST_ROUNDS = 4;

/** A process whose memory counts, and its report. */
interface Counted {
  readonly process: ProcessEntry;
  readonly memory: MonitoredMemory;
  /** Plans instead of paging out; only in a dry run. */
  readonly plan: DryRunMemory | undefined;
  readonly report: ProcessReport;
}

/** A process to scan. */
interface Target extends Counted {
  readonly observed: ObservedProcess;
}

/**
 * Scans processes once.
 *
 * @throws NoMatch, NoSuchProcess if there is nothing to scan.
 * @throws ProcessAccessDenied if this user may scan none of the processes.
 * @throws the signal's reason if it is aborted.
 */
export async function scanOnce(options: ScanOnceOptions): Promise<ScanReport> {
  const { selectors, goal, dryRun, observation, signal, log, platform } =
    options;
  const { clock = systemClock } = options;
  const { processes, problems } = await selectProcesses(
    selectors,
    platform,
    signal,
  );
  for (const problem of problems) log.warn(problem);

  const { secondaryMmu } = options;
  const swap = { free: platform.memory().freeSwap };
  const processReports = processes.map(newReport);
  const shared = await platform.sharedMemory?.(processes);
  const counted = processes.flatMap((process, index): Counted[] => {
    const report = processReports[index];
    const first = shared?.get(process.pid);
    if (first === undefined) {
      const memory = exclusive(
        platform.open(process, { secondaryMmu }),
        process,
        options.rights,
      );
      const plan = dryRun ? new DryRunMemory(memory, swap) : undefined;
      return [{ process, report, memory, plan }];
    }
    report.error = describeShared(process, first);
    return [];
  });
  const { yes: victims = [], no: others = [] } = Object.groupBy(
    counted,
    ({ process }) => process.mainThreadExited ? "no" : "yes",
  );
  for (const { process, report } of others) {
    report.error = mainThreadExited(process).message;
  }
  const policy = policyOf(options.policy).forScan(
    victims.map(({ memory, plan }) => ({
      memory,
      scanMemory: plan ?? memory,
    })),
    { granularity: platform.granularity, clock },
  );
  const targets = victims.map((victim, index): Target => ({
    ...victim,
    observed: policy.processes[index],
  }));
  const before = await sizeOf(counted, goal);
  const isUnder = before.excess <= 0;
  if (isUnder) {
    log.debug(`under the cap: nothing to observe, nothing to do`);
  } else {
    if (targets.length === 0) throw mainThreadExited(counted[0].process);
    await platform.costs?.({ ofPageIns: false });
    await prepare(targets, { dryRun, signal });
    await observe(targets, { ...options, clock });
  }
  const size = isUnder ? before : await sizeOf(counted, goal);

  const started = clock.now();
  const reports = new Map(
    targets.map(({ observed, report }) => [observed.target, report]),
  );
  let unused = Infinity;
  let rssAfter = size.bytes;
  let ended = started;
  if (size.excess > 0) {
    for (const { observed, report } of targets) {
      await tolerate(report, () => observed.end());
    }
    const onEvent = (event: ScanEvent) => {
      if (event.type === "insufficient") unused = event.unreferenced;
      record(event, reports, dryRun);
      narrate(event).forEach((line) => log.debug(line));
    };
    for (let round = 1; round <= MOST_ROUNDS && rssAfter > size.cap; round++) {
      const excess = rssAfter - size.cap;
      const { excess: left } = await policy.scan({ excess, signal, onEvent });
      ended = clock.now();
      if (signal.aborted) break;
      rssAfter = dryRun ? rssAfter - (excess - left) : await sizeNow(counted);
      // If not enough could be paged out, or memory in use went, which comes back at
      // once, another round would change nothing.
      if (dryRun || left > 0 || unused < Infinity) break;
    }
  }
  for (const { memory, observed, report } of targets) {
    // One that has exited meanwhile accounts for a part of what the size fell by.
    if (!report.error) {
      await tolerate(report, () => Promise.try(() => void memory.readSizes()));
    }
    if (memory.coarseness) log.warn(memory.coarseness);
    if (memory.leftAlone) {
      report.error ??= `${memory.leftAlone}; --secondary-mmu scan pages it out`;
    }
    report.unreferenced = observed.unreferenced();
    if (!isUnder) report.observationCost = observationCostOf(memory);
  }
  const cost = describeObservationCost(processReports, observation / 1000);
  if (cost) log.info(cost);
  if (dryRun) {
    for (const report of processReports) report.effective = null;
  }
  const { effective } = policy.statistics;
  const attempted = targets.reduce(
    (sum, { report }) => sum + report.attempted,
    0,
  );
  if (signal.aborted) {
    log.warn(
      `interrupted; ${
        formatSize(effective)
      } had been paged out, every process runs on`,
    );
    throw signal.reason;
  }

  const capMet = rssAfter <= size.cap;
  return {
    version: 1,
    dryRun,
    pagedata: platform.pagedata,
    observedSeconds: isUnder ? 0 : observation / 1000,
    accounting: size.accounting,
    rss: size.bytes,
    cap: size.cap,
    excess: Math.max(0, size.excess),
    processes: processReports,
    attempted,
    effective: dryRun ? null : effective,
    rssAfter,
    capMet,
    stayed: size.excess > 0
      ? await stayed(
        counted.map(({ memory, plan }) => ({
          memory,
          read: () => plan?.readMappingsAfter() ?? memory.readMappings("scan"),
        })),
        { accounting: size.accounting, capMet },
      )
      : [],
    // What was tried beyond the unused memory was in use.
    workingSetToo: attempted > unused && (dryRun || effective > 0),
    seconds: Math.round(ended - started) / 1000,
  };
}

/** Measures the size of processes that exceeded the cap. */
async function sizeNow(counted: readonly Counted[]): Promise<number> {
  const memories = counted.map(({ memory }) => memory);
  return (await residentSize(memories, 0)).bytes;
}

/** Returns the message that a process has the address space of another one. */
function describeShared({ pid }: ProcessEntry, first: number): string {
  return `process ${pid} shares the memory of process ${first}, as which it counts`;
}

function newReport({ pid, comm }: ProcessEntry): ProcessReport {
  return {
    pid,
    comm,
    rss: null,
    unreferenced: null,
    observationCost: null,
    attempted: 0,
    effective: 0,
    pageouts: [],
    skipped: [],
    error: null,
  };
}

function describe(targets: readonly Target[]): string {
  if (targets.length > 1) return `${targets.length} processes`;
  const [{ report: { pid, comm } }] = targets;
  return `process ${pid} (${comm})`;
}

/**
 * Reads the size of processes, and by how much it exceeds the goal, in bytes.
 *
 * @throws ProcessError if none of them can be read.
 */
async function sizeOf(
  targets: readonly Counted[],
  goal: ScanOnceOptions["goal"],
) {
  readRss(targets);
  const memories = targets.map(({ memory }) => memory);
  if ("cap" in goal) {
    const { cap } = goal;
    const size = await residentSize(memories, cap);
    return { ...size, cap, excess: size.bytes - cap };
  }
  const size = await residentSize(memories, 0);
  const cap = Math.max(0, size.bytes - goal.excess);
  return { ...size, cap, excess: size.bytes - cap };
}

/**
 * Reads the RSS of every process.
 *
 * @throws ProcessError if none can be read.
 */
function readRss(targets: readonly Counted[]): void {
  const errors: ProcessError[] = [];
  for (const { memory, report } of targets) {
    try {
      report.rss = memory.readSizes().rss;
    } catch (error) {
      errors.push(noted(error, report));
    }
  }
  throwIfAll(errors, targets);
}

/**
 * Checks whether the targets may be scanned, and starts the observation.
 *
 * @throws ProcessError if none may.
 */
async function prepare(
  targets: readonly Target[],
  { dryRun, signal }: { dryRun: boolean; signal: AbortSignal },
): Promise<void> {
  const errors: ProcessError[] = [];
  for (const { memory, report } of targets) {
    signal.throwIfAborted();
    try {
      await memory.checkAccess();
      using _allowed = dryRun ? undefined : await memory.control();
      await memory.reset();
    } catch (error) {
      errors.push(noted(error, report));
    }
  }
  throwIfAll(errors, targets);
}

/**
 * Observes the targets while they run.
 *
 * @throws the signal's reason if it is aborted meanwhile.
 */
async function observe(
  targets: readonly Target[],
  { observation, signal, log, clock }: ScanOnceOptions & { clock: Clock },
): Promise<void> {
  const watched = targets.map(({ observed, report }): Watched => {
    const { endPart } = observed;
    return {
      glance: () => tolerate(report, () => observed.glance()),
      refresh: () => tolerate(report, () => observed.refresh()),
      endPart: endPart && (() => tolerate(report, endPart)),
    };
  });
  const what = describe(targets);
  try {
    await watch(watched, { milliseconds: observation, what, signal, clock });
  } catch (error) {
    if (signal.aborted) log.warn("interrupted; nothing was paged out");
    throw error;
  }
}

/** Runs a step for a process, and records its error in the report. */
async function tolerate(
  report: ProcessReport,
  step: () => Promise<void>,
): Promise<void> {
  try {
    await step();
  } catch (error) {
    noted(error, report);
  }
}

/** Records an error of a process in its report; rethrows any other error. */
function noted(error: unknown, report: ProcessReport): ProcessError {
  if (!(error instanceof ProcessError)) throw error;
  report.error = error.message;
  return error;
}

/** Throws if every target has failed; prefers an error that has a remedy. */
function throwIfAll(
  errors: readonly ProcessError[],
  targets: readonly Counted[],
): void {
  if (errors.length < targets.length) return;
  throw errors.find((error) => error instanceof ProcessAccessDenied) ??
    errors[0];
}

/** Records an event in the report of its process. */
function record(
  event: ScanEvent,
  reports: ReadonlyMap<ScanTarget, ProcessReport>,
  dryRun: boolean,
): void {
  if (!("process" in event)) return;
  const report = reports.get(event.process);
  if (!report) return;
  switch (event.type) {
    case "error":
      report.error = event.error.message;
      break;
    case "skip": {
      const { mapping, reason } = event;
      const [start, end] = [hex(mapping.start), hex(mappingEnd(mapping))];
      report.skipped.push({ start, end, reason });
      break;
    }
    case "pageout":
      for (const [index, outcome] of event.results.entries()) {
        const { result, reason, message } = outcome;
        const { bytes, ...range } = event.ranges[index];
        const [start, end] = [hex(range.start), hex(range.end)];
        report.pageouts.push({ start, end, bytes, result });
        if (reason) report.skipped.push({ start, end, reason });
        if (result === "failed") report.error = message ?? "page-out failed";
        else if (!dryRun) report.attempted += bytes;
      }
      // Of a range, less may be mapped once than is resident.
      if (dryRun) report.attempted += event.fell;
      report.effective = (report.effective ?? 0) + Math.max(0, event.fell);
      break;
  }
}
