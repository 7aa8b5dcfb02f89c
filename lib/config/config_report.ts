/**
 * The output of `rcap check`.
 *
 * @module
 */

import { writtenAs, type WrittenSelector } from "../collection/selectors.ts";
import { lines, type Printable } from "../report/escape.ts";
import {
  type ByteRate,
  exactByteRate,
  exactRefaultLimit,
} from "../report/rates.ts";
import {
  countOf,
  exactDuration,
  exactPercent,
  exactSize,
} from "../report/units.ts";
import type { CapConfig, ConfigReading, DaemonConfig } from "./config.ts";
import type { ConfigProblem } from "./config_problem.ts";
import type { DaemonSettings } from "./config_schema.ts";
import { quoteToml } from "./toml.ts";

/** The output of `rcap check --json`: sizes in bytes, times in seconds. */
export interface CheckReport {
  readonly version: 1;
  readonly valid: boolean;
  readonly files: readonly string[];
  readonly problems: readonly ConfigProblem[];
  readonly warnings: readonly ConfigProblem[];
  /** The merged configuration; `null` if it is not valid. */
  readonly config: {
    readonly daemon: Omit<DaemonConfig, "caps">;
    readonly caps: readonly (
      & Omit<
        CapConfig,
        "select" | "idle" | "maxSwapWrites" | "maxPageoutRate"
      >
      & {
        readonly select: readonly WrittenSelector[];
        /** In seconds, or `auto`. */
        readonly idle?: number | "auto";
        readonly maxSwapWrites?: WrittenRate;
        readonly maxPageoutRate?: WrittenRate;
      }
    )[];
  } | null;
}

/** So many bytes in a number of seconds. */
interface WrittenRate {
  readonly bytes: number;
  readonly seconds: number;
}

/** Returns the report on a configuration, for scripts. */
export function checkReport(
  { config, files, problems, warnings }: ConfigReading,
): CheckReport {
  const valid = config !== undefined;
  return {
    version: 1,
    valid,
    files,
    problems,
    warnings,
    config: valid ? configReport(config) : null,
  };
}

function configReport(
  { caps, ...daemon }: DaemonConfig,
): NonNullable<CheckReport["config"]> {
  return {
    daemon: {
      ...daemon,
      sampleInterval: daemon.sampleInterval / 1000,
      processInterval: daemon.processInterval / 1000,
      reportInterval: daemon.reportInterval / 1000,
      configInterval: daemon.configInterval / 1000,
    },
    caps: caps.map((
      { select, idle, maxPageoutRate, maxSwapWrites, ...cap },
    ) => ({
      ...cap,
      select: select.map(writtenAs),
      ...idle !== undefined && { idle: idle === "auto" ? idle : idle / 1000 },
      ...maxPageoutRate && { maxPageoutRate: writtenRate(maxPageoutRate) },
      ...maxSwapWrites && { maxSwapWrites: writtenRate(maxSwapWrites) },
    })),
  };
}

function writtenRate({ bytes, per }: ByteRate): WrittenRate {
  return { bytes, seconds: per / 1000 };
}

/** Describes how many caps a valid configuration has, by file. */
export function describeCaps(
  { caps }: DaemonConfig,
  files: readonly string[],
): Printable {
  const counts = files.map((file) => {
    const own = caps.filter(({ place }) => fileOf(place) === file);
    return `${file}: ${countOf(own.length, "cap")}`;
  });
  return lines(
    ...counts,
    `The configuration is valid, with ${countOf(caps.length, "cap")}.`,
  );
}

function fileOf(place: string): string {
  return place.replace(/:\d+$/, "");
}

/**
 * Renders a configuration as TOML that reads back as the same one, with comments
 * that show where everything comes from.
 */
export function renderConfig(
  config: DaemonConfig,
  { files, settings }: Pick<ConfigReading, "files" | "settings">,
): Printable {
  const values: Readonly<Record<keyof DaemonSettings, string | boolean>> = {
    sample_interval: exactDuration(config.sampleInterval),
    process_interval: exactDuration(config.processInterval),
    report_interval: exactDuration(config.reportInterval),
    config_interval: exactDuration(config.configInterval),
    enforcement_threshold: exactPercent(config.enforcementThreshold),
    observation_budget: exactPercent(config.observationBudget),
    policy: config.policy,
    pagedata: config.pagedata,
    record: config.record,
    record_limit: exactSize(config.recordLimit),
    kubernetes: config.kubernetes,
  };
  const daemon = Object.entries(values).flatMap(([key, value]) => {
    const [last, ...earlier] = settings.get(key)?.toReversed() ?? [];
    const origin = last === undefined
      ? "the default"
      : [last, ...earlier].join(", instead of ");
    const written = typeof value === "string" ? quoteToml(value) : `${value}`;
    return [`# ${origin}`, `${key} = ${written}`];
  });
  return lines(
    `# merged from ${files.join(", ")}`,
    "",
    "[daemon]",
    ...daemon,
    ...config.caps.flatMap(renderCap),
  );
}

/** Renders a cap as lines. */
function renderCap(cap: CapConfig): string[] {
  const { name, select, place } = cap;
  const listed = (texts: readonly string[]) => texts.map(quoteToml).join(", ");
  const selectors = select.map(writtenAs).map((written) =>
    typeof written === "string" ? quoteToml(written) : `[${listed(written)}]`
  ).join(", ");
  const values: [key: string, text: string | undefined][] = [
    ["max_rss", written(cap.maxRss, exactSize)],
    [
      "idle",
      written(cap.idle, (idle) => idle === "auto" ? idle : exactDuration(idle)),
    ],
    ["max_refaults", written(cap.maxRefaults, exactRefaultLimit)],
    ["max_pressure", written(cap.maxPressure, exactPercent)],
    ["min_rss", written(cap.minRss, exactSize)],
    ["max_pageout_rate", written(cap.maxPageoutRate, exactByteRate)],
    ["max_swap_writes", written(cap.maxSwapWrites, exactByteRate)],
    ["only", cap.only],
    ["secondary_mmu", cap.secondaryMmu],
    ["reclaim", cap.reclaim],
  ];
  return [
    "",
    `# ${place}`,
    "[[cap]]",
    `name = ${quoteToml(name)}`,
    `select = [${selectors}]`,
    ...values.flatMap(([key, text]) =>
      text === undefined ? [] : [`${key} = ${quoteToml(text)}`]
    ),
    ...cap.priority === undefined ? [] : [`priority = ${cap.priority}`],
  ];
}

function written<T>(
  value: T | undefined,
  format: (value: T) => string,
): string | undefined {
  return value === undefined ? undefined : format(value);
}
