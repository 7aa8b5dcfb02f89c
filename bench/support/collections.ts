/**
 * Nine applications under one daemon, each in a group of its own: what the daemon uses
 * once it has settled.
 *
 * @module
 */

import type { PolicyName } from "../../lib/config/policy_names.ts";
import { cap, TestDaemon } from "../../tests/support/daemon.ts";
import { treeOf } from "../../tests/support/prediction.ts";
import { pssOf } from "../../tests/support/workload.ts";
import { APPLICATIONS, isInstalled, startApplication } from "./applications.ts";
import { usageOf } from "./usage.ts";

/** The applications, and their caps as shares of their proportional sizes. */
const SHARES: Readonly<Record<string, number>> = {
  // Shared buffers that several processes map cannot be paged out, nor can a heap that
  // is mapped three times: these caps cannot be met.
  "PostgreSQL": 0.5,
  "JVM, ZGC": 0.5,
  "MariaDB": 0.7,
  "Redis": 0.7,
  "memcached": 0.7,
  "JVM, G1": 0.7,
  "Chromium": 0.7,
  "Node.js": 0.7,
  "Python": 0.7,
};

/** A running application: its proportional size and its cap, in bytes. */
export interface Collection {
  readonly name: string;
  readonly pid: number;
  readonly size: number;
  readonly cap: number;
}

/** What a settled daemon uses and does. */
export interface SettledCosts {
  /** Processor time of the daemon and what it starts, as a share of one core. */
  readonly cpu: number;
  /** The part of it in the kernel. */
  readonly kernel: number;
  /** Proportional size of the daemon and what it starts, in bytes, at the end. */
  readonly pss: number;
  /** Scans during the measurement, of groups whose cap can be met and of the others. */
  readonly scans: number;
  readonly vainScans: number;
  /** The names of the groups whose caps cannot be met, as the daemon says. */
  readonly unmet: readonly string[];
}

/** The applications that are not installed, with their Debian packages. */
export async function missingApplications(): Promise<string[]> {
  const missing: string[] = [];
  for (const kind of APPLICATIONS) {
    if (!(kind.name in SHARES) || await isInstalled(kind)) continue;
    missing.push(`${kind.name} (${kind.package})`);
  }
  return missing;
}

/** Starts the applications; `held` ends them. */
export async function startCollections(
  held: AsyncDisposableStack,
): Promise<Collection[]> {
  const collections: Collection[] = [];
  for (const kind of APPLICATIONS) {
    if (!(kind.name in SHARES)) continue;
    const { pid } = held.use(await startApplication(kind));
    const size = treeOf(pid).reduce((sum, one) => sum + pssOf(one), 0);
    collections.push({
      name: kind.name,
      pid,
      size,
      cap: Math.round(size * SHARES[kind.name]),
    });
  }
  return collections;
}

/**
 * Runs a daemon with its default intervals, and measures it after it has settled.
 *
 * @param times in seconds.
 */
export async function measureSettled(
  collections: readonly Collection[],
  policy: PolicyName,
  times: { settle: number; measure: number },
): Promise<SettledCosts> {
  const caps = collections.map(({ name, pid, cap: bytes }) =>
    cap(name.replaceAll(/\W+/g, "-"), [`tree:${pid}`], `${bytes}`)
  );
  await using daemon = await TestDaemon.start({
    config: `[daemon]\npolicy = "${policy}"\n\n${caps.join("\n")}`,
  });
  await pause(times.settle);
  const before = usageOf(daemon.pid);
  const began = performance.now();
  const { groups: then } = daemon.state();
  await pause(times.measure);
  const { groups: now } = daemon.state();
  const after = usageOf(daemon.pid);
  const seconds = (performance.now() - began) / 1000;
  const scans = (isUnmet: boolean) =>
    now.reduce(
      (sum, { warning, statistics }, index) =>
        (warning !== null) === isUnmet
          ? sum + statistics.scans - then[index].statistics.scans
          : sum,
      0,
    );
  return {
    cpu: (after.cpu - before.cpu) / seconds,
    kernel: (after.kernel - before.kernel) / seconds,
    pss: after.pss,
    scans: scans(false),
    vainScans: scans(true),
    unmet: now.flatMap(({ name, warning }) => warning === null ? [] : [name]),
  };
}

function pause(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}
