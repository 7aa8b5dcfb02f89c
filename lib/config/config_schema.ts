/**
 * The schema of a configuration file.
 *
 * @module
 */

import * as v from "valibot";
import {
  join,
  parseSelector,
  type PlainSelector,
  type Selector,
} from "../collection/selectors.ts";
import { UserNotKnown, type Users } from "../collection/users.ts";
import { UsageError } from "../errors.ts";
import type { OperatingSystem } from "../platform/operating_system.ts";
import {
  type MemoryKind,
  type PagedataSourceName,
  RECLAIM_CHOICES,
  type ReclaimChoice,
  SECONDARY_MMU_CHOICES,
  type SecondaryMmuChoice,
} from "../platform/platform.ts";
import { escapeLine } from "../report/escape.ts";
import type { ByteRate, RefaultLimit } from "../report/rates.ts";
import { parsePercent } from "../report/units.ts";
import { parseCapSize } from "./cap_size.ts";
import {
  describe,
  durationOf,
  parseChoice,
  wrongShare,
  wrongType,
} from "./config_values.ts";
import {
  byteRateOf,
  parseIdle,
  parseMaxPressure,
  parseMaxRefaults,
  parseOnly,
  parsePriority,
} from "./guard_values.ts";
import { POLICIES, type PolicyName } from "./policy_names.ts";
import { quoteToml, type TomlPath, type TomlValue } from "./toml.ts";

/** The source of reference bits; `auto` is the best one that works. */
export type PagedataChoice = "auto" | PagedataSourceName;

/** Settings of the daemon, by their names in a file. Intervals are in milliseconds. */
export interface DaemonSettings {
  readonly sample_interval: number;
  readonly process_interval: number;
  readonly report_interval: number;
  readonly config_interval: number;
  /** From 0 to 1. */
  readonly enforcement_threshold: number;
  /** From 0 to 1. */
  readonly observation_budget: number;
  readonly policy: PolicyName;
  readonly pagedata: PagedataChoice;
  /** The directory of recordings; empty for none. */
  readonly record: string;
  /** The size of all recordings together, in bytes. */
  readonly record_limit: number;
  /** Whether pods of this node have caps by their annotations. */
  readonly kubernetes: boolean;
}

/** The default settings. */
export function defaultSettings(
  { defaultPolicy }: Pick<OperatingSystem, "defaultPolicy">,
): DaemonSettings {
  return {
    sample_interval: 5_000,
    process_interval: 15_000,
    report_interval: 5_000,
    config_interval: 60_000,
    enforcement_threshold: 0,
    observation_budget: 0.01,
    policy: defaultPolicy,
    pagedata: "auto",
    record: "",
    record_limit: 2 ** 30,
    kubernetes: false,
  };
}

/** The keys of `[daemon]`. */
export const DAEMON_KEYS: readonly string[] = Object.keys(
  defaultSettings({ defaultPolicy: "coldest" }),
);

/** A cap, by the names in a file. Sizes are in bytes, times in milliseconds. */
export interface CapSettings {
  readonly name: string;
  readonly select: readonly Selector[];
  /** There is at least one of this and `idle`. */
  readonly max_rss?: number;
  readonly secondary_mmu?: SecondaryMmuChoice;
  readonly reclaim?: ReclaimChoice;
  readonly idle?: number | "auto";
  readonly max_refaults?: RefaultLimit;
  /** From 0 to 1. */
  readonly max_pressure?: number;
  readonly min_rss?: number;
  readonly max_pageout_rate?: ByteRate;
  readonly max_swap_writes?: ByteRate;
  readonly only?: MemoryKind;
  readonly priority?: number;
}

/** The keys of a cap. */
export const CAP_KEYS: readonly (keyof CapSettings)[] = [
  "name",
  "select",
  "max_rss",
  "idle",
  "max_refaults",
  "max_pressure",
  "min_rss",
  "max_pageout_rate",
  "max_swap_writes",
  "only",
  "priority",
  "secondary_mmu",
  "reclaim",
];

/** The settings in a file. */
export interface FileSettings {
  readonly daemon?: Partial<DaemonSettings>;
  readonly cap?: readonly CapSettings[];
}

/** A mistake in a file. */
export interface Fault {
  readonly path: TomlPath;
  readonly message: string;
  readonly suggestion: string | null;
  /**
   * Whether it is temporary: the value may be valid, but cannot be checked at the
   * moment.
   */
  readonly isPassing?: boolean;
}

/**
 * Returns the selectors in a file as written, for the lookup of their users. Values
 * that are not selectors are ignored.
 */
export function selectorsIn(value: TomlValue): string[] {
  const listed = (value: unknown): unknown[] =>
    Array.isArray(value) ? value : [];
  const caps = isTable(value) ? listed(value.cap) : [];
  return caps.flatMap((cap) => isTable(cap) ? listed(cap.select) : [])
    .flatMap((selector) => Array.isArray(selector) ? selector : [selector])
    .filter((selector) => typeof selector === "string");
}

/**
 * Checks and converts the contents of a file. Unknown keys are reported by
 * {@linkcode unknownKeys}.
 *
 * @param surroundings `totalMemory` is what sizes in percent are of, in bytes;
 * `users` must know those that {@linkcode selectorsIn} names; `system` is the one that
 * the configuration is for.
 */
export function understand(
  value: TomlValue,
  surroundings: FileSurroundings,
): { settings?: FileSettings; faults: Fault[] } {
  const result = v.safeParse(fileSchema(surroundings), value);
  if (result.success) return { settings: result.output, faults: [] };
  const faults = result.issues.map(({ path, message, received }): Fault => {
    const [what, suggestion = null] = message.split("\n");
    const keys = path?.map(({ key }) => key) ?? [];
    return {
      path: keys.filter(isKey),
      message: what,
      suggestion,
      isPassing: received === PASSING,
    };
  });
  return { faults };
}

/** What the meaning of a file depends on. */
export interface FileSurroundings {
  readonly totalMemory: number;
  readonly users: Users;
  readonly system: Pick<
    OperatingSystem,
    | "files"
    | "pagedataSources"
    | "missingCapKeys"
    | "defaultPolicy"
    | "whyNotReclaimable"
  >;
}

/** The `received` value that marks a temporary issue of valibot. */
const PASSING = "not known";

function isKey(key: unknown): key is string | number {
  return typeof key === "string" || typeof key === "number";
}

/** Joins problem and remedy into the only text that an issue of valibot can carry. */
function issueText(problem: string, remedy?: string): string {
  return [problem, ...(remedy ? [remedy] : [])].map(escapeLine).join("\n");
}

function fileSchema({ totalMemory, users, system }: FileSurroundings) {
  const pagedataChoices: PagedataChoice[] = [
    "auto",
    ...system.pagedataSources,
  ];
  const interval = (key: string) =>
    v.optional(parsed((value) => parseInterval(value, key)));
  const daemon = table({
    sample_interval: interval("sample_interval"),
    process_interval: interval("process_interval"),
    report_interval: interval("report_interval"),
    config_interval: interval("config_interval"),
    enforcement_threshold: v.optional(parsed(parseThreshold)),
    observation_budget: v.optional(parsed(parseBudget)),
    policy: v.optional(
      parsed((value) => parseChoice(value, "policy", POLICIES)),
    ),
    pagedata: v.optional(
      parsed((value) => parseChoice(value, "pagedata", pagedataChoices)),
    ),
    record: v.optional(parsed(parseRecord)),
    record_limit: v.optional(
      parsed((value) => parseRecordLimit(value, totalMemory)),
    ),
    kubernetes: v.optional(parsed(parseKubernetes)),
  }, { what: "daemon", remedy: "begin the table with [daemon]", required: [] });
  /** A key that may be left out, and that a system may not know how to hold. */
  const optional = <T>(key: keyof CapSettings, parse: (value: unknown) => T) =>
    v.optional(parsed((value) => {
      if (!system.missingCapKeys?.includes(key)) return parse(value);
      throw new UsageError(`${key} does not work on this system`, "remove it");
    }));
  const cap = table({
    name: parsed(parseName),
    select: v.pipe(
      v.array(
        parsed((value) => parseSelection(value, users)),
        ({ input }) =>
          issueText(
            `select is ${describe(input)}, not a list`,
            `put selectors into brackets: [${
              quoteToml(typeof input === "string" ? input : "unit:nginx")
            }]`,
          ),
      ),
      v.minLength(
        1,
        issueText(
          "select is empty: the cap applies to no process",
          `add selectors, as in ["unit:nginx"], or remove the cap`,
        ),
      ),
    ),
    max_rss: optional(
      "max_rss",
      (value) => parseCap(value, "max_rss", totalMemory),
    ),
    idle: optional(
      "idle",
      (value) =>
        parseIdle(value, {
          knowsRefaults: !system.missingCapKeys?.includes("max_refaults"),
        }),
    ),
    max_refaults: optional("max_refaults", parseMaxRefaults),
    max_pressure: optional("max_pressure", parseMaxPressure),
    min_rss: optional(
      "min_rss",
      (value) => parseCap(value, "min_rss", totalMemory),
    ),
    max_pageout_rate: optional(
      "max_pageout_rate",
      byteRateOf("max_pageout_rate", ["s", "min"]),
    ),
    max_swap_writes: optional(
      "max_swap_writes",
      byteRateOf("max_swap_writes", ["day", "h"]),
    ),
    only: optional("only", parseOnly),
    priority: optional("priority", parsePriority),
    secondary_mmu: optional(
      "secondary_mmu",
      (value) => parseChoice(value, "secondary_mmu", SECONDARY_MMU_CHOICES),
    ),
    reclaim: optional(
      "reclaim",
      (value) => parseChoice(value, "reclaim", RECLAIM_CHOICES),
    ),
  }, {
    what: "the cap",
    remedy: "begin it with [[cap]]",
    required: ["name", "select"],
  });
  const sensibleCap = v.pipe(
    cap,
    v.partialCheck(
      [["max_rss"], ["idle"]],
      ({ max_rss, idle }) => max_rss !== undefined || idle !== undefined,
      issueText(
        "the cap has neither max_rss nor idle",
        `add max_rss = "2G", idle = "10m", or both`,
      ),
    ),
    v.forward(
      v.partialCheck(
        [["max_rss"], ["min_rss"]],
        ({ max_rss = Infinity, min_rss = 0 }) => min_rss <= max_rss,
        issueText(
          "min_rss is larger than max_rss: the cap could never be met",
          "lower it, or raise max_rss",
        ),
      ),
      ["min_rss"],
    ),
  );
  return v.object({
    daemon: v.optional(daemon),
    cap: v.optional(v.array(sensibleCap, ({ input }) =>
      issueText(
        `cap is ${describe(input)}, not a list of tables`,
        "begin every cap with [[cap]], in two brackets",
      ))),
  });
}

/** A table whose keys are all required unless they are optional. */
function table<Entries extends v.ObjectEntries>(
  entries: Entries,
  { what, remedy, required }: {
    what: string;
    remedy: string;
    required: readonly string[];
  },
) {
  return v.pipe(
    // Lists and dates are objects too.
    v.custom<Record<string, unknown>>(
      isTable,
      ({ input }) =>
        issueText(`${what} is ${describe(input)}, not a table`, remedy),
    ),
    v.object(entries, ({ expected }) =>
      issueText(
        `${what} has no ${expected?.replaceAll('"', "")}`,
        `every cap has ${required.join(" and ")}`,
      )),
  );
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null &&
    !Array.isArray(value) && !(value instanceof Date);
}

/** A value that is parsed by a function, which throws a `UsageError` if it is invalid. */
function parsed<T>(parse: (value: unknown) => T) {
  return v.pipe(
    v.unknown(),
    v.rawTransform<unknown, T>(({ dataset, addIssue, NEVER }) => {
      try {
        return parse(dataset.value);
      } catch (error) {
        if (!(error instanceof UsageError)) throw error;
        addIssue({
          message: issueText(error.problem, error.remedy),
          received: error instanceof UserNotKnown ? PASSING : undefined,
        });
        return NEVER;
      }
    }),
  );
}

/**
 * Bounds of intervals, in milliseconds: shorter ones keep a processor busy, longer
 * ones are a wrong unit.
 */
const INTERVALS = { least: 10, most: 24 * 3_600_000 };

function parseInterval(value: unknown, key: string): number {
  return durationOf(value, key, INTERVALS, "5s");
}

function parseThreshold(value: unknown): number {
  const key = "enforcement_threshold";
  if (typeof value === "string") return parsePercent(value, key);
  throw wrongShare(value, { key, parse: parseThreshold, otherwise: "80%" });
}

/** The least budget: with less, hours could pass between two resets. */
const LEAST_BUDGET = 0.0001;

function parseBudget(value: unknown): number {
  const key = "observation_budget";
  if (typeof value === "string") return parsePercent(value, key, LEAST_BUDGET);
  throw wrongShare(value, { key, parse: parseBudget, otherwise: "1%" });
}

/** Parses the directory of recordings. */
function parseRecord(value: unknown): string {
  if (typeof value === "string" && /^(\/.*)?$/s.test(value)) {
    return value.replace(/(?<=.)\/+$/, "");
  }
  throw new UsageError(
    `record is ${describe(value)}, not the path of a directory`,
    'write one that begins with a slash: "/var/lib/rcap/recordings"',
  );
}

/** The smallest limit of recordings, in bytes: a segment holds some of them. */
const LEAST_RECORDS = 2 ** 20;

function parseRecordLimit(value: unknown, totalMemory: number): number {
  const key = "record_limit";
  const bytes = parseCap(value, key, totalMemory);
  if (bytes >= LEAST_RECORDS) return bytes;
  throw new UsageError(`${key} is ${describe(value)}`, "write at least 1M");
}

function parseKubernetes(value: unknown): boolean {
  if (typeof value === "boolean") return value;
  throw new UsageError(
    `kubernetes is ${describe(value)}`,
    "write true or false, without quotation marks",
  );
}

/** Parses the size of a group. */
function parseCap(value: unknown, key: string, totalMemory: number): number {
  if (typeof value !== "string" && typeof value !== "bigint") {
    throw wrongType(value, {
      key,
      wanted: "a size",
      // 1e9 is a number of bytes, and 1.5 one of gibibytes.
      examples: (number) =>
        number < 4096 ? [`${number}G`] : [`${number}`, `${number}G`],
      parse: (text) => parseCap(text, key, totalMemory),
      otherwise: "2G",
    });
  }
  return parseCapSize(String(value), {
    what: key,
    totalMemory: () => totalMemory,
  });
}

/** Names that are easy to type, and to read in a table and a metric label. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/;

function parseName(value: unknown): string {
  if (typeof value !== "string") {
    throw wrongType(value, {
      key: "name",
      wanted: "text",
      examples: (number) => [`${number}`],
      parse: parseName,
      otherwise: "web",
    });
  }
  if (!NAME.test(value)) {
    throw new UsageError(
      `name: "${value}" cannot be the name of a cap`,
      "use up to 64 letters, digits and . _ @ -, the first a letter or digit",
    );
  }
  return value;
}

/** Parses a selector, or a list of selectors that must all match. */
function parseSelection(value: unknown, users: Users): Selector {
  if (!Array.isArray(value)) return parseWord(value, users);
  if (value.length === 0) {
    throw new UsageError(
      "a list in select is empty: it would select everything",
      `list the selectors that must all match, as in [["exe:/usr/bin/postgres", "user:postgres"]]`,
    );
  }
  return join(value.map((word) => parseWord(word, users)));
}

function parseWord(value: unknown, users: Users): PlainSelector {
  if (typeof value === "string") return parseSelector(value, users);
  throw wrongType(value, {
    key: "a selector",
    wanted: "text",
    examples: (number) => [`pid:${number}`],
    parse: (text) => parseSelector(text, users),
    otherwise: "unit:nginx",
  });
}
