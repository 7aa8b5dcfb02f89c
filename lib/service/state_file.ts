/**
 * The daemon's state as text: written by the daemon, and validated when it is read, as
 * anything that another process has written.
 *
 * @module
 */

import * as v from "valibot";
import { RcapError } from "../errors.ts";
import { type DaemonState, GUARD_RAILS } from "../group/state.ts";
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

/** A text is not a state that this version of rcap reads; the message says why. */
export class MalformedState extends RcapError {
  override name = "MalformedState";
}

/**
 * Parses the text of a state file.
 *
 * @throws MalformedState if it is not a state of this version.
 */
export function parseState(text: string): StateFile {
  const value = parseJson(text);
  // Only one mistake is reported, and a hostile text can contain millions.
  const options = { abortEarly: true, abortPipeEarly: true };
  const header = v.safeParse(HEADER, value, options);
  if (!header.success) throw malformed(header.issues[0]);
  const { version } = header.output;
  if (version !== VERSION) {
    throw new MalformedState(
      `it is a state in version ${version} of its format, and this command reads version ${VERSION}`,
    );
  }
  const result = v.safeParse(STATE, value, options);
  if (!result.success) throw malformed(result.issues[0]);
  return result.output;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    // A RangeError: it is nested too deeply.
    if (!(error instanceof SyntaxError || error instanceof RangeError)) {
      throw error;
    }
    throw new MalformedState("it is not JSON");
  }
}

/** The most characters of a path or a value that a message repeats. */
const LONGEST_EXCERPT = 60;

function malformed(
  issue: Pick<v.BaseIssue<unknown>, "path" | "expected" | "received">,
): MalformedState {
  const excerpt = (text: string) =>
    text.length > LONGEST_EXCERPT ? `${text.slice(0, LONGEST_EXCERPT)}…` : text;
  const keys = issue.path?.map(({ key }) => String(key)).join(".") ?? "";
  const path = excerpt(keys);
  if (path !== "" && issue.received === "undefined") {
    return new MalformedState(`it has no ${path}`);
  }
  const received = excerpt(issue.received);
  return new MalformedState(
    `${path || "it"} is ${received}, not ${issue.expected ?? "valid"}`,
  );
}

/** The version of the format. */
const VERSION = 2;

const HEADER = v.looseObject({ version: v.pipe(v.number(), v.integer()) });

/**
 * An amount of bytes or seconds, or a count. JSON has no NaN, but 1e999 parses to
 * Infinity; no machine has more bytes than numbers are exact for.
 */
const amount = v.pipe(
  v.number(),
  v.minValue(0),
  v.maxValue(Number.MAX_SAFE_INTEGER),
);
const whole = v.pipe(amount, v.integer());
const share = v.pipe(amount, v.maxValue(1));
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
  refaults: v.optional(whole, 0),
  // A daemon of an earlier version has none.
  observationCost: v.optional(v.nullable(amount), null),
});

const GROWTH = v.looseObject({
  pid,
  comm: v.string(),
  bytes: amount,
  // Rates are computed.
  seconds: v.pipe(amount, v.minValue(1)),
  mapping: v.looseObject({
    start: v.string(),
    end: v.string(),
    name: v.string(),
    bytes: amount,
  }),
});

const CONTAINER = v.looseObject({
  container: v.nullable(v.string()),
  pod: v.nullable(v.string()),
  namespace: v.nullable(v.string()),
});

const IDLE_TIME = v.looseObject({
  seconds: v.nullable(amount),
  minutes: whole,
  leastMinutes: whole,
  raisedBy: v.nullable(v.picklist(["refaults", "pressure"])),
});

const MEMBER = v.looseObject({ pid, startTime: whole });

const GROUP = v.looseObject({
  id: whole,
  name: v.string(),
  cap: v.nullable(amount),
  configuredCap: v.nullable(amount),
  processes: whole,
  addressSpace: amount,
  rss: amount,
  accounting: v.picklist(["rss", "pss"]),
  idle: v.nullable(
    v.array(v.looseObject({ seconds: amount, bytes: amount })),
  ),
  // A daemon of an earlier version has none, as of the keys of later ones below.
  idleTime: v.optional(v.nullable(IDLE_TIME), null),
  members: v.optional(v.array(MEMBER), []),
  swap: v.optional(v.nullable(amount), null),
  saved: v.optional(v.nullable(amount), null),
  pressure: v.optional(v.nullable(share), null),
  cgroup: v.optional(v.nullable(v.string()), null),
  containers: v.optional(v.array(CONTAINER), []),
  growth: v.optional(v.array(GROWTH), []),
  planned: v.optional(v.nullable(amount), null),
  pausedUntil: v.optional(v.nullable(amount), null),
  statistics: STATISTICS,
  // A daemon of an earlier version has none.
  heldBack: v.optional(
    v.array(v.looseObject({ by: v.picklist(GUARD_RAILS), why: v.string() })),
    [],
  ),
  warning: v.nullable(v.string()),
  avoided: whole,
});

const COSTS = v.looseObject({
  reference: amount,
  pageIns: v.array(
    v.looseObject({
      from: v.picklist(["swap", "file", "reads"]),
      device: v.string(),
      nanoseconds: amount,
    }),
  ),
});

const KUBERNETES = v.looseObject({
  node: v.string(),
  pods: whole,
  isWatching: v.boolean(),
  heardAt: v.nullable(amount),
  problem: v.nullable(v.string()),
  annotations: v.array(v.string()),
});

/** A state. Loose, because a later version may add keys. */
export const STATE = v.looseObject({
  version: v.literal(VERSION),
  pid,
  startTime: whole,
  startedAt: amount,
  updatedAt: amount,
  monotonic: amount,
  reportInterval: amount,
  pagedata: v.string(),
  // A daemon of an earlier version has none.
  costs: v.optional(v.nullable(COSTS), null),
  memory: v.looseObject({
    // Shares of it are computed.
    total: v.pipe(amount, v.minValue(1)),
    used: amount,
    threshold: share,
    // A daemon of an earlier version has none.
    swap: v.optional(
      v.nullable(v.looseObject({ total: amount, used: amount })),
      null,
    ),
  }),
  own: v.looseObject({ cpu: amount, rss: amount }),
  configuration: v.looseObject({
    serial: whole,
    loadedAt: amount,
    problems: v.array(v.string()),
    isPassing: v.boolean(),
  }),
  // A daemon of an earlier version has none.
  kubernetes: v.optional(v.nullable(KUBERNETES), null),
  dryRun: v.optional(v.boolean(), false),
  groups: v.array(GROUP),
  pidNamespace: v.nullable(v.string()),
});
