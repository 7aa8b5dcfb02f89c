/**
 * What the daemon tells a monitoring system, in the words of Prometheus: the
 * OpenMetrics format, or Prometheus' own older one for who cannot read that.
 *
 * The daemon counts by itself, so the families are made anew for every reader from
 * what the daemon said last. Only what it observes one by one is kept here.
 *
 * @module
 */

import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { DaemonState, GroupState } from "../group/state.ts";

/** A format of metrics: its media type, as HTTP has it. */
export const METRICS_FORMATS = [
  Registry.OPENMETRICS_CONTENT_TYPE,
  Registry.PROMETHEUS_CONTENT_TYPE,
] as const;
export type MetricsFormat = typeof METRICS_FORMATS[number];

/** From less than one page-out takes to longer than a scan may take, in seconds. */
const SCAN_BUCKETS = [
  0.001,
  0.0025,
  0.005,
  0.01,
  0.025,
  0.05,
  0.1,
  0.25,
  0.5,
  1,
  2.5,
  5,
  10,
  30,
  60,
];

interface Family<T> {
  readonly kind: "gauge" | "counter";
  readonly name: string;
  readonly help: string;
  readonly value: (of: T) => number;
}

/** What is told of the daemon as a whole. */
const DAEMON_FAMILIES: readonly Family<DaemonState>[] = [
  {
    kind: "gauge",
    name: "rcap_process_start_time_seconds",
    help: "When rcap started, since the epoch.",
    value: ({ startedAt }) => startedAt,
  },
  {
    kind: "gauge",
    name: "rcap_process_uptime_seconds",
    help: "How long rcap has been running, by its last report.",
    value: ({ startedAt, updatedAt }) => Math.max(0, updatedAt - startedAt),
  },
  {
    kind: "counter",
    name: "rcap_process_cpu_seconds_total",
    help: "Processor time that rcap itself has used.",
    value: ({ own }) => own.cpu,
  },
  {
    kind: "gauge",
    name: "rcap_process_resident_memory_bytes",
    help: "Resident memory of rcap itself.",
    value: ({ own }) => own.rss,
  },
  {
    kind: "gauge",
    name: "rcap_report_timestamp_seconds",
    help: "When rcap reported last, since the epoch.",
    value: ({ updatedAt }) => updatedAt,
  },
  {
    kind: "gauge",
    name: "rcap_memory_total_bytes",
    help: "Physical memory of the machine.",
    value: ({ memory }) => memory.total,
  },
  {
    kind: "gauge",
    name: "rcap_memory_used_bytes",
    help: "Physical memory of the machine that is in use.",
    value: ({ memory }) => memory.used,
  },
  {
    kind: "gauge",
    name: "rcap_enforcement_threshold_ratio",
    help: "Caps are enforced while more than this share of memory is in use.",
    value: ({ memory }) => memory.threshold,
  },
  {
    kind: "gauge",
    name: "rcap_configuration_loaded_timestamp_seconds",
    help: "When the configuration in force was loaded, since the epoch.",
    value: ({ configuration }) => configuration.loadedAt,
  },
  {
    kind: "gauge",
    name: "rcap_configuration_problems",
    help:
      "Problems of the configuration files that keep them from being loaded.",
    value: ({ configuration }) => configuration.problems.length,
  },
];

/** What is told of each group. */
const GROUP_FAMILIES: readonly Family<GroupState>[] = [
  {
    kind: "gauge",
    name: "rcap_rss_bytes",
    help: "Resident memory that counts against the cap.",
    value: ({ rss }) => rss,
  },
  {
    kind: "gauge",
    name: "rcap_cap_bytes",
    help: "The cap in force.",
    value: ({ cap }) => cap,
  },
  {
    kind: "gauge",
    name: "rcap_processes",
    help: "Processes of the group.",
    value: ({ processes }) => processes,
  },
  {
    kind: "gauge",
    name: "rcap_avoided_processes",
    help: "Processes that are left alone, as their cgroups ask.",
    value: ({ avoided }) => avoided,
  },
  {
    kind: "gauge",
    name: "rcap_warning",
    help: "1 while there is a warning about the cap, else 0.",
    value: ({ warning }) => warning === null ? 0 : 1,
  },
  {
    kind: "counter",
    name: "rcap_attempted_bytes_total",
    help: "Memory that scans tried to page out.",
    value: ({ statistics }) => statistics.attempted,
  },
  {
    kind: "counter",
    name: "rcap_effective_bytes_total",
    help: "Memory by which resident memory fell for it.",
    value: ({ statistics }) => statistics.effective,
  },
  {
    kind: "counter",
    name: "rcap_scans_total",
    help: "Scans.",
    value: ({ statistics }) => statistics.scans,
  },
  {
    kind: "counter",
    name: "rcap_ineffective_scans_total",
    help: "Scans that visited every process and did not cover the excess.",
    value: ({ statistics }) => statistics.ineffectiveScans,
  },
  {
    kind: "counter",
    name: "rcap_backed_off_total",
    help: "Intervals without a scan because paged-out memory had come back.",
    value: ({ statistics }) => statistics.backedOff,
  },
  {
    kind: "counter",
    name: "rcap_unenforced_samples_total",
    help: "Samples over the cap that did not enforce it.",
    value: ({ statistics }) => statistics.unenforcedSamples,
  },
];

/** The daemon's metrics. */
export class Metrics {
  readonly #version: string;
  readonly #scans = new Histogram({
    name: "rcap_scan_duration_seconds",
    help: "How long scans took.",
    buckets: SCAN_BUCKETS,
    registers: [],
  });
  #pagesRead = 0;
  #readSeconds = 0;
  #state: DaemonState | undefined;

  /** @param version rcap's, for `rcap_build_info`. */
  constructor({ version }: { version: string }) {
    this.#version = version;
  }

  /** Replaces all that was said of the daemon and its groups. */
  update(state: DaemonState): void {
    this.#state = state;
  }

  /** A scan has ended. */
  observeScan(seconds: number): void {
    this.#scans.observe(seconds);
  }

  /** Pagedata has been read. */
  observeRead({ pages, seconds }: { pages: number; seconds: number }): void {
    this.#pagesRead += pages;
    this.#readSeconds += seconds;
  }

  /** All metrics as they are now. */
  async render(format: MetricsFormat): Promise<string> {
    const registry = new Registry<MetricsFormat>();
    registry.setContentType(format);
    const into = new Writer(registry);
    into.constant("rcap_build_info", {
      help: "1, with rcap's version and where reference bits come from.",
      labels: {
        version: this.#version,
        pagedata: this.#state?.pagedata ?? "none",
      },
    });
    into.counter("rcap_pages_read_total", {
      help: "Pages whose reference bits were read.",
      value: this.#pagesRead,
    });
    into.counter("rcap_page_read_seconds_total", {
      help: "Time that reading them took.",
      value: this.#readSeconds,
    });
    registry.registerMetric(this.#scans);
    if (this.#state !== undefined) into.state(this.#state);
    return await registry.metrics();
  }
}

/** Makes families in a registry. */
class Writer {
  readonly #registers: Registry<MetricsFormat>[];

  constructor(registry: Registry<MetricsFormat>) {
    this.#registers = [registry];
  }

  /** A family that is 1 and of which the labels say something. */
  constant(
    name: string,
    { help, labels }: { help: string; labels: Record<string, string> },
  ): void {
    const labelNames = Object.keys(labels);
    new Gauge({ name, help, labelNames, registers: this.#registers })
      .set(labels, 1);
  }

  counter(name: string, { help, value }: { help: string; value: number }) {
    new Counter({ name, help, registers: this.#registers }).inc(value);
  }

  #idle({ groups }: DaemonState): void {
    const family = new Gauge({
      name: "rcap_idle_bytes",
      help: "Memory not used for so many intervals or longer.",
      labelNames: ["group", "intervals"],
      registers: this.#registers,
    });
    for (const { name, idle } of groups) {
      for (const { intervals, bytes } of idle ?? []) {
        family.set({ group: name, intervals: `${intervals}` }, bytes);
      }
    }
  }

  state(state: DaemonState): void {
    for (const { kind, name, help, value } of DAEMON_FAMILIES) {
      const options = { name, help, registers: this.#registers };
      if (kind === "gauge") new Gauge(options).set(value(state));
      else new Counter(options).inc(value(state));
    }
    this.#idle(state);
    for (const { kind, name, help, value } of GROUP_FAMILIES) {
      const labelNames = ["group"];
      const options = { name, help, labelNames, registers: this.#registers };
      const family = kind === "gauge" ? new Gauge(options) : undefined;
      const counter = family ?? new Counter(options);
      for (const one of state.groups) {
        const labels = { group: one.name };
        if (family) family.set(labels, value(one));
        else counter.inc(labels, value(one));
      }
    }
  }
}
