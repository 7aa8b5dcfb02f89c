/**
 * Support for the tests of `rcap` on live processes: requirements on the machine,
 * files to map, events to wait for, and the form of the output of `rcap scan
 * --json`.
 *
 * @module
 */

import { assert, assertEquals } from "@std/assert";
import { POLICIES, type PolicyName } from "../../lib/config/policy_names.ts";
import type { ScanReport } from "../../lib/oneshot/scan_once.ts";
import { SKIP_REASONS } from "../../lib/report/skip_reasons.ts";
import { rcapJson, type RunOptions } from "./rcap.ts";
import {
  isRunning,
  mappingFigures,
  type Region,
  residentOf,
  until,
  type Workload,
} from "./workload.ts";

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;

/** Too short for real use, but long enough if nothing is hot. */
export const BRIEFLY = ["--observe", "300ms"];

/**
 * Ends the tests of a module at once if they cannot work.
 *
 * @throws Error if the tests do not run as root.
 */
export function requireRoot(): void {
  if (Deno.uid() !== 0) {
    throw new Error(
      "these tests page out live processes and make swap: run them as root",
    );
  }
}

/** A test of what holds whatever the policy: one for each. */
export function testEachPolicy(
  name: string,
  test: (policy: PolicyName) => Promise<void>,
): void {
  for (const policy of POLICIES) {
    Deno.test(`${name} (${policy})`, () => test(policy));
  }
}

/**
 * Makes a file of random bytes, written through to the disk so that its pages can
 * be dropped. Disposal removes it.
 *
 * @param name the name of the file.
 */
export async function diskFile(
  size: number,
  name = "contents",
): Promise<Disposable & { path: string }> {
  using cleanup = new DisposableStack();
  const folder = Deno.makeTempDirSync({ dir: "/var/tmp", prefix: "rcap-" });
  cleanup.defer(() => Deno.removeSync(folder, { recursive: true }));
  const type = await output("stat", "--file-system", "--format=%T", folder);
  assert(
    !["tmpfs", "ramfs"].includes(type),
    `/var/tmp is a ${type}: files there have no other place than memory`,
  );
  const path = `${folder}/${name}`;
  using file = Deno.openSync(path, { createNew: true, write: true });
  // Every block begins at another offset of the noise, so that pages do not repeat.
  const noise = new Uint8Array(MIB + 64 * KIB);
  for (let at = 0; at < noise.length; at += 64 * KIB) {
    crypto.getRandomValues(noise.subarray(at, at + 64 * KIB));
  }
  for (let written = 0, block = 0; written < size; block++) {
    const from = (block * 64) % (64 * KIB);
    const most = Math.min(MIB, size - written);
    written += file.writeSync(noise.subarray(from, from + most));
  }
  file.syncSync();
  const moved = cleanup.move();
  return { path, [Symbol.dispose]: () => moved.dispose() };
}

/** Runs a program and returns its output. */
async function output(program: string, ...args: string[]): Promise<string> {
  const { stdout } = await new Deno.Command(program, { args }).output();
  return new TextDecoder().decode(stdout).trim();
}

/**
 * Waits until rcap has begun to observe a process, that is, has reset the reference
 * bits that filling a region has set. The region must not be in use.
 */
export async function observed({ pid }: Workload, cold: Region): Promise<void> {
  await until(
    () => mappingFigures(pid, cold.start).referenced === 0,
    `process ${pid} to be observed`,
  );
}

/** Waits until the resident set of a process has fallen by a number of bytes. */
export async function falling(
  { pid }: Workload,
  bytes: number,
): Promise<void> {
  const before = quickRss(pid);
  await until(
    () => quickRss(pid) <= before - bytes,
    `the resident set of process ${pid} to fall`,
  );
}

/** The resident set size in `statm`: less exact, but without cost to the process. */
function quickRss(pid: number): number {
  const [, pages] = Deno.readTextFileSync(`/proc/${pid}/statm`).split(" ");
  return Number(pages) * 4 * KIB;
}

/** The state of a process: `R`, `S`, `T` for stopped, … */
export function stateOf(pid: number): string | undefined {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return /^State:\s+(\w)/m.exec(status)?.[1];
}

/** Asserts that a process runs and that its memory is unchanged. */
export async function assertIntact(workload: Workload): Promise<void> {
  assert(isRunning(workload.pid), "the victim runs");
  assert(await workload.checksum(), "the victim's memory is intact");
}

/** Asserts that all of a region is in memory. */
export function assertResident({ pid }: Workload, region: Region): void {
  const { name, start, end, size } = region;
  assertEquals(residentOf(pid, start, end), size, `resident of ${name}`);
}

/** Runs `rcap scan --json` and checks the form of its output. */
export async function scanJson(
  args: string[],
  options?: RunOptions,
): Promise<{ code: number; report: ScanReport; stderr: string }> {
  const { code, json, stderr } = await rcapJson<ScanReport>(
    ["scan", ...args],
    options,
  );
  assertScanReport(json);
  assertEquals(code, json.capMet ? 0 : 3, stderr);
  return { code, report: json, stderr };
}

/** Asserts that a value has the documented form of `rcap scan --json`. */
export function assertScanReport(report: ScanReport): void {
  const isEffective = report.dryRun ? isNull : isBytes;
  assertFields("scan", report, {
    version: (value) => value === 1,
    dryRun: isBoolean,
    pagedata: oneOf("pte", "smaps"),
    observedSeconds: isSeconds,
    accounting: oneOf("rss", "pss"),
    rss: isBytes,
    cap: isBytes,
    excess: isBytes,
    processes: Array.isArray,
    attempted: isBytes,
    effective: isEffective,
    rssAfter: isBytes,
    capMet: isBoolean,
    stayed: Array.isArray,
    workingSetToo: isBoolean,
    seconds: isSeconds,
  });
  for (const stay of report.stayed) {
    assertFields("stayed", stay, {
      reason: (value) => isNull(value) && !report.capMet || isSkipReason(value),
      bytes: isBytes,
      ...(stay.limit === undefined ? {} : { limit: isText }),
    });
  }
  for (const process of report.processes) {
    assertFields("process", process, {
      pid: isBytes,
      comm: isText,
      rss: (value) => isNull(value) || isBytes(value),
      unreferenced: (value) => isNull(value) || isBytes(value),
      observationCost: (value) => isNull(value) || isSeconds(value),
      attempted: isBytes,
      effective: isEffective,
      pageouts: Array.isArray,
      skipped: Array.isArray,
      error: (value) => isNull(value) || isText(value),
    });
    for (const pageout of process.pageouts) {
      assertFields("pageout", pageout, {
        start: isAddress,
        end: isAddress,
        bytes: isBytes,
        result: report.dryRun
          ? oneOf("planned")
          : oneOf("done", "busy", "failed"),
      });
    }
    for (const skip of process.skipped) {
      assertFields("skipped", skip, {
        start: isAddress,
        end: isAddress,
        reason: isSkipReason,
      });
    }
  }
}

type Check = (value: unknown) => boolean;

const isNull: Check = (value) => value === null;
const isBoolean: Check = (value) => typeof value === "boolean";
const isText: Check = (value) => typeof value === "string";
const isBytes: Check = (value) =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
const isSeconds: Check = (value) => typeof value === "number" && value >= 0;
const isSkipReason: Check = (value) =>
  oneOf(...Object.keys(SKIP_REASONS))(value);
const isAddress: Check = (value) =>
  typeof value === "string" && /^0x[0-9a-f]+$/.test(value);

function oneOf(...values: string[]): Check {
  return (value) => values.some((one) => one === value);
}

/** Asserts that an object has exactly these fields, each with a valid value. */
function assertFields(
  what: string,
  object: object,
  checks: Readonly<Record<string, Check>>,
): void {
  assertEquals(Object.keys(object).sort(), Object.keys(checks).sort(), what);
  for (const [name, value] of Object.entries(object)) {
    assert(checks[name](value), `${what}.${name}: ${JSON.stringify(value)}`);
  }
}

/** Returns a report's part about one process. */
export function processOf(
  { processes }: ScanReport,
  { pid }: Workload,
): ScanReport["processes"][number] {
  const process = processes.find((process) => process.pid === pid);
  assert(process, `process ${pid} is in the report`);
  return process;
}

/** Returns why a scan passed a region over; `undefined` if it did not. */
export function skipReasonOf(
  report: ScanReport,
  workload: Workload,
  { start }: Region,
): string | undefined {
  return processOf(report, workload).skipped
    .find((skip) => BigInt(skip.start) === start)?.reason;
}
