/**
 * What an observation has cost the processes that were observed.
 *
 * @module
 */

import type { MonitoredMemory } from "../platform/platform.ts";
import { countOf, formatNanoseconds, formatShare } from "../report/units.ts";

/** A process that was observed. */
export interface ObservedCost {
  readonly pid: number;
  readonly comm: string;
  /** In seconds of its time; null if that is not known. */
  readonly observationCost: number | null;
}

/** What a process has paid for being observed so far, in seconds; null if not known. */
export function observationCostOf(
  { observationCost }: MonitoredMemory,
): number | null {
  // The cost is an estimate: more digits would say nothing.
  return observationCost === undefined
    ? null
    : Number(observationCost.toPrecision(3));
}

/** A cost below this share of the observation is not worth a message. */
const WORTH_A_MESSAGE = 0.01;

/**
 * Describes what an observation has cost, if that is much.
 *
 * @param seconds how long it took.
 * @returns `undefined` if no process has paid more than a hundredth of that time, as far
 * as it is known.
 */
export function describeObservationCost(
  processes: readonly ObservedCost[],
  seconds: number,
): string | undefined {
  if (seconds === 0) return undefined;
  const dear = processes.flatMap(({ observationCost, ...process }) =>
    observationCost !== null && observationCost > seconds * WORTH_A_MESSAGE
      ? [{ ...process, cost: observationCost }]
      : []
  ).sort((a, b) => b.cost - a.cost);
  if (dear.length === 0) return undefined;
  const [{ pid, comm, cost }, ...others] = dear;
  const rest = others.length === 0
    ? ""
    : `; ${
      countOf(others.length, "other process", "other processes")
    } lost less, but more than ${formatShare(WORTH_A_MESSAGE)} of it`;
  return `being observed has cost process ${pid} (${comm}) about ${
    formatNanoseconds(cost * 1e9)
  } of ${seconds} s (${formatShare(cost / seconds)})${rest}`;
}
