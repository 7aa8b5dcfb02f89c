/**
 * One scan of some processes, from selectors to a report: what `rcap scan` does.
 *
 * @module
 */

import { residentSize, sizeBy } from "../collection/accounting.ts";
import { selectProcesses } from "../collection/members.ts";
import { narrate } from "../collection/narrate.ts";
import { watch } from "../collection/observe.ts";
import type { Selector } from "../collection/selectors.ts";
import type { PolicyName } from "../config/policy_names.ts";
import { ProcessAccessDenied, ProcessError } from "../errors.ts";
import { mappingEnd } from "../memory/pagedata.ts";
import type { PageoutResult, SkipReason } from "../memory/process_memory.ts";
import { DryRunMemory } from "../platform/dry_run.ts";
import type {
  MonitoredMemory,
  PagedataSourceName,
  Platform,
  ProcessEntry,
} from "../platform/platform.ts";
import { formatSize, hex } from "../report/units.ts";
import { type ColdestOptions, scanColdest } from "../scanner/coldest.ts";
import { ScanCollection, ScannedProcess } from "../scanner/collection.ts";
import { scan, type ScanEvent, type ScanResult } from "../scanner/scan.ts";

/** What came of one range. Addresses are hexadecimal, with 0x. */
export interface PageoutReport {
  readonly start: string;
  readonly end: string;
  /** Size of the resident pages in it. */
  readonly bytes: number;
  readonly result: PageoutResult["result"];
}

/** A mapping that was passed over, or a range of which something was left. */
export interface SkipReport {
  readonly start: string;
  readonly end: string;
  readonly reason: SkipReason;
}

/** What a scan did with one process. Sizes in bytes. */
export interface ProcessReport {
  readonly pid: number;
  readonly comm: string;
  /** RSS before the scan; null when it could not be read. */
  rss: number | null;
  /** Size of the unreferenced pages; null when they were not observed. */
  unreferenced: number | null;
  /** Size of the ranges that were paged out, or would be. */
  attempted: number;
  /** By how much that lowered RSS; null in a dry run. */
  effective: number | null;
  readonly pageouts: PageoutReport[];
  readonly skipped: SkipReport[];
  /** Why nothing, or not all, was done. */
  error: string | null;
}

/** What a scan did. Sizes in bytes. The JSON form of `rcap scan`. */
export interface ScanReport {
  readonly version: 1;
  readonly dryRun: boolean;
  readonly pagedata: PagedataSourceName;
  /** How long the processes were observed; 0 when they were under the cap to begin with. */
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
  /** In a dry run, an estimate. */
  readonly rssAfter: number;
  readonly capMet: boolean;
  /** Whether memory in use went too, since the unreferenced did not suffice. */
  readonly workingSetToo: boolean;
  /** How long the scan itself took. */
  readonly seconds: number;
}

/** Says what goes on. */
export interface Messages {
  warn(message: string): void;
  info(message: string): void;
  debug(message: string): void;
}

export interface ScanOnceOptions {
  readonly selectors: readonly Selector[];
  /** What to reach: a size, or by how much to lower it; in bytes. */
  readonly goal: { readonly cap: number } | { readonly excess: number };
  readonly dryRun: boolean;
  /** In milliseconds. */
  readonly observation: number;
  readonly policy: PolicyName;
  readonly signal: AbortSignal;
  readonly log: Messages;
  readonly platform: Platform;
}

/** A process with what is to be reported of it. */
interface Member {
  readonly memory: MonitoredMemory;
  readonly scanned: ScannedProcess;
  readonly report: ProcessReport;
}

/**
 * Scans processes once.
 *
 * @throws NoMatch, NoSuchProcess when there is nothing to scan.
 * @throws ProcessAccessDenied when none of the processes may be scanned.
 * @throws the signal's reason when it is aborted.
 */
export async function scanOnce(options: ScanOnceOptions): Promise<ScanReport> {
  const { selectors, goal, dryRun, observation, signal, log, platform } =
    options;
  const { processes, problems } = await selectProcesses(
    selectors,
    platform,
    signal,
  );
  for (const problem of problems) log.warn(problem);

  const members = processes.map((process) => {
    const memory = platform.open(process);
    return newMember(process, memory, { dryRun });
  });
  const before = await sizeOf(members, goal);
  const isUnder = before.excess <= 0;
  if (isUnder) {
    log.debug(`under the cap: nothing to observe, nothing to do`);
  } else {
    await prepare(members, { dryRun, signal });
    await observeMembers(members, options);
  }
  const size = isUnder ? before : await sizeOf(members, goal);

  const started = performance.now();
  const scanned = new Map(
    members.map(({ scanned, report }) => [scanned, report]),
  );
  const collection = new ScanCollection([...scanned.keys()]);
  let left = size.excess;
  let workingSetToo = false;
  if (size.excess > 0) {
    const onEvent = (event: ScanEvent) => {
      if (event.type === "insufficient") workingSetToo = true;
      record(event, scanned);
      narrate(event).forEach((line) => log.debug(line));
    };
    const scanOptions = { excess: size.excess, signal, onEvent };
    const result = options.policy === "coldest"
      ? await scanByAge(members, collection, scanOptions)
      : await scan(collection, scanOptions);
    left = result.excess;
  }
  for (const { memory } of members) {
    if (memory.coarseness) log.warn(memory.coarseness);
  }
  for (const [process, report] of scanned) {
    report.unreferenced = unreferencedOf(process);
    if (dryRun) report.effective = null;
  }
  const { attempted, effective } = collection.statistics;
  if (signal.aborted) {
    log.warn(
      `interrupted; ${
        formatSize(effective)
      } had been paged out, every process runs on`,
    );
    throw signal.reason;
  }

  const rssAfter = dryRun || isUnder
    ? size.bytes - (size.excess - left)
    : await sizeBy(size.accounting, memoriesOf(members));
  return {
    version: 1,
    dryRun,
    pagedata: platform.pagedata,
    observedSeconds: isUnder ? 0 : observation / 1000,
    accounting: size.accounting,
    rss: size.bytes,
    cap: size.cap,
    excess: Math.max(0, size.excess),
    processes: members.map(({ report }) => report),
    attempted,
    effective: dryRun ? null : effective,
    rssAfter,
    capMet: left <= 0 || rssAfter <= size.cap,
    workingSetToo,
    seconds: Math.round(performance.now() - started) / 1000,
  };
}

/** Scans by the ages that the observation gave, when its last part has ended. */
async function scanByAge(
  members: readonly Member[],
  collection: ScanCollection,
  options: ColdestOptions,
): Promise<ScanResult> {
  for (const { memory, scanned, report } of members) {
    try {
      // Ends the last part of the observation.
      scanned.ages.advance(await memory.read("scan"));
      await memory.refresh();
      scanned.residency = await memory.readResidency();
    } catch (error) {
      noted(error, report);
    }
  }
  return await scanColdest(collection, options);
}

function newMember(
  process: ProcessEntry,
  memory: MonitoredMemory,
  { dryRun }: { dryRun: boolean },
): Member {
  const report: ProcessReport = {
    pid: process.pid,
    comm: process.comm,
    rss: null,
    unreferenced: null,
    attempted: 0,
    effective: 0,
    pageouts: [],
    skipped: [],
    error: null,
  };
  const scanned = new ScannedProcess(
    dryRun ? new DryRunMemory(memory) : memory,
  );
  return { memory, scanned, report };
}

function memoriesOf(members: readonly Member[]): MonitoredMemory[] {
  return members.map(({ memory }) => memory);
}

function describe(members: readonly Member[]): string {
  if (members.length > 1) return `${members.length} processes`;
  const [{ report: { pid, comm } }] = members;
  return `process ${pid} (${comm})`;
}

/**
 * The size of the members, and how far it is from the goal, in bytes.
 *
 * @throws ProcessError when none of them can be read.
 */
async function sizeOf(
  members: readonly Member[],
  goal: ScanOnceOptions["goal"],
) {
  readRss(members);
  const memories = memoriesOf(members);
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
 * Reads the RSS of every member.
 *
 * @throws ProcessError when none can be read.
 */
function readRss(members: readonly Member[]): void {
  const errors: ProcessError[] = [];
  for (const { memory, report } of members) {
    try {
      report.rss = memory.readSizes().rss;
    } catch (error) {
      errors.push(noted(error, report));
    }
  }
  throwIfAll(errors, members);
}

/**
 * Finds out whether the members may be scanned, and starts the observation.
 *
 * @throws ProcessError when none may.
 */
async function prepare(
  members: readonly Member[],
  { dryRun, signal }: { dryRun: boolean; signal: AbortSignal },
): Promise<void> {
  const errors: ProcessError[] = [];
  for (const { memory, report } of members) {
    signal.throwIfAborted();
    try {
      await memory.checkAccess();
      using _allowed = dryRun ? undefined : await memory.control();
      await memory.reset();
    } catch (error) {
      errors.push(noted(error, report));
    }
  }
  throwIfAll(errors, members);
}

/**
 * Lets the members run for a while.
 *
 * @throws the signal's reason when it is aborted meanwhile.
 */
async function observeMembers(
  members: readonly Member[],
  { observation, policy, signal, log, platform }: ScanOnceOptions,
): Promise<void> {
  const what = describe(members);
  const watched = members.map(({ memory, scanned, report }) => {
    const tolerating = async (step: () => Promise<void>) => {
      try {
        await step();
      } catch (error) {
        noted(error, report);
      }
    };
    const refresh = () => tolerating(() => memory.refresh());
    if (policy === "coldest") {
      const { ages } = scanned;
      return {
        glance: () =>
          tolerating(async () => ages.look(await memory.read("glance"))),
        endPart: () =>
          tolerating(async () => ages.advance(await memory.read("scan"))),
        refresh,
      };
    }
    return {
      glance: () =>
        tolerating(async () => {
          if (platform.granularity === "mapping") return;
          scanned.merge(await memory.read("glance"));
        }),
      refresh,
    };
  });
  try {
    await watch(watched, { milliseconds: observation, what, signal });
  } catch (error) {
    if (signal.aborted) log.warn("interrupted; nothing was paged out");
    throw error;
  }
}

/** What was not referenced in all the observation; null when that is not known. */
function unreferencedOf(
  { pagedata, unreferenced, ages }: ScannedProcess,
): number | null {
  if (ages.pagedata) return ages.neverReferencedBytes;
  return pagedata ? unreferenced : null;
}

/** Notes an error of a process in its report; any other is thrown on. */
function noted(error: unknown, report: ProcessReport): ProcessError {
  if (!(error instanceof ProcessError)) throw error;
  report.error = error.message;
  return error;
}

/** Throws when every member has failed; rather an error that has a remedy. */
function throwIfAll(
  errors: readonly ProcessError[],
  members: readonly Member[],
): void {
  if (errors.length < members.length) return;
  throw errors.find((error) => error instanceof ProcessAccessDenied) ??
    errors[0];
}

/** Notes an event in the report of its process. */
function record(
  event: ScanEvent,
  reports: ReadonlyMap<ScannedProcess, ProcessReport>,
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
        else report.attempted += bytes;
      }
      report.effective = (report.effective ?? 0) + Math.max(0, event.fell);
      break;
  }
}
