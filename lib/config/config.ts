/**
 * The configuration of the daemon: read, checked and merged.
 *
 * @module
 */

import type { Selector } from "../collection/selectors.ts";
import {
  type ConfigFile,
  type ConfigFiles,
  type ConfigPaths,
  fingerprintOf,
  readConfigFiles,
} from "./config_files.ts";
import {
  type ConfigProblem,
  type FoundProblem,
  placeOf,
} from "./config_problem.ts";
import {
  defaultSettings,
  type Fault,
  type FileSettings,
  type FileSurroundings,
  type PagedataChoice,
  selectorsIn,
  understand,
} from "./config_schema.ts";
import type {
  MemoryKind,
  ReclaimChoice,
  SecondaryMmuChoice,
} from "../platform/platform.ts";
import type { ByteRate, RefaultLimit } from "../report/rates.ts";
import { capDoubts, type CapSurroundings } from "./cap_doubts.ts";
import { misreadEscapes } from "./misread_escapes.ts";
import type { PolicyName } from "./policy_names.ts";
import {
  lineOf,
  parseToml,
  TomlError,
  type TomlNode,
  type TomlPath,
  type TomlValue,
} from "./toml.ts";
import { unknownKeys } from "./unknown_keys.ts";

export { fingerprint } from "./config_files.ts";
export { ConfigError, describeProblem } from "./config_problem.ts";
export type { ConfigProblem };

/** The configuration of the daemon. Intervals are in milliseconds. */
export interface DaemonConfig {
  /** Between two samples of sizes, after which caps are enforced. */
  readonly sampleInterval: number;
  /** Between two refreshes of membership. */
  readonly processInterval: number;
  /** Between two updates of the state file. */
  readonly reportInterval: number;
  /** Between two checks of the configuration files. */
  readonly configInterval: number;
  /** Share of physical memory, 0 to 1, above which caps are enforced. */
  readonly enforcementThreshold: number;
  /** The share of its time, 0 to 1, that a process may lose by being observed. */
  readonly observationBudget: number;
  readonly policy: PolicyName;
  readonly pagedata: PagedataChoice;
  /** The directory of recordings; empty for none. Only as of the start, as the limit. */
  readonly record: string;
  /** The size of all recordings together, in bytes. */
  readonly recordLimit: number;
  /** Whether pods of this node have caps by their annotations. */
  readonly kubernetes: boolean;
  /** Those of the main file first, then those of the drop-ins. */
  readonly caps: readonly CapConfig[];
}

/** The priority of a cap that has none of its own. */
export const DEFAULT_PRIORITY = 50;

/** A cap. */
export interface CapConfig {
  readonly name: string;
  readonly select: readonly Selector[];
  /** In bytes; without one, `idle` is there. */
  readonly maxRss?: number;
  /**
   * For how long memory is not used before it is paged out, in milliseconds; `auto` if
   * rcap finds that.
   */
  readonly idle?: number | "auto";
  readonly maxRefaults?: RefaultLimit;
  /** From 0 to 1. */
  readonly maxPressure?: number;
  /** In bytes. */
  readonly minRss?: number;
  readonly maxPageoutRate?: ByteRate;
  readonly maxSwapWrites?: ByteRate;
  /** The kind of memory that goes; both by default. */
  readonly only?: MemoryKind;
  /** 1 to 100; {@linkcode DEFAULT_PRIORITY} by default. */
  readonly priority?: number;
  /** What to do with virtual machines; `leave` by default. */
  readonly secondaryMmu?: SecondaryMmuChoice;
  /** Whether the kernel is asked to reclaim what is shared; `off` by default. */
  readonly reclaim?: ReclaimChoice;
  /** Where it is configured, as `FILE:LINE`. */
  readonly place: string;
  /** Whether a user of the cluster has written it, who may do so at any time. */
  readonly isOfPod?: boolean;
}

/** The result of reading a configuration. */
export interface ConfigReading {
  /** `undefined` if there are problems. */
  readonly config: DaemonConfig | undefined;
  /** The problems of all files, in the order of the files, by line. */
  readonly problems: ConfigProblem[];
  /**
   * Whether all problems are temporary: the configuration may be valid, but cannot
   * be checked at the moment.
   */
  readonly isPassing: boolean;
  /** Settings that are valid but probably unintended, in the same order. */
  readonly warnings: ConfigProblem[];
  /** The files that were read. */
  readonly files: string[];
  /** The places of each setting of `[daemon]`, as `FILE:LINE`; the last one counts. */
  readonly settings: ReadonlyMap<string, readonly string[]>;
  /** Equals the result of `fingerprint` until a file changes. */
  readonly fingerprint: string;
}

/** What reading a configuration depends on. */
export interface ConfigSurroundings extends FileSurroundings {
  /** The device or file of the machine's swap, if it is on a disk; null if that is not known. */
  readonly swapDisk?: string | null;
  /** Whether the configuration may be without caps. */
  readonly hasOtherCaps?: boolean;
}

/**
 * Reads the main file and the drop-ins, and merges them: caps are collected; of
 * several values of a setting, the last counts. Mistakes in the files are returned,
 * never thrown.
 *
 * @param signal aborts the lookup of users.
 * @returns The reading, with messages about users that could not be looked up, for
 * which earlier answers are used.
 * @throws the signal's reason if it is aborted.
 */
export async function readConfig(
  paths: ConfigPaths,
  surroundings: ConfigSurroundings,
  signal?: AbortSignal,
): Promise<ConfigReading & { readonly oldUsers: readonly string[] }> {
  const parsed = parseConfig(paths, surroundings);
  const oldUsers = await surroundings.users.lookUp(parsed.selectors, signal);
  return { ...understandConfig(paths, parsed, surroundings), oldUsers };
}

/** The files of a configuration, parsed as TOML. */
export interface ParsedConfig {
  readonly sources: ConfigFiles;
  readonly files: readonly ParsedFile[];
  /** All selectors, as written. */
  readonly selectors: readonly string[];
}

/** Reads and parses the files of a configuration. */
export function parseConfig(
  paths: ConfigPaths,
  { system, hasOtherCaps = false }: Pick<
    ConfigSurroundings,
    "system" | "hasOtherCaps"
  >,
): ParsedConfig {
  const sources = readConfigFiles(paths, system.files, {
    mayBeMissing: hasOtherCaps,
  });
  const files = sources.files.map(parseFile);
  const selectors = files.flatMap(({ value }) =>
    value === undefined ? [] : selectorsIn(value)
  );
  return { sources, files, selectors };
}

/** Checks and merges parsed files whose users were looked up. */
export function understandConfig(
  paths: ConfigPaths,
  { sources, files: parsed }: ParsedConfig,
  surroundings: ConfigSurroundings,
): ConfigReading {
  const { hasOtherCaps = false } = surroundings;
  const files = parsed.map((file) => readFile(file, surroundings));
  const caps = files.flatMap(({ caps }) => caps);
  const problems: FoundProblem[] = [
    ...sources.problems,
    ...files.flatMap(({ problems }) => problems),
    ...duplicates(caps),
  ];
  // Files that cannot be read, or whose caps are not a list, may still contain
  // caps.
  const isWithoutCaps = !hasOtherCaps && sources.problems.length === 0 &&
    files.every(({ root }) => root && !root.children.get("cap")?.children.size);
  const noCap: FoundProblem = {
    file: paths.file,
    line: 0,
    message:
      `it contains no cap, nor does a drop-in in ${paths.dropIns}, so there is nothing to do`,
    suggestion:
      "add a table [[cap]] with name, select and max_rss or idle, as rcap check --help shows",
  };
  const { config, settings } = merge(files, surroundings.system);
  const isIdle = isWithoutCaps && !config?.kubernetes;
  const writesClock = settings.has("policy") && config?.policy === "clock";
  return {
    config: problems.length === 0 ? config : undefined,
    problems: inOrder(
      problems.map(({ isPassing: _, ...problem }) => problem),
      paths,
    ),
    isPassing: problems.length > 0 &&
      problems.every(({ isPassing = false }) => isPassing),
    warnings: inOrder(
      [
        ...isIdle ? [noCap] : [],
        ...files.flatMap((file) =>
          doubts(file, { ...surroundings, writesClock })
        ),
      ],
      paths,
    ),
    files: files.map(({ path }) => path),
    settings,
    fingerprint: fingerprintOf(sources),
  };
}

/** A file after it was checked. */
interface FileReading {
  readonly path: string;
  /** `undefined` if it is not TOML. */
  readonly root?: TomlNode;
  /** `undefined` if there are problems. */
  readonly settings?: FileSettings;
  readonly problems: readonly FoundProblem[];
  /** All caps, including invalid ones. */
  readonly caps: readonly CapPlace[];
}

interface CapPlace {
  readonly name: string | undefined;
  readonly file: string;
  readonly line: number;
}

/** A file, parsed as TOML. */
interface ParsedFile {
  readonly path: string;
  readonly root?: TomlNode;
  readonly value?: TomlValue;
  readonly problem?: ConfigProblem;
}

function parseFile({ path, text }: ConfigFile): ParsedFile {
  try {
    return { path, ...parseToml(text) };
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const { line, problem: message, remedy: suggestion = null } = error;
    return { path, problem: { file: path, line, message, suggestion } };
  }
}

function readFile(
  { path, root, value, problem }: ParsedFile,
  surroundings: FileSurroundings,
): FileReading {
  if (!root || value === undefined) {
    return { path, problems: problem ? [problem] : [], caps: [] };
  }
  const { settings, faults } = understand(value, surroundings);
  const misread = misreadEscapes(root);
  const isMisread = ({ path }: Fault) =>
    misread.some((other) => other.path.join() === path.join());
  const problems = [
    // What is wrong with another text than was meant does not matter.
    ...faults.filter((fault) => !isMisread(fault)),
    ...misread,
    ...unknownKeys(root),
  ].map((
    { path: keys, ...fault },
  ) => ({ file: path, line: lineOf(root, keys), ...fault }));
  return { path, root, settings, problems, caps: capsOf(root, path) };
}

function capsOf(root: TomlNode, file: string): CapPlace[] {
  // A key that is not an index belongs to a table, not a list, which is reported
  // elsewhere.
  return [...root.children.get("cap")?.children ?? []]
    .filter(([index]) => typeof index === "number")
    .map(([, cap]) => {
      const name = cap.children.get("name");
      const text = name?.scalar;
      return {
        name: typeof text === "string" ? text : undefined,
        file,
        line: name?.line ?? cap.line,
      };
    });
}

/** Returns a problem for every cap whose name is taken. */
function duplicates(caps: readonly CapPlace[]): ConfigProblem[] {
  const taken = new Map<string, string>();
  return caps.flatMap(({ name, file, line }) => {
    if (name === undefined) return [];
    const place = taken.get(name);
    if (place === undefined) {
      taken.set(name, placeOf(file, line));
      return [];
    }
    return [{
      file,
      line,
      message: `the name "${name}" is taken by the cap at ${place}`,
      suggestion: "rename or remove one of them",
    }];
  });
}

/** Returns warnings about settings that are valid but have no effect. */
function doubts(
  { path, root, settings }: FileReading,
  surroundings: CapSurroundings,
): ConfigProblem[] {
  if (!root || !settings) return [];
  const { daemon, cap = [] } = settings;
  const warnings = cap.flatMap((one, index) =>
    capDoubts(one, surroundings).map(({ key, ...doubt }) => ({
      file: path,
      line: lineOf(root, ["cap", index, key]),
      ...doubt,
    }))
  );
  if (daemon?.enforcement_threshold === 1) {
    warnings.push({
      file: path,
      line: lineOf(root, ["daemon", "enforcement_threshold"]),
      message: "enforcement_threshold is 100%: no cap is ever enforced",
      suggestion: `lower it; "0%" enforces caps at all times`,
    });
  }
  return warnings;
}

function merge(
  files: readonly FileReading[],
  system: ConfigSurroundings["system"],
): Pick<ConfigReading, "config" | "settings"> {
  let daemon = defaultSettings(system);
  const caps: CapConfig[] = [];
  const places = new Map<string, string[]>();
  for (const { path, root, settings } of files) {
    if (!root || !settings) continue;
    const place = (...keys: TomlPath) => placeOf(path, lineOf(root, keys));
    daemon = { ...daemon, ...settings.daemon };
    for (const key of Object.keys(settings.daemon ?? {})) {
      const others = places.get(key) ?? [];
      places.set(key, [...others, place("daemon", key)]);
    }
    settings.cap?.forEach((cap, index) => {
      const config: CapConfig = {
        name: cap.name,
        select: cap.select,
        maxRss: cap.max_rss,
        idle: cap.idle,
        maxRefaults: cap.max_refaults,
        maxPressure: cap.max_pressure,
        minRss: cap.min_rss,
        maxPageoutRate: cap.max_pageout_rate,
        maxSwapWrites: cap.max_swap_writes,
        only: cap.only,
        priority: cap.priority,
        secondaryMmu: cap.secondary_mmu,
        reclaim: cap.reclaim,
        place: place("cap", index),
      };
      caps.push(withoutUndefined(config));
    });
  }
  return {
    config: {
      sampleInterval: daemon.sample_interval,
      processInterval: daemon.process_interval,
      reportInterval: daemon.report_interval,
      configInterval: daemon.config_interval,
      enforcementThreshold: daemon.enforcement_threshold,
      observationBudget: daemon.observation_budget,
      policy: daemon.policy,
      pagedata: daemon.pagedata,
      record: daemon.record,
      recordLimit: daemon.record_limit,
      kubernetes: daemon.kubernetes,
      caps,
    },
    settings: places,
  };
}

/** Returns an object without the keys that have no value. */
function withoutUndefined<T extends object>(object: T): T {
  const copy = { ...object };
  for (const key in copy) if (copy[key] === undefined) delete copy[key];
  return copy;
}

/** Sorts problems by file, the main one first, and by line. */
function inOrder(
  problems: readonly ConfigProblem[],
  { file: main }: ConfigPaths,
): ConfigProblem[] {
  const compare = (a: string, b: string) => {
    if (a === b) return 0;
    return a === main || b !== main && a < b ? -1 : 1;
  };
  return problems.toSorted((a, b) =>
    compare(a.file, b.file) || a.line - b.line
  );
}
