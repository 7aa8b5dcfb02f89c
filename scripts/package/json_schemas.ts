/**
 * The schemas of the configuration and of what commands print with `--json`, as JSON
 * Schema. `deno task schemas FOLDER` writes them. The types of the reports check most of
 * them: a key that a report gains, and its schema lacks, is an error of types.
 *
 * @module
 */

import { toJsonSchema } from "@valibot/to-json-schema";
import * as v from "valibot";
import type {
  CAP_KEYS,
  DaemonSettings,
} from "../../lib/config/config_schema.ts";
import type { CheckReport } from "../../lib/config/config_report.ts";
import { POLICIES } from "../../lib/config/policy_names.ts";
import type {
  AgesReport,
  InspectReport,
  PagesReport,
} from "../../lib/oneshot/inspect.ts";
import type { RestoreReport } from "../../lib/oneshot/restore_once.ts";
import type { ScanReport } from "../../lib/oneshot/scan_once.ts";
import type { SizeReport } from "../../lib/oneshot/size_report.ts";
import {
  type Finding,
  MEMORY_KINDS,
  RECLAIM_CHOICES,
  SECONDARY_MMU_CHOICES,
} from "../../lib/platform/platform.ts";
import { SKIP_REASONS } from "../../lib/report/skip_reasons.ts";
import type { SkipReason } from "../../lib/memory/process_memory.ts";
import type { LearntReport } from "../../lib/service/learnt_report.ts";
import { STATE } from "../../lib/service/state_file.ts";
import type { StatReport } from "../../lib/service/stat.ts";
import { say } from "../../tests/support/say.ts";
import { write } from "./write.ts";

/** A schema whose values are of a type. */
type SchemaOf<T> = v.GenericSchema<unknown, T>;

const amount = v.pipe(v.number(), v.minValue(0));
const whole = v.pipe(amount, v.integer());
const maybe = v.nullable(amount);
const address = v.pipe(v.string(), v.regex(/^0x[0-9a-f]+$/));
const pagedata = v.picklist(["pte", "smaps"]);
// The keys of the words are the reasons.
const skipReason = v.picklist(Object.keys(SKIP_REASONS) as SkipReason[]);
const version1 = v.literal(1);
const accounting = v.picklist(["rss", "pss"]);

const scan = v.object({
  version: version1,
  dryRun: v.boolean(),
  pagedata,
  observedSeconds: amount,
  accounting,
  rss: whole,
  cap: whole,
  excess: v.number(),
  processes: v.array(v.object({
    pid: whole,
    comm: v.string(),
    rss: maybe,
    unreferenced: maybe,
    observationCost: maybe,
    attempted: amount,
    effective: v.nullable(v.number()),
    pageouts: v.array(v.object({
      start: address,
      end: address,
      bytes: whole,
      result: v.picklist(["done", "busy", "planned", "failed"]),
    })),
    skipped: v.array(
      v.object({ start: address, end: address, reason: skipReason }),
    ),
    error: v.nullable(v.string()),
  })),
  attempted: amount,
  effective: v.nullable(v.number()),
  rssAfter: v.number(),
  capMet: v.boolean(),
  stayed: v.array(v.object({
    reason: v.nullable(skipReason),
    bytes: amount,
    limit: v.exactOptional(v.string()),
  })),
  workingSetToo: v.boolean(),
  seconds: amount,
}) satisfies SchemaOf<ScanReport>;

const inspectHead = {
  version: version1,
  pid: whole,
  comm: v.string(),
  pagedata,
  observedSeconds: amount,
  observationCost: maybe,
};

const sizes = {
  size: whole,
  rss: whole,
  own: amount,
  anon: whole,
  referenced: whole,
  modified: whole,
  swapped: whole,
  locked: whole,
};

const inspect = v.object({
  ...inspectHead,
  mappings: v.array(v.object({
    ...sizes,
    start: address,
    end: address,
    perm: v.string(),
    name: v.string(),
    pageSize: whole,
    verdict: v.union([v.picklist(["cold", "warm", "hot"]), skipReason]),
  })),
  totals: v.object(sizes),
}) satisfies SchemaOf<InspectReport>;

const inspectPages = v.object({
  ...inspectHead,
  start: address,
  end: address,
  pageSize: whole,
  pages: v.pipe(v.string(), v.regex(/^[.\-rms]*$/)),
}) satisfies SchemaOf<PagesReport>;

const inspectAges = v.object({
  ...inspectHead,
  interval: amount,
  resident: whole,
  ages: v.array(v.object({ seconds: amount, idle: amount, used: amount })),
}) satisfies SchemaOf<AgesReport>;

const restore = v.object({
  version: version1,
  processes: v.array(v.object({
    pid: whole,
    comm: v.string(),
    out: maybe,
    requested: amount,
    outOfReach: amount,
    error: v.nullable(v.string()),
  })),
  out: amount,
  requested: amount,
  outOfReach: amount,
  swapCachedBefore: maybe,
  swapCachedAfter: maybe,
  availableBefore: amount,
  availableAfter: amount,
  isComplete: v.boolean(),
  seconds: amount,
}) satisfies SchemaOf<RestoreReport>;

const capCost = v.object({
  cap: amount,
  saved: amount,
  idleSeconds: maybe,
  idleIsAtLeast: v.boolean(),
  refaults: amount,
  fromSwap: amount,
  fromFiles: amount,
  worstMinute: amount,
  perMinute: maybe,
  stalled: maybe,
  unjudged: amount,
});

const size = v.object({
  version: version1,
  pagedata,
  observedSeconds: amount,
  interval: amount,
  interrupted: v.boolean(),
  swapFree: amount,
  swapTotal: amount,
  pageIns: v.array(v.object({
    from: v.picklist(["swap", "file", "reads"]),
    device: v.string(),
    nanoseconds: amount,
  })),
  groups: v.array(v.object({
    name: v.string(),
    processes: whole,
    size: amount,
    startSize: amount,
    fixed: amount,
    cannotGo: v.array(v.object({ reason: skipReason, bytes: amount })),
    swapped: amount,
    returned: amount,
    toSwap: amount,
    toFiles: amount,
    workingSet: amount,
    workingSetSeconds: amount,
    least: amount,
    neverUsed: amount,
    neverUsedRefaults: maybe,
    budget: amount,
    recommended: v.nullable(capCost),
    swapNeeded: maybe,
    hasLargePages: v.boolean(),
    curve: v.array(capCost),
  })),
}) satisfies SchemaOf<SizeReport>;

const group = STATE.entries.groups.item.entries;

const stat = v.object({
  version: v.literal(2),
  time: amount,
  seconds: maybe,
  memory: STATE.entries.memory,
  dryRun: v.boolean(),
  kubernetes: STATE.entries.kubernetes,
  groups: v.array(v.object({
    id: whole,
    name: v.string(),
    processes: whole,
    addressSpace: amount,
    rss: amount,
    cap: maybe,
    attempted: amount,
    attemptedPerScan: amount,
    effective: v.number(),
    effectivePerScan: v.number(),
    swap: maybe,
    saved: maybe,
    pressure: maybe,
    refaults: amount,
    idleForMinute: maybe,
    backedOff: amount,
    warning: v.nullable(v.string()),
    heldBack: group.heldBack,
    avoided: whole,
    accounting,
    idle: group.idle,
    cgroup: group.cgroup,
    containers: group.containers,
    idleTime: group.idleTime,
    growth: group.growth,
    planned: group.planned,
    pausedUntil: group.pausedUntil,
    statistics: group.statistics,
  })),
}) satisfies SchemaOf<StatReport>;

const problems = v.array(v.object({
  file: v.string(),
  line: whole,
  message: v.string(),
  suggestion: v.nullable(v.string()),
}));

const rate = v.object({ bytes: amount, seconds: amount });

const check = v.object({
  version: version1,
  valid: v.boolean(),
  files: v.array(v.string()),
  problems,
  warnings: problems,
  config: v.nullable(v.object({
    daemon: v.object({
      sampleInterval: amount,
      processInterval: amount,
      reportInterval: amount,
      configInterval: amount,
      enforcementThreshold: amount,
      observationBudget: amount,
      policy: v.picklist(POLICIES),
      pagedata: v.picklist(["auto", "pte", "smaps"]),
      record: v.string(),
      recordLimit: amount,
      kubernetes: v.boolean(),
    }),
    caps: v.array(v.object({
      name: v.string(),
      select: v.array(v.union([v.string(), v.array(v.string())])),
      maxRss: v.exactOptional(amount),
      idle: v.exactOptional(v.union([amount, v.literal("auto")])),
      maxRefaults: v.exactOptional(v.union([
        v.object({ sharePerMinute: amount }),
        v.object({ perSecond: amount }),
      ])),
      maxPressure: v.exactOptional(amount),
      minRss: v.exactOptional(amount),
      maxSwapWrites: v.exactOptional(rate),
      maxPageoutRate: v.exactOptional(rate),
      only: v.exactOptional(v.picklist(MEMORY_KINDS)),
      priority: v.exactOptional(amount),
      secondaryMmu: v.exactOptional(v.picklist(SECONDARY_MMU_CHOICES)),
      reclaim: v.exactOptional(v.picklist(RECLAIM_CHOICES)),
      place: v.string(),
    })),
  })),
  learnt: v.exactOptional(v.object({
    directory: v.string(),
    problem: v.nullable(v.string()),
    at: v.nullable(v.string()),
    caps: v.array(v.object({
      name: v.string(),
      idleTime: v.nullable(v.object({
        seconds: maybe,
        minutes: whole,
        leastMinutes: whole,
      })),
    })),
  })),
}) satisfies SchemaOf<CheckReport & { learnt?: LearntReport }>;

const doctor = v.object({
  version: version1,
  capabilities: v.array(
    v.object({
      name: v.string(),
      status: v.picklist(["ok", "degraded", "missing"]),
      detail: v.string(),
      meaning: v.string(),
      remedy: v.nullable(v.string()),
      required: v.boolean(),
    }) satisfies SchemaOf<Finding>,
  ),
});

const set = v.object({
  version: version1,
  name: v.string(),
  before: maybe,
  cap: maybe,
  rss: amount,
});

const pause = v.object({
  version: version1,
  name: v.string(),
  pausedUntil: amount,
  cap: maybe,
  rss: amount,
});

const resume = v.object({
  version: version1,
  name: v.string(),
  wasPaused: v.boolean(),
  cap: maybe,
  rss: amount,
});

// What a value means is checked by rcap itself; an editor needs its form.
const duration = v.union([
  v.pipe(v.string(), v.regex(/^\d+(\.\d+)?(ms|s|m|h)?$/)),
  amount,
]);
const percent = v.pipe(v.string(), v.regex(/^\d+(\.\d{1,3})?%$/));
const bytes = v.union([
  v.pipe(v.string(), v.regex(/^\d+(\.\d+)?(%|[KMGTPkmgtp]?(i?[Bb])?)$/)),
  whole,
]);
const byteRate = v.pipe(v.string(), v.regex(/^\S+\/(s|min|h|day)$/));

const daemonKeys = {
  sample_interval: v.exactOptional(duration),
  process_interval: v.exactOptional(duration),
  report_interval: v.exactOptional(duration),
  config_interval: v.exactOptional(duration),
  enforcement_threshold: v.exactOptional(percent),
  observation_budget: v.exactOptional(percent),
  policy: v.exactOptional(v.picklist(POLICIES)),
  pagedata: v.exactOptional(v.picklist(["auto", "pte", "smaps"])),
  record: v.exactOptional(v.string()),
  record_limit: v.exactOptional(bytes),
  kubernetes: v.exactOptional(v.boolean()),
} satisfies Record<keyof DaemonSettings, v.GenericSchema>;

const capKeys = {
  name: v.pipe(v.string(), v.regex(/^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/)),
  select: v.pipe(
    v.array(
      v.union([v.string(), v.pipe(v.array(v.string()), v.minLength(1))]),
    ),
    v.minLength(1),
  ),
  max_rss: v.exactOptional(bytes),
  idle: v.exactOptional(v.union([duration, v.literal("auto")])),
  max_refaults: v.exactOptional(v.string()),
  max_pressure: v.exactOptional(percent),
  min_rss: v.exactOptional(bytes),
  max_pageout_rate: v.exactOptional(byteRate),
  max_swap_writes: v.exactOptional(byteRate),
  only: v.exactOptional(v.picklist(MEMORY_KINDS)),
  priority: v.exactOptional(
    v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(100)),
  ),
  secondary_mmu: v.exactOptional(v.picklist(SECONDARY_MMU_CHOICES)),
  reclaim: v.exactOptional(v.picklist(RECLAIM_CHOICES)),
} satisfies Record<(typeof CAP_KEYS)[number], v.GenericSchema>;

const configuration = v.strictObject({
  daemon: v.exactOptional(v.strictObject(daemonKeys)),
  cap: v.exactOptional(v.array(v.strictObject(capKeys))),
});

/** Every schema by the name of its file, without `.schema.json`. */
export const SCHEMAS = {
  "rcap.toml": configuration,
  "run-once": STATE,
  scan,
  inspect,
  "inspect-pages": inspectPages,
  "inspect-ages": inspectAges,
  size,
  restore,
  stat,
  set,
  pause,
  resume,
  check,
  doctor,
} satisfies Record<string, v.GenericSchema>;

/** Returns the JSON Schema of every output, by the name of its file. */
export function jsonSchemas(): Map<string, object> {
  return new Map(
    Object.entries(SCHEMAS).map(([name, schema]) => [
      `${name}.schema.json`,
      { title: name, ...toJsonSchema(schema, { typeMode: "output" }) },
    ]),
  );
}

/** Writes all schemas into a folder. */
export function writeSchemas(folder: string): void {
  for (const [name, schema] of jsonSchemas()) {
    write(`${folder}/${name}`, `${JSON.stringify(schema, undefined, 2)}\n`);
  }
}

if (import.meta.main) {
  const folder = Deno.args[0] ?? "dist/schemas";
  writeSchemas(folder);
  say(`wrote the schemas to ${folder}`);
}
