/**
 * The daemon's state as text: written by the daemon, and validated when it is read, as
 * anything that another process has written.
 *
 * @module
 */

import * as v from "valibot";
import type { DaemonState } from "../group/state.ts";
import { json } from "../report/escape.ts";

/** The contents of a state file. */
export interface StateFile extends DaemonState {
  /** The pid namespace of `pid`, as `/proc/self/ns/pid` names it; null if not known. */
  readonly pidNamespace: string | null;
}

/** Formats a state as the text of a state file. */
export function formatState(state: StateFile): string {
  return json(state);
}

/**
 * Parses the text of a state file.
 *
 * @returns `undefined` if it is not a state of this version.
 */
export function parseState(text: string): StateFile | undefined {
  try {
    const result = v.safeParse(STATE, JSON.parse(text));
    return result.success ? result.output : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** JSON has no NaN, but 1e999 parses to Infinity. */
const amount = v.pipe(v.number(), v.finite(), v.minValue(0));
const whole = v.pipe(amount, v.safeInteger());
const pid = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(2 ** 22));

const STATISTICS = v.looseObject({
  attempted: amount,
  effective: amount,
  scans: whole,
  completeScans: whole,
  ineffectiveScans: whole,
  unenforcedSamples: whole,
  samples: whole,
  minimumRss: v.nullable(amount),
  maximumRss: v.nullable(amount),
  processesIn: whole,
  processesOut: whole,
  scanTime: amount,
  backedOff: whole,
});

const GROUP = v.looseObject({
  id: whole,
  name: v.string(),
  cap: amount,
  configuredCap: amount,
  processes: whole,
  addressSpace: amount,
  rss: amount,
  accounting: v.picklist(["rss", "pss"]),
  idle: v.nullable(
    v.array(v.looseObject({ intervals: whole, bytes: amount })),
  ),
  statistics: STATISTICS,
  warning: v.nullable(v.string()),
  avoided: whole,
});

// Loose, because a later version may add keys.
const STATE = v.looseObject({
  version: v.literal(2),
  pid,
  startTime: whole,
  startedAt: amount,
  updatedAt: amount,
  monotonic: amount,
  reportInterval: amount,
  pagedata: v.string(),
  memory: v.looseObject({ total: amount, used: amount, threshold: amount }),
  own: v.looseObject({ cpu: amount, rss: amount }),
  configuration: v.looseObject({
    serial: whole,
    loadedAt: amount,
    problems: v.array(v.string()),
    isPassing: v.boolean(),
  }),
  groups: v.array(GROUP),
  pidNamespace: v.nullable(v.string()),
});
